//! How an answer to *what if* reads.

use std::collections::BTreeMap;

use berth_client::api::{DeploymentForecast, NodeTotals, ObjectChange, PlanReport, PlannedStep, ReplicaCounts};
use berth_core::units::{Cores, Mib};

use crate::{
    args::PlanArgs,
    output::{Cell, Ink, Output, Table},
};

/// Steps that are listed unasked: a screenful.
const STEPS_SHOWN: usize = 20;

/// Prints what would happen.
pub(crate) fn plan(out: &Output, report: &PlanReport, args: &PlanArgs) {
    let files_alone = [&args.lose, &args.drain, &args.spike, &args.add].into_iter().all(Vec::is_empty);
    body(out, report, args.steps);
    if files_alone { last_of_files(out, report, args) } else { last_of_blow(out, report) }
}

/// Prints what files would change, for who is asked next whether they shall.
pub(crate) fn plan_of_files(out: &Output, report: &PlanReport) {
    body(out, report, false);
    warn_of_places(out, report);
}

fn body(out: &Output, report: &PlanReport, all_steps: bool) {
    for change in &report.changes {
        out.line(object(out, change));
    }
    for note in &report.notes {
        out.note(format!("{} {note}", out.paint("note:", Ink::Yellow)));
    }
    let moved: Vec<_> = report.deployments.iter().filter(|it| is_moved(it)).collect();
    if !moved.is_empty() {
        gap(out, report);
        out.line(out.rendered(&deployments(&moved)));
    }
    for text in moved.iter().filter_map(|it| Some(&it.verdict.as_ref()?.text)) {
        out.line(format!("\n{}", text.trim_end()));
    }
    steps(out, report, all_steps);
    if let (Some(before), Some(after)) = (&report.nodes_before, &report.nodes_after) {
        out.line(format!("\nnodes   {}\nholds   {} → {}", opened(before, after), held(before), held(after)));
    }
    out.line("");
}

fn gap(out: &Output, report: &PlanReport) {
    if !report.changes.is_empty() {
        out.line("");
    }
}

/// Shows an object as a difference: `+` new, `~` changed, `=` as it is.
fn object(out: &Output, change: &ObjectChange) -> String {
    let (sign, ink) = match change.action.as_str() {
        "create" => ("+", Ink::Green),
        "change" => ("~", Ink::Yellow),
        _ => ("=", Ink::Grey),
    };
    let mut lines = vec![format!("{} {} {}", out.paint(sign, ink), change.noun, change.name)];
    if change.needs_new_replicas {
        lines[0].push_str(": every replica is replaced");
    }
    let value = |text: &str| if text.is_empty() { "(none)".to_owned() } else { text.to_owned() };
    for field in &change.fields {
        lines.push(match change.action.as_str() {
            "create" => format!("    {}: {}", field.field, value(&field.new)),
            _ => format!("    {}: {} → {}", field.field, value(&field.old), value(&field.new)),
        });
    }
    if change.upload_bytes > 0 {
        lines.push(format!("    uploads {}", Mib(change.upload_bytes.div_ceil(1 << 20))));
    }
    lines.join("\n")
}

fn is_moved(it: &DeploymentForecast) -> bool {
    it.fate != "kept" || it.before != it.after || it.below_from.is_some() || it.verdict.is_some()
}

fn deployments(moved: &[&DeploymentForecast]) -> Table {
    let mut table = Table::new(&["DEPLOYMENT", "TRAFFIC", "READY", "LOWEST", "RESERVE", "FATE", "WHY"]);
    for it in moved {
        let shown = |counts: &Option<ReplicaCounts>| {
            counts.as_ref().map(|it| format!("{}/{}", it.ready, it.wanted)).unwrap_or_default()
        };
        let ink = match it.fate.as_str() {
            "kept" => Ink::Green,
            "down" | "short" => Ink::Red,
            "gone" => Ink::Grey,
            _ => Ink::Yellow,
        };
        let reserve = |counts: &Option<ReplicaCounts>| {
            counts.as_ref().map(|it| format!("{}/{}", it.held, it.reserve)).unwrap_or_default()
        };
        let lowest = match (it.below_from, it.below_rounds) {
            (None, _) => "-".to_owned(),
            (Some(_), Some(rounds)) => format!("{} for {}", it.lowest_ready, count(rounds.into(), "round")),
            (Some(_), None) => format!("{} for good", it.lowest_ready),
        };
        table.push(vec![
            format!("{}/{}", it.endpoint, it.deployment).into(),
            format!("{} %", it.traffic_percent).into(),
            format!("{} → {}", shown(&it.before), shown(&it.after)).into(),
            lowest.into(),
            format!("{} → {}", reserve(&it.before), reserve(&it.after)).into(),
            Cell::inked(&it.fate, ink),
            it.why.as_str().into(),
        ]);
    }
    table
}

