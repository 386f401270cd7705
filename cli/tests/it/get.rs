//! `berth get TYPE/NAME`, as kubectl has it, on a cluster with two endpoints whose deployments have the same name.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::{berth::Dev, verbs::FILE};

/// How long a change may take to be seen on a machine that builds something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// The field that a list is narrowed by may be one that only the last item had: that it went is news, and no mistake.
#[test]
fn a_watch_goes_on_when_the_last_that_had_the_field_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    dev.run(&["endpoint", "create", "-n", "chat"]).good();
    let create = ["endpoint", "create", "-n", "talk", "--auth-mode", "none", "--set", "tags.team=risk"];
    dev.run(&create).good();
    // What is not done is said, with a file or without.
    let token = dev.run(&["endpoint", "create", "-n", "token", "--auth-mode", "aad_token"]).good();
    assert!(token.err.contains("tokens are not issued yet"), "{token:#?}");
    dev.run(&["endpoint", "delete", "token", "--yes"]).good();
    let talk = dev.run(&["endpoint", "show", "talk", "-o", "json"]).good().json();
    assert_eq!(talk["spec"]["auth_mode"], "none", "as Azure says it");
    let mut watch = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["--api", &dev.api, "get", "endpoints", "-l", "spec.tags.team=risk", "-w"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let (send, said) = mpsc::channel();
    let (out, err) = (watch.stdout.take().expect("a pipe"), watch.stderr.take().expect("a pipe"));
    let more = send.clone();
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    std::thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).try_for_each(|line| more.send(line)));
    let until = |part: &str| {
        let mut all = String::new();
        while !all.contains(part) {
            let line = said.recv_timeout(PATIENCE);
            all.push_str(&line.unwrap_or_else(|error| panic!("`{part}` is not said: {error}: {all}")));
            assert!(!all.contains("E_INVALID"), "{all}");
        }
        all
    };
    assert!(!until("talk").contains("chat"));
    dev.run(&["endpoint", "delete", "talk", "--yes"]).good();
    until("talk is gone");
    dev.run(&create).good();
    until("talk");
    watch.kill().expect("a signal");
    watch.wait().expect("it ends");
    let unknown = dev.run(&["get", "endpoints", "-l", "spec.tags.tema=risk", "-w"]);
    assert!(
        unknown.code != 0 && unknown.err.contains("has a field"),
        "at the first look it is a mistake: {unknown:#?}"
    );
    assert_eq!(dev.stop(), 0);
}

#[test]
fn one_thing_is_shown_and_one_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    for endpoint in ["talk", "chat"] {
        let path = folder.path().join(format!("{endpoint}.yml"));
        std::fs::write(&path, FILE.replace("talk", endpoint)).expect("a file");
        dev.run(&["apply", "-f", &path.display().to_string()]).good();
    }
    dev.run(&["scale", "talk/blue", "2"]).good();
    let replica = dev.run(&["get", "replicas", "chat", "-o", "name"]).good().out.trim().to_owned();
    for (thing, names) in [
        ("endpoint/talk", vec!["talk"]),
        ("ep/talk", vec!["talk"]),
        ("deployment/talk/blue", vec!["talk/blue"]),
        ("deploy/talk", vec!["talk/blue"]),
        ("rollout/chat/blue", vec!["chat/blue"]),
        ("node/node-1", vec!["node-1"]),
        (&format!("replica/{replica}"), vec![replica.as_str()]),
        (&format!("rep/{}", &replica[..8]), vec![replica.as_str()]),
    ] {
        let shown = dev.run(&["get", thing, "-o", "name"]).good();
        assert_eq!(shown.out.lines().collect::<Vec<_>>(), names, "{thing}");
        let listed = dev.run(&["get", thing, "-o", "json"]).good().json();
        assert_eq!(listed.as_array().map(Vec::len), Some(names.len()), "{thing}: {listed:#}");
    }
    assert_eq!(dev.run(&["get", "rep/talk/blue", "-o", "name"]).good().out.lines().count(), 2);
    for (thing, exit, code, part) in [
        ("ep/red", 1, "E_ENDPOINT_NOT_FOUND", "red"),
        ("deploy/red", 1, "E_DEPLOYMENT_NOT_FOUND", "`berth get deployments` lists them"),
        ("node/nine", 1, "E_NODE_NOT_FOUND", "`berth get nodes` lists them"),
        ("rep/ffffffff", 1, "E_", "ffffffff"),
        ("deploy/blue", 2, "E_INVALID", "chat/blue, talk/blue"),
        ("slots/talk", 2, "E_INVALID", "are shown as lists"),
    ] {
        let refused = dev.run(&["get", thing]);
        assert_eq!(refused.code, exit, "{thing}: {refused:#?}");
        assert!(refused.err.contains(code) && refused.err.contains(part), "{thing}: {refused:#?}");
        assert_eq!(refused.out, "", "{thing}");
    }
    hands_of_kubectl(&dev, folder.path(), &replica);
    let two = dev.run(&["get", "deploy/talk", "chat"]);
    assert!(two.code == 2 && two.err.contains("are two things"), "{two:#?}");
    // What is not there is passed over; what is there goes all the same.
    let all = folder.path().join("all.yml").display().to_string();
    std::fs::write(&all, "name: gone\nauth_mode: key\n---\nname: talk\nauth_mode: key\n").expect("a file");
    let deleted = dev.run(&["delete", "-f", &all, "--ignore-not-found", "--yes"]).good();
    assert!(deleted.err.contains("`gone` does not exist"), "{deleted:#?}");
    assert_eq!(dev.run(&["get", "endpoints", "-o", "name"]).good().out, "chat\n");
    assert_eq!(dev.stop(), 0);
}

