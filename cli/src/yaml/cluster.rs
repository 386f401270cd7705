//! A described fleet and its load: the file of `berth sim cluster`.

use std::{collections::BTreeSet, path::Path};

use berth_core::{
    defaults::DEFAULTS,
    error::{Code, Error, Problem},
    model::{DeploymentKey, DeploymentSpec, Runtime},
    units::parse_cpu_milli,
    whatif::NodeShape,
};
use berth_sim::cluster::{Count, Description, Load, Shape, Survive, Workload};

use super::{
    amount,
    fields::{Field, Fields, clip},
    finding::Findings,
    label::read_label_rules,
    source, tree,
};

/// Nodes of a shape. The search doubles and halves, so that a generous limit costs little.
const NODES_MAX: u64 = 10_000;
/// Moments at which a load changes: every five minutes of a day, or every hour of twelve.
const POINTS_MAX: usize = 288;
/// Minutes of the longest story: a year.
const MINUTES_MAX: u64 = 366 * 24 * 60;
/// Fields of a node that its shape takes as they are written.
const SHAPE_FIELDS: [&str; 5] = ["name", "cpu", "memory", "disk", "gpu"];

/// Loads a file.
pub(crate) fn load_cluster(path: &Path) -> Result<(Description, Vec<Problem>), Error> {
    let text = source::read_bounded(path).map_err(|error| {
        Error::new(Code::PathMissing, format!("`{}` cannot be read", path.display()))
            .why(error.to_string())
            .try_("give the path of a YAML file")
    })?;
    parse_cluster(&text, &path.display().to_string())
}

/// Reads the text of a file called `name`.
pub(super) fn parse_cluster(text: &str, name: &str) -> Result<(Description, Vec<Problem>), Error> {
    let mut findings = Findings::new(name);
    let documents = tree::parse(text, &mut findings);
    let mut description = Description { shapes: Vec::new(), workloads: Vec::new(), survive: Survive::Nothing };
    match documents.iter().filter(|node| !node.is_null()).collect::<Vec<_>>().as_slice() {
        [document] => read(&Field::root(document), &mut description, &mut findings),
        documents if findings.is_clean() => {
            let what = format!("holds {} documents", documents.len());
            findings.error(Code::Yaml, Default::default(), "", what, "describe one fleet in one document");
        }
        _ => {}
    }
    Ok((description, findings.into_result()?))
}

fn read(root: &Field<'_>, into: &mut Description, findings: &mut Findings) {
    let mut fields = Fields::open(root, findings);
    fields.take("$schema");
    let reserve = fields.take("reserve").and_then(|field| field.flag(findings)).unwrap_or(true);
    match fields.take("nodes") {
        Some(field) => into.shapes = read_nodes(&field, findings),
        None => findings.error(Code::Invalid, root.place(), "nodes", "is missing", "list the shapes of nodes"),
    }
    match fields.take("deployments") {
        Some(field) => into.workloads = read_workloads(&field, reserve, findings),
        None => findings.error(Code::Invalid, root.place(), "deployments", "is missing", "list what runs"),
    }
    if let Some(field) = fields.take("survive")
        && let Some(text) = field.text(findings)
    {
        match text.parse() {
            Ok(survive) => into.survive = survive,
            Err(()) => {
                let words: Vec<_> = Survive::ALL.iter().map(|survive| survive.word()).collect();
                let what = format!("`{}` is no failure", clip(text));
                field.refuse(findings, what, format!("one of {}", words.join(", ")));
            }
        }
        check_domain(&field, into, findings);
    }
    fields.finish(findings);
}

/// A failure domain that no node has would be survived by every fleet.
fn check_domain(field: &Field<'_>, description: &Description, findings: &mut Findings) {
    let (label, has) = match description.survive {
        Survive::Rack => {
            ("rack", description.shapes.iter().all(|it| it.racks > 1 || it.node.labels.contains_key("rack")))
        }
        Survive::Zone => {
            ("zone", description.shapes.iter().all(|it| it.zones > 1 || it.node.labels.contains_key("zone")))
        }
        Survive::Nothing | Survive::Node => return,
    };
    if !has {
        let try_ = format!("give each of `nodes` {label}s: 2 or more, or a label `{label}`");
        field.refuse(findings, format!("some nodes are in no {label} of which there is another"), try_);
    }
}

fn read_nodes(list: &Field<'_>, findings: &mut Findings) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    for item in list.items(findings) {
        let Some(shape) = read_shape(&item, findings) else { continue };
        let autos = shapes.iter().filter(|it| matches!(it.count, Count::Auto { .. })).count();
        if autos > 0 && matches!(shape.count, Count::Auto { .. }) {
            item.refuse(findings, "a second shape is counted", "give all but one of them a number as `count`");
        }
        if shapes.iter().any(|it| it.node.prefix == shape.node.prefix) {
            item.refuse(
                findings,
                format!("`{}` names another shape too", shape.node.prefix),
                "give each its own `name`",
            );
        }
        shapes.push(shape);
    }
    shapes
}