fn steps(out: &Output, report: &PlanReport, all: bool) {
    if report.steps.is_empty() {
        return;
    }
    let shown = if all { report.steps.len() } else { STEPS_SHOWN };
    out.line(format!("\n{}", out.rendered(&step_table(report, shown))));
    let hidden = report.steps.len().saturating_sub(shown) as u64 + report.steps_dropped;
    if hidden > 0 {
        out.line(format!("… and {}; --steps lists them", count(hidden, "more step")));
    }
}

fn step_table(report: &PlanReport, shown: usize) -> Table {
    let mut table = Table::new(&["ROUND", "STEP", "DEPLOYMENT", "NODE", "WHY"]);
    for step in report.steps.iter().take(shown) {
        table.push(vec![
            step.round.to_string().into(),
            step.kind.as_str().into(),
            format!("{}/{}", step.endpoint, step.deployment).into(),
            step.node.as_str().into(),
            why(step).into(),
        ]);
    }
    table
}

fn why(step: &PlannedStep) -> String {
    match step.reserve_spent.is_empty() {
        true => step.reason.clone(),
        false => format!("{} (reserve: {})", step.reason, step.reserve_spent),
    }
}

fn opened(before: &NodeTotals, after: &NodeTotals) -> String {
    match before.open == after.open {
        true => format!("{} take replicas", after.open),
        false => format!("{} → {} take replicas", before.open, after.open),
    }
}

/// Shows what is held on the nodes, of what they have.
fn held(totals: &NodeTotals) -> String {
    let capacity = totals.capacity.unwrap_or_default();
    let held = totals.held.unwrap_or_default();
    let mut parts = vec![
        format!("{} of {} cores", Cores(held.cpu_milli), Cores(capacity.cpu_milli)),
        format!("{} of {}", Mib(held.memory_mib), Mib(capacity.memory_mib)),
    ];
    if capacity.gpus > 0 {
        parts.push(format!("{} of {} GPUs", held.gpus, capacity.gpus));
    }
    parts.join(", ")
}

fn last_of_files(out: &Output, report: &PlanReport, args: &PlanArgs) {
    if report.changes.iter().all(|change| change.action == "none") {
        out.line("nothing would change");
        return;
    }
    warn_of_places(out, report);
    let files: Vec<_> = args.file.iter().map(|file| format!("-f {}", file.display())).collect();
    match files.as_slice() {
        [file] => out.line(format!("apply it: berth apply {file} --check-index {}", report.check_index)),
        _ => out.line(format!("apply each with --check-index {}", report.check_index)),
    }
}

fn warn_of_places(out: &Output, report: &PlanReport) {
    if report.deployments.iter().any(|it| it.fate == "short" || it.fate == "stuck") {
        out.line(out.paint("not everything finds a place; see above", Ink::Red));
    }
}

fn last_of_blow(out: &Output, report: &PlanReport) {
    outcome(report).iter().for_each(|(text, ink)| out.line(out.paint(text, *ink)));
}

/// Says what comes of drains and losses.
fn outcome(report: &PlanReport) -> Vec<(String, Ink)> {
    let mut lines = Vec::new();
    for drain in &report.drains {
        lines.push(match drain.empty_in {
            Some(_) => (format!("{} ends empty", drain.node), Ink::Plain),
            None => {
                let left = count(drain.replicas_left, "replica");
                let verb = if drain.replicas_left == 1 { "fits" } else { "fit" };
                (format!("{} is never empty: {left} {verb} nowhere else", drain.node), Ink::Red)
            }
        });
    }
    for endpoint in report.endpoints.iter().filter(|endpoint| !endpoint.keeps_minimum) {
        lines.push((format!("{} does not keep its minimum: {}", endpoint.endpoint, endpoint.why), Ink::Red));
    }
    if report.endpoints.iter().all(|endpoint| endpoint.keeps_minimum) {
        lines.push(("every endpoint keeps its minimum".to_owned(), Ink::Green));
    }
    lines
}

