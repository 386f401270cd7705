//! Official-looking samples, every way to get one wrong, and arbitrary text.

use std::{fs, path::Path};

use berth_core::{
    error::{Code, Error},
    model::{
        AssetKind, AuthMode, DeploymentSpec, GpuAsk, HedgeAfter, Hedging, LabelRule, MirrorRules, ModelType, Reconcile,
        Runtime, Spread, SpreadBy,
    },
    time::Millis,
};
use proptest::prelude::*;

use super::{
    DeploymentFile, Document, EndpointFile, Kind, Loaded, Setting, load, parse, patch_deployment, patch_endpoint,
};

#[test]
fn what_the_documentation_shows_can_be_applied() {
    let folder = folder();
    let mut seen = 0;
    for (page, text) in crate::documented::blocks("yaml") {
        // A part of an endpoint's file gets the name that it leaves out.
        let whole =
            if text.contains("name: ") && !text.starts_with("mirror") { text } else { format!("name: shown\n{text}") };
        let path = folder.path().join("shown.yml");
        fs::write(&path, &whole).expect("a file");
        let loaded = load(&path, None, &[]).unwrap_or_else(|error| panic!("{page}: {error:#?}\n{whole}"));
        assert_eq!(loaded.warnings, [], "{page}: {whole}");
        seen += 1;
    }
    assert!(seen >= 4, "{seen} blocks");
}

/// A folder with what the samples refer to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    write("model-1/model/sklearn_regression_model.pkl", "pickle");
    write("model-1/onlinescoring/score.py", "def init(): pass\ndef run(data): return data\n");
    write("model-1/environment/conda.yaml", CONDA);
    write("green/model.onnx", "onnx");
    write("server/app.py", "");
    folder
}

const CONDA: &str = "\
name: model-env
channels:
  - conda-forge
dependencies:
  - python=3.9
  - numpy=1.23.5
  - pip=23.0.1
  - scikit-learn=1.2.2
  - pip:
      - azureml-defaults==1.53.0
      - joblib==1.0.0
";

const ENDPOINT: &str = "\
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineEndpoint.schema.json
name: my-endpoint
auth_mode: key
";

const BLUE: &str = "\
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: blue
endpoint_name: my-endpoint
model:
  path: model-1/model/
code_configuration:
  code: model-1/onlinescoring/
  scoring_script: score.py
environment:
  conda_file: model-1/environment/conda.yaml
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:latest
instance_type: Standard_DS3_v2
instance_count: 1
";

fn read(text: &str) -> Result<Loaded, Error> {
    let folder = folder();
    parse(text, "file.yml", folder.path(), None, &[])
}

fn deployment(text: &str) -> DeploymentFile {
    let loaded = read(text).expect("a file that loads");
    match loaded.documents.into_iter().next() {
        Some(Document::Deployment(file)) => *file,
        other => panic!("expected a deployment, found {other:?}"),
    }
}

fn endpoint(text: &str) -> EndpointFile {
    let loaded = read(text).expect("a file that loads");
    match loaded.documents.into_iter().next() {
        Some(Document::Endpoint(file)) => *file,
        other => panic!("expected an endpoint, found {other:?}"),
    }
}

/// Returns code, and `field | what | try` of every problem.
fn refusal(text: &str) -> (Code, Vec<String>) {
    let error = read(text).expect_err("a file that is refused");
    let lines = error.problems.iter().map(|problem| format!("{} | {} | {}", problem.field, problem.what, problem.try_));
    (error.code, lines.collect())
}

fn warned_fields(text: &str) -> Vec<String> {
    let loaded = read(text).expect("a file that loads");
    let last = |field: &str| field.rsplit(' ').next().unwrap_or_default().to_owned();
    loaded.warnings.iter().map(|warning| last(&warning.field)).collect()
}

#[test]
fn azures_first_sample_loads_as_it_is() {
    let file = deployment(BLUE);
    assert_eq!(file.key.to_string(), "my-endpoint/blue");
    assert_eq!(file.spec.runtime, Runtime::Python);
    assert_eq!(file.spec.instance_count, 1);
    assert_eq!((file.spec.resources.cpu_milli, file.spec.resources.memory_mib), (4_000, 14_336));
    let model = file.spec.model.expect("a model");
    // The base name decides where the replica finds it: $AZUREML_MODEL_DIR/model/…
    assert_eq!((model.asset.name.as_str(), model.asset.kind), ("model", AssetKind::Folder));
    assert_eq!(file.spec.code.expect("code").scoring_script, "score.py");
    assert_eq!(file.spec.environment.python.as_deref(), Some("3.9"));
    let pip = ["numpy==1.23.5.*", "scikit-learn==1.2.2.*", "azureml-defaults==1.53.0", "joblib==1.0.0"];
    assert_eq!(file.spec.environment.pip, pip);
    assert!(file.model.expect("a model to upload").path.ends_with("model-1/model"));
    assert_eq!(endpoint(ENDPOINT).name.as_str(), "my-endpoint");
    assert_eq!(endpoint(ENDPOINT).spec.auth_mode, AuthMode::Key);
}

