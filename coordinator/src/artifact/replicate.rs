//! Uploading: stored here, handed to the other members, committed once a majority has it on disk.

use std::sync::Arc;

use berth_core::{
    error::{Code, Error},
    id::{Digest, MemberId},
    model::Asset,
    state::Command,
};
use berth_proto::{
    peer::v1::{StoreAssetHeader, StoreAssetRequest, store_asset_request},
    status::from_status,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::{JoinHandle, JoinSet},
    time::{Duration, Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Artifacts, STALL, busy, stalled};
use crate::{propose::Asker, raft::Member};

/// Chunks on their way to the disk.
const ON_THE_WAY: usize = 4;

/// A member must keep at least this rate, or the upload goes on without it.
const SLOWEST_BYTES_PER_SEC: u64 = 1 << 20;

/// Time for everything that does not depend on the size.
const OVERHEAD: Duration = Duration::from_secs(30);

/// A member that started just now finds out within this whether it holds everything.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Writing the commit into the log.
const COMMIT: Duration = Duration::from_secs(10);

/// What a writer is sent. The end is said, because a sender that breaks off must not look like one that is done.
enum Piece {
    Bytes(Bytes),
    End,
}

/// What a member says after it stored an asset.
struct Held {
    member: MemberId,
    /// Whether it counts towards a majority.
    counts: bool,
}

// === impl Artifacts ===

impl Artifacts {
    /// Takes an upload. Returns once a majority of members holds it.
    pub(crate) async fn upload<S>(
        self: &Arc<Self>,
        principal: &str,
        digest: Digest,
        size_bytes: u64,
        bytes: S,
    ) -> Result<Asset, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Send + Unpin,
    {
        if let Some(asset) = self.known(&digest, size_bytes)? {
            return Ok(asset);
        }
        self.receive(digest, size_bytes, bytes).await?;
        let holders = self.hand_out(digest, size_bytes).await?;
        let command = Command::AssetCommit { digest, size_bytes, holders };
        self.proposer.change(Asker::cluster(principal), command, Instant::now() + COMMIT).await?;
        self.known(&digest, size_bytes)?
            .ok_or_else(|| Error::new(Code::Transition, format!("asset {digest} expired")).try_("upload it again"))
    }

    /// Returns a committed asset of this digest.
    fn known(&self, digest: &Digest, size_bytes: u64) -> Result<Option<Asset>, Error> {
        match self.machine.read(|state| state.assets.get(digest).cloned()) {
            Some(asset) if asset.size_bytes != size_bytes => {
                Err(Error::new(Code::Invalid, format!("asset {digest} has {} bytes", asset.size_bytes))
                    .why(format!("it was announced with {size_bytes}")))
            }
            known => Ok(known),
        }
    }

    /// Stores an asset on this member's disk.
    pub(crate) async fn receive<S>(&self, digest: Digest, size_bytes: u64, mut bytes: S) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Send + Unpin,
    {
        let max = self.settings.max_bytes;
        if size_bytes > max {
            return Err(Error::new(Code::TooLarge, format!("asset {digest} has {size_bytes} bytes"))
                .why(format!("the largest asset this cluster takes has {max}")));
        }
        let store = self.store.clone();
        let held = tokio::task::spawn_blocking(move || store.keep(&digest)).await.map_err(broken)?;
        if held == Some(size_bytes) {
            return Ok(());
        }
        let permit = self.writes.clone().try_acquire_owned().map_err(|_| busy())?;
        let (chunks, written) = self.writer(digest, size_bytes, permit);
        loop {
            let chunk = match timeout(STALL, bytes.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) => break,
                Err(_) => return Err(stalled("the upload")),
            };
            if timeout(STALL, chunks.send(Piece::Bytes(chunk))).await.map_err(|_| stalled("the disk"))?.is_err() {
                break;
            }
        }
        // A writer that ended early says why below.
        let _ = timeout(STALL, chunks.send(Piece::End)).await.map_err(|_| stalled("the disk"))?;
        drop(chunks);
        written.await.map_err(broken)?
    }

    /// Starts a thread that hashes and writes what it is sent. An upload that breaks off leaves nothing.
    fn writer(
        &self,
        digest: Digest,
        size_bytes: u64,
        permit: OwnedSemaphorePermit,
    ) -> (mpsc::Sender<Piece>, JoinHandle<Result<(), Error>>) {
        let (chunks, mut coming) = mpsc::channel(ON_THE_WAY);
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut writer = store.begin(digest, size_bytes)?;
            loop {
                match coming.blocking_recv() {
                    Some(Piece::Bytes(chunk)) => writer.write(&chunk)?,
                    Some(Piece::End) => return writer.finish(),
                    None => {
                        return Err(Error::new(Code::Unavailable, format!("the upload of asset {digest} broke off")));
                    }
                }
            }
        });
        (chunks, written)
    }

    /// Hands an asset of this member's disk to the others. Returns the holders once they are a majority; the rest go on
    /// in the background.
    async fn hand_out(self: &Arc<Self>, digest: Digest, size_bytes: u64) -> Result<Vec<MemberId>, Error> {
        let status = self.raft.status();
        let voters = status.members.iter().filter(|member| member.voter).count();
        let majority = voters / 2 + 1;
        let is_voter = |id: MemberId| status.member(id).is_some_and(|member| member.voter);
        let mut holders = vec![status.member_id];
        let mut tasks = JoinSet::new();
        for member in status.members.iter().filter(|member| member.id != status.member_id).cloned() {
            let artifacts = self.clone();
            tasks.spawn(async move {
                let limit = OVERHEAD + Duration::from_secs(size_bytes / SLOWEST_BYTES_PER_SEC);
                let handed = timeout(limit, artifacts.hand_to(&member, digest, size_bytes)).await;
                handed.unwrap_or_else(|_| Err(stalled("handing an asset on"))).map_err(|error| (member.id, error))
            });
        }
        let mut counted = usize::from(is_voter(status.member_id) && self.counts_soon().await);
        let mut why = Vec::new();
        while counted < majority {
            match tasks.join_next().await {
                Some(Ok(Ok(held))) => {
                    holders.push(held.member);
                    counted += usize::from(held.counts && is_voter(held.member));
                }
                Some(Ok(Err((member, error)))) => why.push(format!("member {}: {}", member.short(), error.what)),
                Some(Err(error)) => why.push(error.to_string()),
                None => return Err(too_few(digest, counted, majority, &why)),
            }
        }
        tokio::spawn(async move { while tasks.join_next().await.is_some() {} });
        Ok(holders)
    }

    async fn hand_to(self: &Arc<Self>, member: &Member, digest: Digest, size_bytes: u64) -> Result<Held, Error> {
        let reading = self.read_here(digest, 0).await?;
        let header = StoreAssetHeader { digest: digest.0.to_vec(), size_bytes };
        let header = StoreAssetRequest { message: Some(store_asset_request::Message::Header(header)) };
        // A failed read ends the stream short, which the other side refuses.
        let data =
            ReceiverStream::new(reading.chunks).take_while(|chunk| std::future::ready(chunk.is_ok())).map(|chunk| {
                let data = chunk.unwrap_or_default();
                StoreAssetRequest { message: Some(store_asset_request::Message::Data(data.into())) }
            });
        let parts = futures::stream::iter([header]).chain(data);
        let reply = self.peer(&member.address)?.store_asset(parts).await.map_err(|status| from_status(&status))?;
        let reply = reply.into_inner();
        let id = reply.member.parse().unwrap_or(member.id);
        Ok(Held { member: id, counts: reply.caught_up && id == member.id })
    }

    /// Returns whether this member counts towards the majority of an upload; one that just started gets a moment to
    /// find out.
    pub(crate) async fn counts_soon(&self) -> bool {
        let mut caught_up = self.caught_up.subscribe();
        matches!(timeout(CATCH_UP, caught_up.wait_for(|caught_up| *caught_up)).await, Ok(Ok(_)))
    }
}

fn too_few(digest: Digest, counted: usize, majority: usize, why: &[String]) -> Error {
    let code = if why.iter().any(|why| why.contains("disk is full")) { Code::DiskFull } else { Code::Unavailable };
    Error::new(code, format!("asset {digest} is held by {counted} members, {majority} are needed"))
        .why(why.join("; "))
        .try_("the same upload again once more members are up")
}

fn broken(error: tokio::task::JoinError) -> Error {
    Error::new(Code::Internal, "an asset cannot be stored").why(error.to_string())
}
