//! Uploads: what the cluster does not hold yet is sent, in pieces, under the digest of its bytes.

use std::{path::Path, time::Duration};

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

/// Uploads.
impl Client {
    /// Uploads a file or folder unless the cluster holds its bytes already, and returns how a deployment refers to it.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let model = client.upload("./model".as_ref()).await?;
    /// println!("{} is {}", model.name, model.digest);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn upload(&self, path: &Path) -> Result<AssetRef, Error> {
        let packed = pack(path).await?;
        if self.is_missing(packed.asset.digest).await? {
            self.upload_packed(&packed).await?;
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
        let deadline = UPLOAD_BASE + Duration::from_secs(packed.asset.size_bytes / UPLOAD_BYTES_PER_SEC);
        self.call_within(
            deadline,
            deadline,
            || pieces(packed.clone()),
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
fn pieces(packed: Packed) -> ReceiverStream<UploadAssetRequest> {
    let (send, receive) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let header = AssetHeader { digest: packed.asset.digest.to_string(), size_bytes: packed.asset.size_bytes };
        let message = |message| UploadAssetRequest { message: Some(message) };
        if send.blocking_send(message(Message::Header(header))).is_err() {
            return;
        }
        let sent = packed.stream(|piece| send.blocking_send(message(Message::Data(piece.into()))).is_ok());
        if let Err(error) = sent {
            tracing::debug!(%error, "upload ended early");
        }
    });
    ReceiverStream::new(receive)
}
