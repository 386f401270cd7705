//! Downloads an asset from whichever coordinator has it.

use std::path::Path;

use berth_core::{
    error::{Code, Error},
    id::Digest,
    model::AssetRef,
};
use berth_proto::node::v1::FetchAssetRequest;
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt, BufWriter},
    time::timeout,
};

use crate::{
    identity::io_error,
    runtime::{PrepareLog, fetches},
    session::{MESSAGE_DEADLINE, Members, transport_error},
};

/// Rounds over all members before a download fails; the agent then waits and tries anew.
const ROUNDS: usize = 2;

/// Where a download stands.
struct Download<'a> {
    asset: &'a AssetRef,
    path: &'a Path,
    file: BufWriter<File>,
    hash: Sha256,
    got_bytes: u64,
    log: &'a PrepareLog,
}

/// Writes the bytes of an asset to `path`, checked against its digest and durable.
pub(super) async fn download(members: &Members, asset: &AssetRef, path: &Path, log: &PrepareLog) -> Result<(), Error> {
    let file = File::create_new(path).await.map_err(|error| io_error("cannot create", path, &error))?;
    let mut download = Download { asset, path, file: BufWriter::new(file), hash: Sha256::new(), got_bytes: 0, log };
    let mut last = Error::new(Code::Unavailable, "no coordinator is known");
    for address in members.addresses().iter().cycle().take(members.addresses().len() * ROUNDS) {
        match download.from(members, address).await {
            Ok(()) => return download.finish().await,
            // Nobody else's copy would fit on this disk either.
            Err(error) if error.code == Code::DiskFull => return Err(error),
            Err(error) => {
                tracing::info!(%address, digest = %asset.digest, %error, "an asset was not fetched from this member");
                if error.code == Code::AssetDamaged {
                    download.restart().await?;
                }
                last = error;
            }
        }
    }
    Err(last)
}

// === impl Download ===

impl Download<'_> {
    /// Fetches from one member, going on where another one broke off.
    async fn from(&mut self, members: &Members, address: &str) -> Result<(), Error> {
        let request = FetchAssetRequest { digest: self.asset.digest.0.to_vec(), offset: self.got_bytes };
        let mut client = members.client(address)?;
        let opened = timeout(MESSAGE_DEADLINE, client.fetch_asset(request)).await;
        let answer = opened.map_err(|_| silent(address))?;
        let mut chunks = answer.map_err(|status| transport_error(&status))?.into_inner();
        loop {
            let next = timeout(MESSAGE_DEADLINE, chunks.message()).await.map_err(|_| silent(address))?;
            let Some(chunk) = next.map_err(|status| transport_error(&status))? else {
                break;
            };
            self.got_bytes += chunk.data.len() as u64;
            if self.got_bytes > self.asset.size_bytes {
                return Err(self.damaged("more bytes than it has"));
            }
            self.hash.update(&chunk.data);
            let written = self.file.write_all(&chunk.data).await;
            written.map_err(|error| io_error("cannot write", self.path, &error))?;
            self.log.at(fetches(self.asset, self.got_bytes));
        }
        if self.got_bytes < self.asset.size_bytes {
            return Err(Error::new(Code::Unavailable, format!("{address} broke off"))
                .why(format!("{} of {} bytes came", self.got_bytes, self.asset.size_bytes)));
        }
        if Digest(self.hash.clone().finalize().into()) != self.asset.digest {
            return Err(self.damaged("bytes of another digest"));
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        Error::new(Code::AssetDamaged, format!("asset `{}` was sent damaged", self.asset.name))
            .why(format!("{what} came for sha256:{}", self.asset.digest))
    }

    async fn restart(&mut self) -> Result<(), Error> {
        let wrap = |error| io_error("cannot empty", self.path, &error);
        self.file.flush().await.map_err(wrap)?;
        let file = self.file.get_mut();
        file.set_len(0).await.map_err(wrap)?;
        file.rewind().await.map_err(wrap)?;
        self.hash = Sha256::new();
        self.got_bytes = 0;
        Ok(())
    }

    async fn finish(mut self) -> Result<(), Error> {
        let wrap = |error| io_error("cannot write", self.path, &error);
        self.file.flush().await.map_err(wrap)?;
        self.file.get_ref().sync_all().await.map_err(wrap)
    }
}

fn silent(address: &str) -> Error {
    Error::new(Code::Timeout, format!("{address} fell silent while it sent an asset"))
}
