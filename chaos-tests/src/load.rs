//! A load that goes on until what it is for is over: what changes under it is under it to the end, however slow the machine.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use berth_cli::load::{LoadOptions, LoadReport, run_until};
use tokio::task::JoinHandle;

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
        let over = Arc::new(AtomicBool::new(false));
        let enough = over.clone();
        Self { over, report: tokio::spawn(run_until(options, move || enough.load(Relaxed))) }
    }

    /// Lets it end, with the last answers.
    pub async fn end(self) -> LoadReport {
        self.over.store(true, Relaxed);
        self.report.await.expect("the load ends")
    }
}
