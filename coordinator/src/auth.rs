//! Who calls: users through the API, nodes with a token, other members with theirs.
//!
//! Until roles exist every caller of the API is the administrator, which is why a coordinator refuses to listen beyond
//! loopback unless told so. Handlers take a [`Principal`] all the same: roles will change this file and no handler.

use std::sync::Arc;

use berth_core::{
    error::{Code, Error},
    join::{JoinToken, RanOut},
    time::Millis,
};
use berth_proto::status::to_status;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::Interceptor,
};

use crate::{clock::wall, keys::ClusterKey};

/// Metadata under which a node shows its token.
pub const NODE_TOKEN: &str = "berth-node-token";

/// Metadata under which a member shows its token.
pub const MEMBER_TOKEN: &str = "berth-cluster-token";

/// Metadata of a call that one member hands to another: it is not handed on again.
pub(crate) const FORWARDED: &str = "berth-forwarded";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal(String);

/// Lets in callers that show the token of their kind, before anything they send is read.
#[derive(Clone, Debug)]
pub(crate) struct Gatekeeper {
    key: Arc<ClusterKey>,
    admits: Admits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admits {
    /// Nodes, and members that pass on what a node asked.
    Nodes,
    Members,
}

/// Shows a member's token on outgoing calls.
#[derive(Clone, Debug)]
pub(crate) struct MemberPass {
    token: MetadataValue<Ascii>,
}

// === impl Principal ===

impl Principal {
    /// Tells who makes a call of the API.
    pub(crate) fn of(_metadata: &MetadataMap) -> Self {
        Self("admin".to_owned())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

// === impl Gatekeeper ===

impl Gatekeeper {
    pub(crate) fn for_nodes(key: Arc<ClusterKey>) -> Self {
        Self { key, admits: Admits::Nodes }
    }

    pub(crate) fn for_members(key: Arc<ClusterKey>) -> Self {
        Self { key, admits: Admits::Members }
    }
}

impl Interceptor for Gatekeeper {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let shown = |name| request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let fits = match self.admits {
            Admits::Nodes => match self.key.admits_node(shown(NODE_TOKEN), wall()) {
                Ok(fits) => fits,
                Err(late) => return Err(to_status(&ran_out(late))),
            },
            Admits::Members => self.key.admits_member(shown(MEMBER_TOKEN)),
        };
        if fits {
            return Ok(request);
        }
        let error = match self.admits {
            Admits::Nodes => Error::new(Code::Unauthenticated, "the node token does not fit")
                .why("a node proves with it that it belongs to this cluster")
                .try_("give the node the token of this cluster: the file node.token beside a coordinator's data"),
            Admits::Members => Error::new(Code::ClusterKey, "the cluster key does not fit")
                .why("members prove to one another that they hold the same cluster.key")
                .try_("copy cluster.key from a member that runs, mode 0600"),
        };
        Err(to_status(&error))
    }
}

/// Returns whether a caller joins, and is to be given the lasting token.
pub(crate) fn joins(metadata: &MetadataMap) -> bool {
    let shown = metadata.get(NODE_TOKEN).and_then(|value| value.to_str().ok());
    shown.is_some_and(|shown| JoinToken::parse(shown).is_some())
}

fn ran_out(late: RanOut) -> Error {
    // Minutes matter to somebody who sets a machine up, seconds do not.
    let Millis(ms) = late.ago;
    let ago = match ms / 60_000 {
        0 => "just now".to_owned(),
        minutes @ 1..120 => format!("{minutes} min ago"),
        minutes => format!("{} h ago", minutes / 60),
    };
    Error::new(Code::Unauthenticated, format!("the join token ran out {ago}"))
        .why("a join token is for machines that are set up now")
        .try_(
            "print the line again where a coordinator runs: `berth node join-command`; `--ttl 7d` makes it hold longer",
        )
}

// === impl MemberPass ===

impl MemberPass {
    pub(crate) fn new(key: &ClusterKey) -> Self {
        let mut token = hex_metadata(&key.member_tokens()[0]);
        token.set_sensitive(true);
        Self { token }
    }
}

impl Interceptor for MemberPass {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(MEMBER_TOKEN, self.token.clone());
        Ok(request)
    }
}

fn hex_metadata(text: &str) -> MetadataValue<Ascii> {
    MetadataValue::try_from(text).unwrap_or_else(|_| MetadataValue::from_static(""))
}
