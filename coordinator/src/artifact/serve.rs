//! Reading an asset: from this member's disk, or from a member that holds it.

use std::sync::Arc;

use berth_core::{
    error::{Code, Error},
    id::Digest,
};
use berth_proto::{peer::v1::ReadAssetRequest, status::from_status};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};

use super::{
    Artifacts, CHUNK_BYTES, STALL, busy, stalled,
    store::{damaged, not_here},
};

/// Chunks on their way to one reader.
const ON_THE_WAY: usize = 4;

/// An asset being read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// All bytes of the asset, whatever offset was asked for.
    pub(crate) size_bytes: u64,
    pub(crate) chunks: mpsc::Receiver<Result<Bytes, Error>>,
}

// === impl Artifacts ===

impl Artifacts {
    /// Reads an asset from `offset` on, wherever it is.
    pub(crate) async fn read(self: &Arc<Self>, digest: Digest, offset: u64) -> Result<Reading, Error> {
        match self.read_here(digest, offset).await {
            Err(error) if error.code == Code::AssetNotFound => {}
            here => return here,
        }
        let Some(asset) = self.machine.read(|state| state.assets.get(&digest).cloned()) else {
            return Err(not_here(&digest));
        };
        self.lacking.send_modify(|times| *times += 1);
        let status = self.raft.status();
        let mut why = String::new();
        for member in status.members.iter().filter(|member| member.id != status.member_id) {
            match self.read_there(&member.address, digest, offset, asset.size_bytes).await {
                Ok(reading) => return Ok(reading),
                Err(error) => why = format!("member {}: {}", member.id.short(), error.what),
            }
        }
        Err(Error::new(Code::Unavailable, format!("no member can give asset {digest} now")).why(why))
    }

    /// Reads an asset from this member's own disk.
    pub(crate) async fn read_here(self: &Arc<Self>, digest: Digest, offset: u64) -> Result<Reading, Error> {
        let permit = self.reads.clone().try_acquire_owned().map_err(|_| busy())?;
        let store = self.store.clone();
        let opened = tokio::task::spawn_blocking(move || store.read(&digest)).await;
        let file =
            opened.map_err(|error| Error::new(Code::Internal, "an asset cannot be read").why(error.to_string()))??;
        let mut file = tokio::fs::File::from_std(file);
        let size_bytes = file.metadata().await.map_err(|error| unreadable(&digest, &error))?.len();
        if offset > size_bytes {
            return Err(Error::new(Code::Invalid, format!("asset {digest} has {size_bytes} bytes"))
                .why(format!("it was asked for from byte {offset} on")));
        }
        file.seek(std::io::SeekFrom::Start(offset)).await.map_err(|error| unreadable(&digest, &error))?;
        let (out, chunks) = mpsc::channel(ON_THE_WAY);
        let artifacts = self.clone();
        tokio::spawn(async move {
            if let Err(error) = artifacts.pump(digest, offset, file, &out, permit).await {
                // A reader that has gone needs no reason.
                let _ = timeout(STALL, out.send(Err(error))).await;
            }
        });
        Ok(Reading { size_bytes, chunks })
    }

    /// Sends a file on; read from its beginning, it is judged at its end.
    async fn pump(
        &self,
        digest: Digest,
        offset: u64,
        mut file: tokio::fs::File,
        out: &mpsc::Sender<Result<Bytes, Error>>,
        _permit: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        let mut hash = Sha256::new();
        loop {
            let mut chunk = bytes::BytesMut::with_capacity(CHUNK_BYTES);
            let count = file.read_buf(&mut chunk).await.map_err(|error| unreadable(&digest, &error))?;
            if count == 0 {
                break;
            }
            hash.update(&chunk);
            match timeout(STALL, out.send(Ok(chunk.freeze()))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(stalled("reading an asset")),
            }
        }
        if offset == 0 && <[u8; 32]>::from(hash.finalize()) != digest.0 {
            tracing::error!(%digest, "an asset on this member's disk is damaged, another copy replaces it");
            let store = self.store.clone();
            let _ = tokio::task::spawn_blocking(move || store.discard(&digest)).await;
            self.lacking.send_modify(|times| *times += 1);
            return Err(damaged(&digest)
                .why("the disk of a coordinator gave other bytes than were stored")
                .try_("fetch it again"));
        }
        Ok(())
    }

    /// Reads an asset from another member's disk.
    pub(super) async fn read_there(
        &self,
        address: &str,
        digest: Digest,
        offset: u64,
        size_bytes: u64,
    ) -> Result<Reading, Error> {
        let mut peer = self.peer(address)?;
        let request = ReadAssetRequest { digest: digest.0.to_vec(), offset };
        let begun = timeout(STALL, peer.read_asset(request)).await.map_err(|_| stalled("reading an asset"))?;
        let mut parts = begun.map_err(|status| from_status(&status))?.into_inner();
        let first = timeout(STALL, parts.message()).await.map_err(|_| stalled("reading an asset"))?;
        let mut next = first.map_err(|status| from_status(&status))?;
        if next.as_ref().is_some_and(|first| first.size_bytes != size_bytes) {
            return Err(damaged(&digest).why("another member holds it with another length"));
        }
        let (out, chunks) = mpsc::channel(ON_THE_WAY);
        tokio::spawn(async move {
            while let Some(part) = next {
                if !matches!(timeout(STALL, out.send(Ok(part.data.into()))).await, Ok(Ok(()))) {
                    return;
                }
                next = match timeout(STALL, parts.message()).await {
                    Ok(Ok(next)) => next,
                    Ok(Err(status)) => return drop(out.send(Err(from_status(&status))).await),
                    Err(_) => return drop(out.send(Err(stalled("reading an asset"))).await),
                };
            }
        });
        Ok(Reading { size_bytes, chunks })
    }
}

fn unreadable(digest: &Digest, error: &std::io::Error) -> Error {
    Error::new(Code::Internal, format!("asset {digest} cannot be read")).why(error.to_string())
}
