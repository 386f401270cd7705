//! A deployment on its way, as lines: what does the same on one node is one line, however many it is.

use std::collections::BTreeMap;

use berth_client::api::{Deployment, Replica, Verdict};
use berth_core::{time::Millis, units::Count};
use berth_proto::node::v1::PrepareProgress;

use super::text::{self, age, first_line, short};
use crate::output::{Output, state_ink};

/// A line, and what of it changes with the clock alone.
pub(crate) type Ticking = (String, String);

/// The stages of a replica in the order it goes through them; anything else comes after.
const STAGES: &[&str] =
    &["placed", "preparing", "starting", "crash_looping", "warm", "serving", "draining", "stopped", "failed", "lost"];

/// Replicas that do the same on one node.
struct Group<'a> {
    node: &'a str,
    state: &'a str,
    reason: String,
    /// How far the one is that has most to do, of those that prepare.
    progress: Option<&'a PrepareProgress>,
    replicas: Vec<&'a Replica>,
}

/// Describes a deployment and what it waits for.
pub(crate) fn lines(
    out: &Output,
    deployment: &Deployment,
    replicas: &[Replica],
    verdict: Option<&Verdict>,
    now_ms: u64,
) -> Vec<Ticking> {
    let state = out.paint(&deployment.provisioning_state, state_ink(&deployment.provisioning_state));
    let ready = match deployment.ready > deployment.desired {
        true => text::ready(deployment),
        false => format!("{}/{} ready", deployment.ready, deployment.desired),
    };
    let head = format!("{}/{}  {state}  {ready}", deployment.endpoint, deployment.name);
    let mut lines = vec![(head, age(deployment.created_at_ms, now_ms))];
    lines.extend(groups(replicas).iter().map(|group| group.line(out, now_ms)));
    lines.extend(next_try(deployment, now_ms));
    // The verdict's first line counts what is shown above, and so do those that say what it waits for.
    let refusals = verdict.map(|verdict| verdict.text.lines().skip(1)).into_iter().flatten();
    let refusals = refusals.filter(|line| !line.starts_with("  waits: "));
    lines.extend(refusals.map(|line| (line.to_owned(), String::new())));
    lines
}

/// Says why nothing is there between two tries, and when the next one comes.
pub(crate) fn next_try(deployment: &Deployment, now_ms: u64) -> Option<Ticking> {
    if deployment.last_failed_replica.is_empty() || deployment.retry_at_ms <= now_ms {
        return None;
    }
    let (node, reason) = (&deployment.last_failed_node, first_line(&deployment.reason));
    let line = format!("  {node}  failed  {}  {reason}", short(&deployment.last_failed_replica));
    Some((line, format!("next try in {}", Millis(deployment.retry_at_ms - now_ms))))
}

fn groups(replicas: &[Replica]) -> Vec<Group<'_>> {
    let stage = |state: &str| STAGES.iter().position(|stage| *stage == state).unwrap_or(STAGES.len());
    let mut groups: BTreeMap<_, Group<'_>> = BTreeMap::new();
    for replica in replicas {
        let (node, state) = (replica.node.as_str(), replica.state.as_str());
        // `instance 3 of 40` tells placed replicas apart that do the same; a serving one needs no reason.
        let progress = replica.progress.as_ref();
        let step = progress.map(text::step);
        let reason = match &step {
            Some(step) => step.as_str(),
            None if matches!(state, "placed" | "serving") => "",
            None => first_line(&replica.reason),
        };
        let cause = text::cause(reason);
        let group = groups.entry((node, stage(state), state, cause.clone()));
        let group = group.or_insert(Group { node, state, reason: reason.to_owned(), progress, replicas: Vec::new() });
        if progress.map(far) < group.progress.map(far) {
            group.progress = progress;
        }
        if group.reason != reason {
            // Which port or replica it is about differs, and of many none is meant.
            group.reason = cause;
        }
        group.replicas.push(replica);
    }
    groups.into_values().collect()
}

/// Orders what prepares the same: thousandths of its step.
fn far(progress: &PrepareProgress) -> u64 {
    progress.done.saturating_mul(1_000) / progress.total.max(1)
}

// === impl Group ===