fn read_shape(item: &Field<'_>, findings: &mut Findings) -> Option<Shape> {
    let mut fields = Fields::open(item, findings);
    let mut parts = Vec::new();
    for name in SHAPE_FIELDS {
        let text = fields.take(name).and_then(|field| field.text(findings));
        // A comma would begin another part; no amount has one.
        parts.extend(text.map(|text| format!("{name}={}", text.replace(',', ";"))));
    }
    let labels = fields.take("labels").map(|field| field.text_map(findings)).unwrap_or_default();
    let max = fields.take("max").and_then(|field| field.number(1..=NODES_MAX, findings));
    let count = match fields.take("count") {
        Some(field) if field.node.text().is_some_and(|text| text.eq_ignore_ascii_case("auto")) => {
            Count::Auto { max: max.unwrap_or(NODES_MAX) }
        }
        Some(field) => Count::Fixed(field.number(0..=NODES_MAX, findings).unwrap_or(0)),
        None => Count::Auto { max: max.unwrap_or(NODES_MAX) },
    };
    let mut domains = |name| fields.take(name).and_then(|field| field.number(1..=NODES_MAX, findings)).unwrap_or(0);
    let (racks, zones) = (domains("racks"), domains("zones"));
    fields.finish(findings);
    match parts.join(",").parse::<NodeShape>() {
        Ok(mut node) => {
            node.labels.extend(labels);
            Some(Shape { node, count, racks, zones })
        }
        Err(error) => {
            for problem in error.problems {
                let field = format!("{}.{}", item.path, problem.field);
                // At the value where there is one, as every other refusal.
                let place = item.node.get(&problem.field).map_or(item.place(), |value| value.place);
                findings.error(Code::Invalid, place, &field, problem.what, problem.try_);
            }
            None
        }
    }
}

fn read_workloads(list: &Field<'_>, reserve: bool, findings: &mut Findings) -> Vec<Workload> {
    let mut workloads: Vec<Workload> = Vec::new();
    let mut seen: BTreeSet<DeploymentKey> = BTreeSet::new();
    for item in list.items(findings) {
        let Some(workload) = read_workload(&item, reserve, findings) else { continue };
        if !seen.insert(workload.key.clone()) {
            item.refuse(findings, format!("`{}` is described twice", workload.key), "");
        }
        workloads.push(workload);
    }
    workloads
}

fn read_workload(item: &Field<'_>, reserve: bool, findings: &mut Findings) -> Option<Workload> {
    let mut fields = Fields::open(item, findings);
    let mut spec = DeploymentSpec::new(Runtime::Command(vec!["serve".to_owned()]));
    let key = read_key(&mut fields, item, findings);
    let size = fields.take("instance_type");
    if let Some(field) = &size {
        amount::read_instance_type(field, &mut spec, findings);
    }
    let resources = fields.take("resources");
    if let Some(field) = &resources {
        amount::read_resources(field, &mut spec, findings);
    }
    if size.is_none() && resources.is_none() {
        let try_ = "give `resources` or an `instance_type`";
        findings.error(Code::Invalid, item.place(), &item.path, "says nothing of what an instance needs", try_);
    }
    // A size that is exempt stays so; what the file says of one deployment counts more than what it says of all.
    spec.reserve &= reserve;
    if let Some(flag) = fields.take("reserve").and_then(|field| field.flag(findings)) {
        spec.reserve = flag;
    }
    if let Some(field) = fields.take("constraints") {
        spec.constraints = read_label_rules(&field, findings);
    }
    let instances = fields.take("instances");
    let requests = fields.take("requests");
    let most = u64::from(DEFAULTS.instance_count_max);
    let load = match (&instances, &requests) {
        (Some(field), None) => field.number(0..=most, findings).map(|count| Load::Instances(count as u32)),
        (None, Some(field)) => read_requests(field, findings),
        _ => {
            let try_ = "give either `instances`, or `requests` over time";
            findings.error(Code::Invalid, item.place(), &item.path, "has no load, or two", try_);
            None
        }
    };
    fields.finish(findings);
    Some(Workload { key: key?, spec, load: load? })
}

fn read_key(fields: &mut Fields<'_>, item: &Field<'_>, findings: &mut Findings) -> Option<DeploymentKey> {
    let Some(field) = fields.take("name") else {
        let path = format!("{}.name", item.path);
        findings.error(Code::Invalid, item.place(), &path, "is missing", "write ENDPOINT/DEPLOYMENT");
        return None;
    };
    let text = field.text(findings)?;
    match text.parse() {
        Ok(key) => Some(key),
        Err(_) => {
            field.refuse(findings, format!("`{}` is no deployment", clip(text)), "write ENDPOINT/DEPLOYMENT");
            None
        }
    }
}

