//! How a member without a cluster comes to one, exactly once.
//!
//! Bootstrapping: everybody asks everybody else who they are. If one of them already belongs to a cluster, that cluster
//! is joined. Only when all of the expected members answer, none belongs to a cluster and all expect the same number,
//! the one with the smallest id writes the first membership; the others are found by it. A member that crashes before
//! that write has promised nothing; one that crashes after it finds the membership in its log. A member that comes back
//! with an empty store finds a formed cluster among the others and joins it under its new id.
//!
//! Two members could only both begin if one of them lost its store between answering and being written down. Even then
//! every majority of either list is a majority of the same addresses, and an address votes once per term.

use std::collections::{BTreeMap, BTreeSet};

use berth_core::id::MemberId;
use berth_proto::raft::v1 as proto;
use futures::future::join_all;
use openraft::errors::{InitializeError, RaftError};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    error::Error,
    member::{NotDone, Running},
    membership::Change,
    options::Formation,
    types::Peer,
};

// === impl Running ===

impl Running {
    /// Returns once this member is a voter of a cluster.
    pub(super) async fn form(&self, formation: &Formation) -> Result<(), Error> {
        let mut said = String::new();
        while !self.is_voter() {
            let progress = match formation {
                Formation::Bootstrap { expect, peers } => self.bootstrap_once(*expect, peers).await?,
                Formation::Join { addresses } => self.join_once(addresses).await?,
            };
            if let Some(why) = progress.filter(|why| *why != said) {
                info!(member = %self.id, why, "not in a cluster yet");
                said = why;
            }
            let mut status = self.status.subscribe();
            let voter = status.wait_for(|status| status.own().is_some_and(|own| own.voter));
            // News or a pause: whichever is first.
            let _ = tokio::time::timeout(self.timings.form_retry(), voter).await;
        }
        Ok(())
    }

    fn is_voter(&self) -> bool {
        self.now().own().is_some_and(|own| own.voter)
    }

    /// Writes the first membership. Doing so again changes nothing.
    pub(super) async fn initialize(&self, members: BTreeMap<MemberId, String>) -> Result<(), Error> {
        let members: BTreeMap<u64, Peer> =
            members.into_iter().map(|(id, address)| (id.0, Peer::new(address))).collect();
        match self.engine.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotInMembers(broken))) => {
                Err(Error::Membership { why: broken.to_string() })
            }
            Err(RaftError::Fatal(fatal)) => Err(Error::Stopped { why: fatal.to_string() }),
        }
    }

    async fn bootstrap_once(&self, expect: usize, peers: &[String]) -> Result<Option<String>, Error> {
        let others: BTreeSet<&String> = peers.iter().filter(|peer| **peer != self.advertise).collect();
        let asked = join_all(others.into_iter().map(|peer| async move { (peer, self.identify(peer).await) })).await;
        let mut found = BTreeMap::from([(self.id, self.advertise.clone())]);
        let mut missing = Vec::new();
        for (peer, answer) in asked {
            match answer {
                Ok(answer) if answer.formed => return self.join_once(std::slice::from_ref(peer)).await,
                Ok(answer) if answer.member == self.id.0 => {}
                Ok(answer) if answer.expects as usize != expect => {
                    missing.push(format!("{peer} expects {} members, this one {expect}", answer.expects));
                }
                Ok(proto::IdentifyReply { member, address, .. }) => {
                    found.insert(MemberId(member), address);
                }
                Err(why) => missing.push(why),
            }
        }
        if found.len() != expect {
            let missing = missing.join("; ");
            return Ok(Some(format!("{} of {expect} members found: {missing}", found.len())));
        }
        // Asked again before the next attempt if the one that is to begin does not.
        if found.keys().next() == Some(&self.id) && !self.now().formed {
            info!(member = %self.id, members = found.len(), "forming the cluster");
            self.initialize(found).await?;
        }
        Ok(None)
    }

    async fn join_once(&self, addresses: &[String]) -> Result<Option<String>, Error> {
        let change = Change::Join(self.id, self.advertise.clone());
        match self.ask_around(&change, addresses).await {
            Ok(()) => Ok(None),
            Err(NotDone::Unknown(why) | NotDone::NotLeader(_, why)) => Ok(Some(why)),
            Err(NotDone::Error(error)) => Err(error),
        }
    }

    /// Tells the cluster where this member is now. The leader still looks for it at its old address, so this member may
    /// not know who leads: it asks everybody it knew.
    pub(super) async fn announce(&self) {
        let status = self.now();
        let known: Vec<String> = status.members.iter().map(|member| member.address.clone()).collect();
        let change = Change::Readdress(self.id, self.advertise.clone());
        let deadline = Instant::now() + self.timings.append();
        let outcome = match self.change_here(&change, deadline).await {
            Err(NotDone::NotLeader(..)) => self.ask_around(&change, &known).await,
            outcome => outcome,
        };
        match outcome {
            Ok(()) => info!(member = %self.id, address = self.advertise, "the cluster knows the new address"),
            Err(NotDone::Unknown(why) | NotDone::NotLeader(_, why)) => {
                warn!(why, address = self.advertise, "could not tell the cluster the new address yet");
            }
            Err(NotDone::Error(error)) => {
                warn!(%error, address = self.advertise, "could not tell the cluster the new address yet");
            }
        }
    }

    /// Asks the members at `addresses` one after another, and whoever they name as leader.
    async fn ask_around(&self, change: &Change, addresses: &[String]) -> Result<(), NotDone> {
        let deadline = Instant::now() + self.timings.append();
        let mut refused = None;
        let mut why = None;
        for address in addresses.iter().filter(|address| **address != self.advertise) {
            let mut outcome = self.change_at(address, change, deadline).await;
            if let Err(NotDone::NotLeader(Some(leader), _)) = &outcome {
                let leader = leader.address.clone();
                outcome = self.change_at(&leader, change, deadline).await;
            }
            match outcome {
                Ok(()) => return Ok(()),
                Err(NotDone::Unknown(words) | NotDone::NotLeader(_, words)) => why = Some(words),
                Err(NotDone::Error(error)) => {
                    warn!(address, %error, "refused");
                    refused = Some(error);
                }
            }
        }
        // One member with a wrong key does not speak for the others.
        Err(match (why, refused) {
            (None, Some(error)) => NotDone::Error(error),
            (why, _) => NotDone::NotLeader(None, why.unwrap_or_else(|| "there is nobody else to ask".into())),
        })
    }
}
