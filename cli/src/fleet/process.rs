//! One daemon: a child process with its log, killed with whoever holds it.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{FleetError, FleetOptions};

/// A child process.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    child: Child,
}

// === impl Daemon ===

impl Daemon {
    pub(super) fn spawn(options: &FleetOptions, name: &str, args: &[String]) -> Result<Self, FleetError> {
        let log = options.dir.join(format!("{name}.log"));
        let spawn = || -> io::Result<Child> {
            let out = OpenOptions::new().create(true).append(true).open(&log)?;
            let err = out.try_clone()?;
            Command::new(&options.berth)
                .args(args)
                .envs(&options.env)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err)
                .spawn()
        };
        let child = spawn().map_err(|source| FleetError::Process { what: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Returns whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it without a word and reaps it.
    pub fn kill(&mut self) -> Result<(), FleetError> {
        let what = || format!("kill {}", self.name);
        if let Err(source) = self.child.kill()
            && source.kind() != io::ErrorKind::InvalidInput
        {
            return Err(FleetError::Process { what: what(), source });
        }
        self.child.wait().map(drop).map_err(|source| FleetError::Process { what: what(), source })
    }

    /// Sends a signal: `SIGSTOP` and `SIGCONT` pause and resume it.
    pub fn signal(&self, signal: Signal) -> Result<(), FleetError> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal)
            .map_err(|errno| FleetError::Process { what: format!("signal {}", self.name), source: errno.into() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A paused process would not die of anything gentler; one that is gone is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