fn read_requests(field: &Field<'_>, findings: &mut Findings) -> Option<Load> {
    let mut fields = Fields::open(field, findings);
    let per_instance = fields.take("per_instance").map(|field| read_rate(&field, findings));
    let most = u64::from(DEFAULTS.instance_count_max);
    let least = fields.take("min_instances").and_then(|field| field.number(0..=most, findings)).unwrap_or(1);
    let at = fields.take("at");
    let mut points = Vec::new();
    for (time, rate) in at.as_ref().map(|at| at.pairs(findings)).unwrap_or_default() {
        match minute(time) {
            Some(minute) => points.extend(read_rate(&rate, findings).map(|rate| (minute, rate))),
            None => rate.refuse(findings, format!("`{}` is no time", clip(time)), "write hours and minutes: `08:30`"),
        }
    }
    points.sort_unstable();
    if points.len() > POINTS_MAX {
        field.refuse(findings, format!("{} points are too many", points.len()), format!("use at most {POINTS_MAX}"));
    }
    let is_missing = |name: &str, findings: &mut Findings, try_: &str| {
        findings.error(Code::Invalid, field.place(), &format!("{}.{name}", field.path), "is missing", try_);
    };
    if per_instance.is_none() {
        is_missing("per_instance", findings, "how many requests a second does one instance answer?");
    }
    if at.is_none() {
        is_missing("at", findings, "give requests a second by time: `at: {\"08:00\": 400}`");
    }
    fields.finish(findings);
    let per_instance_milli = per_instance??;
    if per_instance_milli == 0 {
        field.refuse(findings, "an instance that answers nothing is never enough", "");
        return None;
    }
    Some(Load::Requests { points, per_instance_milli, instances_min: least as u32 })
}

/// Reads requests a second in thousandths.
fn read_rate(field: &Field<'_>, findings: &mut Findings) -> Option<u64> {
    let text = field.text(findings)?;
    // Thousandths of a core and of a request are read alike; `m` means something of cores alone.
    let rate = parse_cpu_milli(text).ok().filter(|_| !text.ends_with('m'));
    if rate.is_none() {
        field.refuse(findings, format!("`{}` is no rate", clip(text)), "write requests a second: `40` or `0.5`");
    }
    rate
}

/// Reads `08:30` as minutes from the start; hours may go beyond a day.
fn minute(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let at = hours.checked_mul(60)?.checked_add(minutes)?;
    (minutes < 60 && at <= MINUTES_MAX).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read_as_written() {
        let text = "\
survive: 1 rack
nodes:
  - {name: cpu, cpu: 16, memory: 64GiB, count: auto, max: 40, racks: 4}
  - {name: gpu, cpu: 32, memory: 256GiB, gpu: '2x80GiB:H100', count: 3, racks: 3, labels: {team: ml}}
deployments:
  - {name: fraud/blue, resources: {cpu: 2, memory: 4GiB}, instances: 4}
  - name: chat/main
    instance_type: Standard_DS3_v2
    reserve: false
    requests: {per_instance: 2.5, at: {'08:00': 40, '00:00': 5}}
";
        let (description, warnings) = parse_cluster(text, "day.yml").expect("a fleet");
        assert!(warnings.is_empty());
        assert_eq!(description.survive, Survive::Rack);
        assert_eq!(description.auto().map(|(shape, max)| (shape.node.prefix.as_str(), max)), Some(("cpu", 40)));
        assert_eq!(description.shapes[1].node.cards.len(), 2);
        assert_eq!(description.shapes[1].node.labels["team"], "ml");
        assert_eq!(description.workloads[0].load, Load::Instances(4));
        assert!(description.workloads[0].spec.reserve && !description.workloads[1].spec.reserve);
        assert_eq!(description.minutes(), [0, 480]);
        assert_eq!(description.workloads[1].load.instances_at(480), 16);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_line() {
        let text = "\
surive: 1 node
nodes:
  - {cpu: 16, memroy: 64GiB}
  - {name: b, cpu: lots, memory: 1GiB, count: auto}
deployments:
  - {name: fraud, resources: {cpu: 1, memory: 1GiB}, instances: 1}
  - {name: fraud/blue, resources: {cpu: 1}, instances: 1, requests: {per_instance: 0, at: {noon: 1}}}
";
        let error = parse_cluster(text, "day.yml").expect_err("many problems");
        let told: Vec<_> = error.problems.iter().map(|it| format!("{}: {} {}", it.field, it.what, it.try_)).collect();
        for part in [
            "day.yml:1:1 surive: unknown field `survive`",
            "day.yml:3:15 nodes[0].memroy: unknown field `memory`",
            "nodes[0].memory: is missing",
            "day.yml:4:20 nodes[1].cpu: `lots` is not an amount",
            "deployments[0].name: `fraud` is no deployment",
            "deployments[1]: has no load, or two",
        ] {
            assert!(told.iter().any(|line| line.contains(part)), "{part} in {told:#?}");
        }
    }

    #[test]
    fn a_failure_needs_a_domain_to_happen_in() {
        let text = "\
survive: 1 rack
nodes: [{cpu: 1, memory: 1GiB}]
deployments: [{name: fraud/blue, resources: {cpu: 1, memory: 1GiB}, instances: 1}]
";
        let error = parse_cluster(text, "day.yml").expect_err("no rack");
        assert!(error.problems[0].what.contains("in no rack"), "{error:?}");
    }
}
