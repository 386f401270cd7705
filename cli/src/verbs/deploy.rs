//! `berth deploy`: serves what is at hand without a file. It writes the file, says so, and applies it, so that the next
//! change is an edit and nothing was hidden.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use berth_client::store::AuthMode;
use berth_core::{
    error::{Code, Error, ErrorKind},
    model::{DeploymentName, EndpointName},
};

use super::{Context, apply, traffic};
use crate::{
    args::{AllOrNone, ApplyArgs, DeployArgs, KubectlScope, TrialArgs},
    output::{Fault, Misused},
    view,
};

/// Bytes of a body that a line still shows.
const EXAMPLE_BYTES_MAX: usize = 400;

/// The deployment that the endpoint's own file describes.
const FIRST: &str = "blue";

pub(super) async fn run(context: &Context, args: DeployArgs) -> Result<(), Fault> {
    let endpoint = EndpointName::new(&args.endpoint).map_err(|error| invalid(&error)).or_misused()?;
    let name = DeploymentName::new(&args.name).map_err(|error| invalid(&error)).or_misused()?;
    let is_first = name.as_str() == FIRST;
    let path = PathBuf::from(if is_first { format!("{endpoint}.yml") } else { format!("{endpoint}-{name}.yml") });
    let text = render(&endpoint, &name, is_first, &args).or_misused()?;
    let is_new = write(&path, &text, args.overwrite).or_misused()?;
    if is_new {
        context.out.done(format!("wrote {}", path.display()));
    }
    if args.dry_run {
        return Ok(());
    }
    let split: BTreeMap<String, u32> = match context.client.get_endpoint(endpoint.as_str()).await {
        Ok(found) => found.traffic.into_iter().filter(|(_, percent)| *percent > 0).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound && is_first => BTreeMap::new(),
        Err(error) => return Err(error.into()),
    };
    let applied = ApplyArgs {
        strict_azure: false,
        file: vec![path],
        scope: KubectlScope::default(),
        set: Vec::new(),
        check_index: None,
        // The flags said it all.
        yes: true,
        trial: TrialArgs::default(),
        wait: args.wait,
    };
    apply::without_traffic(context, applied).await?;
    let takes_all = match args.traffic {
        Some(share) => share == AllOrNone::All,
        None => split.is_empty(),
    };
    if takes_all {
        context.client.set_traffic(endpoint.as_str(), Some([(name.to_string(), 100)].into()), None).await?;
        traffic::settle(context, endpoint.as_str()).await;
        context.out.done(format!("{name} gets all traffic of {endpoint}"));
        let body = example(&endpoint, &args).await;
        context.out.done(format!("call it: berth invoke {endpoint} {}", body.flag));
        if !body.aside.is_empty() {
            context.out.aside(&body.aside);
        }
        let served = context.client.get_endpoint(endpoint.as_str()).await?;
        if let Some(uri) = served.scoring_uris.first() {
            let key = match served.spec.as_ref().map(|spec| spec.auth_mode()) {
                Some(AuthMode::None) => String::new(),
                _ => format!(
                    "-H \"Authorization: Bearer $(berth endpoint get-credentials {endpoint} --query primary_key -o tsv)\" "
                ),
            };
            let data = body.flag.replacen("-f ", "-d @", 1);
            context
                .out
                .aside(format!("or from any program: curl {key}-H 'content-type: application/json' {data} {uri}"));
        }
    } else {
        let way = if split.contains_key(name.as_str()) {
            String::new()
        } else {
            let way = view::advice::first_share(endpoint.as_str(), &split, name.as_str());
            format!("; give {name} some of it: {way}")
        };
        context.out.aside(format!("the split of {endpoint} stays as it is{way}"));
    }
    Ok(())
}

/// A body to call with, as `berth invoke` takes it.
struct Example {
    flag: String,
    /// What is to be known about it.
    aside: String,
}

