//! An alert as its operator lives through it: a rule in a file, requests that fail, a webhook and a program that are told,
//! and the end of it.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::berth::Dev;

/// How long anything may take on a machine that builds something else.
const PATIENCE: Duration = Duration::from_secs(120);

/// An endpoint whose model is always wrong, and somebody who wants to know.
const FILE: &str = "\
name: talk
auth_mode: none
traffic: {blue: 100}
alerts:
  - {name: fails, when: error rate > 1 % for 1s}
---
name: blue
endpoint_name: talk
command: [python3, -uc, 'import http.server as h,os; R=h.BaseHTTPRequestHandler; \
R.do_GET=lambda s:(s.send_response(200),s.send_header(\"content-length\",\"2\"),s.end_headers(),s.wfile.write(b\"ok\")); \
R.do_POST=lambda s:(s.send_response(500),s.send_header(\"content-length\",\"0\"),s.end_headers()); \
R.log_message=lambda *a:None; h.ThreadingHTTPServer((\"127.0.0.1\",int(os.environ[\"PORT\"])),R).serve_forever()']
resources: {cpu: 1, memory: 64MiB}
instance_count: 1
";

/// A webhook that takes everything.
struct Pager {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

// === impl Pager ===

impl Pager {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = heard.clone();
        // Ends with the test's process: nobody else connects.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notes = notes.clone();
                thread::spawn(move || take(stream, &notes));
            }
        });
        Self { address, heard }
    }

    /// Returns what was heard under a status: the key of each message, and how many alerts.
    fn heard(&self, status: &str) -> Vec<(String, Value)> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|(_, message)| message["status"] == status).cloned().collect()
    }
}

/// Reads messages of a connection until it ends.
fn take(stream: TcpStream, notes: &Mutex<Vec<(String, Value)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut key, mut line) = (0, String::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "idempotency-key" => key = value.trim().to_owned(),
                _ => {}
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if length == 0 || reader.read_exact(&mut body).is_err() {
            return;
        }
        let message = serde_json::from_slice(&body).expect("JSON");
        notes.lock().unwrap_or_else(PoisonError::into_inner).push((key, message));
        if reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// Calls over and over until it is dropped.
struct Calls(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

// === impl Calls ===

impl Calls {
    fn start(ingress: &str) -> Self {
        let (over, ingress) = (Arc::new(AtomicBool::new(false)), ingress.to_owned());
        let ends = over.clone();
        let calls = thread::spawn(move || {
            while !ends.load(Relaxed) {
                // What becomes of one is the cluster's to count.
                let _ = call(&ingress);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self(over, Some(calls))
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        let _ = self.1.take().map(thread::JoinHandle::join);
    }
}

fn call(ingress: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(ingress)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "POST /e/talk/score HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn page(api: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(api).expect("the coordinator listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    text
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: it does not come");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Writes a program. A child does: another thread's fork would hold a file open that this process wrote.
fn program(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(path).arg(text);
    assert!(shell.status().expect("a shell").success());
}

#[test]
fn requests_that_fail_are_told_once_to_everybody_and_so_is_their_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let pager = Pager::start();
    let (tell, told) = (folder.path().join("tell"), folder.path().join("told"));
    program(&tell, &format!("#!/bin/sh\n{{ echo \"$BERTH_ALERT_STATUS\"; cat; echo; }} >> {}\n", told.display()));
    let webhook = format!("pager=http://{}/hook", pager.address);
    let ops = format!("ops={}", tell.display());
    let more = ["--nodes", "1", "--alert-webhook", &webhook, "--alert-program", &ops];
    let dev = Dev::start(&folder.path().join("data"), &more);
    let file = folder.path().join("talk.yml");
    fs::write(&file, FILE).expect("a file");
    let file = file.display().to_string();
    dev.run(&["apply", "-f", &file]).good();
    let answer = call(&dev.ingress).expect("an answer");
    assert!(answer.lines().next().is_some_and(|line| line.contains(" 424 ")), "the model is wrong: {answer}");

    let calls = Calls::start(&dev.ingress);
    let (_, message) = until("the webhook is told", || pager.heard("firing").pop());
    let alert = &message["alerts"][0];
    assert_eq!((&alert["labels"]["alertname"], &alert["labels"]["endpoint"]), (&"fails".into(), &"talk".into()));
    assert!(alert["annotations"]["summary"].as_str().is_some_and(|text| text.contains("over 1 %")), "{alert}");
    let listed = until("everybody was told", || {
        let listed = dev.run(&["alerts", "-o", "json"]).good().json();
        (listed["alerts"][0]["told"] == true).then_some(listed)
    });
    assert_eq!((&listed["alerts"][0]["state"], &listed["alerts"][0]["rule"]), (&"firing".into(), &"fails".into()));
    let heard = fs::read_to_string(&told).expect("the program ran");
    assert!(heard.starts_with("firing\n") && heard.contains("\"alertname\":\"fails\""), "{heard}");
    let metrics = page(&dev.api, "/metrics");
    for line in [
        "berth_coordinator_alert_firing{endpoint=\"talk\",rule=\"fails\",severity=\"critical\"} 1",
        "berth_coordinator_alert_messages_total{receiver=\"pager\",outcome=\"taken\"} ",
        "berth_coordinator_alert_messages_total{receiver=\"ops\",outcome=\"taken\"} ",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let kinds = dev.run(&["events", "--query", "[?kind=='alert.firing'].endpoint", "-o", "tsv"]).good().out;
    assert_eq!(kinds, "talk\n", "it began once");
    drop(calls);

    // A rule that is gone is over: nobody waits for its end for ever.
    let without: String = FILE
        .lines()
        .filter(|line| !line.contains("fails") && *line != "alerts:")
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(&file, without).expect("a file");
    dev.run(&["apply", "-f", &file]).good();
    until("its end is told", || pager.heard("resolved").pop());
    let keys: BTreeSet<String> = pager.heard("firing").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 1, "told once, or again under the same key: {keys:?}");
    assert_eq!(dev.stop(), 0);
}
