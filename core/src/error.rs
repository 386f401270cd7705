//! Errors that help: what went wrong, why, and what to try, under a code that never changes.
//!
//! Kinds are a small closed set, mapped once to gRPC (`berth-proto`) and once to HTTP (the mesh). Codes are words; each
//! has a page in `docs/errors/`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a caller can do about an error, in the coarsest useful split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The request is wrong and will stay wrong.
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The state does not allow it now; read it again and decide anew.
    Conflict,
    /// No or a wrong credential.
    Unauthenticated,
    /// A valid credential without the right.
    Forbidden,
    /// A quota, a limit or the fleet is used up.
    Exhausted,
    /// A part is missing or starting; the same call may succeed later.
    Unavailable,
    /// The deadline passed; the outcome of a change is unknown.
    Timeout,
    /// A fault of Berth or its host.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $kind:ident;)*) => {
        /// The stable code of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the word, as printed and documented.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Returns the kind this code belongs to.
            pub fn kind(self) -> ErrorKind {
                match self { $(Self::$name => ErrorKind::$kind,)* }
            }
        }
    };
}

codes! {
    /// One or more fields break a rule.
    Invalid = "E_INVALID", Invalid;
    /// A document could not be read as YAML.
    Yaml = "E_YAML", Invalid;
    /// A field name nobody knows.
    UnknownField = "E_UNKNOWN_FIELD", Invalid;
    /// A file or folder named by a document is not there.
    PathMissing = "E_PATH_MISSING", Invalid;
    /// A certificate or its key cannot be used.
    Certificate = "E_CERTIFICATE", Invalid;
    /// Traffic does not total 0 or 100, or names a deployment that is not there.
    Traffic = "E_TRAFFIC", Invalid;
    /// Something is destroyed only by whoever confirms it.
    Unconfirmed = "E_UNCONFIRMED", Invalid;
    /// No such endpoint.
    EndpointNotFound = "E_ENDPOINT_NOT_FOUND", NotFound;
    /// No such deployment.
    DeploymentNotFound = "E_DEPLOYMENT_NOT_FOUND", NotFound;
    /// No such replica.
    ReplicaNotFound = "E_REPLICA_NOT_FOUND", NotFound;
    /// No node remembers the request.
    RequestNotFound = "E_REQUEST_NOT_FOUND", NotFound;
    /// No such node.
    NodeNotFound = "E_NODE_NOT_FOUND", NotFound;
    /// No such GPU on that node.
    DeviceNotFound = "E_DEVICE_NOT_FOUND", NotFound;
    /// No such asset.
    AssetNotFound = "E_ASSET_NOT_FOUND", NotFound;
    /// No such project.
    ProjectNotFound = "E_PROJECT_NOT_FOUND", NotFound;
    /// No such loan.
    LoanNotFound = "E_LOAN_NOT_FOUND", NotFound;
    /// No such coordinator member.
    MemberNotFound = "E_MEMBER_NOT_FOUND", NotFound;
    /// Nobody who is told of alerts has that name.
    ReceiverNotFound = "E_RECEIVER_NOT_FOUND", NotFound;
    /// No such route or method.
    RouteNotFound = "E_ROUTE_NOT_FOUND", NotFound;
    /// The name is in use.
    AlreadyExists = "E_ALREADY_EXISTS", AlreadyExists;
    /// Another live node has this name.
    NodeNameTaken = "E_NODE_NAME_TAKEN", AlreadyExists;
    /// The object changed since it was read.
    Revision = "E_REVISION", Conflict;
    /// A deployment that carries traffic cannot be deleted.
    CarriesTraffic = "E_CARRIES_TRAFFIC", Conflict;
    /// An order of an older term, epoch or revision.
    Stale = "E_STALE", Conflict;
    /// Fewer instances than were promised.
    Minimum = "E_MINIMUM", Conflict;
    /// The state does not allow this transition.
    Transition = "E_TRANSITION", Conflict;
    /// A request id was used for a different request.
    RequestIdReused = "E_REQUEST_ID_REUSED", Conflict;
    /// A member of another cluster.
    ForeignCluster = "E_FOREIGN_CLUSTER", Conflict;
    /// No or a wrong credential.
    Unauthenticated = "E_UNAUTHENTICATED", Unauthenticated;
    /// Two ends do not agree on TLS: one speaks none, or does not believe the other.
    Tls = "E_TLS", Unauthenticated;
    /// The cluster key does not fit.
    ClusterKey = "E_CLUSTER_KEY", Unauthenticated;
    /// The caller lacks the right.
    Forbidden = "E_FORBIDDEN", Forbidden;
    /// Listening beyond loopback needs `--insecure` where there is no TLS.
    Insecure = "E_INSECURE", Forbidden;
    /// The fleet cannot hold it now.
    NoCapacity = "E_NO_CAPACITY", Exhausted;
    /// A project has no room for it in its quota.
    Quota = "E_QUOTA", Exhausted;
    /// A limit of the cluster is reached.
    Limit = "E_LIMIT", Exhausted;
    /// More in flight than the deployment takes.
    TooManyRequests = "E_TOO_MANY_REQUESTS", Exhausted;
    /// A body over the endpoint's limit.
    TooLarge = "E_TOO_LARGE", Exhausted;
    /// A disk is full.
    DiskFull = "E_DISK_FULL", Exhausted;
    /// No leader at the moment.
    NoLeader = "E_NO_LEADER", Unavailable;
    /// This member cannot be reached or is starting.
    Unavailable = "E_UNAVAILABLE", Unavailable;
    /// No replica is able to answer.
    NotReady = "E_NOT_READY", Unavailable;
    /// A command this feature level does not know yet.
    FeatureLevel = "E_FEATURE_LEVEL", Unavailable;
    /// The deadline passed.
    Timeout = "E_TIMEOUT", Timeout;
    /// The outcome of a change is not known; retry with the same request id.
    Unknown = "E_OUTCOME_UNKNOWN", Timeout;
    /// The model process exited, raised in `init()` or never became ready.
    ReplicaStart = "E_REPLICA_START", Internal;
    /// The environment could not be built.
    Environment = "E_ENVIRONMENT", Invalid;
    /// The model file cannot be loaded.
    ModelUnreadable = "E_MODEL_UNREADABLE", Invalid;
    /// An asset's bytes do not match its digest.
    AssetDamaged = "E_ASSET_DAMAGED", Internal;
    /// A store that cannot be opened or read.
    StoreDamaged = "E_STORE_DAMAGED", Internal;
    /// Stored bytes of a newer version.
    StoreVersion = "E_STORE_VERSION", Internal;
    /// The replica answered outside its protocol or broke off.
    Upstream = "E_UPSTREAM", Internal;
    /// A fault of Berth or its host.
    Internal = "E_INTERNAL", Internal;
}