#[test]
fn an_image_and_conda_packages_are_warnings() {
    let fields = warned_fields(BLUE);
    assert_eq!(fields, ["environment.image", "dependencies[1]"]);
}

#[test]
fn every_field_of_azures_deployment_is_understood() {
    let text = format!(
        "{BLUE}\
description: the first
tags: {{team: risk, tier: 1}}
properties: {{a: b}}
model_mount_path: /models
environment_variables: {{WORKER_COUNT: 2, EMPTY: ~, SECRET: '${{{{azureml://connections/x}}}}'}}
app_insights_enabled: true
scale_settings: {{type: default}}
request_settings:
  request_timeout_ms: 3000
  max_concurrent_requests_per_instance: 4
  max_queue_wait_ms: 250
liveness_probe: {{initial_delay: 20, period: 5, timeout: 1, success_threshold: 1, failure_threshold: 3}}
readiness_probe: {{initial_delay: 1, period: 1, timeout: 1, success_threshold: 2, failure_threshold: 3}}
data_collector: {{collections: {{request: {{enabled: 'True'}}}}}}
egress_public_network_access: disabled
private_network_connection: false
type: managed
"
    );
    let spec = deployment(&text).spec;
    assert_eq!(spec.description, "the first");
    assert_eq!(spec.tags["tier"], "1");
    assert_eq!(spec.model_mount_path.as_deref(), Some("/models"));
    assert_eq!(
        (spec.environment_variables["WORKER_COUNT"].as_str(), spec.environment_variables["EMPTY"].as_str()),
        ("2", "")
    );
    assert_eq!(spec.request_settings.request_timeout_ms, 3_000);
    assert_eq!(spec.request_settings.max_concurrent_requests_per_instance, 4);
    assert_eq!(spec.liveness_probe.initial_delay_ms, 20_000);
    assert_eq!(spec.readiness_probe.success_threshold, 2);
    let warned = warned_fields(&text);
    for field in [
        "app_insights_enabled",
        "egress_public_network_access",
        "data_collector",
        "properties",
        "environment_variables.SECRET",
    ] {
        assert!(warned.iter().any(|have| have == field), "{field} in {warned:?}");
    }
    assert!(!warned.iter().any(|have| have.contains("private") || have.contains("scale_settings")));
}

#[test]
fn every_field_of_azures_endpoint_is_understood() {
    let text = "\
name: Fraud
description: scores
tags: {a: b}
properties: {enforce_access_to_default_secret_stores: enabled}
auth_mode: aad_token
identity: {type: system_assigned}
traffic: {blue: 90, green: 10}
mirror_traffic: {green: 10}
public_network_access: disabled
compute: azureml:k8s
scoring_uri: http://x
";
    let file = endpoint(text);
    assert_eq!(file.name.as_str(), "fraud");
    assert_eq!(file.traffic.expect("a split").total(), 100);
    assert_eq!(file.mirror.expect("a mirror").total(), 10);
    assert_eq!(file.spec.mirror_rules, MirrorRules::default());
    let mut warned = warned_fields(text);
    warned.sort();
    assert_eq!(warned, ["auth_mode", "compute", "identity", "properties", "public_network_access", "scoring_uri"]);
}

#[test]
fn a_kubernetes_deployment_asks_for_what_it_requests() {
    let text = BLUE.replace("managedOnline", "kubernetesOnline").replace("instance_type: Standard_DS3_v2", "type: kubernetes\nresources:\n  limits: {cpu: 4, memory: 8Gi}\n  requests: {cpu: '0.5', memory: 1Gi, nvidia.com/gpu: 1}");
    let spec = deployment(&text).spec;
    assert_eq!((spec.resources.cpu_milli, spec.resources.memory_mib, spec.resources.gpus), (500, 1_024, 1));
    assert_eq!(spec.instance_type, "");
}

