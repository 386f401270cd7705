//! A member whose answers a test decides, one after the other.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use berth_client::store::Settings;
use berth_client::{
    Error,
    api::{
        assets_server::{Assets, AssetsServer},
        cluster_server::{Cluster, ClusterServer},
        nodes_server::{Nodes, NodesServer},
        upload_asset_request::Message,
        watch_server::{Watch, WatchServer},
        *,
    },
};
use berth_core::id::Digest;
use tokio::net::TcpListener;
use tokio_stream::{StreamExt, wrappers::ReceiverStream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, async_trait, transport::Server};

/// What the next call gets.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// What it asked for.
    Well,
    /// An error of ours.
    Refuse(Error),
    /// An answer that never comes.
    Hang,
}

/// What the next watch gets: these events, then an end or an error.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    pub(crate) events: Vec<u64>,
    pub(crate) then: Option<Error>,
}

/// The member, and what it saw.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    replies: VecDeque<Reply>,
    feeds: VecDeque<Feed>,
    request_ids: Vec<String>,
    asked_from: Vec<Option<u64>>,
    assets: BTreeMap<String, Vec<u8>>,
    uploads: usize,
}

// === impl Fake ===

impl Fake {
    /// Starts a member that gives these answers and then answers well.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> (Self, SocketAddr) {
        let fake = Self::default();
        fake.with(|shared| shared.replies.extend(replies));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = Server::builder()
            .add_service(NodesServer::new(fake.clone()))
            .add_service(ClusterServer::new(fake.clone()))
            .add_service(AssetsServer::new(fake.clone()))
            .add_service(WatchServer::new(fake.clone()));
        // Ends with the test's runtime.
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (fake, address)
    }

    pub(crate) fn feed(&self, feeds: impl IntoIterator<Item = Feed>) {
        self.with(|shared| shared.feeds.extend(feeds));
    }

    pub(crate) fn request_ids(&self) -> Vec<String> {
        self.with(|shared| shared.request_ids.clone())
    }

    pub(crate) fn asked_from(&self) -> Vec<Option<u64>> {
        self.with(|shared| shared.asked_from.clone())
    }

    pub(crate) fn uploads(&self) -> usize {
        self.with(|shared| shared.uploads)
    }

    pub(crate) fn asset(&self, digest: Digest) -> Option<Vec<u8>> {
        self.with(|shared| shared.assets.get(&digest.to_string()).cloned())
    }

    fn with<R>(&self, f: impl FnOnce(&mut Shared) -> R) -> R {
        f(&mut self.shared.lock().expect("no test panics while it holds this"))
    }

    async fn reply<T>(&self, well: T) -> Result<Response<T>, Status> {
        match self.with(|shared| shared.replies.pop_front()).unwrap_or(Reply::Well) {
            Reply::Well => Ok(Response::new(well)),
            Reply::Refuse(error) => Err(berth_proto::status::to_status(&error)),
            Reply::Hang => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Nodes for Fake {
    async fn list(&self, _: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        self.reply(ListNodesResponse::default()).await
    }

    async fn cordon(&self, request: Request<CordonNodeRequest>) -> Result<Response<Node>, Status> {
        let request = request.into_inner();
        self.with(|shared| shared.request_ids.push(request.request_id));
        self.reply(Node { node: request.node, cordoned: request.cordoned, ..Default::default() }).await
    }

    async fn drain(&self, request: Request<DrainNodeRequest>) -> Result<Response<Node>, Status> {
        let request = request.into_inner();
        self.with(|shared| shared.request_ids.push(request.request_id));
        self.reply(Node { node: request.node, ..Default::default() }).await
    }

    async fn forget(&self, request: Request<ForgetNodeRequest>) -> Result<Response<Mutation>, Status> {
        self.with(|shared| shared.request_ids.push(request.into_inner().request_id));
        self.reply(Mutation { revision: 1 }).await
    }
}

#[async_trait]
impl Assets for Fake {
    async fn upload(&self, request: Request<Streaming<UploadAssetRequest>>) -> Result<Response<Asset>, Status> {
        self.with(|shared| shared.uploads += 1);
        let mut stream = request.into_inner();
        let (mut header, mut bytes) = (None, Vec::new());
        while let Some(part) = stream.next().await {
            match part?.message {
                Some(Message::Header(found)) => header = Some(found),
                Some(Message::Data(data)) => bytes.extend_from_slice(&data),
                None => return Err(Status::invalid_argument("an empty message")),
            }
        }
        let header = header.ok_or_else(|| Status::invalid_argument("no header"))?;
        if Digest::of(&bytes).to_string() != header.digest || bytes.len() as u64 != header.size_bytes {
            return Err(Status::invalid_argument("the bytes do not fit their digest"));
        }
        let answer =
            self.reply(Asset { digest: header.digest.clone(), size_bytes: header.size_bytes, revision: 1 }).await?;
        self.with(|shared| shared.assets.insert(header.digest, bytes));
        Ok(answer)
    }

    async fn missing(&self, request: Request<MissingAssetsRequest>) -> Result<Response<MissingAssetsResponse>, Status> {
        let mut digests = request.into_inner().digests;
        self.with(|shared| digests.retain(|digest| !shared.assets.contains_key(digest)));
        Ok(Response::new(MissingAssetsResponse { digests }))
    }
}

#[async_trait]
impl Watch for Fake {
    type EventsStream = ReceiverStream<Result<EventBatch, Status>>;

    async fn events(&self, request: Request<WatchEventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let (send, receive) = tokio::sync::mpsc::channel(16);
        let feed = self.with(|shared| {
            shared.asked_from.push(request.into_inner().from_seq);
            shared.feeds.pop_front()
        });
        let Some(feed) = feed else { return Err(Status::unavailable("nothing more is planned")) };
        for seq in feed.events {
            let events = vec![Event { seq, ..Default::default() }];
            send.try_send(Ok(EventBatch { events, next_seq: seq + 1 })).expect("room for a test's events");
        }
        if let Some(error) = feed.then {
            send.try_send(Err(berth_proto::status::to_status(&error))).expect("room for the end");
        }
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

#[async_trait]
impl Cluster for Fake {
    type SaveSnapshotStream = ReceiverStream<Result<SnapshotChunk, Status>>;

    async fn info(&self, _: Request<ClusterInfoRequest>) -> Result<Response<ClusterInfo>, Status> {
        self.reply(ClusterInfo { cluster_id: "fake".into(), ..Default::default() }).await
    }

    async fn members(&self, _: Request<ListMembersRequest>) -> Result<Response<ListMembersResponse>, Status> {
        self.reply(ListMembersResponse::default()).await
    }

    async fn add_member(&self, _: Request<AddMemberRequest>) -> Result<Response<ListMembersResponse>, Status> {
        self.reply(ListMembersResponse::default()).await
    }

    async fn remove_member(&self, _: Request<RemoveMemberRequest>) -> Result<Response<ListMembersResponse>, Status> {
        self.reply(ListMembersResponse::default()).await
    }

    async fn transfer_leadership(
        &self,
        _: Request<TransferLeadershipRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        self.reply(ListMembersResponse::default()).await
    }

    async fn save_snapshot(
        &self,
        _: Request<SaveSnapshotRequest>,
    ) -> Result<Response<Self::SaveSnapshotStream>, Status> {
        let (send, receive) = tokio::sync::mpsc::channel(4);
        for data in ["one ", "two"] {
            send.try_send(Ok(SnapshotChunk { data: data.into() })).expect("room");
        }
        if let Reply::Refuse(error) = self.with(|shared| shared.replies.pop_front()).unwrap_or(Reply::Well) {
            send.try_send(Err(berth_proto::status::to_status(&error))).expect("room");
        }
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn lock_upgrade(&self, _: Request<LockUpgradeRequest>) -> Result<Response<Mutation>, Status> {
        self.reply(Mutation { revision: 1 }).await
    }

    async fn get_settings(&self, _: Request<GetSettingsRequest>) -> Result<Response<Settings>, Status> {
        self.reply(Settings::default()).await
    }

    async fn set_settings(&self, _: Request<SetSettingsRequest>) -> Result<Response<Settings>, Status> {
        self.reply(Settings::default()).await
    }

    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckReport>, Status> {
        self.reply(CheckReport::default()).await
    }
}
