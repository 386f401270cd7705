//! A load that goes on until what it is for is over: what changes under it is under it to the end, however slow the machine.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use berth_cli::load::{LoadOptions, LoadReport, run_over};
use tokio::task::JoinHandle;

use crate::protocol::Protocol;

/// A load that somebody must end.
#[must_use]
pub struct Load {
    over: Arc<AtomicBool>,
    report: JoinHandle<LoadReport>,
}

// === impl Load ===

impl Load {
    /// Starts one of `options.total` requests at least.
    pub fn start(options: LoadOptions) -> Self {
        Self::start_over(options, &[Protocol::Http1])
    }

    /// Starts one over several protocols: request `n` over protocol `n` modulo their number.
    pub fn start_over(options: LoadOptions, protocols: &[Protocol]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let enough = over.clone();
        let carriers = protocols.iter().map(|protocol| protocol.carriers(&options.targets)).collect();
        Self { over, report: tokio::spawn(run_over(options, carriers, move || enough.load(Relaxed))) }
    }

    /// Lets it end, with the last answers.
    pub async fn end(self) -> LoadReport {
        self.over.store(true, Relaxed);
        self.report.await.expect("the load ends")
    }
}