#[test]
fn the_runtime_follows_from_what_is_there() {
    for (text, runtime, why) in [
        ("model: {path: green/model.onnx}", Some(Runtime::Onnx), "one .onnx file"),
        ("model: green/model.onnx", Some(Runtime::Onnx), "a bare path"),
        (
            "model: {path: green/model.onnx}\ncode_configuration: {code: model-1/onlinescoring, scoring_script: score.py}",
            Some(Runtime::Python),
            "a script decides",
        ),
        ("command: [python, app.py]", Some(Runtime::Command(vec!["python".into(), "app.py".into()])), "a list"),
        (
            "command: python 'my app.py'\ncode_configuration: {code: server}",
            Some(Runtime::Command(vec!["python".into(), "my app.py".into()])),
            "a text, with a folder to run in",
        ),
        ("model: {path: green}", None, "a folder that holds an .onnx file"),
        ("model: {path: model-1/model}", None, "a model and nothing to serve it"),
        ("model: {path: model-1/model, type: mlflow_model}", None, "MLflow without code"),
        ("model: {path: model-1/model, type: triton_model}", None, "Triton without a command"),
        ("environment: {image: 'tensorflow/serving'}", None, "an image alone"),
        ("code_configuration: {code: server}", None, "code without a script"),
    ] {
        let text = format!("name: blue\nendpoint_name: digits\n{text}\n");
        let folder = folder();
        let loaded = parse(&text, "file.yml", folder.path(), Some(Kind::Deployment), &[]);
        let found = loaded.ok().map(|mut loaded| match loaded.documents.remove(0) {
            Document::Deployment(file) => file.spec.runtime,
            Document::Endpoint(_) => panic!("{why}: a deployment"),
        });
        assert_eq!(found, runtime, "{why}");
    }
    let (_, lines) = refusal("name: blue\nendpoint_name: digits\nmodel: {path: green}\n");
    assert!(lines[0].contains("model.onnx"), "{lines:?}");
}

#[test]
fn mirror_settings_are_read_as_numbers_people_write() {
    let text = "name: digits\nmirror_settings:\n  rtol: 1e-3\n  atol: 0\n  ignore: [id, 'p[*].ms']\n  redact: true\n";
    let expected = MirrorRules {
        rtol_ppb: 1_000_000,
        atol_ppb: 0,
        ignore: vec!["id".into(), "p[*].ms".into()],
        redact: true,
        ..MirrorRules::default()
    };
    assert_eq!(endpoint(text).spec.mirror_rules, expected);
}

#[test]
fn berths_own_fields() {
    let text = "\
name: blue
endpoint_name: digits
command: [./serve, --fast]
resources: {cpu: 500m, memory: 2GB.., disk: 1GiB, gpu: 'H100:2'}
constraints: {zone: a, tier: [b, c], kind: {not: spot}, disk: {exists: yes}}
reserve: false
instance_count: 4
min_instances: 2
priority: 70
spread: {by: zone, max_per_domain: 1}
environment: {pip: [numpy, 'pandas>=2']}
model: {name: m, version: 1.10, path: model-1/model/sklearn_regression_model.pkl}
";
    let spec = deployment(text).spec;
    assert_eq!((spec.resources.cpu_milli, spec.resources.memory_mib, spec.resources.disk_mib), (500, 2_048, 1_024));
    assert_eq!(spec.gpu, GpuAsk::Whole { count: 2, model: Some("H100".into()), memory_mib_min: 0 });
    assert_eq!(spec.constraints["zone"], "a".into());
    assert_eq!(spec.constraints["tier"], LabelRule::one_of(["b".to_owned(), "c".to_owned()]));
    assert_eq!(spec.constraints["kind"], LabelRule::none_of(["spot".to_owned()]));
    assert_eq!(spec.constraints["disk"], LabelRule::exists(true));
    assert!(!spec.reserve);
    assert_eq!((spec.instance_count, spec.min_instances, spec.priority), (4, Some(2), 70));
    assert_eq!(spec.spread, Spread { by: SpreadBy::Zone, max_per_domain: Some(1) });
    assert_eq!(spec.environment.pip, ["numpy", "pandas>=2"]);
    let model = spec.model.expect("a model");
    assert_eq!((model.version.as_str(), model.model_type), ("1.10", ModelType::CustomModel));
    let file = endpoint("name: digits\nmax_body_mib: 8\nidempotent: true\nauth_mode: none\n");
    assert_eq!(
        (file.spec.max_body_bytes, file.spec.idempotent, file.spec.auth_mode),
        (8 << 20, Some(true), AuthMode::None)
    );
}

#[test]
fn hedging_is_a_flag_or_when_and_how_often() {
    let said = |text: &str| endpoint(&format!("name: digits\nidempotent: true\n{text}\n")).spec.hedging;
    let of = |permille, budget_percent| Hedging { after: HedgeAfter::Percentile { permille }, budget_percent };
    for (text, hedging) in [
        ("", None),
        ("hedging: false", None),
        ("hedging: true", Some(of(950, 5))),
        ("hedging: {percentile: 99.9}", Some(of(999, 5))),
        ("hedging: {percentile: 90, budget_percent: 10}", Some(of(900, 10))),
        ("hedging: {after_ms: 40}", Some(Hedging { after: HedgeAfter::Delay(Millis(40)), budget_percent: 5 })),
    ] {
        assert_eq!(said(text), hedging, "{text}");
    }
    for (text, told) in [
        ("hedging: often", "hedging"),
        ("hedging: true", "say `idempotent: true`"),
        ("idempotent: true\nhedging: {percentile: 9x}", "hedging.percentile"),
        ("idempotent: true\nhedging: {percentile: 100}", "100 is out of range"),
        ("idempotent: true\nhedging: {after_ms: 0}", "hedging.after_ms"),
        ("idempotent: true\nhedging: {after_ms: 5, percentile: 95}", "keep one of the two"),
        ("idempotent: true\nhedging: {budget_percent: 21}", "hedging.budget_percent"),
        ("idempotent: true\nhedging: {after: 5}", "hedging.after"),
    ] {
        let (_, lines) = refusal(&format!("name: digits\n{text}\n"));
        assert!(lines.iter().any(|line| line.contains(told)), "{text}: {lines:?}");
    }
}

