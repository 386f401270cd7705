//! Parts: a plan of any size as log entries of a bounded one.

use crate::{
    id::{LogIndex, Term},
    model::{DeploymentKey, ReleaseCause},
    state::{Plan, Step},
};

/// Bytes of a part by the estimate below. Entries may hold 256 KiB; the estimate leaves room for being wrong by a third.
const PART_BYTES_MAX: usize = 192 << 10;
/// Steps of a part: applying one is one pause of the state machine.
const PART_STEPS_MAX: usize = 1_000;

/// Splits steps into plans that each fit into an entry; no steps give no plan.
pub(super) fn split(term: Term, based_on: LogIndex, steps: Vec<Step>) -> Vec<Plan> {
    let mut parts: Vec<Vec<Step>> = Vec::new();
    let mut bytes = 0;
    for step in steps {
        let size = estimate_bytes(&step);
        match parts.last_mut() {
            Some(part) if bytes + size <= PART_BYTES_MAX && part.len() < PART_STEPS_MAX => part.push(step),
            _ => {
                parts.push(vec![step]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    let count = parts.len() as u32;
    let plan = |(part, steps)| Plan { term, based_on, part: part as u32, parts: count, steps };
    parts.into_iter().enumerate().map(plan).collect()
}

/// Estimates what a step takes in an entry, rather too much than too little.
fn estimate_bytes(step: &Step) -> usize {
    const FIXED: usize = 96;
    FIXED
        + match step {
            Step::Place { key, devices, reason, .. } | Step::HoldSlot { key, devices, reason, .. } => {
                let devices: usize = devices.iter().map(|grant| grant.uuid.len() + 24).sum();
                // A spent slot is named with its cause, and a cause with a node.
                names(key) + devices + reason.len() + 96
            }
            Step::Serve { .. } => 0,
            Step::Preempt { to, .. } => names(to),
            Step::ReleaseSlot { cause: ReleaseCause::Yielded { to }, .. } => names(to),
            Step::ReleaseSlot { .. } => 0,
            Step::NoteReserve { key, reason, .. } => names(key) + reason.len(),
            Step::Drain { reason, .. } | Step::Stop { reason, .. } => reason.len(),
        }
}

fn names(key: &DeploymentKey) -> usize {
    key.endpoint.as_str().len() + key.deployment.as_str().len()
}
