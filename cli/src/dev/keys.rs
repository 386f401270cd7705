//! Keys of a `berth dev` that a person looks at: `t` opens the operator's screen over it.
//!
//! Only where the terminal is this process's alone: one in the background reads nothing, or the shell's own keys would be
//! taken from it, and the kernel would stop the process for it.

use std::{
    io::{self, IsTerminal, Read},
    os::fd::AsFd,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
    unistd::{getpgrp, tcgetpgrp},
};

/// How often whoever waits for a key looks whether it still should, in milliseconds.
const LOOK_UP_MS: u16 = 250;

/// A terminal whose keys are taken one by one; as it was before when dropped.
pub(super) struct Keys {
    before: Termios,
    over: Arc<AtomicBool>,
}

// === impl Keys ===

impl Keys {
    /// Takes keys and opens the screen of the cluster behind `api` at `t`; nothing where nobody types.
    pub(super) fn take(api: String) -> Option<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() || !is_foreground() {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok()?;
        one_by_one(&before);
        let over = Arc::new(AtomicBool::new(false));
        let keys = Self { before: before.clone(), over: over.clone() };
        // A thread and no task: what waits in a read would keep the runtime from ending.
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || listen(&api, &before, &over)).ok()?;
        Some(keys)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if is_foreground() {
            // A terminal that is gone needs nothing.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
        }
    }
}

fn is_foreground() -> bool {
    tcgetpgrp(io::stdin()) == Ok(getpgrp())
}

/// Lets keys come without `enter` and unseen; ctrl-c and what is printed stay as they are.
fn one_by_one(before: &Termios) {
    let mut one_by_one = before.clone();
    one_by_one.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
    // Where it cannot be set, `t` needs `enter`.
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &one_by_one);
}

fn listen(api: &str, before: &Termios, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let stdin = io::stdin();
        let mut waited = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waited, PollTimeout::from(LOOK_UP_MS)) {
            Ok(0) | Err(nix::Error::EINTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !is_foreground() {
            // What is typed is the shell's.
            std::thread::sleep(Duration::from_millis(LOOK_UP_MS.into()));
            continue;
        }
        let mut key = [0];
        match stdin.lock().read(&mut key) {
            Ok(1) if key[0] == b't' => open(api, before),
            Ok(1) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Hands the terminal to the screen until somebody leaves it.
fn open(api: &str, before: &Termios) {
    let Ok(program) = std::env::current_exe() else { return };
    // It says itself what goes wrong.
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
    let _ = Command::new(program).args(["tui", "--api", api]).status();
    one_by_one(before);
}
