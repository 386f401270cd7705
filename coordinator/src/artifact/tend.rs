//! Tending the store: fetch what is missing, read what is here to see whether it is whole, drop what nothing wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use berth_core::{
    error::{Code, Error},
    id::Digest,
    model::Asset,
    state::{ClusterState, Command},
};
use tokio::time::{Duration, Instant, Interval, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Artifacts;
use crate::{controller::LeadWatch, propose::Asker};

/// Digests in one command: a few KiB of log.
const EXPIRE_TOGETHER: usize = 100;

/// Writing an expiry into the log.
const EXPIRE: Duration = Duration::from_secs(5);

/// How often a member looks whether an asset was committed that it does not hold.
const LOOK: Duration = Duration::from_secs(1);

/// A state that cannot be brought up to date within this is left alone until the next look.
const BARRIER: Duration = Duration::from_secs(5);

/// What tending remembers between rounds.
#[derive(Debug, Default)]
struct Notes {
    /// Since when an asset was seen unreferenced, by this leader. A new leader starts anew: that only keeps bytes longer.
    unreferenced: BTreeMap<Digest, Instant>,
    /// The blob that was read last.
    scrubbed: Option<Digest>,
}

// === impl Artifacts ===

impl Artifacts {
    /// Tends the store until `stop`.
    pub(crate) async fn tend(self: Arc<Self>, lead: LeadWatch, stop: CancellationToken) {
        let mut notes = Notes::default();
        let mut rounds = ticker(self.settings.scrub_interval);
        let mut looks = ticker(LOOK);
        let (mut lacking, mut applied) = (self.lacking.subscribe(), self.machine.watch());
        loop {
            let round = tokio::select! {
                () = stop.cancelled() => return,
                _ = rounds.tick() => true,
                _ = looks.tick() => false,
                _ = lacking.changed() => false,
                // Only until it counts: a member that just started is waited for.
                _ = applied.changed(), if !*self.caught_up.borrow() => false,
            };
            let leads = lead.borrow().is_some();
            let work = async {
                self.fetch_missing().await;
                if round {
                    self.round(&mut notes, leads).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    async fn round(self: &Arc<Self>, notes: &mut Notes, leads: bool) {
        self.scrub_next(notes).await;
        if leads {
            self.expire(notes).await;
        } else {
            notes.unreferenced.clear();
        }
        // A state that is behind knows less than what is wanted: what it does not know must not be removed for that.
        if let Err(error) = self.proposer.barrier(Instant::now() + BARRIER).await {
            tracing::debug!(%error, "the artifact store is not swept now");
            return;
        }
        let wanted: BTreeSet<Digest> = self.machine.read(|state| state.assets.keys().copied().collect());
        let (store, grace) = (self.store.clone(), self.settings.grace);
        let swept = tokio::task::spawn_blocking(move || store.sweep(|digest| wanted.contains(digest), grace)).await;
        match swept {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "removed assets that nothing refers to"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot sweep the artifact store"),
            Err(error) => tracing::error!(%error, "sweeping the artifact store failed"),
        }
    }

    /// Fetches every committed asset that is not here. The first time nothing is missing, this member begins to count.
    async fn fetch_missing(self: &Arc<Self>) {
        let counts = *self.caught_up.borrow();
        // Until it counts, what is committed must be known for certain; later a little behind is good enough.
        if !counts && self.proposer.barrier(Instant::now() + BARRIER).await.is_err() {
            return;
        }
        let missing: Vec<Asset> = self.machine.read(|state| {
            let absent = |asset: &&Asset| self.store.size(&asset.digest) != Some(asset.size_bytes);
            state.assets.values().filter(absent).cloned().collect()
        });
        let mut complete = true;
        for asset in missing {
            if let Err(error) = self.fetch(&asset).await {
                tracing::warn!(digest = %asset.digest, %error, "cannot fetch an asset from another member");
                complete = false;
            }
        }
        if complete && !counts {
            match self.store.set_caught_up() {
                Ok(()) => drop(self.caught_up.send_replace(true)),
                Err(error) => tracing::warn!(%error, "cannot note that every asset is here"),
            }
        }
    }

    async fn fetch(self: &Arc<Self>, asset: &Asset) -> Result<(), Error> {
        let status = self.raft.status();
        let mut last = Error::new(Code::Unavailable, "no other member holds it");
        for member in status.members.iter().filter(|member| member.id != status.member_id) {
            let fetched = async {
                let reading = self.read_there(&member.address, asset.digest, 0, asset.size_bytes).await?;
                self.receive(asset.digest, asset.size_bytes, ReceiverStream::new(reading.chunks)).await
            };
            match fetched.await {
                Ok(()) => {
                    tracing::info!(digest = %asset.digest, from = %member.id, "fetched an asset");
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Reads the next blob and replaces it if it is damaged.
    async fn scrub_next(self: &Arc<Self>, notes: &mut Notes) {
        let after = notes.scrubbed;
        let next = self.machine.read(|state| {
            let later = state
                .assets
                .range((
                    after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
                    std::ops::Bound::Unbounded,
                ))
                .next();
            later.or_else(|| state.assets.first_key_value()).map(|(digest, _)| *digest)
        });
        notes.scrubbed = next;
        if let Some(digest) = next {
            self.scrub(digest).await;
        }
    }

    /// Reads a blob; one that is damaged is fetched anew.
    pub(crate) async fn scrub(self: &Arc<Self>, digest: Digest) {
        let store = self.store.clone();
        let verified = tokio::task::spawn_blocking(move || store.verify(&digest)).await;
        match verified {
            Ok(Err(error)) if error.code == Code::AssetDamaged => {
                tracing::error!(%digest, %error, "an asset on this member's disk is damaged, another copy replaces it");
                self.fetch_missing().await;
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "reading an asset failed"),
        }
    }

    /// Proposes to forget what nothing referred to for the whole grace.
    async fn expire(&self, notes: &mut Notes) {
        let unreferenced = self.machine.read(unreferenced);
        let now = Instant::now();
        notes.unreferenced.retain(|digest, _| unreferenced.contains(digest));
        for digest in unreferenced {
            notes.unreferenced.entry(digest).or_insert(now);
        }
        let due = notes.unreferenced.iter().filter(|(_, since)| now.duration_since(**since) >= self.settings.grace);
        let digests: Vec<Digest> = due.map(|(digest, _)| *digest).take(EXPIRE_TOGETHER).collect();
        if digests.is_empty() {
            return;
        }
        let command = Command::AssetExpire { digests };
        if let Err(error) = self.proposer.change(Asker::cluster("artifacts"), command, now + EXPIRE).await {
            tracing::info!(%error, "unreferenced assets are not forgotten yet");
        }
    }
}

fn ticker(period: Duration) -> Interval {
    let mut ticker = interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

fn unreferenced(state: &ClusterState) -> BTreeSet<Digest> {
    let specs = state
        .deployments
        .values()
        .flat_map(|deployment| std::iter::once(&deployment.spec).chain(deployment.old_specs.values()));
    let used: BTreeSet<Digest> = specs.flat_map(|spec| spec.assets()).map(|asset| asset.digest).collect();
    state.assets.keys().filter(|digest| !used.contains(digest)).copied().collect()
}
