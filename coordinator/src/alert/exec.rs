//! Tells a program: the message on its standard input, a deadline, and no shell between.

use std::{path::Path, process::Stdio};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::{Duration, timeout},
};

use super::words::Message;

/// A program that tells somebody is done within this.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is kept of what it complains about.
const COMPLAINT_BYTES: u64 = 2_048;

/// Runs the program once; it has taken the message when it ends with 0.
pub(super) async fn run(program: &Path, message: &Message) -> Result<(), String> {
    let mut child = Command::new(program)
        .env("BERTH_ALERT_STATUS", message.status)
        .env("BERTH_ALERT_ID", &message.id)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A group of its own, so that what it starts ends with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it does not start: {error}"))?;
    let group = child.id();
    let (input, complaints) = (child.stdin.take(), child.stderr.take());
    let feed = async {
        if let Some(mut input) = input {
            // One that does not read what it is told may still have done its work.
            let _ = input.write_all(&message.body).await;
        }
    };
    let listen = async {
        let mut text = Vec::new();
        if let Some(mut complaints) = complaints {
            let _ = (&mut complaints).take(COMPLAINT_BYTES).read_to_end(&mut text).await;
            // Whatever else it says is read and dropped: a full pipe would stop it.
            let _ = tokio::io::copy(&mut complaints, &mut tokio::io::sink()).await;
        }
        text
    };
    let work = async { tokio::join!(feed, listen, child.wait()) };
    let ended = timeout(DEADLINE, work).await;
    if ended.is_err()
        && let Some(group) = group.and_then(|id| i32::try_from(id).ok())
    {
        // It may have ended just now: nobody is left to end then.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let Ok(((), complaint, status)) = ended else { return Err(format!("it did not end within {DEADLINE:?}")) };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let complaint = String::from_utf8_lossy(&complaint);
            Err(format!("{status}: {}", complaint.lines().last().unwrap_or_default().trim()))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// Writes a program by another process: one forked here by a test beside this one would hold a file that is open
    /// here, and a file that is open for writing cannot be started.
    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("tell");
        let written = std::process::Command::new("sh")
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#])
            .args([path.as_os_str(), text.as_ref()])
            .status();
        assert!(written.expect("a shell").success());
        path
    }

    fn message() -> Message {
        Message { body: b"{\"status\":\"firing\"}".to_vec(), id: "abc".into(), status: "firing" }
    }

    #[tokio::test]
    async fn a_program_gets_the_message_and_its_status_decides() {
        let folder = tempfile::tempdir().expect("a folder");
        let heard = folder.path().join("heard");
        let program = script(folder.path(), &format!("cat > {0}; echo $BERTH_ALERT_STATUS >> {0}", heard.display()));
        assert_eq!(run(&program, &message()).await, Ok(()));
        assert_eq!(fs::read_to_string(&heard).expect("heard"), "{\"status\":\"firing\"}firing\n");
        let program = script(folder.path(), "echo 'no route to pager' >&2; exit 3");
        let why = run(&program, &message()).await.expect_err("refused");
        assert!(why.contains("exit status: 3") && why.contains("no route to pager"), "{why}");
        let why = run(&folder.path().join("absent"), &message()).await.expect_err("refused");
        assert!(why.contains("does not start"), "{why}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let program = script(folder.path(), &format!("sleep 1000 & echo $! > {}; wait", pid.display()));
        let why = run(&program, &message()).await.expect_err("it hangs");
        assert!(why.contains("did not end within 10s"), "{why}");
        let child: i32 = fs::read_to_string(&pid).expect("it began").trim().parse().expect("a number");
        let gone = async {
            // Ended, and not yet waited for by whoever adopted it: a zombie runs nothing.
            while fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.expect("what it started is gone");
    }
}
