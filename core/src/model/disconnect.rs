//! Disconnect: what a deployment wants when a node that runs it cannot be reached.
//!
//! The cluster's rule suits what is stateless and quick to start. A model that takes half an hour to load is better
//! waited for; one that writes to a shared place must not run twice, even where nobody can tell it to stop.

use serde::{Deserialize, Serialize};

use crate::{error::Problems, time::Millis};

/// The longest a deployment may wait for a node: what is away for a week is not coming back.
const LOST_AFTER_MAX: Millis = Millis::from_secs(7 * 24 * 3_600);
/// The least an agent waits for coordinators before it stops a replica: an election and a few tries to connect.
const STOP_AFTER_MIN: Millis = Millis::from_secs(10);

/// What a deployment wants when a node that runs it cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    /// How long a node must be silent before replicas on it are replaced; the cluster's setting when absent, which it
    /// can only lengthen.
    pub lost_after: Option<Millis>,
    /// Whether they are replaced at all.
    pub replace: bool,
    /// How long an agent without any coordinator keeps them running; for ever when absent.
    pub stop_on_client_after: Option<Millis>,
    /// Which of two copies stays when the node is back.
    pub reconcile: Reconcile,
}

/// Which of two copies stays when a lost node is back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconcile {
    /// The one that serves; of two that do, the elder.
    #[default]
    KeepServing,
    /// The one that was there before, as soon as it serves again.
    KeepOriginal,
    /// The one that was placed in its stead, as soon as it serves.
    KeepReplacement,
}

// === impl Disconnect ===

impl Default for Disconnect {
    fn default() -> Self {
        Self { lost_after: None, replace: true, stop_on_client_after: None, reconcile: Reconcile::default() }
    }
}

impl Disconnect {
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Some(span) = self.lost_after.filter(|span| *span > LOST_AFTER_MAX || *span == Millis(0)) {
            problems.add_try(
                "disconnect.lost_after",
                format!("{span} is out of range"),
                format!("use at most {LOST_AFTER_MAX}; what is less than the cluster's setting changes nothing"),
            );
        }
        if self.lost_after.is_some() && !self.replace {
            problems.add_try(
                "disconnect.lost_after",
                "says when replicas are replaced, and `replace: false` that they are not",
                "keep one of the two",
            );
        }
        if let Some(span) = self.stop_on_client_after.filter(|span| !(STOP_AFTER_MIN..=LOST_AFTER_MAX).contains(span)) {
            problems.add_try(
                "disconnect.stop_on_client_after",
                format!("{span} is out of range"),
                format!("use {STOP_AFTER_MIN} to {LOST_AFTER_MAX}: an election must not stop a model"),
            );
        }
    }
}

// === impl Reconcile ===

impl Reconcile {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::KeepServing, Self::KeepOriginal, Self::KeepReplacement];

    /// Returns the word people write.
    pub fn word(self) -> &'static str {
        match self {
            Self::KeepServing => "keep_serving",
            Self::KeepOriginal => "keep_original",
            Self::KeepReplacement => "keep_replacement",
        }
    }
}