/// An error as a person reads it and a program handles it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The stable code.
    pub code: Code,
    /// What went wrong, one line, lowercase.
    pub what: String,
    /// Why, one line; empty when there is nothing to add.
    pub why: String,
    /// What to try, one line; empty when nothing helps.
    pub try_: String,
    /// Every single problem, when there are several.
    pub problems: Vec<Problem>,
}

/// One broken rule, at one place of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: a field path such as `traffic.blue`.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
    /// What would be right; empty when that is plain.
    #[serde(rename = "try")]
    pub try_: String,
}

/// Collects problems so that all of them are reported at once.
#[derive(Clone, Debug, Default)]
pub struct Problems(Vec<Problem>);

// === impl Code ===

impl Code {
    /// Finds a code by its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.word() == word)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

// === impl Error ===

impl Error {
    /// Creates an error that says what went wrong.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), why: String::new(), try_: String::new(), problems: Vec::new() }
    }

    /// Adds the reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Adds what to try.
    #[must_use]
    pub fn try_(mut self, try_: impl Into<String>) -> Self {
        self.try_ = try_.into();
        self
    }

    /// Returns the kind of the code.
    pub fn kind(&self) -> ErrorKind {
        self.code.kind()
    }

    /// Returns whether the very same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.code)?;
        if !self.why.is_empty() {
            write!(f, "\n  why: {}", self.why)?;
        }
        for problem in &self.problems {
            write!(f, "\n  - {}: {}", problem.field, problem.what)?;
            if !problem.try_.is_empty() {
                write!(f, " (try: {})", problem.try_)?;
            }
        }
        if !self.try_.is_empty() {
            write!(f, "\n  try: {}", self.try_)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

// === impl Problems ===

impl Problems {
    /// Notes a problem at `field`.
    pub fn add(&mut self, field: impl Into<String>, what: impl Into<String>) {
        self.add_try(field, what, "");
    }

    /// Notes a problem at `field` together with what would be right.
    pub fn add_try(&mut self, field: impl Into<String>, what: impl Into<String>, try_: impl Into<String>) {
        self.0.push(Problem { field: field.into(), what: what.into(), try_: try_.into() });
    }

    /// Returns whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns one error holding every problem, or `Ok` when there is none.
    pub fn into_result(self, code: Code, subject: &str) -> Result<(), Error> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(Error { problems: self.0, ..Error::new(code, format!("{subject} has a problem")) }),
            n => Err(Error { problems: self.0, ..Error::new(code, format!("{subject} has {n} problems")) }),
        }
    }
}

/// Returns the candidate nearest to `word`, if any is near enough to be a slip of the hand.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(word.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_words() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::from_word(code.word()), Some(*code));
            assert!(code.word().starts_with("E_"));
        }
    }

    #[test]
    fn a_slip_is_recognised_and_a_different_word_is_not() {
        let fields = ["instance_count", "instance_type", "endpoint_name"];
        assert_eq!(nearest("instace_count", fields), Some("instance_count"));
        assert_eq!(nearest("colour", fields), None);
    }
}
