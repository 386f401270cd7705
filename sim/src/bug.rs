//! Planted bugs: each makes one rule of the product fail, so that the invariants can show they would notice.
//!
//! They live in this shell alone, as a lie told to a machine or about it, and work only in builds with debug assertions
//! (`dev`, `test` and the `sim` profile).

use std::{fmt, str::FromStr};

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $caught_by:literal;)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug { $($(#[$doc])* $name,)* }

        impl Bug {
            /// Every bug.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the word by which it is planted.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Returns the id of the invariant that must catch it.
            pub fn caught_by(self) -> &'static str {
                match self { $(Self::$name => $caught_by,)* }
            }
        }
    };
}

bugs! {
    /// Nodes take any amount.
    SkipCapacity = "skip-capacity", "PL01";
    /// Devices are given beyond their memory.
    OversellDevices = "oversell-devices", "PL02";
    /// A broken device takes new work.
    TrustBroken = "trust-broken", "PL10";
    /// A card is blamed for what a program did.
    BlameTheCard = "blame-the-card", "PL14";
    /// An agent that starts while the driver hangs says that it has no GPU.
    ForgetGpus = "forget-gpus", "PL14";
    /// Replicas make room that their deployments were promised.
    TakePromised = "take-promised", "PL11";
    /// Replicas make room for what is no more important.
    TakeFromEquals = "take-from-equals", "PL12";
    /// A domain takes more than its deployment allows.
    IgnoreSpread = "ignore-spread", "PL13";
    /// Replicas serve although no router has said that it knows them.
    ServeWithoutAcks = "serve-without-acks", "AC01";
    /// Replicas are taken over from by those that the routers do not know yet.
    HandOverBlindly = "hand-over-blindly", "AC03";
    /// Replicas stop while requests are still on their way to them.
    StopWithRequests = "stop-with-requests", "AC02";
    /// A new leader believes what nodes told its predecessor.
    TrustUnheard = "trust-unheard", "AC01";
    /// A replica id is used again.
    ReuseReplicaId = "reuse-replica-id", "RE02";
    /// Reports of an agent that was replaced take effect.
    ForgetEpochFence = "forget-epoch-fence", "NO02";
    /// What drains is warm again when its node reports.
    Resurrect = "resurrect", "LI01";
    /// Two nodes go by one name.
    ShareNames = "share-names", "NO01";
    /// A split is written at half of what was asked for.
    HalveSplits = "halve-splits", "TR01";
    /// A replica that answers is taken for lost, and nobody is sent to it.
    TakeForLost = "take-for-lost", "TR02";
    /// Routes change and keep their version.
    KeepVersion = "keep-version", "TR03";
    /// What belongs to a deleted endpoint stays.
    OutliveEndpoint = "outlive-endpoint", "DL01";
    /// Time steps back in the log.
    StepBack = "step-back", "WR01";
    /// What is refused takes effect by half.
    RefuseByHalf = "refuse-by-half", "WR03";
    /// A node is of a revision that is not there yet.
    RunAhead = "run-ahead", "WR04";
    /// A look-up is not told of a change.
    ForgetLookUp = "forget-look-up", "IX01";
    /// A retried request is applied again.
    DoubleApply = "double-apply", "WR02";
    /// A router takes a table older than its own.
    TableGoesBack = "table-goes-back", "TR10";
    /// A follower skips an entry now and then.
    SkipEntry = "skip-entry", "WR05";
    /// A write is acknowledged before a majority holds it.
    AckBeforeCommit = "ack-before-commit", "WR06";
    /// Nodes obey a deposed leader.
    ForgetTermFence = "forget-term-fence", "PL04";
    /// A caller gets the answer of a mirror.
    MirrorAnswers = "mirror-answers", "TR16";
    /// A router gives one deployment more than its share.
    UnfairSplit = "unfair-split", "TR11";
    /// A request whose replica died is sent again although it may have run.
    RetryUnsafe = "retry-unsafe", "TR12";
    /// A router does not look for another replica when the first one would not start.
    GiveUpAtOnce = "give-up-at-once", "TR13";
    /// A gate does not ask whether anybody still waits.
    StartExpired = "start-expired", "TR14";
    /// A router sends a request to a host it cannot reach again and again.
    RetryForever = "retry-forever", "TR15";
    /// A router goes on opening an endpoint to keys that are revoked.
    KeepKeys = "keep-keys", "SE01";
    /// A watch that is resumed at another coordinator skips an event.
    SkipEvents = "skip-events", "WA01";
    /// A node does not end what it should not run.
    KeepProcesses = "keep-processes", "RC01";
    /// What a deposed leader planned is carried on by the next one, and takes effect.
    ForgetPlanTerm = "forget-plan-term", "PL03";
    /// A node says that a process is gone before it is.
    FreeTooEarly = "free-too-early", "PL05";
    /// The spec of an earlier generation is dropped while replicas run it.
    ForgetOldSpecs = "forget-old-specs", "RE01";
    /// A replica of a node that is lost counts as if it were there.
    ForgetLost = "forget-lost", "RE03";
    /// An agent that starts again knows nothing of the processes it left.
    ForgetLedger = "forget-ledger", "RE04";
    /// What is to be waited for is replaced as soon as it is lost.
    WaitForNobody = "wait-for-nobody", "RE05";
    /// What is never to be replaced is.
    ReplaceAll = "replace-all", "RE05";
    /// Of two copies the other one stays.
    KeepTheOther = "keep-the-other", "RE06";
    /// An agent does not notice that it hears no coordinator.
    RunAlone = "run-alone", "RE07";
    /// An agent ends whatever runs as soon as it hears no coordinator.
    EndAlone = "end-alone", "RE07";
    /// An instance takes a place that is held for another deployment.
    RaidReserve = "raid-reserve", "RS01";
    /// What an agent upgrade takes from the reserve is booked as an operator's drain, and the other way round.
    MistakeUpgrades = "mistake-upgrades", "RS01";
    /// Whatever takes from the reserve is booked as a rolling update.
    BookAsUpdate = "book-as-update", "RS01";
    /// A deployment takes a place of its own reserve and records nothing.
    SpendUnrecorded = "spend-unrecorded", "RS01";
    /// Slots are given back as of another size, and nobody changed the size.
    MistakeSize = "mistake-size", "RS01";
    /// Slots outlive their deployment.
    KeepSlots = "keep-slots", "RS02";
    /// A deployment holds each slot twice.
    HoardSlots = "hoard-slots", "RS03";
    /// Used slots are never held again.
    NeverRestore = "never-restore", "RS04";
    /// A rollout retires all old replicas with the first.
    BreakPromise = "break-promise", "RO01";
    /// Whoever asks for the upgrade lock gets it.
    TwoWalks = "two-walks", "UP01";
    /// A scale writes the count and forgets what its project takes.
    ForgetSums = "forget-sums", "QU01";
    /// Whatever grows may.
    IgnoreQuota = "ignore-quota", "QU02";
    /// More is lent than there is.
    LendTooMuch = "lend-too-much", "QU03";
    /// However many fall silent together, each is declared lost.
    IgnoreBrake = "ignore-brake", "RC02";
}

/// Refusal of a word that names no bug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no bug called `{0}`")]
pub struct UnknownBug(String);

// === impl Bug ===

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|bug| bug.word() == word).ok_or_else(|| UnknownBug(word.to_owned()))
    }
}
