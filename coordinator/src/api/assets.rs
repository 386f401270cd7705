//! Assets: upload, and which ones need not be.

use berth_core::{
    error::{Code, Error},
    id::Digest,
};
use berth_proto::{
    api::v1::{
        Asset, AssetHeader, MissingAssetsRequest, MissingAssetsResponse, UploadAssetRequest, assets_server::Assets,
        upload_asset_request::Message,
    },
    status::from_status,
};
use futures::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Api,
    call::{Call, answer},
};

/// Digests in one question.
const DIGESTS_MAX: usize = 1_000;

#[tonic::async_trait]
impl Assets for Api {
    async fn upload(&self, request: Request<Streaming<UploadAssetRequest>>) -> Result<Response<Asset>, Status> {
        let call = Call::of(request.metadata());
        answer(&self.context.metrics, "Assets/Upload", self.take_upload(&call, request.into_inner())).await
    }

    async fn missing(&self, request: Request<MissingAssetsRequest>) -> Result<Response<MissingAssetsResponse>, Status> {
        let call = Call::of(request.metadata());
        let digests = request.into_inner().digests;
        answer(&self.context.metrics, "Assets/Missing", async {
            if digests.len() > DIGESTS_MAX {
                return Err(Error::new(Code::Limit, format!("{} digests are too many", digests.len()))
                    .try_(format!("ask for {DIGESTS_MAX} at once")));
            }
            let asked =
                digests.iter().map(|text| Ok((text.clone(), digest(text)?))).collect::<Result<Vec<_>, Error>>()?;
            self.context.proposer.barrier(call.deadline).await?;
            let digests = self.context.machine.read(|state| {
                asked
                    .into_iter()
                    .filter(|(_, digest)| !state.assets.contains_key(digest))
                    .map(|(text, _)| text)
                    .collect()
            });
            Ok(MissingAssetsResponse { digests })
        })
        .await
    }
}

// === impl Api ===

impl Api {
    async fn take_upload(&self, call: &Call, mut parts: Streaming<UploadAssetRequest>) -> Result<Asset, Error> {
        let first = parts.message().await.map_err(|status| from_status(&status))?;
        let Some(UploadAssetRequest { message: Some(Message::Header(AssetHeader { digest: text, size_bytes })) }) =
            first
        else {
            return Err(Error::new(Code::Invalid, "an upload begins with what is uploaded")
                .try_("send the header first, then the bytes"));
        };
        let bytes = parts.map(|part| match part {
            Ok(UploadAssetRequest { message: Some(Message::Data(data)) }) => Ok(data),
            Ok(_) => Err(Error::new(Code::Invalid, "an upload has one header, then bytes")),
            Err(status) => Err(from_status(&status)),
        });
        let asset = self.context.artifacts.upload(call.principal.name(), digest(&text)?, size_bytes, bytes).await?;
        Ok(Asset { digest: asset.digest.to_string(), size_bytes: asset.size_bytes, revision: asset.revision.0 })
    }
}

fn digest(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        Error::new(Code::Invalid, format!("`{shown}` is no digest")).try_("send the SHA-256 as 64 hex digits")
    })
}
