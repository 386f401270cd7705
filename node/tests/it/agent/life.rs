//! One replica's life with real processes: up, crashed, failed, drained, ended.

use berth_core::{
    agent::Desired,
    model::Probe,
    state::Observed,
    time::{LogTime, Millis},
};
use berth_proto::node::v1::{LogRequest, LogStream};
use tokio::time::timeout;

use super::{
    bench::{command, get, is_free, kill, lives, options, server, start},
    coordinator::{Coordinator, PATIENCE},
};

fn ask(request: u64, replica: u64, tail_lines: u64, offset: u64) -> LogRequest {
    LogRequest { request, replica, stream: LogStream::Output as i32, tail_lines, offset, ..LogRequest::default() }
}

#[tokio::test]
async fn a_program_comes_up_serves_drains_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let mut spec = server();
    spec.environment_variables.insert("GREETING".into(), "hello".into());
    spec.environment_variables.insert("PORT".into(), "1".into());
    leader.order(1, &spec, Desired::Run).await;
    let warm = leader.report(1, Observed::Warm).await;
    assert!(lives(warm.pid));
    let answer = get(&warm.address);
    let env = &answer["env"];
    assert_eq!(env["GREETING"], "hello");
    assert_eq!(env["BERTH_DEPLOYMENT"], "blue");
    assert_eq!(env["CUDA_VISIBLE_DEVICES"], "", "devices that were not granted are hidden");
    assert_eq!(warm.address, format!("127.0.0.1:{}", env["PORT"].as_str().unwrap()), "the port given is the port said");
    assert_eq!(answer["pid"], warm.pid);
    let root = dir.path().canonicalize().unwrap().join("node/replicas/0000000000000001");
    assert!(answer["cwd"].as_str().unwrap().starts_with(root.to_str().unwrap()));

    leader.order(1, &spec, Desired::Drain { deadline: LogTime::from_millis(1) }).await;
    leader.order(1, &spec, Desired::Stop).await;
    leader.report(1, Observed::Gone).await;
    assert!(!lives(warm.pid) && is_free(&warm.address) && !root.exists());
    node.stop().await;
}

#[tokio::test]
async fn a_crash_after_warm_is_mended_under_a_new_process() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    leader.order(1, &server(), Desired::Run).await;
    let first = leader.report(1, Observed::Warm).await;
    let seen = leader.reports().len();
    kill(first.pid);
    let down = leader.report_from(seen, 1, Observed::Starting).await;
    assert!(down.reason.contains("signal 9 (SIGKILL)"), "{}", down.reason);
    let second = leader.report_from(seen, 1, Observed::Warm).await;
    assert_ne!(second.pid, first.pid);
    assert_eq!(second.restarts, 1);
    node.stop().await;
    assert!(!lives(second.pid), "a development node takes its replicas along");
}

#[tokio::test]
async fn a_start_that_exits_is_failed_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    leader.order(1, &command(&["sh", "-c", "echo init is broken >&2; exit 3"]), Desired::Run).await;
    let failed = leader.report(1, Observed::Failed).await;
    assert!(failed.reason.starts_with("exited with code 3\n"), "{}", failed.reason);
    assert!(failed.reason.ends_with("init is broken"), "{}", failed.reason);
    assert_eq!(failed.reason.matches("init is broken").count(), 1, "the words of the last start alone");
    assert!(!failed.permanent);

    leader.order(2, &command(&["/nowhere/to/be/found"]), Desired::Run).await;
    let failed = leader.report(2, Observed::Failed).await;
    assert!(failed.reason.contains("`/nowhere/to/be/found` could not be started"), "{}", failed.reason);
    node.stop().await;
}

#[tokio::test]
async fn a_start_that_hangs_is_ended_and_failed() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    options.timing.start_deadline = Millis(300);
    options.timing.start_attempts = 1;
    let node = start(options).await;
    let mut spec = command(&["sh", "-c", "trap '' TERM; echo loading; while true; do sleep 1; done"]);
    spec.liveness_probe = Probe { initial_delay_ms: 100, period_ms: 100, failure_threshold: 2, ..Probe::default() };
    leader.order(1, &spec, Desired::Run).await;
    let failed = leader.report(1, Observed::Failed).await;
    assert!(failed.reason.ends_with("loading"), "{}", failed.reason);
    let tried = leader.reports().into_iter().filter(|report| report.pid != 0);
    assert!(tried.clone().count() > 0 && tried.into_iter().all(|report| !lives(report.pid)));
    node.stop().await;
}