#[test]
fn how_many_as_others_write_it() {
    let text = |replicas: &str| format!("name: blue\nendpoint_name: digits\ncommand: serve\n{replicas}\n");
    for (replicas, count) in [("replicas: 3", 3), ("replicas: 1..4", 1), ("replicas: 2..2", 2), ("replicas: 0", 0)] {
        assert_eq!(deployment(&text(replicas)).spec.instance_count, count, "{replicas}");
    }
    for wrong in [
        "replicas: 4..1",
        "replicas: 1..",
        "replicas: -1",
        "replicas: 2\ninstance_count: 2",
        "replicas: 1..99999999999",
    ] {
        let (_, lines) = refusal(&text(wrong));
        assert!(lines.iter().any(|line| line.contains("replicas")), "{wrong}: {lines:?}");
    }
}

#[test]
fn spread_in_one_word_and_what_is_wrong_with_it() {
    let text = |spread: &str| format!("name: blue\nendpoint_name: digits\ncommand: serve\n{spread}\n");
    let spec = deployment(&text("spread: rack")).spec;
    assert_eq!(spec.spread, Spread { by: SpreadBy::Rack, max_per_domain: None });
    for (wrong, told) in [
        ("spread: datacenter", "spread"),
        ("spread: {by: zone, max_per_domain: 0}", "max_per_domain"),
        ("spread: {by: none, max_per_domain: 1}", "max_per_domain"),
        ("spread: {max: 1}", "max"),
        ("priority: 101", "priority"),
        ("instance_count: 1\nmin_instances: 2", "min_instances"),
    ] {
        let (_, lines) = refusal(&text(wrong));
        assert!(lines.iter().any(|line| line.contains(told)), "{wrong}: {lines:?}");
    }
}

#[test]
fn gpu_requests() {
    let whole = |count, model: Option<&str>, memory_mib_min| {
        Some(GpuAsk::Whole { count, model: model.map(str::to_owned), memory_mib_min })
    };
    for (text, ask) in [
        ("2", whole(2, None, 0)),
        ("H100", whole(1, Some("H100"), 0)),
        ("H100:4", whole(4, Some("H100"), 0)),
        ("24GB..", whole(1, None, 24_576)),
        ("A10:24GB..:2", whole(2, Some("A10"), 24_576)),
        ("0", Some(GpuAsk::None)),
        ("2x1g.10gb", Some(GpuAsk::Mig { profile: "1g.10gb".into(), count: 2 })),
        ("-1", None),
        ("65", None),
        ("24GiB", None),
        ("H100:A10", None),
        ("1:2", None),
        ("", None),
        ("a b", None),
    ] {
        let text = format!("name: blue\nendpoint_name: digits\ncommand: x\nresources: {{gpu: '{text}'}}\n");
        let found = read(&text).ok().map(|mut loaded| match loaded.documents.remove(0) {
            Document::Deployment(file) => file.spec.gpu,
            Document::Endpoint(_) => panic!("a deployment"),
        });
        assert_eq!(found, ask, "{text}");
    }
}

#[test]
fn gpu_shares() {
    let share =
        |gib: u64, model: Option<&str>| Some((GpuAsk::Memory { mib: gib * 1_024, model: model.map(str::to_owned) }, 0));
    for (resources, ask) in [
        ("gpu_memory: 6GiB", share(6, None)),
        ("gpu_memory: 'H100:6GiB'", share(6, Some("H100"))),
        ("gpu: 0, gpu_memory: 6GiB", share(6, None)),
        ("gpu: 2, gpu_memory: 6GiB", None),
        ("gpu_memory: 0", None),
        ("gpu_memory: -6GiB", None),
        ("gpu_memory: 900TiB", None),
    ] {
        let text = format!("name: blue\nendpoint_name: digits\ncommand: x\nresources: {{{resources}}}\n");
        let found = read(&text).ok().map(|mut loaded| match loaded.documents.remove(0) {
            Document::Deployment(file) => (file.spec.gpu, file.spec.resources.gpus),
            Document::Endpoint(_) => panic!("a deployment"),
        });
        assert_eq!(found, ask, "{resources}");
    }
    let text = "name: blue\nendpoint_name: digits\ncommand: x\nresources: {gpu: 24GiB}\n";
    assert!(refusal(text).1[0].contains("`gpu_memory: 24GiB` for a share"), "{:?}", refusal(text));
}

