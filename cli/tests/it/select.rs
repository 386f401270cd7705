//! `-l FIELD=VALUE` of the verbs that take names: what `get -l` lists is what they are about.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::{berth::Dev, verbs::FILE};

/// How long a line may take to come on a machine that builds something else.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn several_are_waited_for_read_and_deleted_by_what_they_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, blue) = FILE.split_once("---\n").expect("an endpoint and a deployment");
    let tagged = |name: &str| format!("---\n{}tags: {{team: risk}}\n", blue.replacen("blue", name, 1));
    let file = folder.path().join("talk.yml");
    fs::write(&file, format!("{FILE}{}{}", tagged("green"), tagged("red"))).expect("a file");
    let dev = Dev::start(&folder.path().join("data"), &["--nodes", "1"]);
    dev.run(&["apply", "-f", &file.display().to_string()]).good();

    let serve = dev.run(&["wait", "deploy", "-l", "team=risk", "--for=condition=Available"]).good().out;
    let named: Vec<_> = serve.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(named, ["talk/green", "talk/red"], "{serve}");
    let none = dev.run(&["wait", "deploy", "-l", "team=fraud"]);
    assert_eq!(none.code, 1, "{none:#?}");
    assert!(none.err.contains("there is no deployment `-l team=fraud`"), "{none:#?}");
    assert_eq!(dev.run(&["wait", "deploy", "-l", "tema=risk", "--for=create", "--timeout=0"]).code, 3);
    dev.run(&["wait", "deploy", "-l", "tema=risk", "--for=delete"]).good();
    assert_eq!(dev.run(&["wait", "deploy", "blue", "-l", "team=risk"]).code, 2);

    let heads = |said: &str| -> BTreeSet<String> {
        said.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
    };
    let both = || BTreeSet::from(["talk/green".to_owned(), "talk/red".to_owned()]);
    let said = dev.run(&["logs", "-l", "team=risk"]).good().out;
    assert_eq!(heads(&said), both(), "{said}");
    let said = dev.run(&["logs", "-l", "node=node-1"]).good().out;
    assert_eq!(heads(&said).len(), 3, "a field that only replicas have: {said}");
    let said = dev.run(&["logs", "-l", "team=risk", "-o", "json"]).good().out;
    assert!(said.lines().all(|line| line.contains("\"deployment\":\"talk/")), "{said}");
    let alone = dev.run(&["logs", "talk/blue", "--prefix"]).good().out;
    let bare = dev.run(&["logs", "talk/blue"]).good().out;
    assert!(alone.contains(" node-1 first words") && !bare.contains("node-1"), "{alone}{bare}");
    followed(&dev, &both());

    let asked = dev.run(&["delete", "deploy", "-l", "team=risk"]);
    assert_eq!(asked.code, 2, "{asked:#?}");
    assert!(asked.err.contains("deletes talk/green") && asked.err.contains("deletes talk/red"), "{asked:#?}");
    let gone = dev.run(&["delete", "deploy", "-l", "endpoint=talk", "--yes"]);
    assert_eq!(gone.code, 1, "what carries traffic stays: {gone:#?}");
    assert!(gone.err.contains("E_CARRIES_TRAFFIC"), "{gone:#?}");
    assert_eq!(gone.out, "deployment talk/green is deleted\ndeployment talk/red is deleted\n");
    assert_eq!(dev.run(&["get", "deployments", "-o", "name"]).good().out, "talk/blue\n");
    dev.run(&["delete", "deploy", "-l", "team=risk", "--yes"]).good();
    let replaced = dev.run(&["delete", "pods", "-l", "deployment=blue", "--yes"]).good();
    assert!(replaced.out.contains("of talk/blue goes"), "{replaced:#?}");
    assert_eq!(dev.stop(), 0);
}

/// Follows what a selector finds until every deployment of it was heard.
fn followed(dev: &Dev, names: &BTreeSet<String>) {
    let mut follow = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["--api", &dev.api, "logs", "-l", "team=risk", "-f"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let (send, said) = mpsc::channel();
    let out = follow.stdout.take().expect("a pipe");
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    let mut heard = BTreeSet::new();
    while heard != *names {
        let line = said.recv_timeout(PATIENCE).expect("both are followed at once");
        heard.extend(line.split(' ').next().map(str::to_owned));
    }
    follow.kill().expect("it goes on until it is ended");
    follow.wait().expect("it ends");
}
