//! Small texts of the tables.

use std::collections::BTreeMap;

use berth_client::{
    api::{Deployment, Endpoint, Event, Node},
    store,
};
use berth_core::{
    time::Millis,
    units::{Cores, Mib},
};

use berth_proto::node::v1::PrepareProgress;

use crate::output::{Cell, Ink};

/// Writes how long ago something was: `4m12s`.
pub(crate) fn age(at_ms: u64, now_ms: u64) -> String {
    if at_ms == 0 {
        return "-".to_owned();
    }
    // Below a second only noise would change.
    match now_ms.saturating_sub(at_ms) {
        ms if ms < 1_000 => "0s".to_owned(),
        ms => Millis(ms).to_string(),
    }
}

/// Columns of a bar: with its numbers it fits beside a path.
const BAR: u64 = 20;

/// Draws how much of something is done: `[########            ]  42 %  12 of 30 MiB`.
pub(crate) fn bar(done: u64, of: u64) -> String {
    drawn(done, of, &format!("{} of {}", Mib(done >> 20), Mib(of.div_ceil(1 << 20))))
}

fn drawn(done: u64, of: u64, amounts: &str) -> String {
    let full = part(done, of, BAR);
    let (drawn, rest) = ("#".repeat(full as usize), " ".repeat((BAR - full) as usize));
    format!("[{drawn}{rest}] {:3} %  {amounts}", part(done, of, 100))
}

/// Returns how many of `whole` parts are done.
fn part(done: u64, of: u64, whole: u64) -> u64 {
    let parts = u128::from(done) * u128::from(whole) / u128::from(of.max(1));
    u64::try_from(parts).unwrap_or(whole).min(whole)
}

/// Says what a preparation does, without what changes from second to second: `installs packages (step 3 of 3)`.
pub(crate) fn step(progress: &PrepareProgress) -> String {
    match progress.steps {
        0 | 1 => progress.what.clone(),
        steps => format!("{} (step {} of {steps})", progress.what, progress.step),
    }
}