/// What belongs below another field is told where; there, it is known.
#[test]
fn fields_beside_their_home_are_sent_there() {
    let problems = |text: &str| match read(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.into_iter().map(|it| (it.field, it.what, it.try_)).collect::<Vec<_>>(),
    };
    let head = "name: blue\nendpoint_name: digits\n";
    for (name, home) in super::fields::HOMES {
        let beside = problems(&format!("{head}{name}: soon\n"));
        let told = beside.iter().find(|(field, ..)| field.ends_with(&format!(" {name}")));
        let (_, what, try_) = told.unwrap_or_else(|| panic!("{name} passes beside {home}: {beside:?}"));
        assert!(
            what == "unknown field" && try_.contains(&format!("`{home}: {{{name}: …}}`")),
            "{name}: {what}, {try_}"
        );
        let below = problems(&format!("{head}{home}: {{{name}: soon}}\n"));
        assert!(below.iter().all(|(_, what, _)| what != "unknown field"), "{name}: {below:?}");
    }
}

#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let text = "\
name: my_deployment
endpoint_name: digits
model:
  path: modell
  nmae: x
instace_count: 2
instance_type: Standard_DS3_v3
request_settings:
  request_timeout_ms: soon
";
    let (code, lines) = refusal(text);
    assert_eq!(code, Code::Invalid);
    let starts =
        ["file.yml:1:7 name |", "file.yml:5:3 model.nmae | unknown field | `name`", "file.yml:4:9 model.path |"];
    for start in starts {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start} in {lines:#?}");
    }
    assert!(
        lines.iter().any(|line| line == "file.yml:6:1 instace_count | unknown field | `instance_count`"),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("Standard_DS3_v3") && line.ends_with("`Standard_DS3_v2`")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("file.yml:9:23 request_settings.request_timeout_ms |")),
        "{lines:#?}"
    );
    assert_eq!(lines.len(), 6, "{lines:#?}");
}

