//! Rollouts as they are typed.

use clap::{Args, Subcommand};

use super::WaitArgs;

/// `berth rollout …`
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutVerb {
    /// Follow a rollout until all instances are of the newest generation and serve.
    Status {
        #[command(flatten)]
        of: RolloutOf,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Leave what serves as it is until `resume`: replicas of earlier generations are not replaced.
    Pause(RolloutOf),
    /// Go on with a rollout that is paused.
    Resume(RolloutOf),
    /// Go back to the generation before, or to one of `history`: its spec is rolled out as a new generation.
    Undo(UndoArgs),
    /// List the generations one may go back to, and what each changed.
    History(RolloutOf),
}

/// What a rollout is of.
#[derive(Debug, Args)]
pub(crate) struct RolloutOf {
    /// ENDPOINT/DEPLOYMENT; an ENDPOINT stands for all of its deployments.
    #[arg(value_name = "ENDPOINT[/DEPLOYMENT]")]
    pub(crate) of: String,
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
