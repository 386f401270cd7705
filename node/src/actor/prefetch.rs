//! Gets ready what reserve slots need: the same cache and the same environments as a replica's, without a replica.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};

use berth_core::{
    agent::{Input, PrefetchOrder},
    model::DeploymentKey,
};
use futures::FutureExt;

use super::{
    World,
    replica::{Task, fault, panicked, tell},
};
use crate::runtime::{self, PrepareLog};

/// Prefetches under way, one per deployment; each ends with its entry.
#[derive(Default)]
pub(super) struct Prefetching {
    tasks: BTreeMap<DeploymentKey, Task>,
}

// === impl Prefetching ===

impl Prefetching {
    pub(super) fn begin(&mut self, world: &Arc<World>, order: Arc<PrefetchOrder>) {
        let (key, of) = (order.key.clone(), Arc::clone(world));
        let task = tell(world, async move {
            let log = PrepareLog::of_prefetch(&of.home, &order.key, &of.progress);
            log.line(&format!("for a reserve slot of {} (generation {})", order.key, order.generation));
            let work = AssertUnwindSafe(runtime::prefetch(&order.spec, &of.cache, &of.environments, &log));
            let answer = work.catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)));
            let answer = answer.map_err(|error| {
                log.line(&error.to_string());
                tracing::info!(deployment = %order.key, %error, "a prefetch failed");
                fault(&error)
            });
            Input::Prefetched { key: order.key.clone(), generation: order.generation, answer }
        });
        self.tasks.insert(key, task);
    }

    pub(super) fn cancel(&mut self, key: &DeploymentKey) {
        self.tasks.remove(key);
    }
}