impl Group<'_> {
    fn line(&self, out: &Output, now_ms: u64) -> Ticking {
        let who = match self.replicas.as_slice() {
            [one] => short(&one.replica).to_owned(),
            many => Count(many.len() as u64, "replica").to_string(),
        };
        let state = out.paint(self.state, state_ink(self.state));
        let line = format!("  {}  {state}  {who}  {}", self.node, self.reason);
        let since = self.replicas.iter().map(|replica| replica.since_ms).min().unwrap_or(now_ms);
        let far = self.progress.map(text::progress_bar).filter(|bar| !bar.is_empty());
        let ticking = far.into_iter().chain([age(since, now_ms)]).collect::<Vec<_>>().join("  ");
        (line.trim_end().to_owned(), ticking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn replica(id: u64, node: &str, state: &str, reason: &str, since_ms: u64) -> Replica {
        Replica {
            replica: format!("{id:016x}"),
            node: node.into(),
            state: state.into(),
            reason: reason.into(),
            since_ms,
            ..Replica::default()
        }
    }

    fn shown(deployment: &Deployment, replicas: &[Replica], verdict: Option<&Verdict>) -> String {
        let out = Output::new(Format::Table, false, true);
        let lines = lines(&out, deployment, replicas, verdict, 70_000);
        lines.into_iter().map(|(line, ticking)| format!("{line} | {ticking}\n")).collect()
    }

    fn deployment() -> Deployment {
        Deployment {
            endpoint: "fraud".into(),
            name: "blue".into(),
            provisioning_state: "Scaling".into(),
            ready: 2,
            desired: 40,
            created_at_ms: 1_000,
            ..Deployment::default()
        }
    }

    #[test]
    fn what_does_the_same_on_a_node_is_one_line() {
        let mut replicas: Vec<_> =
            (0..15).map(|id| replica(id, "node-2", "starting", "its process does not answer yet", 60_000)).collect();
        replicas[3].since_ms = 50_000;
        let mute = |id: u64, what: &str| replica(id, "node-2", "warm", what, 60_000);
        replicas.extend((40..60).map(|id| mute(id, &format!("no answer from port {}", 40_000 + id))));
        replicas.extend((60..63).map(|id| mute(id, &format!("after {id:08x} on node-1"))));
        replicas.push(replica(0xab00_0000_0000_0001, "node-2", "preparing", "builds its environment\nmore", 69_000));
        replicas.extend((20..22).map(|id| replica(id, "node-1", "serving", "answered", 10_000)));
        replicas.extend((30..33).map(|id| replica(id, "node-1", "placed", &format!("instance {id} of 40"), 69_000)));
        let verdict =
            "fraud/blue  33/40 placed\n  node-1  cpu  needs 4, free 0\n  waits: replicas\n  nearest: add a node";
        let verdict = Verdict { text: verdict.into(), ..Verdict::default() };
        let expected = "\
fraud/blue  Scaling  2/40 ready | 1m09s
  node-1  placed  3 replicas | 1s
  node-1  serving  2 replicas | 1m00s
  node-2  preparing  ab000000  builds its environment | 1s
  node-2  starting  15 replicas  its process does not answer yet | 20s
  node-2  warm  3 replicas  after … on node-1 | 10s
  node-2  warm  20 replicas  no answer from port … | 10s
  node-1  cpu  needs 4, free 0 | 
  nearest: add a node | 
";
        assert_eq!(shown(&deployment(), &replicas, Some(&verdict)), expected);
    }

    #[test]
    fn what_is_prepared_says_how_far_it_is() {
        let progress = |what: &str, detail: &str, step: u32, (done, total): (u64, u64), unit: &str| PrepareProgress {
            what: what.into(),
            detail: detail.into(),
            step,
            steps: if step == 0 { 0 } else { 3 },
            done,
            total,
            unit: unit.into(),
        };
        let fetches = |done: u64| progress("fetches m.onnx", "", 0, (done << 20, 40 << 20), "bytes");
        let of = |id: u64, node: &str, progress: PrepareProgress| Replica {
            progress: Some(progress),
            ..replica(id << 32, node, "preparing", "it is got ready", 60_000)
        };
        let replicas = [
            of(0x1000_0001, "node-1", fetches(10)),
            of(0x1000_0002, "node-1", fetches(30)),
            of(0x2000_0001, "node-2", progress("makes a virtual environment", "", 1, (0, 0), "")),
            of(0x3000_0001, "node-3", progress("collects packages", "numpy, 18.0 MB", 2, (7, 0), "packages")),
            of(0x4000_0001, "node-4", progress("installs packages", "", 3, (12, 48), "packages")),
        ];
        let expected = "\
fraud/blue  Scaling  2/40 ready | 1m09s
  node-1  preparing  2 replicas  fetches m.onnx | [#####               ]  25 %  10 MiB of 40 MiB  10s
  node-2  preparing  20000001  makes a virtual environment (step 1 of 3) | 10s
  node-3  preparing  30000001  collects packages (step 2 of 3) | 7 packages so far  numpy, 18.0 MB  10s
  node-4  preparing  40000001  installs packages (step 3 of 3) | [#####               ]  25 %  12 of 48 packages  10s
";
        assert_eq!(shown(&deployment(), &replicas, None), expected);
        let words: Vec<_> = replicas.iter().map(|it| text::progress_words(it.progress.as_ref().unwrap())).collect();
        let expected = [
            "fetches m.onnx 25 % of 40 MiB",
            "fetches m.onnx 75 % of 40 MiB",
            "makes a virtual environment",
            "collects packages: numpy, 18.0 MB",
            "installs packages 25 % (12 of 48)",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_deployment_that_shrinks_says_what_ends() {
        for (ready, desired, expected) in [(2, 2, "2 of 2"), (1, 2, "1 of 2"), (28, 2, "28 ready, 26 ending")] {
            assert_eq!(crate::view::ready(&Deployment { ready, desired, ..deployment() }), expected);
        }
        let shrinks = Deployment { ready: 28, desired: 2, ..deployment() };
        assert!(shown(&shrinks, &[], None).starts_with("fraud/blue  Scaling  28 ready, 26 ending"));
    }

    #[test]
    fn between_two_tries_the_last_failure_stands_there() {
        let failed = Deployment {
            reason: "exited with code 3: KeyError\nTraceback".into(),
            retry_at_ms: 74_500,
            last_failed_replica: "00c0ffee00000001".into(),
            last_failed_node: "node-1".into(),
            ..deployment()
        };
        let expected = "\
fraud/blue  Scaling  2/40 ready | 1m09s
  node-1  failed  00c0ffee  exited with code 3: KeyError | next try in 4s
";
        assert_eq!(shown(&failed, &[], None), expected);
        let due = Deployment { retry_at_ms: 69_000, ..failed };
        assert_eq!(shown(&due, &[], None).lines().count(), 1, "the next try is due: nothing stands still");
    }
}