/// Lines that are typed without thinking, and what each prints or says.
fn hands_of_kubectl(dev: &Dev, folder: &std::path::Path, replica: &str) {
    let file = folder.join("talk.yml").display().to_string();
    let (short, pod) = (&replica[..8], format!("pod/{replica}"));
    for (line, out, err) in [
        ("get svc,deploy -o name", "chat\ntalk\nchat/blue\ntalk/blue\n", ""),
        ("get po,svc chat -o name", &format!("{replica}\nchat\n"), ""),
        (&format!("get pod {short} -o name"), &format!("{replica}\n"), ""),
        ("get pods -l endpoint=chat -o name", &format!("{replica}\n"), ""),
        ("get pods --field-selector spec.nodeName=none -o name", "", ""),
        ("get deploy -l endpoint!=chat --no-headers -o name", "talk/blue\n", ""),
        ("get deploy --sort-by=desired -o name", "chat/blue\ntalk/blue\n", ""),
        ("get deploy --sort-by={.metadata.creationTimestamp} -o name", "talk/blue\nchat/blue\n", ""),
        ("get pods --watch=false -l state=failed", "", "none of them"),
        ("get pods -l app=chat", "", "fields: "),
        ("events --for rs/chat/blue", "deployment.created", ""),
        ("get pods,svc -o json", "", "ask for each"),
        (&format!("apply -f {file} --dry-run=server"), "talk/blue", "nothing was changed"),
        (&format!("create -f {file} --dry-run=client -o name"), "talk/blue\n", ""),
        ("scale deploy chat/blue --replicas=1 --no-wait -q", "", ""),
        ("scale chat 1 --no-wait -q", "", ""),
        ("rollout status deploy chat", "chat/blue serves generation 1 with 1 of 1\n", ""),
        ("rollout status deploy/chat --watch=false", "chat/blue serves", ""),
        (&format!("events --for {pod}"), "replica.placed", ""),
        ("events chat --since 1h", "deployment.created", ""),
        ("explain pod/chat/blue", "chat/blue", ""),
        ("top pods chat -o name", "chat/blue\n", ""),
        ("top node node-1 -o name", "node-1\n", ""),
        ("top node nine", "", "E_NODE_NOT_FOUND"),
        ("cordon node/node-1", "node-1 takes no new replicas", ""),
        ("uncordon node/node-1", "node-1 takes replicas again", ""),
        ("delete svc none --ignore-not-found --yes", "", "`none` does not exist"),
        ("describe pods", "", "`berth get pods` lists them"),
        ("explain deployment.spec", "", "berth explain ENDPOINT/DEPLOYMENT"),
        ("explain pods", "", "is no deployment"),
        ("version --client", "berth    ", ""),
        ("logs chat/blue -c storage-initializer --prefix", "", ""),
    ] {
        let ran = dev.run(&line.split(' ').collect::<Vec<_>>());
        let whole = line.contains("-o name");
        assert!(if whole { ran.out == out } else { ran.out.contains(out) }, "{line}: {ran:#?}");
        assert!(ran.err.contains(err), "{line}: {ran:#?}");
        let refused = ran.err.starts_with("error") || ran.err.starts_with("{\"error\"");
        assert_eq!(ran.code != 0, refused, "{line}: {ran:#?}");
        assert!(!refused || !err.is_empty(), "{line}: {ran:#?}");
    }
    assert_eq!(
        dev.run(&["get", "deploy", "talk", "-o", "json"]).good().json()[0]["desired"],
        2,
        "a trial changes nothing"
    );
}
