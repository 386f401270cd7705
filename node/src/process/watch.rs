//! Waits for the end of a replica's processes, whether this agent started them or an earlier one did.

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{group::open, inspect::start_ticks};

/// Returns how a process ended, once it has.
pub(crate) async fn watch_leader(leader: u32, ticks: u64) -> String {
    const UNSEEN: &str = "ended while its agent was away";
    let Some(ended) = open(leader) else {
        return UNSEEN.to_owned();
    };
    // Looked at after the handle is open: from here on the id cannot come to mean another process.
    if start_ticks(leader) != Some(ticks) {
        return UNSEEN.to_owned();
    }
    if ended.readable().await.is_err() {
        return "ended; its handle could not be watched".to_owned();
    }
    let status = waitid(WaitId::PidFd(rustix::fd::AsFd::as_fd(ended.get_ref())), WaitIdOptions::EXITED);
    match status.ok().flatten() {
        Some(status) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("was ended by signal {}", signal_name(signal)),
            (None, None) => "ended".to_owned(),
        },
        // Only a parent learns the status, and the parent was an earlier agent.
        None => "ended; it was started by an earlier agent, so its exit code is not known".to_owned(),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        _ => return signal.to_string(),
    };
    format!("{signal} ({name})")
}
