//! No width cuts a heading or a figure of the dashboard.

use super::*;

/// A cluster in which everything takes more room than usual.
fn roomy_board() -> BoardUpdate {
    let mut update = board();
    update.endpoints[1].name = "fraud-detection-of-cards".into();
    update.endpoints[1].traffic = [("champion-a", 57), ("challenger", 31), ("shadow", 12)]
        .map(|(name, percent)| (name.to_owned(), percent))
        .into();
    for (node, replicas) in update.nodes.iter_mut().zip([117, 231, 34, 45, 56]) {
        node.node = format!("gpu-worker-of-rack-{}", &node.node[5..]);
        node.replicas = replicas;
    }
    update.nodes[1].gpus[0].state = "failed".into();
    for of in update
        .loads
        .iter_mut()
        .map(|it| &mut it.endpoint)
        .chain(update.deployments.iter_mut().map(|it| &mut it.endpoint))
    {
        *of = "fraud-detection-of-cards".into();
    }
    update.deployments[0].desired = 120;
    update
}

/// How a line begins, and what is in it; of what stands beside `or` one will do.
type Told = &'static [(&'static str, &'static [&'static str])];

const USUAL: Told = &[
    ("ENDPOINT", &["STATE", "READY", "REQUESTS/S or REQ/S", "P95", "FAILED", "TRAFFIC"]),
    ("digits", &["Updating", "0/0", "no traffic"]),
    (
        "fraud",
        &["Succeeded", "2/3", "1880", "50 ms", "0.5 %", "blue", "90", "green", "10", "mirror green 5 or green 10…"],
    ),
    ("NODE", &["STATE", "CPU", "MEMORY", "GPU", "REPLICAS"]),
    ("node-1", &["ready", "25 %", "12 %"]),
    ("node-2", &["ready", "50 %", "24 %", "32 %"]),
    ("node-3", &["ready,cordoned", "0 %"]),
    ("node-4", &["lost", "100 %", "48 %"]),
    ("node-5", &["ready,draining", "12 %", "6 %"]),
];

const ROOMY: Told = &[
    ("ENDPOINT", &["STATE", "READY", "REQUESTS/S or REQ/S", "P95", "FAILED", "TRAFFIC"]),
    ("fraud-detection", &["Succeeded", "2/121", "1880", "50 ms", "0.5 %", "champion-a or champio…", "57"]),
    ("fraud-detection", &["challenger or challen… or 57…", "mirror green 5 or 57… or 31… or 12…"]),
    ("NODE", &["STATE", "CPU", "MEMORY", "GPU", "REPLICAS"]),
    ("gpu-worker-of-rack-1", &["25 %", "12 %", "117"]),
    ("gpu-worker-of-rack-2", &["50 %", "24 %", "32 %", "231", "1 GPU out"]),
];

#[test]
fn no_width_cuts_a_figure_of_the_dashboard() {
    for (update, told) in [(board(), USUAL), (roomy_board(), ROOMY)] {
        for width in 80..=220 {
            // The lowest, and one of the others in turn.
            for height in [24, 24 + width % 7 * 6] {
                let mut app = app(View::Dashboard);
                app.update(Msg::Board(Box::new(update.clone())));
                let text = text_of(&mut app, (width, height));
                for (begin, parts) in told {
                    let has = |line: &str| parts.iter().all(|part| part.split(" or ").any(|one| line.contains(one)));
                    let is_told = text.lines().any(|line| line.starts_with(begin) && has(line));
                    assert!(is_told, "{begin} lacks one of {parts:?} at {width}x{height}:\n{text}");
                }
            }
        }
    }
}

/// What the first line has no room for stands in the second, whole.
#[test]
fn who_leads_is_told_whole() {
    let leads = "leader coordinator-1.rack-7.example:7400  version 123";
    for width in 80..=220 {
        let mut update = board();
        if let Some(info) = &mut update.info {
            info.leader_address = "coordinator-1.rack-7.example:7400".into();
        }
        let mut app = app(View::Dashboard);
        app.update(Msg::Board(Box::new(update)));
        let text = text_of(&mut app, (width, 24));
        assert!(text.lines().take(2).any(|line| line.contains(leads)), "{width}: {text}");
    }
}
