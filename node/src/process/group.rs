//! Process groups: signalled as one, and over only when nobody of them is left.

use std::{os::fd::OwnedFd, path::Path, time::Duration};

use berth_core::agent::Signal;
use rustix::process::{Pid, PidfdFlags, getpgrp, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::{io::unix::AsyncFd, time::timeout};

use super::inspect;

/// How long one look at a group's members waits before it looks again: a process may have made another one meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Signals every process of a group. A group that is gone is no error; this process's own group is never meant.
pub(crate) fn signal_group(group: u32, signal: Signal) {
    if pid(group) == Some(getpgrp()) {
        tracing::error!(group, "the agent's own group was to be signalled");
        return;
    }
    let signal = match signal {
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    };
    if let Some(pid) = pid(group)
        && let Err(error) = kill_process_group(pid, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(group, %error, "a process group could not be signalled");
    }
}

/// Kills what is left of a replica and returns when there is nothing: its group when it is known to be the replica's own,
/// and whatever carries the replica's mark.
pub(crate) async fn end_replica(group: Option<u32>, root: &Path) {
    loop {
        let root = root.to_owned();
        let looked = tokio::task::spawn_blocking(move || inspect::belonging(group, &root)).await;
        let left = looked.unwrap_or_default();
        if left.is_empty() {
            return;
        }
        let handles: Vec<_> = left.iter().filter_map(|process| open(*process)).collect();
        if let Some(group) = group {
            signal_group(group, Signal::Kill);
        }
        for handle in &handles {
            // By handle: the id may by now mean another process.
            if let Err(error) = pidfd_send_signal(handle.get_ref(), rustix::process::Signal::KILL) {
                tracing::debug!(?group, %error, "a process ended before it was killed");
            }
        }
        for handle in handles {
            // The end of each is an event; the time-out only covers what cannot be killed now.
            drop(timeout(LOOK, handle.readable()).await);
        }
        tokio::task::yield_now().await;
    }
}

/// Opens a handle that becomes readable when the process ends.
pub(super) fn open(process: u32) -> Option<AsyncFd<OwnedFd>> {
    let fd = pidfd_open(pid(process)?, PidfdFlags::NONBLOCK).ok()?;
    register(fd).ok()
}

#[expect(unsafe_code, reason = "the reactor's registration asks its caller to vouch for the descriptor")]
fn register(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned and moves in, so it stays open and the same for as long as it is registered.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

fn pid(raw: u32) -> Option<Pid> {
    // Groups 0 and 1 mean "mine" and "init's": never what is meant.
    i32::try_from(raw).ok().filter(|raw| *raw > 1).and_then(Pid::from_raw)
}
