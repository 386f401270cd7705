//! Group commit: one thread, one queue, one sync for everybody who waits.
//!
//! An fsync costs the same for one entry as for a hundred, so the thread takes all callbacks that are queued, syncs once
//! and answers them all; what arrives meanwhile waits for the next round. Votes, truncations and appended entries go
//! through the same queue: a later one is never durable before an earlier one.

use std::{io, sync::Arc, thread};

use tokio::sync::{mpsc, oneshot};

use super::sled::Durable;

/// Syncs waited for at once. Consensus keeps far fewer in flight; beyond this a writer waits its turn.
const QUEUE: usize = 4096;

type Callback = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Hands callbacks to the sync thread. The thread ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: mpsc::Sender<Callback>,
}

// === impl Committer ===

impl Committer {
    /// Starts the thread `raft-sync`.
    pub fn start(durable: Arc<Durable>) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        thread::Builder::new().name("raft-sync".into()).spawn(move || serve(&durable, waiting))?;
        Ok(Self { queue })
    }

    /// Calls `done` once all that was written before this call is durable, or has failed to become so.
    pub async fn notify(&self, done: impl FnOnce(io::Result<()>) + Send + 'static) -> io::Result<()> {
        self.queue.send(Box::new(done)).await.map_err(|_| io::Error::other("the sync thread has ended"))
    }

    /// Waits until all that was written before this call is durable.
    pub async fn sync(&self) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        // A waiter that went away wants no answer.
        self.notify(move |result| drop(done.send(result))).await?;
        synced.await.map_err(|_| io::Error::other("the sync thread has ended"))?
    }
}

fn serve(durable: &Durable, mut waiting: mpsc::Receiver<Callback>) {
    let mut round = Vec::new();
    while waiting.blocking_recv_many(&mut round, QUEUE) > 0 {
        let result = durable.sync();
        for done in round.drain(..) {
            done(match &result {
                Ok(()) => Ok(()),
                Err(source) => Err(io::Error::new(source.kind(), source.to_string())),
            });
        }
    }
}