/// Finds a body that the model takes. One too long for a line lies in a file beside us, which is left alone when it is there.
async fn example(endpoint: &EndpointName, args: &DeployArgs) -> Example {
    let any = |aside: &str| Example { flag: "-d '{}'".to_owned(), aside: aside.to_owned() };
    let Some(model) = args.onnx.clone() else {
        return any(match args.script {
            Some(_) => "the body is what the script's run() is given",
            None => "the body, and the path /score, are what the program is given",
        });
    };
    let read = tokio::task::spawn_blocking(move || berth_node::onnx::sample(&model)).await;
    let Ok(Ok(Some(body))) = read else { return any("the body is what the model's inputs are: {\"data\": …}") };
    if body.len() <= EXAMPLE_BYTES_MAX {
        return Example { flag: format!("-d '{body}'"), aside: "zeros, in the model's own shapes".to_owned() };
    }
    let path = format!("{endpoint}.json");
    let written = fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let aside = match written.and_then(|mut file| file.write_all(body.as_bytes())) {
        Ok(()) => format!("{path} holds zeros, in the model's own shapes"),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => String::new(),
        Err(_) => return any("the body is what the model's inputs are: {\"data\": …}"),
    };
    Example { flag: format!("-f {path}"), aside }
}

fn invalid(error: &impl ToString) -> Error {
    Error::new(Code::Invalid, error.to_string())
}

/// Writes the file unless it says that already. Returns whether it was written.
fn write(path: &Path, text: &str, overwrite: bool) -> Result<bool, Error> {
    match fs::read_to_string(path) {
        Ok(there) if there == text => return Ok(false),
        Ok(_) if !overwrite => {
            return Err(Error::new(
                Code::AlreadyExists,
                format!("{} is there and says something else", path.display()),
            )
            .try_(format!("apply it with `berth apply -f {}`, or replace it with --overwrite", path.display())));
        }
        _ => {}
    }
    fs::write(path, text).map_err(|error| {
        Error::new(Code::PathMissing, format!("{} cannot be written", path.display())).why(error.to_string())
    })?;
    Ok(true)
}

/// Writes what was asked for as the documents that `berth apply` takes.
fn render(endpoint: &EndpointName, name: &DeploymentName, is_first: bool, args: &DeployArgs) -> Result<String, Error> {
    let mut text = String::new();
    if is_first {
        text.push_str(&format!("name: {endpoint}\nauth_mode: key\n"));
        if args.traffic != Some(AllOrNone::None) {
            text.push_str(&format!("traffic:\n  {name}: 100\n"));
        }
        text.push_str("---\n");
    }
    text.push_str(&format!("name: {name}\nendpoint_name: {endpoint}\n"));
    text.push_str(&format!("instance_count: {}\n", args.instances));
    if let Some(model) = args.onnx.as_ref().or(args.model.as_ref()) {
        text.push_str(&format!("model:\n  path: {}\n", quoted(&at_hand(model)?)));
    }
    if let Some(script) = &args.script {
        let file = at_hand(script)?;
        let (folder, file) = file.rsplit_once('/').unwrap_or((".", &file));
        text.push_str(&format!("code_configuration:\n  code: {}\n", quoted(folder)));
        text.push_str(&format!("  scoring_script: {}\n", quoted(file)));
        text.push_str("environment:\n");
        match &args.conda {
            Some(conda) => text.push_str(&format!("  conda_file: {}\n", quoted(&at_hand(conda)?))),
            None => {
                text.push_str("  pip:\n    # Runs the script, as Azure does.\n    - azureml-inference-server-http\n");
                args.pip.iter().for_each(|pip| text.push_str(&format!("    - {}\n", quoted(pip))));
            }
        }
    }
    if let Some(command) = &args.cmd {
        if let Some(code) = &args.code {
            text.push_str(&format!("code_configuration:\n  code: {}\n", quoted(&at_hand(code)?)));
        }
        text.push_str(&format!("# It listens on $PORT.\ncommand: {}\n", quoted(command)));
    }
    let size = if args.script.is_some() { "cpu: 1, memory: 1GiB" } else { "cpu: 500m, memory: 512MiB" };
    text.push_str(&format!("resources: {{{size}}}\n"));
    Ok(text)
}

