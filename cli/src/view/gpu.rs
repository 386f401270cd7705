//! GPUs as people see them: what a node has, how each card is doing, and whether any of it is pretended.

use std::collections::BTreeMap;

use berth_client::api::{Gpu, Node};
use berth_core::units::{Count, Mib};

use super::age;
use crate::output::{Cell, Ink, Table};

/// Age of a look above which it is told.
const OLD_MS: u64 = 3_000;

/// Writes how many devices of a node are given: `1/2`, with what is out and what is only pretended.
pub(crate) fn summary(node: &Node) -> Cell {
    let (capacity, held) = (node.capacity.unwrap_or_default(), node.allocated.unwrap_or_default());
    if capacity.gpus == 0 && node.gpus.is_empty() {
        return "-".into();
    }
    let mut text = format!("{}/{}", held.gpus, capacity.gpus);
    let shared = shared_mib(&node.gpus, held.gpus);
    if shared > 0 {
        text.push_str(&format!(" +{} shared", Mib(shared)));
    }
    let slices: usize = node.gpus.iter().map(|gpu| gpu.slices.len()).sum();
    if slices > 0 {
        text.push_str(&format!(" +{}", Count(slices as u64, "slice")));
    }
    let out = node.gpus.iter().filter(|gpu| gpu.state != "healthy").count();
    if out > 0 {
        text.push_str(&format!(", {out} out"));
    }
    if node.gpus.iter().any(|gpu| gpu.simulated) {
        text.push_str(" simulated");
    }
    Cell::inked(text, if out > 0 { Ink::Red } else { Ink::Plain })
}

/// Returns the word of a card's state. What a lost node said last is no news of its cards.
pub(crate) fn word<'a>(node: &Node, gpu: &'a Gpu) -> &'a str {
    if node.state == "lost" { "not heard" } else { &gpu.state }
}

/// Counts the memory that is given in shares: what is given of cards beyond those that are given whole.
fn shared_mib(gpus: &[Gpu], whole: u64) -> u64 {
    let mut held: Vec<u64> = gpus.iter().filter(|gpu| gpu.slices.is_empty()).map(|gpu| gpu.held_mib).collect();
    held.sort_unstable_by(|a, b| b.cmp(a));
    held.into_iter().skip(usize::try_from(whole).unwrap_or(usize::MAX)).sum()
}

/// Writes what cards a node has: `2×H100 80 GiB`.
pub(super) fn models(node: &Node) -> String {
    let mut alike: BTreeMap<(String, u64, Vec<String>), u64> = BTreeMap::new();
    for gpu in &node.gpus {
        *alike.entry((gpu.model.clone(), gpu.memory_mib, gpu.slices.clone())).or_default() += 1;
    }
    let shown = alike.into_iter().map(|((model, mib, slices), count)| match slices.first() {
        Some(profile) => format!("{count}×{model} as {}×{profile}", slices.len()),
        None => format!("{count}×{model} {}", Mib(mib)),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Lays out every card of a node.
pub(crate) fn table(gpus: &[Gpu], now_ms: u64) -> Table {
    let mut table = Table::new(&["GPU", "MODEL", "STATE", "GIVEN", "USED", "BUSY", "TEMP", "POWER", "ECC", "WHY"]);
    for gpu in gpus {
        let sample = gpu.sample.clone().unwrap_or_default();
        let given = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let ecc = sample.ecc_corrected.zip(sample.ecc_uncorrected);
        table.push(vec![
            gpu.uuid.as_str().into(),
            gpu.model.as_str().into(),
            Cell::inked(gpu.state.as_str(), ink(&gpu.state)),
            format!("{}/{}", Mib(gpu.held_mib), Mib(gpu.memory_mib)).into(),
            given(gpu.sample.as_ref().map(|sample| Mib(sample.used_mib).to_string())).into(),
            given(sample.utilization_percent.map(|percent| format!("{percent} %"))).into(),
            given(sample.temperature_celsius.map(|degrees| format!("{degrees} °C"))).into(),
            given(sample.power_milliwatt.map(|milliwatt| format!("{} W", milliwatt / 1_000))).into(),
            given(ecc.map(|(corrected, uncorrected)| format!("{corrected}+{uncorrected}"))).into(),
            why(gpu, now_ms).into(),
        ]);
    }
    table
}

/// Says what is to be known of a card beside its numbers.
fn why(gpu: &Gpu, now_ms: u64) -> String {
    let mut parts = Vec::new();
    if gpu.state != "healthy" {
        parts.push(format!("{} for {}", gpu.reason, age(gpu.since_ms, now_ms)));
        if gpu.strikes > 1 {
            parts.push(format!("{} faults in a row", gpu.strikes));
        }
    }
    if gpu.silent_ms >= OLD_MS {
        parts.push(format!("seen {} s ago", gpu.silent_ms / 1_000));
    }
    if gpu.simulated {
        parts.push("simulated".to_owned());
    }
    parts.join("; ")
}

/// Returns the colour of a card's state.
pub(crate) fn ink(state: &str) -> Ink {
    match state {
        "healthy" => Ink::Green,
        "unknown" => Ink::Yellow,
        _ => Ink::Red,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(uuid: &str, state: &str, slices: &[&str]) -> Gpu {
        Gpu {
            uuid: uuid.into(),
            model: "H100".into(),
            memory_mib: 81_920,
            state: state.into(),
            reason: "XID 79: fell off the bus".into(),
            since_ms: 1_000,
            simulated: true,
            strikes: 2,
            silent_ms: 12_000,
            slices: slices.iter().map(|profile| (*profile).to_owned()).collect(),
            ..Gpu::default()
        }
    }

    #[test]
    fn what_is_out_and_what_is_pretended_is_said() {
        let resources = |gpus| Some(berth_client::store::Resources { gpus, ..Default::default() });
        let node = Node {
            capacity: resources(2),
            allocated: resources(1),
            gpus: vec![card("A", "healthy", &[]), card("B", "probation", &["1g.10gb", "1g.10gb"])],
            ..Node::default()
        };
        assert_eq!(summary(&node).text(), "1/2 +2 slices, 1 out simulated");
        assert_eq!(models(&node), "1×H100 80 GiB, 1×H100 as 2×1g.10gb");
        assert_eq!(summary(&Node::default()).text(), "-");
        let given = |mib| Gpu { held_mib: mib, ..card("C", "healthy", &[]) };
        let shares = Node { gpus: vec![given(6_144), given(81_920)], ..node.clone() };
        assert_eq!(summary(&shares).text(), "1/2 +6 GiB shared simulated");
        let rows = table(&node.gpus, 61_000).render(false);
        assert!(
            rows.contains("XID 79: fell off the bus for 1m00s; 2 faults in a row; seen 12 s ago; simulated"),
            "{rows}"
        );
    }
}
