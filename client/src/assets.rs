//! Uploads: what the cluster does not hold yet is sent, in pieces, under the digest of its bytes.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use berth_core::{
    error::{Code, Error},
    id::Digest,
    model::AssetRef,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::{
    api::{
        Asset, AssetHeader, MissingAssetsRequest, UploadAssetRequest, assets_client::AssetsClient,
        upload_asset_request::Message,
    },
    archive::Packed,
    transport::Client,
};

/// Pieces read ahead of the connection.
const PIECES_AHEAD: usize = 4;
/// What any upload may take, before its size is looked at: a majority writes and syncs it.
const UPLOAD_BASE: Duration = Duration::from_secs(60);
/// The slowest connection an upload waits for.
const UPLOAD_BYTES_PER_SEC: u64 = 1 << 20;

/// How much of an upload is on its way; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    of_bytes: AtomicU64,
}

// === impl Sent ===

impl Sent {
    /// Returns the bytes handed over and the bytes there are; nothing as long as it is not known whether any are missing.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let of = self.0.of_bytes.load(Relaxed);
        (of > 0).then(|| (self.0.bytes.load(Relaxed).min(of), of))
    }
}

/// Uploads.
impl Client {
    /// Uploads a file or folder unless the cluster holds its bytes already, and returns how a deployment refers to it.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let model = client.upload("./model".as_ref()).await?;
    /// println!("{} is {}", model.name, model.digest);
    /// // What deploys it takes it as it is, and a message of the wire through `into`.
    /// let blue = berth_client::spec::Deployment::onnx("fraud", "blue", &model);
    /// let asset: berth_client::store::AssetRef = model.into();
    /// # Ok(())
    /// # }
    /// ```
    pub async fn upload(&self, path: &Path) -> Result<AssetRef, Error> {
        self.upload_watched(path, &Sent::default()).await
    }

    /// As [`Client::upload`], and counts what is on its way.
    pub async fn upload_watched(&self, path: &Path, sent: &Sent) -> Result<AssetRef, Error> {
        let packed = pack(path).await?;
        if self.is_missing(packed.asset.digest).await? {
            sent.0.of_bytes.store(packed.asset.size_bytes, Relaxed);
            self.upload_counted(&packed, sent).await?;
        }
        Ok(packed.asset)
    }

    /// Returns whether a majority of coordinators still lacks the bytes of this digest.
    pub async fn is_missing(&self, digest: Digest) -> Result<bool, Error> {
        let request = MissingAssetsRequest { digests: vec![digest.to_string()] };
        let answer = self
            .call(request, |channel, request| async move { AssetsClient::new(channel).missing(request).await })
            .await?;
        Ok(!answer.digests.is_empty())
    }

    /// Uploads what was packed, whether the cluster holds it or not.
    pub async fn upload_packed(&self, packed: &Packed) -> Result<Asset, Error> {
        self.upload_counted(packed, &Sent::default()).await
    }

    async fn upload_counted(&self, packed: &Packed, sent: &Sent) -> Result<Asset, Error> {
        let deadline = UPLOAD_BASE + Duration::from_secs(packed.asset.size_bytes / UPLOAD_BYTES_PER_SEC);
        self.call_within(
            deadline,
            deadline,
            || pieces(packed.clone(), sent.clone()),
            |channel, request: Request<ReceiverStream<UploadAssetRequest>>| async move {
                AssetsClient::new(channel).upload(request).await
            },
        )
        .await
    }
}

/// Finds the digest of a file or folder without holding up the runtime.
pub(crate) async fn pack(path: &Path) -> Result<Packed, Error> {
    let path = path.to_owned();
    let packed = tokio::task::spawn_blocking(move || Packed::read(&path)).await;
    packed.unwrap_or_else(|error| Err(Error::new(Code::Internal, "packing stopped").why(error.to_string())))
}

/// Reads the bytes on a blocking thread, no faster than they are sent. A file that cannot be read ends the stream early,
/// and the receiver refuses it, because the digest does not fit.
fn pieces(packed: Packed, sent: Sent) -> ReceiverStream<UploadAssetRequest> {
    let (send, receive) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let header = AssetHeader { digest: packed.asset.digest.to_string(), size_bytes: packed.asset.size_bytes };
        let message = |message| UploadAssetRequest { message: Some(message) };
        if send.blocking_send(message(Message::Header(header))).is_err() {
            return;
        }
        // A try that failed half way is begun anew.
        sent.0.bytes.store(0, Relaxed);
        let streamed = packed.stream(|piece| {
            let bytes = piece.len() as u64;
            let taken = send.blocking_send(message(Message::Data(piece.into()))).is_ok();
            sent.0.bytes.fetch_add(if taken { bytes } else { 0 }, Relaxed);
            taken
        });
        if let Err(error) = streamed {
            tracing::debug!(%error, "upload ended early");
        }
    });
    ReceiverStream::new(receive)
}
