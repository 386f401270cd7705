//! Rollouts as they are typed, and the one thing that is done to a single replica.

use clap::{Args, Subcommand};

use super::{KubectlScope, WaitArgs};

/// `berth rollout …`
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutVerb {
    /// Follow a rollout until all instances are of the newest generation and serve.
    Status {
        #[command(flatten)]
        of: RolloutOf,
        /// Accepted for kubectl's sake: it waits anyway.
        #[arg(short, long, hide = true)]
        watch: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Leave what serves as it is until `resume`: replicas of earlier generations are not replaced.
    Pause(RolloutOf),
    /// Go on with a rollout that is paused.
    Resume(RolloutOf),
    /// Start every replica anew, one after another, as a rollout of the same spec.
    Restart {
        #[command(flatten)]
        of: RolloutOf,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Go back to the generation before, or to one of `history`: its spec is rolled out as a new generation.
    Undo(UndoArgs),
    /// List the generations one may go back to, and what each changed.
    History {
        #[command(flatten)]
        of: RolloutOf,
        /// Show them again whenever something happens.
        #[arg(short, long)]
        watch: bool,
    },
    /// Show one generation: every field it changed, how far it is, and what happened while it was the newest.
    Show(ShowRolloutArgs),
}

/// What a rollout is of.
#[derive(Debug, Args)]
pub(crate) struct RolloutOf {
    /// ENDPOINT/DEPLOYMENT; an ENDPOINT stands for all of its deployments.
    #[arg(value_name = "ENDPOINT[/DEPLOYMENT]")]
    pub(crate) of: String,
    #[command(flatten)]
    pub(crate) scope: KubectlScope,
}

/// `berth rollout show`.
#[derive(Debug, Args)]
pub(crate) struct ShowRolloutArgs {
    /// The deployment.
    #[arg(value_name = "ENDPOINT/DEPLOYMENT")]
    pub(crate) of: String,
    /// The generation, as `berth rollout history` numbers them; the newest when absent.
    #[arg(value_name = "N")]
    pub(crate) generation: Option<u64>,
}

/// `berth rollout undo`.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    pub(crate) of: RolloutOf,
    /// The generation to go back to; the one before when absent.
    #[arg(long, visible_alias = "to-revision", value_name = "N")]
    pub(crate) to_generation: Option<u64>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// `berth replica …`
#[derive(Debug, Subcommand)]
pub(crate) enum ReplicaVerb {
    /// Take a replica off the traffic, let it finish what it has, and end it; its deployment gets another.
    Replace(ReplaceArgs),
}

/// `berth replica replace`.
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// Its id, or the beginning of one, as `berth get replicas` shows it.
    #[arg(value_name = "REPLICA")]
    pub(crate) replica: String,
    /// Cut what it works on: for a process that hangs.
    #[arg(long)]
    pub(crate) now: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}
