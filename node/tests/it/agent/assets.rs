//! Assets: fetched once, checked, mounted where code looks for them; and disks that are full.

use std::{io::Write as _, process::Command};

use berth_core::{
    agent::Desired,
    id::Digest,
    model::{AssetKind, AssetRef, Code, DeploymentSpec, Model, ModelType},
    state::Observed,
};
use berth_proto::node::v1::PrefetchState;

use super::{
    bench::{command, folder, get, options, start},
    coordinator::Coordinator,
};

/// Answers with what it finds in its folders.
const READER: &str = r#"
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        files = {}
        for root, _, names in os.walk(os.environ["AZUREML_MODEL_DIR"]):
            for name in names:
                path = os.path.join(root, name)
                files[os.path.relpath(path, os.environ["AZUREML_MODEL_DIR"])] = open(path).read()[:20]
        with open("written-by-the-code", "w") as file:
            file.write("its own copy may be written to")
        body = json.dumps({"files": files, "code": sorted(os.listdir("."))}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

fn model(asset: AssetRef) -> Option<Model> {
    Some(Model { name: "iris".into(), version: "2".into(), model_type: ModelType::CustomModel, asset })
}

fn with_code(leader: &Coordinator) -> DeploymentSpec {
    let (kind, bytes) = folder(&[("serve.py", READER), ("sub/helper.py", "")]);
    let mut spec = command(&["python3", "serve.py"]);
    spec.code = Some(Code { asset: leader.store("src", kind, bytes), scoring_script: String::new() });
    spec
}

#[tokio::test]
async fn code_and_models_lie_under_the_names_of_what_was_uploaded() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let (kind, bytes) = folder(&[("model.txt", "weights"), ("deep/more.txt", "more")]);
    let mut by_folder = with_code(&leader);
    by_folder.model = model(leader.store("model", kind, bytes));
    let mut by_file = with_code(&leader);
    by_file.model = model(leader.store("iris.pkl", AssetKind::File, b"pickle".to_vec()));
    by_file.model_mount_path = Some("/var/models".into());
    leader.order(1, &by_folder, Desired::Run).await;
    leader.order(2, &by_file, Desired::Run).await;
    // A second replica of the first deployment at the same time: its assets are fetched once.
    leader.order(3, &by_folder, Desired::Run).await;
    for (replica, files) in [
        (1, serde_json::json!({"model/model.txt": "weights", "model/deep/more.txt": "more"})),
        (2, serde_json::json!({"iris.pkl": "pickle"})),
        (3, serde_json::json!({"model/model.txt": "weights", "model/deep/more.txt": "more"})),
    ] {
        let warm = leader.report(replica, Observed::Warm).await;
        let answer = get(&warm.address);
        assert_eq!(answer["files"], files, "{replica}");
        assert_eq!(answer["code"], serde_json::json!(["serve.py", "sub", "written-by-the-code"]), "{replica}");
    }
    assert_eq!(leader.fetches(), 3, "code, folder and file, once each");
    node.stop().await;
}

#[tokio::test]
async fn bytes_that_do_not_fit_their_digest_are_never_used() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, good) = (Coordinator::start().await, Coordinator::start().await);
    bad.behave(super::coordinator::Manner::Redirect(good.address.to_string()));
    let node = start(options(dir.path(), &[&bad, &good])).await;
    let mut spec = with_code(&good);
    let code = spec.code.clone().unwrap().asset;
    let mut damaged = good.bytes(&code.digest);
    damaged[600] ^= 1;
    bad.store_damaged(code.digest, damaged);
    spec.model = model(good.store("m.txt", AssetKind::File, b"x".to_vec()));
    good.order(1, &spec, Desired::Run).await;
    good.report(1, Observed::Warm).await;
    node.stop().await;
}