/// Writes what would happen, the outcome first, as lines of plain text.
pub(crate) fn plan_lines(report: &PlanReport) -> Vec<String> {
    let mut text: Vec<String> = Vec::new();
    let mut block = |more: String| {
        if !text.is_empty() {
            text.push(String::new());
        }
        text.extend(more.lines().map(str::to_owned));
    };
    let changes: Vec<_> = report.changes.iter().map(|change| object(&Output::default(), change)).collect();
    if !changes.is_empty() {
        block(changes.join("\n"));
    }
    let outcome = outcome(report);
    // A change of files names no nodes; what becomes of deployments says it all.
    if !report.asked.is_empty() || changes.is_empty() {
        block(outcome.into_iter().map(|(text, _)| text).collect::<Vec<_>>().join("\n"));
    }
    if !report.notes.is_empty() {
        block(report.notes.iter().map(|note| format!("note: {note}")).collect::<Vec<_>>().join("\n"));
    }
    let moved: Vec<_> = report.deployments.iter().filter(|it| is_moved(it)).collect();
    if !moved.is_empty() {
        block(deployments(&moved).render(false));
    }
    for verdict in moved.iter().filter_map(|it| it.verdict.as_ref()) {
        block(verdict.text.trim_end().to_owned());
    }
    if !report.steps.is_empty() {
        block(step_table(report, report.steps.len()).render(false));
    }
    if let (Some(before), Some(after)) = (&report.nodes_before, &report.nodes_after) {
        block(format!("nodes   {}\nholds   {} → {}", opened(before, after), held(before), held(after)));
    }
    text
}

/// Writes what another split of an endpoint means, as lines of plain text: each deployment before and after, and what the
/// planner says of the rest.
pub(crate) fn split_lines(
    before: &BTreeMap<String, u32>,
    after: &BTreeMap<String, u32>,
    mut report: PlanReport,
) -> Vec<String> {
    let mut table = Table::new(&["DEPLOYMENT", "BEFORE", "", "AFTER", "READY"]);
    let mut warnings = Vec::new();
    for (name, share) in after {
        let percent = |share: u32| Cell::from(format!("{share:>3} %"));
        let forecast = report.deployments.iter().find(|it| it.deployment == *name);
        let ready = forecast.and_then(|it| Some((it.before.as_ref()?, it.after.as_ref()?)));
        let shown = match ready {
            None => "-".to_owned(),
            Some((now, then)) if (now.ready, now.wanted) == (then.ready, then.wanted) => {
                format!("{}/{}", now.ready, now.wanted)
            }
            Some((now, then)) => format!("{}/{} → {}/{}", now.ready, now.wanted, then.ready, then.wanted),
        };
        table.push(vec![
            name.as_str().into(),
            percent(before.get(name).copied().unwrap_or(0)),
            "→".into(),
            percent(*share),
            shown.into(),
        ]);
        if *share == 0 {
            continue;
        }
        warnings.extend(match ready {
            Some((now, then)) if now.ready == 0 && then.ready == 0 => {
                Some(format!("{name} gets {share} % and has nobody ready, now or later: those requests fail"))
            }
            Some((now, _)) if now.ready == 0 => {
                Some(format!("{name} gets {share} % and has nobody ready yet: until then those requests fail"))
            }
            Some((_, then)) if then.ready == 0 => {
                Some(format!("{name} gets {share} % and ends with nobody ready: those requests fail"))
            }
            _ => None,
        });
    }
    let mut lines: Vec<String> = table.render(false).lines().map(str::to_owned).collect();
    if !warnings.is_empty() {
        lines.push(String::new());
        lines.extend(warnings);
    }
    // Told above.
    report.changes.clear();
    lines.push(String::new());
    lines.extend(plan_lines(&report));
    lines
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