#[tokio::test]
async fn whatever_a_replica_started_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    // One child in the group, one in a group of its own; both ignore the polite signal.
    let script = "trap '' TERM; (trap '' TERM; sleep 1000) & echo $! ; setsid sh -c 'trap \"\" TERM; echo $$; sleep 1000' & \
                  exec python3 -c \"$SERVER\" $PORT";
    let mut spec = command(&["sh", "-c", script]);
    spec.environment_variables.insert("SERVER".into(), super::bench::SERVER.into());
    leader.order(1, &spec, Desired::Run).await;
    let warm = leader.report(1, Observed::Warm).await;
    // The children say who they are when they come to it, which may be after the server answers.
    let said = async {
        for request in 1.. {
            let log = leader.ask_log(ask(request, 1, 10, 0)).await;
            let text = String::from_utf8(log.data.to_vec()).unwrap();
            if text.ends_with('\n') && text.lines().count() == 2 {
                return text;
            }
        }
        unreachable!("it asks for ever")
    };
    let text = timeout(PATIENCE, said).await.expect("both children say who they are");
    let children: Vec<u32> = text.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert!(children.iter().all(|pid| lives(*pid)));
    leader.order(1, &spec, Desired::Stop).await;
    leader.report(1, Observed::Gone).await;
    assert!(!lives(warm.pid) && children.iter().all(|pid| !lives(*pid)), "nothing of the replica is left");
    node.stop().await;
}

#[tokio::test]
async fn a_replica_that_stops_answering_is_ended_and_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let mut spec = server();
    spec.environment.liveness_route = Some(berth_core::model::HttpRoute { path: "/".into(), port: 0 });
    // The delay leaves a busy host time to start Python; only then do failures count.
    spec.liveness_probe =
        Probe { initial_delay_ms: 5_000, period_ms: 100, timeout_ms: 500, failure_threshold: 2, ..Probe::default() };
    leader.order(1, &spec, Desired::Run).await;
    let first = leader.report(1, Observed::Warm).await;
    let seen = leader.reports().len();
    let stopped = std::process::Command::new("kill").args(["-STOP", &first.pid.to_string()]).status().unwrap();
    assert!(stopped.success());
    let down = leader.report_from(seen, 1, Observed::Starting).await;
    assert!(down.reason.contains("liveness probe failed 2 times in a row"), "{}", down.reason);
    let second = leader.report_from(seen, 1, Observed::Warm).await;
    assert_ne!(second.pid, first.pid);
    node.stop().await;
}

#[tokio::test]
async fn logs_are_rotated_and_read_from_any_offset() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let mut options = options(dir.path(), &[&leader]);
    (options.log_max_bytes, options.log_files) = (4_096, 2);
    let node = start(options).await;
    let talk = "import http.server, sys, threading, time\n\
                threading.Thread(target=lambda: [(print('line', n, 'x' * 50, flush=True), time.sleep(0.002)) for n in range(2000)], daemon=True).start()\n";
    let source = format!("{talk}{}", super::bench::SERVER);
    leader.order(1, &command(&["python3", "-c", &source, "$PORT"]), Desired::Run).await;
    leader.report(1, Observed::Warm).await;
    let (mut offset, mut text) = (0, String::new());
    let mut number = 100;
    while !text.contains("line 1999 ") {
        number += 1;
        let chunk = leader.ask_log(ask(number, 1, 0, offset)).await;
        assert_eq!(chunk.error_code, "");
        offset = chunk.next_offset;
        text.push_str(std::str::from_utf8(&chunk.data).unwrap());
    }
    let bytes = |path: &std::path::Path| std::fs::metadata(path).unwrap().len();
    assert!(offset > 100_000, "everything written counts: {offset}");
    let logs = dir.path().join("node/logs/0000000000000001");
    // The keeper looks once a second; what is written in between may lie beyond the limit until it does.
    let deadline = tokio::time::Instant::now() + super::coordinator::PATIENCE;
    while bytes(&logs.join("output.log")) > 4_096 {
        assert!(tokio::time::Instant::now() < deadline, "the log is never rotated");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // Beside them lies when each part of them was written.
    let is_rotated = |name: &str| name.strip_prefix("output.log.").is_some_and(|number| number.parse::<u32>().is_ok());
    let rotated = std::fs::read_dir(&logs)
        .unwrap()
        .filter(|entry| is_rotated(entry.as_ref().unwrap().file_name().to_str().unwrap()));
    assert!((1..=2).contains(&rotated.count()));
    let unknown = leader.ask_log(ask(1, 99, 5, 0)).await;
    assert_eq!(unknown.error_code, "E_REPLICA_NOT_FOUND");
    node.stop().await;
}
