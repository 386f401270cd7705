//! `berth operator snapshot inspect` and `restore`: what needs no cluster, because there may be none left.

use std::path::Path;

use berth_coordinator::{RestoreOptions, inspect as read};
use berth_core::{state::ClusterState, units::Count};
use serde::Serialize;

use super::confirm;
use crate::{
    args::RestoreArgs,
    output::{Fault, Ink, Output},
    view::iso,
};

/// What a saved state holds, for programs.
#[derive(Serialize)]
struct Held {
    cluster_id: String,
    index: u64,
    time_ms: u64,
    feature_level: u32,
    endpoints: Vec<String>,
    deployments: Vec<String>,
    replicas: usize,
    nodes: Vec<String>,
    assets: usize,
}

/// What was restored, for programs.
#[derive(Serialize)]
struct Made {
    data_dir: String,
    member_id: String,
    saved_at: u64,
    /// Digests of models and code whose bytes are not there.
    missing: Vec<String>,
    #[serde(flatten)]
    held: Held,
}

// === impl Held ===

impl Held {
    fn of(state: &ClusterState) -> Self {
        Self {
            cluster_id: state.cluster_id.clone(),
            index: state.applied.0,
            time_ms: state.time.millis(),
            feature_level: state.feature_level,
            endpoints: state.endpoints.keys().map(ToString::to_string).collect(),
            deployments: state.deployments.keys().map(ToString::to_string).collect(),
            replicas: state.replicas.len(),
            nodes: state.nodes.values().map(|node| node.profile.name.to_string()).collect(),
            assets: state.assets.len(),
        }
    }
}

pub(super) fn inspect(file: &Path, out: &Output) -> Result<(), Fault> {
    let state = read(file)?;
    let held = Held::of(&state);
    Ok(out.value(&held, &held.cluster_id, || {
        let or_none = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(" ") };
        for (key, value) in [
            ("cluster", held.cluster_id.clone()),
            ("saved at", format!("entry {}, {}", held.index, iso(held.time_ms))),
            ("endpoints", or_none(&held.endpoints)),
            ("deployments", or_none(&held.deployments)),
            ("replicas", held.replicas.to_string()),
            ("nodes", or_none(&held.nodes)),
            ("assets", format!("{}, by digest: a snapshot holds no bytes of them", held.assets)),
        ] {
            out.line(format!("{key:11} = {value}"));
        }
    })?)
}

pub(super) fn restore(args: RestoreArgs, out: &Output) -> Result<(), Fault> {
    let RestoreArgs { file, data_dir, cluster_key, advertise, yes } = args;
    let state = read(&file)?;
    let what = format!(
        "This makes a coordinator of the state at entry {} ({}): {} and {}.\nWhatever was changed after that is lost, and \
         none of the old coordinators may ever run again.",
        state.applied,
        iso(state.time.millis()),
        Count(state.endpoints.len() as u64, "endpoint"),
        Count(state.deployments.len() as u64, "deployment"),
    );
    confirm(out, &what, yes)?;
    let options = RestoreOptions { snapshot: file, data_dir, key_file: cluster_key, advertise };
    let restored = berth_coordinator::restore(&options)?;
    let data_dir = options.data_dir.display().to_string();
    let made = Made {
        data_dir: data_dir.clone(),
        member_id: restored.member_id.to_string(),
        saved_at: restored.saved_at.0,
        missing: restored.missing.iter().map(|asset| asset.digest.to_string()).collect(),
        held: Held::of(&restored.state),
    };
    Ok(out.value(&made, &made.member_id, || {
        out.done(format!("{data_dir} holds member {} of cluster {}", made.member_id, made.held.cluster_id));
        for asset in &restored.missing {
            let warning = out.paint("warning:", Ink::Yellow);
            out.line(format!(
                "{warning} the bytes of `{}` ({}) are not in {data_dir}/artifacts: apply its file again to upload them",
                asset.name, asset.digest
            ));
        }
        let key = options.key_file.as_ref().map(|path| format!(" --cluster-key {}", path.display()));
        out.aside(format!(
            "next: berth coordinator --data-dir {data_dir}{} --api {} --bootstrap-expect 1\nothers join it with --join {}",
            key.unwrap_or_default(),
            options.advertise,
            options.advertise
        ));
    })?)
}