/// Draws how far a preparation is, and what it is at: `[#####     ]  24 %  12 of 49 packages  numpy`.
pub(crate) fn progress_bar(progress: &PrepareProgress) -> String {
    let PrepareProgress { detail, done, total, unit, .. } = progress;
    let (done, total) = (*done, *total);
    let count = match (unit.as_str(), total) {
        ("", _) => String::new(),
        ("bytes", 1..) => bar(done, total),
        (_, 1..) => drawn(done, total, &format!("{done} of {total} {unit}")),
        _ if done > 0 => format!("{done} {unit} so far"),
        _ => String::new(),
    };
    [count, detail.clone()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

/// The same in a cell of a table: `installs packages 24 % (12 of 49)`.
pub(crate) fn progress_words(progress: &PrepareProgress) -> String {
    let PrepareProgress { what, detail, done, total, unit, .. } = progress;
    let (done, total) = (*done, *total);
    match (unit.as_str(), total) {
        ("bytes", 1..) => {
            format!("{what} {} % of {}", part(done, total, 100), Mib(total.div_ceil(1 << 20)))
        }
        (_, 1..) => format!("{what} {} % ({done} of {total})", part(done, total, 100)),
        _ if !detail.is_empty() => format!("{what}: {detail}"),
        _ => what.clone(),
    }
}

/// Writes `blue=90 green=10`.
pub(crate) fn shares(shares: &BTreeMap<String, u32>) -> String {
    let some: Vec<_> =
        shares.iter().filter(|(_, percent)| **percent > 0).map(|(name, percent)| format!("{name}={percent}")).collect();
    if some.is_empty() { "-".to_owned() } else { some.join(" ") }
}

/// Writes why a deployment is not as it should be: what it waits for, else what is short of its reserve.
pub(crate) fn why(deployment: &Deployment) -> String {
    let short = deployment.reserve.as_ref().filter(|reserve| reserve.short_since_ms > 0);
    match short {
        Some(reserve) if deployment.reason.is_empty() => format!("ReserveShort: {}", reserve.arithmetic),
        _ => first_line(&deployment.reason).to_owned(),
    }
}

/// Writes `2 of 2`, or what is there until those beyond it have ended.
pub(crate) fn ready(deployment: &Deployment) -> String {
    match deployment.ready.checked_sub(deployment.desired) {
        Some(beyond) if beyond > 0 => format!("{} ready, {beyond} ending", deployment.ready),
        _ => format!("{} of {}", deployment.ready, deployment.desired),
    }
}

/// Writes `4 cores, 14 GiB`.
pub(crate) fn amount(resources: &store::Resources) -> String {
    let noun = if resources.cpu_milli == 1_000 { "core" } else { "cores" };
    let mut text = format!("{} {noun}, {}", Cores(resources.cpu_milli), Mib(resources.memory_mib));
    if resources.disk_mib > 0 {
        text.push_str(&format!(", {} disk", Mib(resources.disk_mib)));
    }
    if resources.gpus > 0 {
        text.push_str(&format!(", {} GPU", resources.gpus));
    }
    text
}

/// Writes a reason without what differs from replica to replica alone: ports, processes and ids.
pub(super) fn cause(reason: &str) -> String {
    let is_of_one = |word: &str| {
        let is_number = word.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_id = matches!(word.len(), 8 | 16)
            && word.bytes().all(|byte| byte.is_ascii_hexdigit())
            && word.bytes().any(|byte| byte.is_ascii_digit());
        is_number || is_id
    };
    let mut text = String::with_capacity(reason.len());
    let mut rest = reason;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let end = rest[start..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(rest.len(), |at| start + at);
        let word = &rest[start..end];
        text.push_str(&rest[..start]);
        text.push_str(if is_of_one(word) { "…" } else { word });
        rest = &rest[end..];
    }
    text + rest
}

pub(super) fn percent(percent: u32) -> String {
    if percent == 0 { "-".to_owned() } else { format!("{percent} %") }
}

/// Returns the first eight digits of an id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

pub(super) fn auth_mode(endpoint: &Endpoint) -> &'static str {
    match endpoint.spec.as_ref().map(|spec| spec.auth_mode()) {
        Some(store::AuthMode::None) => "none",
        _ => "key",
    }
}

pub(super) fn runtime_and_size(deployment: &Deployment) -> (&'static str, String) {
    use store::runtime::Runtime;
    let Some(spec) = &deployment.spec else { return ("-", "-".to_owned()) };
    let runtime = match spec.runtime.as_ref().and_then(|runtime| runtime.runtime.as_ref()) {
        Some(Runtime::Python(_)) => "python",
        Some(Runtime::Onnx(_)) => "onnx",
        Some(Runtime::Command(_)) => "command",
        None => "-",
    };
    let size = match spec.instance_type.as_str() {
        "" => spec.resources.as_ref().map(amount).unwrap_or_default(),
        name => name.to_owned(),
    };
    (runtime, size)
}

pub(super) fn node_state(node: &Node) -> Cell {
    match wish(node) {
        Some(wish) => Cell::inked(format!("{},{wish}", node.state), Ink::Yellow),
        None => Cell::state(&node.state),
    }
}

/// Returns what an operator wants of a node, in a word.
pub(crate) fn wish(node: &Node) -> Option<&'static str> {
    match &node.drain {
        Some(drain) if drain.finished_at_ms > 0 => Some("drained"),
        Some(_) => Some("draining"),
        None => node.cordoned.then_some("cordoned"),
    }
}

/// Names what an event is about, the narrowest thing first.
pub(super) fn about(event: &Event) -> String {
    let deployment = match (event.endpoint.as_str(), event.deployment.as_str()) {
        ("", "") => String::new(),
        (endpoint, "") => endpoint.to_owned(),
        (endpoint, deployment) => format!("{endpoint}/{deployment}"),
    };
    let parts = [deployment.as_str(), short(&event.replica), event.node.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        for (done, of, expected) in [
            (0, 10 << 20, "[                    ]   0 %  0 MiB of 10 MiB"),
            (5 << 20, 10 << 20, "[##########          ]  50 %  5 MiB of 10 MiB"),
            (u64::MAX, 1, "[####################] 100 %  16 EiB of 1 MiB"),
        ] {
            let drawn = bar(done, of);
            assert_eq!(drawn.split("  ").next(), expected.split("  ").next(), "{drawn}");
            assert!(drawn.starts_with(&expected[..28]), "{drawn}");
        }
    }

    #[test]
    fn ages_read_like_people_write_them() {
        for (at_ms, now_ms, text) in [(0, 9, "-"), (5, 4, "0s"), (1_000, 1_500, "0s"), (1_000, 253_000, "4m12s")] {
            assert_eq!(age(at_ms, now_ms), text);
        }
    }

    #[test]
    fn shares_leave_out_what_is_nothing() {
        assert_eq!(
            shares(&[("blue".to_owned(), 90), ("green".to_owned(), 10), ("red".to_owned(), 0)].into()),
            "blue=90 green=10"
        );
        assert_eq!(shares(&BTreeMap::new()), "-");
    }
}
