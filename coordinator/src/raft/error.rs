//! What a caller of consensus can be told, each mapped to one code of the product.

use berth_core::{
    error::{Code, Error as Plain, Problem},
    id::MemberId,
};

use crate::store::{StoreError, StoreFailure};

/// Why consensus did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No leader answered before the deadline. Nothing was proposed.
    #[error("no leader: {why}")]
    NoLeader {
        /// What stood in the way last.
        why: String,
    },
    /// The command may have been replicated, or may yet be.
    #[error("the outcome is unknown: {why}")]
    OutcomeUnknown {
        /// Why nobody can tell.
        why: String,
    },
    /// The deadline passed; this call changed nothing.
    #[error("the deadline passed while waiting for {doing}")]
    Deadline {
        /// What was waited for.
        doing: String,
    },
    /// The command is too long for one log entry.
    #[error("a command of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The other side belongs to another cluster.
    #[error("{address} belongs to another cluster than {cluster}")]
    ForeignCluster {
        /// Who refused.
        address: String,
        /// This member's cluster.
        cluster: String,
    },
    /// The other side holds another cluster key.
    #[error("{address} refuses the cluster key of this member")]
    ClusterKey {
        /// Who refused.
        address: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such member.
    #[error("no member {0}")]
    UnknownMember(MemberId),
    /// The membership does not allow it.
    #[error("the membership cannot be changed so: {why}")]
    Membership {
        /// Which rule stands against it.
        why: String,
    },
    /// The options contradict themselves.
    #[error("consensus cannot start with these options")]
    Options {
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
    /// This member has stopped.
    #[error("this member has stopped: {why}")]
    Stopped {
        /// Why.
        why: String,
    },
}

// === impl Error ===

impl Error {
    /// Returns the stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::NoLeader { .. } => Code::NoLeader,
            Self::OutcomeUnknown { .. } => Code::Unknown,
            Self::Deadline { .. } => Code::Timeout,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::ForeignCluster { .. } => Code::ForeignCluster,
            Self::ClusterKey { .. } => Code::ClusterKey,
            Self::Store(broken) => broken.code(),
            Self::UnknownMember(_) => Code::MemberNotFound,
            Self::Membership { .. } => Code::Transition,
            Self::Options { .. } => Code::Invalid,
            Self::Stopped { .. } => Code::Unavailable,
        }
    }

    /// Returns whether the command of a failed proposal may be applied all the same. If so, only the same command under
    /// the same request id may be proposed again.
    pub fn may_have_been_applied(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }
}

impl From<StoreFailure> for Error {
    fn from(failure: StoreFailure) -> Self {
        Self::Store(failure.into())
    }
}

impl From<Error> for Plain {
    fn from(broken: Error) -> Self {
        let plain = Self::new(broken.code(), broken.to_string());
        match broken {
            Error::Store(broken) => broken.into(),
            Error::NoLeader { .. } => plain
                .why("a change needs a leader, and a leader needs a majority of the members")
                .try_("the same call again; if it stays so, see which members are up"),
            Error::OutcomeUnknown { .. } => plain.try_("the same call again with the same request id"),
            Error::Deadline { .. } => plain.try_("the same call again with more time"),
            Error::ForeignCluster { .. } => plain
                .why("two clusters share an address, or a member was pointed at the wrong one")
                .try_("check --join and --peers"),
            Error::ClusterKey { .. } => plain
                .why("members prove to one another that they hold the same cluster.key")
                .try_("copy cluster.key from a member that runs, mode 0600"),
            Error::Options { problems } => Self { problems, ..plain },
            Error::TooLarge { .. } | Error::UnknownMember(_) | Error::Membership { .. } | Error::Stopped { .. } => {
                plain
            }
        }
    }
}
