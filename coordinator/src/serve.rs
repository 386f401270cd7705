//! The services nodes and other members call, mounted beside the API on the one listener.

use std::{pin::Pin, sync::Arc};

use berth_core::{
    error::{Code, Error},
    id::Digest,
};
use berth_proto::{
    node::v1::{AssetChunk, FetchAssetRequest, FromNode, TableUpdate, ToNode, WatchTableRequest, node_server::Node},
    peer::v1::{
        AssetPart, ReadAssetRequest, StoreAssetReply, StoreAssetRequest, peer_server::Peer,
        store_asset_request::Message,
    },
    status::{from_status, to_status},
};
use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{api::answer, artifact::Reading, context::Context, session, table};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What nodes call.
#[derive(Clone, Debug)]
pub(crate) struct NodeRpc(pub(crate) Arc<Context>);

/// What other members call.
#[derive(Clone, Debug)]
pub(crate) struct PeerRpc(pub(crate) Arc<Context>);

#[tonic::async_trait]
impl Node for NodeRpc {
    type SessionStream = Answers<ToNode>;

    async fn session(&self, request: Request<Streaming<FromNode>>) -> Result<Response<Self::SessionStream>, Status> {
        let joins = crate::auth::joins(request.metadata());
        let messages = session::open(self.0.clone(), request.into_inner(), joins);
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    type WatchTableStream = Answers<TableUpdate>;

    async fn watch_table(
        &self,
        request: Request<WatchTableRequest>,
    ) -> Result<Response<Self::WatchTableStream>, Status> {
        let context = &self.0;
        answer(&context.metrics, "Node/WatchTable", async {
            let updates =
                table::watch_table(&context.feed, &context.raft, &request.into_inner(), context.stop.clone())?;
            Ok(Box::pin(ReceiverStream::new(updates)) as Self::WatchTableStream)
        })
        .await
    }

    type FetchAssetStream = Answers<AssetChunk>;

    async fn fetch_asset(
        &self,
        request: Request<FetchAssetRequest>,
    ) -> Result<Response<Self::FetchAssetStream>, Status> {
        let FetchAssetRequest { digest: bytes, offset } = request.into_inner();
        answer(&self.0.metrics, "Node/FetchAsset", async {
            let reading = self.0.artifacts.read(digest(&bytes)?, offset).await?;
            let size_bytes = reading.size_bytes;
            let first = AssetChunk { size_bytes, ..AssetChunk::default() };
            Ok(parts(reading, first, |data| AssetChunk { data, ..AssetChunk::default() }))
        })
        .await
    }
}

#[tonic::async_trait]
impl Peer for PeerRpc {
    async fn store_asset(
        &self,
        request: Request<Streaming<StoreAssetRequest>>,
    ) -> Result<Response<StoreAssetReply>, Status> {
        answer(&self.0.metrics, "Peer/StoreAsset", self.take_asset(request.into_inner())).await
    }

    type ReadAssetStream = Answers<AssetPart>;

    async fn read_asset(&self, request: Request<ReadAssetRequest>) -> Result<Response<Self::ReadAssetStream>, Status> {
        let ReadAssetRequest { digest: bytes, offset } = request.into_inner();
        answer(&self.0.metrics, "Peer/ReadAsset", async {
            let reading = self.0.artifacts.read_here(digest(&bytes)?, offset).await?;
            let size_bytes = reading.size_bytes;
            let first = AssetPart { size_bytes, ..AssetPart::default() };
            Ok(parts(reading, first, |data| AssetPart { data: data.into(), ..AssetPart::default() }))
        })
        .await
    }
}

// === impl PeerRpc ===

impl PeerRpc {
    async fn take_asset(&self, mut parts: Streaming<StoreAssetRequest>) -> Result<StoreAssetReply, Error> {
        let first = parts.message().await.map_err(|status| from_status(&status))?;
        let Some(StoreAssetRequest { message: Some(Message::Header(header)) }) = first else {
            return Err(Error::new(Code::Invalid, "the bytes of an asset come after its header"));
        };
        let bytes = parts.map(|part| match part {
            Ok(StoreAssetRequest { message: Some(Message::Data(data)) }) => Ok(data.into()),
            Ok(_) => Err(Error::new(Code::Invalid, "an asset has one header, then bytes")),
            Err(status) => Err(from_status(&status)),
        });
        self.0.artifacts.receive(digest(&header.digest)?, header.size_bytes, bytes).await?;
        Ok(StoreAssetReply {
            member: self.0.raft.member_id().to_string(),
            caught_up: self.0.artifacts.counts_soon().await,
        })
    }
}

/// Turns an asset being read into messages, the size first.
fn parts<T: Send + 'static>(
    reading: Reading,
    first: T,
    part: impl Fn(bytes::Bytes) -> T + Send + 'static,
) -> Answers<T> {
    let rest =
        ReceiverStream::new(reading.chunks).map(move |chunk| chunk.map(&part).map_err(|error| to_status(&error)));
    Box::pin(futures::stream::iter([Ok(first)]).chain(rest))
}

fn digest(bytes: &[u8]) -> Result<Digest, Error> {
    let digest = bytes.try_into().map(Digest);
    digest.map_err(|_| Error::new(Code::Invalid, format!("a digest has 32 bytes, not {}", bytes.len())))
}
