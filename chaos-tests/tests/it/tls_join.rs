//! The line of `berth node join-command` where coordinators speak TLS: it is enough by itself, and whoever answers in their
//! place is shown nothing.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use berth_chaos_tests::cluster::Cluster;
use berth_cli::fleet::FleetTls;
use berth_client::TrustFiles;
use berth_proto::tls::{Server, ServerFiles};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    BERTH,
    tls::{Authority, berth},
};

/// A shell and what it started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Prepares a line for a machine that has nothing but the program.
fn machine(home: &Path, line: &str) -> Command {
    let programs = home.join("bin");
    std::fs::create_dir(&programs).expect("a folder");
    std::os::unix::fs::symlink(BERTH, programs.join("berth")).expect("a link");
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env("HOME", home).env("BERTH_NODE_NAME", "second");
    shell.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default()));
    shell.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    shell
}

/// Answers in place of a coordinator: hands out `ca`, keeps what it hears, and returns where it is.
async fn stranger(theirs: &Authority, ca: String) -> (String, Arc<Mutex<Vec<u8>>>) {
    let files = ServerFiles { own: theirs.signed("stranger", "127.0.0.1"), client_ca: None };
    let (server, watch) = Server::open(&files, "in a test").expect("files that fit");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("https://{}", listener.local_addr().expect("an address"));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    tokio::spawn(async move {
        let _watch = watch;
        loop {
            let (stream, _) = listener.accept().await.expect("accepted");
            // Who does not believe it ends the connection here.
            let Ok((mut stream, _)) = server.accept(stream).await else { continue };
            let mut bytes = vec![0; 64 << 10];
            let mut said = Vec::new();
            while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                kept.lock().expect("no panic").extend_from_slice(&bytes[..read]);
                said.extend_from_slice(&bytes[..read]);
                if said.ends_with(b"\r\n\r\n") {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ca.len());
                    let _ = stream.write_all(format!("{head}{ca}").as_bytes()).await;
                    let _ = stream.shutdown().await;
                    break;
                }
            }
        }
    });
    (address, heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_is_enough_by_itself_and_a_stranger_is_shown_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let ca = ours.dir.path().join("ca.pem");
    // A file that holds a key, too: it stays where it is.
    let certificate = std::fs::read_to_string(&ca).expect("the authority");
    let server = ours.signed("coordinator", "127.0.0.1");
    let key = std::fs::read_to_string(&server.key).expect("a key");
    std::fs::write(&ca, format!("{key}{certificate}")).expect("written");
    let tls = FleetTls {
        coordinators: ServerFiles { own: server, client_ca: None },
        trust: TrustFiles { ca: ca.clone(), own: None },
        from_start: true,
    };
    let cluster = Cluster::start_over_tls(BERTH, 1, 1, tls).await;
    let api = cluster.fleet.api_addresses()[0].clone();
    let flags = ["--ca".to_owned(), ca.display().to_string()];
    let token = cluster.fleet.token_file().display().to_string();
    let line = berth(&api, &flags, &["node", "join-command", "--token-file", &token]).expect("a line");
    let line = line.trim();
    assert!(line.contains(" --ca-hash sha256:") && !line.contains("--ca "), "{line}");
    let (_, shown) = line.split_once("printf '%s\\n' '").expect("a token");
    let shown = shown.split('\'').next().expect("a token");

    // Whoever answers with another authority hears a question, and no more.
    let (address, heard) =
        stranger(&theirs, std::fs::read_to_string(theirs.dir.path().join("ca.pem")).expect("one")).await;
    let home = TempDir::new().expect("a folder");
    let log = home.path().join("log");
    let mut shell = machine(home.path(), &line.replace(&api, &address));
    let mut group = Group(shell.stderr(std::fs::File::create(&log).expect("a file")).spawn().expect("a shell"));
    let mut status = None;
    let has_ended = async || {
        status = group.0.try_wait().expect("a child");
        status.is_some()
    };
    cluster.until("it ends", has_ended).await;
    let said = std::fs::read_to_string(&log).expect("a log");
    assert!(status.is_some_and(|status| !status.success()) && said.contains("E_TLS"), "{said}");
    assert!(said.contains("another authority than the line says") && said.contains("nothing was shown"), "{said}");
    let bytes = String::from_utf8_lossy(&heard.lock().expect("no panic")).into_owned();
    assert!(bytes.starts_with("GET /ca.pem HTTP/1.1\r\n") && bytes.matches("\r\n\r\n").count() == 1, "{bytes}");
    assert!(!bytes.contains(shown), "{bytes}");
    assert!(!home.path().join(".berth/node/ca.pem").exists(), "nothing is believed of it");

    // One that hands out ours cannot show a certificate of it.
    let (address, heard) = stranger(&theirs, certificate.clone()).await;
    let home = TempDir::new().expect("a folder");
    let mut shell = machine(home.path(), &line.replace(&api, &address));
    let log = home.path().join("log");
    let group = Group(shell.stderr(std::fs::File::create(&log).expect("a file")).spawn().expect("a shell"));
    cluster
        .until("it does not believe the stranger", async || {
            std::fs::read_to_string(&log).expect("a log").contains("nobody in")
        })
        .await;
    drop(group);
    let bytes = String::from_utf8_lossy(&heard.lock().expect("no panic")).into_owned();
    assert!(bytes.contains("GET /ca.pem") && !bytes.contains(shown), "{bytes}");

    // The line itself, on a machine that has nothing of the cluster.
    let home = TempDir::new().expect("a folder");
    let group = Group(machine(home.path(), line).spawn().expect("a shell"));
    let is_there = async || {
        let nodes = cluster.client.list_nodes().await.unwrap_or_default();
        nodes.iter().any(|node| node.node == "second" && node.state == "ready")
    };
    cluster.until("the second node is there", is_there).await;
    let kept = std::fs::read_to_string(home.path().join(".berth/node/ca.pem")).expect("the authority");
    assert!(kept.starts_with("# asked for by sha256:") && kept.ends_with(&certificate), "{kept}");
    assert!(!kept.contains("PRIVATE KEY"), "a key is not handed out");
    drop(group);
}
