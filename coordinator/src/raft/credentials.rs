//! Which cluster a call belongs to, whether its caller may make it, and which member it is meant for.
//!
//! The token keeps strangers out, the cluster id keeps two clusters apart that were handed the same key, and the member
//! id keeps a call from a member that has moved into another one's address: consensus takes an answer for the answer of
//! the member it asked.

use std::sync::Arc;

use berth_core::{
    error::{Code, Error},
    id::MemberId,
};
use berth_proto::status::to_status;
use subtle::{Choice, ConstantTimeEq as _};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::Interceptor,
};

use super::options::RaftToken;

const CLUSTER: &str = "berth-cluster";
const TOKEN: &str = "berth-cluster-token";
const MEMBER: &str = "berth-member";

/// Adds what [`Admission`] asks for to outgoing calls.
#[derive(Clone)]
pub(super) struct Credentials {
    cluster: MetadataValue<Ascii>,
    token: MetadataValue<Ascii>,
    member: Option<MetadataValue<Ascii>>,
}

/// Refuses calls that do not belong here, before their body is read.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Expected>,
}

struct Expected {
    cluster: String,
    tokens: Vec<RaftToken>,
    member: MemberId,
}

// === impl Credentials ===

impl Credentials {
    pub(super) fn new(cluster: &str, token: &RaftToken) -> Self {
        let ascii = |text: &str| MetadataValue::try_from(text).expect("options were validated");
        let mut token = ascii(token.reveal());
        token.set_sensitive(true);
        Self { cluster: ascii(cluster), token, member: None }
    }

    pub(super) fn meant_for(&self, member: MemberId) -> Self {
        let member = MetadataValue::try_from(member.to_string()).expect("hex digits are ASCII");
        Self { member: Some(member), ..self.clone() }
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, self.cluster.clone());
        metadata.insert(TOKEN, self.token.clone());
        if let Some(member) = &self.member {
            metadata.insert(MEMBER, member.clone());
        }
        Ok(request)
    }
}

// === impl Admission ===

impl Admission {
    pub(super) fn new(cluster: &str, tokens: &[RaftToken], member: MemberId) -> Self {
        Self { shared: Arc::new(Expected { cluster: cluster.to_owned(), tokens: tokens.to_vec(), member }) }
    }

    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Expected { cluster, tokens, member } = &*self.shared;
        let text = |key| metadata.get(key).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // The key first: a stranger learns nothing about the cluster.
        let shown = text(TOKEN).as_bytes();
        let known = tokens.iter().fold(Choice::from(0), |known, token| known | token.reveal().as_bytes().ct_eq(shown));
        if !bool::from(known) {
            return Err(refuse(Code::ClusterKey, "the cluster key of the caller is not the one of this member"));
        }
        if text(CLUSTER) != cluster {
            let theirs = text(CLUSTER);
            let words = format!("this member belongs to cluster {cluster}, the caller to {theirs:?}");
            return Err(refuse(Code::ForeignCluster, &words));
        }
        let meant = text(MEMBER);
        if !meant.is_empty() && meant.parse() != Ok(*member) {
            let words = format!("the call is meant for member {meant}, this is member {member}");
            return Err(refuse(Code::MemberNotFound, &words));
        }
        Ok(())
    }
}

impl Interceptor for Admission {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.admit(request.metadata())?;
        Ok(request)
    }
}

fn refuse(code: Code, words: &str) -> Status {
    to_status(&Error::new(code, words))
}
