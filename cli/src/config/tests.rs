//! Sources, their order, and every way to get a setting wrong.

use berth_coordinator::raft::Formation;
use berth_core::{
    defaults::DEFAULTS,
    error::{Code, Error},
    model::NodeName,
};

use super::{
    Layer, Reader, Schema,
    coordinator::{self, COORDINATOR, CoordinatorConfig},
    file,
    node::{self, NODE, NodeConfig},
    parse_collector, parse_trace_share,
};

const EXAMPLE: &str = include_str!("../../../docs/config.example.toml");

fn reader(schema: Schema, flags: &[(&'static str, &str)], vars: &[(&str, &str)], text: &str) -> Result<Reader, Error> {
    let mut reader = Reader::new(schema);
    let from_file = file::parse(schema, text, "berth.toml", &mut reader)?;
    let vars = vars.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let from_vars = reader.variables(vars);
    let flags = Layer::flags(flags.iter().map(|(name, text)| (*name, (*text).to_owned())));
    reader.layers = vec![flags, from_vars, from_file];
    Ok(reader)
}

fn read_coordinator(
    flags: &[(&'static str, &str)],
    vars: &[(&str, &str)],
    text: &str,
) -> Result<CoordinatorConfig, Error> {
    coordinator::read(reader(COORDINATOR, flags, vars, text)?)
}

fn read_node(flags: &[(&'static str, &str)], vars: &[(&str, &str)], text: &str) -> Result<NodeConfig, Error> {
    node::read(reader(NODE, flags, vars, text)?, &|| NodeName::new("this-host").ok())
}

#[test]
fn what_the_documentation_sets_can_be_set() {
    let mut seen = 0;
    for (page, text) in crate::documented::blocks("toml") {
        // What a block leaves out is not its subject.
        let flags = [("bootstrap_expect", "1")];
        let is_of_a_node = text.starts_with("[node]");
        let read = match is_of_a_node {
            true => read_node(&[("token_file", "/t")], &[], &text).map(drop),
            false => read_coordinator(&flags, &[], &text).map(drop),
        };
        read.unwrap_or_else(|error| panic!("{page}: {error:#?}\n{text}"));
        seen += 1;
    }
    assert!(seen >= 1, "no page shows a setting");
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "[coordinator]\nbootstrap_expect = 1\napi = \"127.0.0.1:3\"\n";
    let (variable, flag) = (("BERTH_COORDINATOR_API", "127.0.0.1:2"), ("api", "127.0.0.1:1"));
    let expect = ("bootstrap_expect", "1");
    for (flags, vars, text, port) in [
        (vec![flag, expect], vec![variable], file, 1),
        (vec![expect], vec![variable], file, 2),
        (vec![], vec![], file, 3),
        (vec![expect], vec![], "", DEFAULTS.api_port),
    ] {
        let config = read_coordinator(&flags, &vars, text).expect("a configuration");
        assert_eq!(config.api.port(), port);
    }
}

#[test]
fn every_problem_of_every_source_is_told_at_once() {
    let file = "api = \"x\"\n[coordinator]\ndata_dri = \"/x\"\nasset_max = 1.5\n[coordinater]\n[node]\nanything = 1\n";
    let error = read_coordinator(
        &[("insecure", "maybe"), ("bootstrap_expect", "2")],
        &[("BERTH_COORDINATOR_LOG_FORMT", "json"), ("BERTH_COORDINATOR_API", "nowhere"), ("BERTH_NODE_NAME", "x")],
        file,
    )
    .expect_err("much is wrong");
    assert_eq!(error.code, Code::UnknownField);
    let told: Vec<_> = error
        .problems
        .iter()
        .map(|problem| format!("{} | {} | {}", problem.field, problem.what, problem.try_))
        .collect();
    for part in [
        "berth.toml api | unknown setting | put it under `[coordinator]`",
        "berth.toml coordinator.data_dri | unknown setting | `data_dir`",
        "berth.toml coordinator.asset_max | cannot be float",
        "berth.toml [coordinater] | unknown setting | `[coordinator]`",
        "BERTH_COORDINATOR_LOG_FORMT | unknown setting | `BERTH_COORDINATOR_LOG_FORMAT`",
        "BERTH_COORDINATOR_API | `nowhere` is not an address",
        "--insecure | `maybe` is neither true nor false",
        "--bootstrap-expect | 2 members cannot form a cluster | use 1, 3 or 5",
    ] {
        assert!(told.iter().any(|line| line.starts_with(part)), "{part} in {told:#?}");
    }
    assert_eq!(told.len(), 8, "{told:#?}");
}

#[test]
fn a_coordinator_says_how_it_comes_to_a_cluster() {
    let three = "10.0.0.1:7400,10.0.0.2:7400,10.0.0.3:7400";
    let addresses: Vec<_> = three.split(',').map(str::to_owned).collect();
    for (flags, expected) in [
        (vec![], None),
        (vec![("bootstrap_expect", "1")], Some(Formation::Bootstrap { expect: 1, peers: vec![] })),
        (vec![("bootstrap_expect", "3")], None),
        (
            vec![("bootstrap_expect", "3"), ("peers", three)],
            Some(Formation::Bootstrap { expect: 3, peers: addresses.clone() }),
        ),
        (vec![("join", three)], Some(Formation::Join { addresses })),
        (vec![("join", three), ("bootstrap_expect", "1")], None),
        (vec![("bootstrap_expect", "many")], None),
    ] {
        let found = read_coordinator(&flags, &[], "").ok().map(|config| config.formation);
        assert_eq!(found, expected, "{flags:?}");
    }
}

#[test]
fn lists_and_tables_of_the_file_mean_what_flags_mean() {
    let text = "\
[node]
token_file = \"/t\"
coordinators = [\"a:1\", \"b:2\"]
labels = { zone = \"a\", rack = 12 }
capacity = { cpu = 4, memory = \"8GiB\" }
pip_args = [\"--no-index\"]
insecure = true
";
    let config = read_node(&[], &[], text).expect("a configuration");
    assert_eq!(config.name.as_str(), "this-host");
    assert_eq!(config.coordinators, ["a:1", "b:2"]);
    assert_eq!(config.labels["rack"], "12");
    assert_eq!(config.pip_args, ["--no-index"]);
    assert!(config.insecure && config.capacity.is_some());
    let missing = read_node(&[], &[], "").expect_err("no token");
    assert_eq!(missing.problems[0].field, "--token-file");
}

/// The example shows every setting, each with the default that applies without it.
#[test]
fn the_example_file_is_the_defaults() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line)))
        .collect();
    let table: toml::Table = uncommented.parse().expect("TOML");
    for schema in [COORDINATOR, NODE] {
        let section = table[schema.section].as_table().expect("a section");
        for (name, default) in schema.names {
            let value = section.get(*name).unwrap_or_else(|| panic!("[{}] {name} is not shown", schema.section));
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !default.is_empty() {
                assert_eq!(&shown, default, "[{}] {name}", schema.section);
            }
        }
        assert_eq!(section.len(), schema.names.len(), "[{}] shows a setting nobody knows", schema.section);
    }
    // As it stands, commented out, it changes nothing.
    let config = read_coordinator(&[("bootstrap_expect", "1")], &[], EXAMPLE).expect("a configuration");
    assert_eq!(config.api.port(), DEFAULTS.api_port);
    let config = read_node(&[("token_file", "/t")], &[], EXAMPLE).expect("a configuration");
    assert_eq!((config.ingress.port(), config.gate.port()), (DEFAULTS.ingress_port, DEFAULTS.gate_port));
    assert_eq!(config.domain, DEFAULTS.domain);
}

#[test]
fn collectors_are_named_in_one_way() {
    for (text, fits) in [
        ("http://127.0.0.1:4317", true),
        ("collector:4317", true),
        ("https://collector:4317", false),
        ("http://collector", false),
        ("ftp://collector:1", false),
        ("", false),
    ] {
        assert_eq!(parse_collector(text).is_ok(), fits, "{text}");
    }
    for (text, share) in [("100", Some(100_000)), ("0.5", Some(500)), ("0", Some(0)), ("101", None), ("x", None)] {
        assert_eq!(parse_trace_share(text).ok(), share, "{text}");
    }
}