#[test]
fn each_mistake_has_its_code_and_its_way_out() {
    for (text, code, part) in [
        ("name: [", Code::Yaml, "file.yml:"),
        ("", Code::Yaml, "holds no document"),
        ("# nothing\n", Code::Yaml, "holds no document"),
        ("- a\n", Code::Yaml, "expected a mapping, found a list"),
        ("- a\n", Code::Yaml, "`berth edit` changes what is there"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n", Code::Invalid, "an object of Kubernetes"),
        ("just text\n", Code::Yaml, "expected a mapping, found text"),
        ("name: a-b\nname: c-d\n", Code::Yaml, "is given twice; first on line 1"),
        ("? [a]\n: b\n", Code::Yaml, "a key must be plain text"),
        ("name: digits\nauth_mod: key\n", Code::UnknownField, "`auth_mode`"),
        ("name: digits\nauth_mode: kee\n", Code::Invalid, "`key`"),
        ("name: digits\ntraffic: {blue: 90}\n", Code::Traffic, "the shares total 90"),
        ("name: digits\ntraffic: {blue: 101}\n", Code::Invalid, "use 0 to 100"),
        ("name: digits\ntraffic: {b: 100}\n", Code::Invalid, "3 to 32 characters"),
        ("auth_mode: key\n", Code::Invalid, "--name"),
        ("name: x\nauth_mode: key\n", Code::Invalid, "3 to 32 characters"),
        ("name: digits\ndescription: {a: b}\n", Code::Invalid, "expected text, found a mapping"),
        ("name: digits\nmax_body_mib: 0\n", Code::Invalid, "use 1 to 2048"),
        ("name: digits\nmirror_settings:\n  rtol: -1\n", Code::Invalid, "such as 1e-5"),
        ("name: digits\nmirror_settings:\n  rtol: 2\n", Code::Invalid, "such as 1e-5"),
        ("name: digits\nmirror_settings:\n  ignore: ['a..b']\n", Code::Invalid, "predictions[0].score"),
        ("name: digits\nmirror_settings:\n  rtoll: 1\n", Code::UnknownField, "rtol"),
        ("name: blue\nendpoint_name: digits\nmodel: azureml:my-model:1\n", Code::Invalid, "no registry"),
        ("name: blue\nendpoint_name: digits\nmodel: {path: nowhere}\n", Code::PathMissing, "nowhere` does not exist"),
        ("name: blue\nendpoint_name: digits\nmodel: {path: green/model.onx}\n", Code::PathMissing, "model.onnx"),
        ("name: blue\nendpoint_name: digits\nmodel: {name: x}\n", Code::Invalid, "has no path"),
        (
            "name: blue\nendpoint_name: digits\ncode_configuration: {code: server, scoring_script: no.py}\n",
            Code::PathMissing,
            "no.py` does not exist",
        ),
        (
            "name: blue\nendpoint_name: digits\ncode_configuration: {code: server/app.py, scoring_script: app.py}\n",
            Code::Invalid,
            "is a file",
        ),
        ("name: blue\nendpoint_name: digits\nenvironment: azureml:x@latest\ncommand: x\n", Code::Invalid, "conda_file"),
        (
            "name: blue\nendpoint_name: digits\nenvironment: {conda_file: gone.yml}\ncommand: x\n",
            Code::PathMissing,
            "gone.yml",
        ),
        ("name: blue\nendpoint_name: digits\nenvironment: {os_type: windows}\ncommand: x\n", Code::Invalid, "Windows"),
        ("name: blue\nendpoint_name: digits\ncommand: \"'\"\n", Code::Invalid, "a quote is not closed"),
        ("name: blue\nendpoint_name: digits\ncommand: x\ninstance_count: -1\n", Code::Invalid, "use 0 to"),
        ("name: blue\nendpoint_name: digits\ncommand: x\nresources: {cpu: lots}\n", Code::Invalid, "cores such as"),
        (
            "name: blue\nendpoint_name: digits\ncommand: x\nrequest_settings: {request_timeout_ms: 200000}\n",
            Code::Invalid,
            "file.yml:4:20 request_settings.request_timeout_ms",
        ),
        (
            "name: blue\nendpoint_name: digits\ncommand: x\nliveness_probe: {success_threshold: 2}\n",
            Code::Invalid,
            "liveness passes with one success",
        ),
        ("$schema: x/batchEndpoint.schema.json\nname: digits\n", Code::Invalid, "is not served yet"),
    ] {
        let (found, lines) = refusal(text);
        assert_eq!(found, code, "{text}\n{lines:#?}");
        assert!(lines.iter().any(|line| line.contains(part)), "{part} in {lines:#?} of\n{text}");
    }
}

#[test]
fn a_verb_refuses_the_other_noun() {
    let folder = folder();
    for (text, expected, part) in
        [(ENDPOINT, Kind::Deployment, "this is an endpoint"), (BLUE, Kind::Endpoint, "this is a deployment")]
    {
        let error = parse(text, "file.yml", folder.path(), Some(expected), &[]).expect_err("the wrong noun");
        assert!(error.problems[0].what.contains(part), "{error}");
    }
    // A file that could be either is what the verb says.
    let loaded = parse("name: digits\n", "file.yml", folder.path(), Some(Kind::Endpoint), &[]).expect("an endpoint");
    assert!(matches!(loaded.documents[..], [Document::Endpoint(_)]));
}

#[test]
fn one_file_may_hold_an_endpoint_and_its_deployments() {
    let green = "name: green\nendpoint_name: my-endpoint\nmodel: {path: green/model.onnx}\n";
    let loaded = read(&format!("{ENDPOINT}---\n{BLUE}---\n{green}---\n")).expect("three documents");
    let nouns: Vec<_> = loaded
        .documents
        .iter()
        .map(|document| match document {
            Document::Endpoint(file) => file.name.to_string(),
            Document::Deployment(file) => file.key.to_string(),
        })
        .collect();
    assert_eq!(nouns, ["my-endpoint", "my-endpoint/blue", "my-endpoint/green"]);
}

#[test]
fn settings_lie_over_the_file() {
    let folder = folder();
    let set = |text| Setting::parse(text).expect("a setting");
    let settings = [
        set("instance_count=3"),
        set("request_settings.request_timeout_ms=900"),
        set("endpoint_name=other"),
        set("tags.a=b=c"),
    ];
    let loaded = parse(BLUE, "file.yml", folder.path(), None, &settings).expect("a deployment");
    let Document::Deployment(file) = &loaded.documents[0] else { panic!("a deployment") };
    assert_eq!(file.key.to_string(), "other/blue");
    assert_eq!(file.spec.instance_count, 3);
    assert_eq!(file.spec.request_settings.request_timeout_ms, 900);
    assert_eq!(file.spec.tags["a"], "b=c");
    for text in ["instance_count", "=2", "a..b=2", ".a=2"] {
        assert!(Setting::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_patch_keeps_what_it_does_not_name() {
    let spec = DeploymentSpec { instance_count: 7, ..deployment(BLUE).spec };
    let set = |text| Setting::parse(text).expect("a setting");
    let (file, _) =
        patch_deployment("my-endpoint", "blue", spec.clone(), &[set("request_settings.request_timeout_ms=9")])
            .expect("a patch");
    let mut expected = spec.clone();
    expected.request_settings.request_timeout_ms = 9;
    assert_eq!(file.spec, expected);
    let error = patch_deployment("my-endpoint", "blue", spec, &[set("instnce_count=1")]).expect_err("a slip");
    assert_eq!((error.code, error.problems[0].try_.as_str()), (Code::UnknownField, "`instance_count`"));
    let base = endpoint("name: digits\nauth_mode: key\ntags: {team: risk, a: old}\n").spec;
    let (file, _) = patch_endpoint("digits", base, &[set("tags.a=b")]).expect("a patch");
    assert_eq!(file.spec.tags, [("a", "b"), ("team", "risk")].map(|(key, value)| (key.into(), value.into())).into());
}

/// One value of a mapping is one value: the others stay as they are.
#[test]
fn a_setting_below_a_mapping_leaves_its_other_keys() {
    let text = "name: blue\nendpoint_name: digits\ncommand: x\ntags: {team: risk}\n\
                environment_variables: {LEVEL: info, SEED: 7}\nconstraints: {zone: a}\n";
    let base = deployment(text).spec;
    let set = ["tags.tier=gold", "environment_variables.LEVEL=debug", "constraints.rack=r1"];
    let set = set.map(|text| Setting::parse(text).expect("a setting"));
    let spec = patch_deployment("digits", "blue", base, &set).expect("a patch").0.spec;
    let keys = |map: &std::collections::BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&spec.tags), "team=risk tier=gold");
    assert_eq!(keys(&spec.environment_variables), "LEVEL=debug SEED=7");
    assert_eq!(spec.constraints.keys().map(String::as_str).collect::<Vec<_>>(), ["rack", "zone"]);
}

#[test]
fn an_inline_conda_file_means_what_the_same_file_means() {
    let inline = CONDA.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!(
        "name: blue\nendpoint_name: digits\ncommand: x\nenvironment:\n  conda_file:\n{inline}  pip: [xgboost]\n"
    );
    let environment = deployment(&text).spec.environment;
    let mut expected = deployment(BLUE).spec.environment;
    expected.image = None;
    expected.pip.push("xgboost".into());
    assert_eq!(environment, expected);
}

#[test]
fn aliases_merge_and_never_multiply() {
    let file = endpoint("name: digits\nauth_mode: key\ntags: &base {a: b, c: d}\n");
    assert_eq!(file.spec.tags.len(), 2);
    let text = "name: blue\nendpoint_name: digits\ncommand: x\ntags: &t {a: b, c: d}\nenvironment_variables:\n  <<: *t\n  a: z\n";
    let variables = deployment(text).spec.environment_variables;
    assert_eq!((variables["a"].as_str(), variables["c"].as_str()), ("z", "d"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let last = level - 1;
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{last}"); 10].join(", ")));
    }
    let (code, lines) = refusal(&bomb);
    assert_eq!(code, Code::Yaml);
    assert!(lines[0].contains("too many values"), "{lines:?}");
    let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(refusal(&deep).0, Code::Yaml);
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let error = load(Path::new("/nowhere/at/all.yml"), None, &[]).expect_err("no file");
    assert_eq!(error.code, Code::PathMissing);
    assert!(error.what.contains("/nowhere/at/all.yml"));
}

#[test]
fn a_folder_or_a_huge_file_is_no_document() {
    let folder = folder();
    let huge = folder.path().join("huge.yml");
    fs::write(&huge, " ".repeat((1 << 20) + 1)).expect("a file");
    for (path, why) in [(folder.path(), "it is a folder"), (huge.as_path(), "larger than 1 MiB")] {
        let error = load(path, None, &[]).expect_err("no document");
        assert_eq!((error.code, error.why.as_str()), (Code::PathMissing, why));
    }
}

#[test]
fn relative_paths_start_at_the_file() {
    let folder = folder();
    let path = folder.path().join("deployment.yml");
    fs::write(&path, BLUE).expect("a file");
    let loaded = load(&path, Some(Kind::Deployment), &[]).expect("a deployment");
    let Document::Deployment(file) = &loaded.documents[0] else { panic!("a deployment") };
    assert!(file.code.as_ref().expect("code").path.starts_with(folder.path()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Arbitrary text is refused or read, never worse.
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = parse(&text, "x", Path::new("/nonexistent"), None, &[]);
    }

    /// So are lines that look like the real thing.
    #[test]
    fn arbitrary_fields_never_panic(
        lines in prop::collection::vec(("(  ){0,3}", "(name|model|path|traffic|environment|conda_file|command|resources|gpu|<<|- a|[&*]x|\\?)", "(: |:\n| )", "([{}\\[\\]&*!|>'\"%@`#~-]|[a-z0-9.]{0,6}|null|é){0,3}"), 0..12)
    ) {
        let text: String = lines.iter().map(|(pad, key, sep, value)| format!("{pad}{key}{sep}{value}\n")).collect();
        for expected in [None, Some(Kind::Deployment), Some(Kind::Endpoint)] {
            let _ = parse(&text, "x", Path::new("/nonexistent"), expected, &[]);
        }
    }
}

const LONELY: &str = "name: blue\nendpoint_name: fraud\ncommand: [serve]\ndisconnect:\n";

#[test]
fn a_deployment_says_what_it_wants_of_nodes_that_cannot_be_reached() {
    let text = format!("{LONELY}  lost_after: 10m\n  stop_on_client_after: 1h\n  reconcile: keep_original\n");
    let spec = deployment(&text).spec;
    let disconnect = spec.disconnect;
    assert_eq!(disconnect.lost_after, Some(Millis::from_secs(600)));
    assert_eq!(disconnect.stop_on_client_after, Some(Millis::from_secs(3_600)));
    assert_eq!((disconnect.replace, disconnect.reconcile), (true, Reconcile::KeepOriginal));
}

#[test]
fn what_is_wrong_with_it_is_said_at_its_line() {
    let text = format!("{LONELY}  lost_after: soon\n  replace: maybe\n  reconcile: keep_orignal\n  stop: 1h\n");
    let (_, lines) = refusal(&text);
    for (line, said) in [(5, "soon"), (6, "maybe"), (7, "keep_original"), (8, "unknown field")] {
        let is_there = lines.iter().any(|found| found.contains(&format!("{line}:")) && found.contains(said));
        assert!(is_there, "{line} {said}: {lines:#?}");
    }
}

#[test]
fn the_file_being_read_is_never_what_was_meant() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("d1.yml");
    let text = |conda: &str| {
        format!(
            "name: blue\nendpoint_name: digits\nmodel: {{path: d1.yml}}\n\
             code_configuration: {{code: ., scoring_script: d1.yml}}\nenvironment: {{conda_file: {conda}}}\n"
        )
    };
    fs::write(&file, text("./d2.yml")).expect("a file");
    let tries = || {
        let error = load(&file, Some(Kind::Deployment), &[]).expect_err("the conda file is not there");
        error.problems.into_iter().map(|problem| problem.try_).collect::<Vec<_>>().join(" ")
    };
    assert!(!tries().contains("d1.yml") && tries().contains("relative to the file"), "{}", tries());
    fs::write(folder.path().join("d3.yml"), "").expect("a file");
    assert!(tries().contains("d3.yml"), "another one that is near is: {}", tries());
}

#[test]
fn of_several_documents_a_setting_is_for_those_that_may_have_it() {
    let text = "name: digits\nauth_mode: none\n---\nname: blue\nendpoint_name: digits\ncommand: x\n";
    let load = |path: &str, value: &str| {
        parse(text, "file.yml", Path::new("."), None, &[Setting::new(path, value)]).map(|loaded| loaded.documents)
    };
    let documents = load("environment_variables.LEVEL", "2").expect("it is the deployment's");
    let [Document::Endpoint(_), Document::Deployment(blue)] = &documents[..] else { panic!("{documents:?}") };
    assert_eq!(blue.spec.environment_variables.get("LEVEL").map(String::as_str), Some("2"));
    load("auth_mode", "key").expect("it is the endpoint's");
    load("tags.team", "ml").expect("both have tags");
    let two = "name: digits\nauth_mode: none\n---\nname: other\nauth_mode: none\n";
    let refused = parse(two, "file.yml", Path::new("."), None, &[Setting::new("instance_count", "2")]);
    let error = refused.expect_err("neither has instances");
    assert_eq!(error.code, Code::UnknownField, "{error:?}");
}

#[test]
fn a_rule_about_a_label_that_is_none_is_refused() {
    for (rule, what) in [
        ("'!= a'", "`!= a` is no value of a label"),
        ("'in (a, b)'", "`in (a, b)` is no value of a label"),
        ("[]", "names no value"),
        ("{not: a, exists: true}", "is no rule about a label"),
        ("{}", "is no rule about a label"),
        ("{nor: a}", "unknown field"),
        ("{exists: perhaps}", "neither true nor false"),
    ] {
        let text = format!(
            "name: blue\nendpoint_name: digits\ncommand: [serve]\nresources: {{cpu: 1}}\nconstraints: {{zone: {rule}}}\n"
        );
        let (_, problems) = refusal(&text);
        assert!(problems.iter().any(|problem| problem.contains(what)), "{rule}: {problems:?}");
    }
}

/// What the documentation shows of files loads without a problem.
#[test]
fn files_in_the_documentation_load() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut blocks = 0;
    for entry in std::fs::read_dir(&docs).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a page");
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().expect("text");
            // Parts of a file are shown without its name.
            let whole = if block.contains("name: ") { block.to_owned() } else { format!("name: shown\n{block}") };
            if let Err(error) = parse(&whole, &path.display().to_string(), &docs, None, &[]) {
                panic!("{}: {error}\n{whole}", path.display());
            }
            blocks += 1;
        }
    }
    assert!(blocks > 0);
}