#[tokio::test]
async fn an_archive_that_reaches_outside_fails_the_replica_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..11].copy_from_slice(b"../../evil1");
    header.set_size(1);
    header.set_cksum();
    builder.append(&header, b"x".as_slice()).unwrap();
    let bytes = builder.into_inner().unwrap();
    let mut spec = command(&["true"]);
    spec.code = Some(Code { asset: leader.store("src", AssetKind::Folder, bytes), scoring_script: String::new() });
    leader.order(1, &spec, Desired::Run).await;
    let failed = leader.report(1, Observed::Failed).await;
    assert!(failed.permanent && failed.reason.contains("`../../evil1` is a path with `..`"), "{}", failed.reason);
    node.stop().await;
}

/// A small file system of its own, unmounted when dropped.
struct Small<'a>(&'a std::path::Path);

impl Drop for Small<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["-l"]).arg(self.0).status());
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_replica_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("node");
    std::fs::create_dir(&disk).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"];
    let mounted = Command::new("mount").args(mount).arg(&disk).output().is_ok_and(|output| output.status.success());
    if !mounted {
        assert!(!nix::unistd::geteuid().is_root(), "root can mount a small file system");
        // The harness keeps what `eprint!` writes to itself when a test passes; the handle is not kept.
        let _ = writeln!(std::io::stderr(), "SKIPPED a full disk: it needs the right to mount a small file system");
        return;
    }
    let _unmounts = Small(&disk);
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let mut large = with_code(&leader);
    large.model = model(leader.store("large.bin", AssetKind::File, vec![7; 16 << 20]));
    leader.order(1, &large, Desired::Run).await;
    let failed = leader.report(1, Observed::Failed).await;
    assert!(failed.reason.starts_with("E_DISK_FULL"), "{}", failed.reason);
    assert!(!failed.permanent, "another node's disk may have room");
    leader.order(1, &large, Desired::Stop).await;
    leader.report(1, Observed::Gone).await;
    let mut small = with_code(&leader);
    small.model = model(leader.store("small.bin", AssetKind::File, vec![7; 1_000]));
    leader.order(2, &small, Desired::Run).await;
    leader.report(2, Observed::Warm).await;
    node.stop().await;
}

#[tokio::test]
async fn what_a_slot_needs_is_there_before_its_replica_and_is_fetched_once() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Coordinator::start().await;
    let node = start(options(dir.path(), &[&leader])).await;
    let mut spec = with_code(&leader);
    spec.model = model(leader.store("iris.pkl", AssetKind::File, b"pickle".to_vec()));
    let mut missing = spec.clone();
    let nowhere = AssetRef { digest: Digest::of(b"nobody has it"), ..missing.model.as_ref().unwrap().asset.clone() };
    missing.model = model(nowhere);
    leader.prefetch("fraud/blue", Some(&spec)).await;
    leader.prefetched(&[("fraud/blue", PrefetchState::Cached)]).await;
    assert_eq!(leader.fetches(), 2, "its code and its model");
    leader.prefetch("fraud/lost", Some(&missing)).await;
    leader.prefetched(&[("fraud/blue", PrefetchState::Cached), ("fraud/lost", PrefetchState::Waiting)]).await;
    leader.prefetch("fraud/lost", None).await;
    leader.prefetched(&[("fraud/blue", PrefetchState::Cached)]).await;
    let before = leader.fetches();
    // The agent starts again: it looks, and finds everything.
    node.crash().await;
    let node = start(options(dir.path(), &[&leader])).await;
    leader.hello(2).await;
    leader.prefetched(&[("fraud/blue", PrefetchState::Cached)]).await;
    leader.order(1, &spec, Desired::Run).await;
    let warm = leader.report(1, Observed::Warm).await;
    assert_eq!(get(&warm.address)["files"], serde_json::json!({"iris.pkl": "pickle"}));
    assert_eq!(leader.fetches(), before, "the replica fetched nothing");
    let log = std::fs::read_to_string(dir.path().join("node/logs/0000000000000001/prepare.log")).unwrap();
    assert!(log.contains("iris.pkl is in the cache") && !log.contains("fetching"), "{log}");
    node.stop().await;
}