/// Returns a path as the file beside us has it, if there is something.
fn at_hand(path: &Path) -> Result<String, Error> {
    if !path.exists() {
        let error = Error::new(Code::PathMissing, format!("`{}` does not exist", path.display()));
        let error = match std::env::current_dir() {
            Ok(here) if path.is_relative() => error.why(format!("a relative path begins in {}", here.display())),
            _ => error.why("neither a file nor a folder is there"),
        };
        return Err(error.try_("name what is to be served: `ls` shows what is here"));
    }
    let shown = path
        .to_str()
        .ok_or_else(|| Error::new(Code::Invalid, format!("`{}` cannot be written into a YAML file", path.display())))?;
    let is_relative = !path.is_absolute() && !shown.starts_with('.');
    Ok(if is_relative { format!("./{shown}") } else { shown.to_owned() })
}

/// Writes a text as YAML reads it back, whatever is in it: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.' || c == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./=<>".contains(&byte));
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        args::{Cli, Verb},
        yaml::{self, Document},
    };

    fn args(words: &[&str]) -> DeployArgs {
        match Cli::try_parse_from([&["berth", "deploy"], words].concat()).expect("it parses").verb {
            Verb::Deploy(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn text(args: &DeployArgs) -> String {
        let name = DeploymentName::new(&args.name).expect("a name");
        render(&EndpointName::new(&args.endpoint).expect("a name"), &name, args.name == FIRST, args).expect("a file")
    }

    #[test]
    fn every_file_it_writes_is_one_that_apply_takes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "x").expect("a file");
            path.display().to_string()
        };
        let (onnx, script) = (file("m.onnx"), file("score.py"));
        fs::write(folder.path().join("conda.yml"), "dependencies: [pip, {pip: [numpy]}]").expect("a file");
        let conda = folder.path().join("conda.yml").display().to_string();
        let dir = folder.path().display().to_string();
        for (words, documents) in [
            (vec!["hello", "--onnx", &onnx], 2),
            (vec!["hello", "--onnx", &onnx, "--name", "green", "--instances", "3"], 1),
            (vec!["hello", "--script", &script], 2),
            (vec!["hello", "--script", &script, "--pip", "numpy>=2,<3", "--pip", "x[y]==1", "--model", &onnx], 2),
            (vec!["hello", "--script", &script, "--conda", &conda], 2),
            (vec!["hello", "--cmd", "sh -c 'exec \"$PROGRAM\": # {x}'", "--traffic", "0"], 2),
            (vec!["hello", "--cmd", "python3 app.py", "--code", &dir], 2),
        ] {
            let text = text(&args(&words));
            let loaded = yaml::parse(&text, "hello.yml", folder.path(), None, &[])
                .unwrap_or_else(|error| panic!("{words:?}: {error:?}\n{text}"));
            assert_eq!((loaded.documents.len(), loaded.warnings), (documents, Vec::new()), "{words:?}\n{text}");
            let Some(Document::Deployment(deployment)) = loaded.documents.last() else { panic!("{words:?}") };
            assert_eq!(deployment.key.endpoint.as_str(), "hello");
        }
    }

    #[test]
    fn what_it_serves_is_one_thing() {
        for words in [&["hello"][..], &["hello", "--onnx", "a", "--cmd", "b"], &["hello", "--cmd", "b", "--pip", "c"]] {
            assert!(Cli::try_parse_from([&["berth", "deploy"], words].concat()).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_file_that_says_something_else_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hello.yml");
        assert_eq!(write(&path, "a: 1\n", false), Ok(true));
        assert_eq!(write(&path, "a: 1\n", false), Ok(false));
        let refused = write(&path, "a: 2\n", false).expect_err("it is kept");
        assert_eq!(refused.code, Code::AlreadyExists);
        assert_eq!(write(&path, "a: 2\n", true), Ok(true));
    }
}
