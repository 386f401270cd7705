//! Starts processes, from one thread that lives as long as the node.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that spawned a child ends, not the process. Spawned from a pool thread that
//! is let go after ten idle seconds, a replica would be killed for no reason. So one thread does nothing else.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
    time::Duration,
};

use berth_core::agent::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::sync::oneshot;

use super::group::signal_group;

/// Launches that may wait for the thread. Each takes about a millisecond, so more than this means that it hangs.
const WAITING_MAX: usize = 256;

/// How often a program that is being written is tried again, and what lies between two tries.
const BUSY_TRIES: usize = 40;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A process to start.
#[derive(Clone, Debug)]
pub(crate) struct Spawn {
    /// The program and its words.
    pub(crate) argv: Vec<String>,
    /// All its variables.
    pub(crate) env: BTreeMap<String, String>,
    /// Its working folder.
    pub(crate) folder: PathBuf,
    /// The file both its streams are appended to.
    pub(crate) output: PathBuf,
    /// Whether the kernel kills it when this process dies.
    pub(crate) die_with_parent: bool,
}

/// Hands processes to start to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    jobs: SyncSender<Job>,
}

type Job = (Spawn, oneshot::Sender<io::Result<u32>>);

// === impl Spawner ===

impl Spawner {
    /// Starts the thread; it ends when the last handle is dropped.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = sync_channel(WAITING_MAX);
        thread::Builder::new().name("berth-spawner".to_owned()).spawn(move || work(&queue))?;
        Ok(Self { jobs })
    }

    /// Starts a process as the leader of its own group and returns its id. Nobody waits for it but the watch.
    pub(crate) async fn spawn(&self, spawn: Spawn) -> io::Result<u32> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send((spawn, answer)).map_err(|error| match error {
            TrySendError::Full(_) => io::Error::other("too many processes wait to be started"),
            TrySendError::Disconnected(_) => io::Error::other("the spawner has ended"),
        })?;
        answered.await.map_err(|_| io::Error::other("the spawner has ended"))?
    }
}

fn work(queue: &Receiver<Job>) {
    for (spawn, answer) in queue {
        // Whoever asked may have given up: then nobody watches over the process, and the replica may get another one.
        if let Err(Ok(pid)) = answer.send(start(&spawn)) {
            signal_group(pid, Signal::Kill);
            reap(pid);
        }
    }
}

/// Takes the status of a process that was killed, so that it does not stay listed for ever.
fn reap(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED)
    {
        tracing::debug!(%error, "a process nobody asked for any more was not waited for");
    }
}

fn start(spawn: &Spawn) -> io::Result<u32> {
    let (program, args) = spawn.argv.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
    let output = append(&spawn.output)?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(&spawn.env)
        .current_dir(&spawn.folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // Its own group: one signal reaches its children too, and a terminal's Ctrl-C does not.
        .process_group(0);
    if spawn.die_with_parent {
        die_with_parent(&mut command);
    }
    // The handle is let go without waiting: the watch reaps by pid, also after the agent was replaced.
    let pid = spawn_when_written(&mut command)?.id();
    if let Some(own) = oom_score("self") {
        goes_before(own, pid);
    }
    Ok(pid)
}

/// Starts a program that may have been unpacked this moment. A process that another thread forked meanwhile holds the
/// file open for writing until it has become its own program, and so long the kernel refuses to start it.
fn spawn_when_written(command: &mut Command) -> io::Result<Child> {
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::sleep(BUSY_PAUSE),
            started => return started,
        }
    }
    command.spawn()
}

/// Lets the kernel end a replica before its agent when memory is short. An agent that is protected (`OOMScoreAdjust` of
/// its unit) would hand its protection down, and whichever of the two is larger would go, or somebody else on the host.
fn goes_before(own: i32, pid: u32) {
    if own < 0
        && let Err(error) = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0")
    {
        tracing::debug!(%error, pid, "a replica is as protected from a shortage of memory as its agent");
    }
}

fn oom_score(of: &str) -> Option<i32> {
    std::fs::read_to_string(format!("/proc/{of}/oom_score_adj")).ok()?.trim().parse().ok()
}

#[expect(unsafe_code, reason = "only a hook between fork and exec can ask the kernel for a signal at the parent's end")]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let hook = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // The parent may have died before the request was made.
        if rustix::process::getppid() != Some(parent) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: the hook makes two system calls and allocates nothing, so it is safe in the forked child of a threaded
    // process.
    unsafe { command.pre_exec(hook) };
}

/// Opens a log so that every write lands at its end, also after it was truncated by rotation.
pub(crate) fn append(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{is_alive, start_ticks, watch_leader};

    fn sleeper(folder: &std::path::Path) -> Spawn {
        Spawn {
            argv: vec!["sleep".to_owned(), "1000".to_owned()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            folder: folder.to_owned(),
            output: folder.join("output.log"),
            die_with_parent: true,
        }
    }

    #[test]
    fn a_replica_of_a_protected_agent_is_not_protected() {
        let dir = tempfile::tempdir().unwrap();
        let pid = start(&Spawn { die_with_parent: false, ..sleeper(dir.path()) }).unwrap();
        let score = || oom_score(&pid.to_string());
        // Whoever may lower one may not be us: a raised one stands for it.
        std::fs::write(format!("/proc/{pid}/oom_score_adj"), "300").unwrap();
        goes_before(0, pid);
        assert_eq!(score(), Some(300), "an agent without protection leaves it as it is");
        goes_before(-500, pid);
        assert_eq!(score(), Some(0));
        let killed = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
        reap(pid);
    }

    #[tokio::test]
    async fn a_development_replica_dies_with_its_spawner_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let pid = spawner.spawn(sleeper(dir.path())).await.unwrap();
        let ticks = start_ticks(pid).unwrap();
        assert!(is_alive(pid, ticks));
        drop(spawner);
        assert_eq!(watch_leader(pid, ticks).await, "was ended by signal 9 (SIGKILL)");
    }

    #[tokio::test]
    async fn a_process_nobody_waits_for_any_more_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("marker");
        let (jobs, queue) = sync_channel(1);
        let (answer, answered) = oneshot::channel();
        drop(answered);
        let mut spawn = sleeper(dir.path());
        spawn.env.insert(super::super::MARK.to_owned(), marker.display().to_string());
        jobs.send((spawn, answer)).unwrap();
        drop(jobs);
        tokio::task::spawn_blocking(move || work(&queue)).await.unwrap();
        assert!(crate::process::marked_processes(&marker).is_empty());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let spawner = Spawner::start().unwrap();
        let spawn = Spawn { argv: vec!["/nowhere".to_owned()], ..sleeper(dir.path()) };
        assert_eq!(spawner.spawn(spawn).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_program_that_is_still_being_written_starts_when_that_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let writer = OpenOptions::new().append(true).open(&program).unwrap();
        let spawner = Spawner::start().unwrap();
        let spawn = Spawn { argv: vec![program.display().to_string(), "1000".to_owned()], ..sleeper(dir.path()) };
        assert_eq!(
            spawner.spawn(spawn.clone()).await.unwrap_err().kind(),
            io::ErrorKind::ExecutableFileBusy,
            "no wait without an end"
        );
        let (started, ()) = tokio::join!(spawner.spawn(spawn), async { drop(writer) });
        let pid = started.unwrap();
        let ticks = start_ticks(pid).unwrap();
        drop(spawner);
        watch_leader(pid, ticks).await;
    }
}
