//! How long a change of routes takes to every router: from the answer to who asked for it to the last acknowledgement.
//!
//! Coordinators as they run for real, and beside them routers without a mesh: a session and a feed each, on a connection of
//! its own, that apply what comes as a node does and say so at once. All of them share this process and its cores, so this is
//! what one machine does, not what a network would.
//!
//! `cargo run --release -p berth-coordinator --example table_propagation -- [routers] [members] [endpoints] [rounds]`

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use berth_coordinator::{CoordinatorHandle, CoordinatorOptions, CoordinatorService, keys::ClusterKey, raft::Formation};
use berth_core::{
    id::LogIndex,
    model::{DeploymentSpec, EndpointName, EndpointSpec, NodeName, NodeProfile, Runtime},
    traffic::table::RouteTable,
    units::Resources,
};
use berth_proto::{
    api::{
        deployment_spec_message, endpoint_spec_message,
        v1::{
            PutDeploymentRequest, PutEndpointRequest, SetTrafficRequest, ShowRoutersRequest, TrafficMap,
            deployments_client::DeploymentsClient, endpoints_client::EndpointsClient,
        },
    },
    node::{
        TableMessage, change_from_wire, profile_to_wire,
        v1::{FromNode, Heartbeat, Hello, TableAcks, WatchTableRequest, from_node, node_client::NodeClient, to_node},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// Nothing here takes near as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pace of a node's heartbeats, beside those that carry news.
const BEAT: Duration = Duration::from_millis(500);

/// Rounds before the first that counts.
const WARM_UP: usize = 3;

type AnyError = Box<dyn Error + Send + Sync>;

/// What a router has applied, and when.
struct Applied {
    router: u64,
    version: LogIndex,
    at: Instant,
}

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (routers, members, endpoints, rounds) = (number(100)?, number(3)?, number(100)?, number(50)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(routers, members, endpoints, rounds))
}

async fn measure(routers: usize, members: usize, endpoints: usize, rounds: usize) -> Result<(), AnyError> {
    let dir = tempfile::tempdir()?;
    let (handles, addresses) = start(members, dir.path()).await?;
    let leader = leader(&handles, &addresses).await?;
    let api = EndpointsClient::new(channel(addresses[leader])?);
    let names: Vec<String> = (0..endpoints).map(|at| format!("endpoint-{at}")).collect();
    for name in &names {
        create(api.clone(), DeploymentsClient::new(channel(addresses[leader])?), name).await?;
    }
    let (tell, mut told) = mpsc::channel(4 * routers);
    let token = MetadataValue::try_from(handles[leader].node_token().as_str())?;
    for at in 0..routers {
        // Sessions are the leader's; a feed is any member's.
        let (session, feed) = (channel(addresses[leader])?, channel(addresses[at % members])?);
        let (token, tell) = (token.clone(), tell.clone());
        tokio::spawn(async move {
            if let Err(error) = router(at as u64 + 1, session, feed, token, tell.clone()).await {
                // Whoever measures is gone, or hears why.
                let _ = tell.send(Err(error)).await;
            }
        });
    }
    println!("routers {routers} members {members} endpoints {endpoints} rounds {rounds}");
    let (mut accepted, mut applied, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds + WARM_UP {
        let name = &names[round % names.len()];
        // Another one each time that it is an endpoint's turn.
        let percent = if (round / names.len()).is_multiple_of(2) { 90 } else { 80 };
        let begun = Instant::now();
        split(api.clone(), name, percent).await?;
        let answered = Instant::now();
        let version =
            handles[leader].read(|state| state.routes.of(&EndpointName::new(name).expect("it has this name")));
        let mut last = answered;
        let mut have = BTreeSet::new();
        while have.len() < routers {
            let news: Applied = timeout(PATIENCE, told.recv()).await?.ok_or("the routers are gone")??;
            if news.version >= version && have.insert(news.router) {
                last = last.max(news.at);
            }
        }
        let asked = ShowRoutersRequest { endpoint: name.clone() };
        while !timeout(PATIENCE, api.clone().show_routers(asked.clone())).await??.into_inner().behind.is_empty() {}
        let all_known = Instant::now();
        if round >= WARM_UP {
            accepted.push(answered - begun);
            applied.push(last - answered);
            known.push(all_known - answered);
        }
    }
    report("asked to accepted", accepted);
    report("accepted to the last router's ack", applied);
    report("accepted to the leader's word that none is behind", known);
    Ok(())
}

/// Starts members that form a cluster over loopback.
async fn start(members: usize, dir: &std::path::Path) -> Result<(Vec<CoordinatorHandle>, Vec<SocketAddr>), AnyError> {
    let key = dir.join("cluster.key");
    ClusterKey::create(&key)?;
    let listeners: Vec<TcpListener> =
        (0..members).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let peers: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut handles = Vec::new();
    for (listener, address) in listeners.into_iter().zip(&addresses) {
        let formation = Formation::Bootstrap { expect: members, peers: peers.clone() };
        let mut options = CoordinatorOptions::new(dir.join(address.port().to_string()), formation);
        options.key_file = Some(key.clone());
        options.listen = *address;
        options.listener = Some(listener);
        let service = CoordinatorService::open(options).await?;
        handles.push(service.handle());
        tokio::spawn(service.run(std::future::pending()));
    }
    for handle in &handles {
        handle.wait_ready(Instant::now() + PATIENCE).await?;
    }
    Ok((handles, addresses))
}

/// Returns the position of the leader.
async fn leader(handles: &[CoordinatorHandle], addresses: &[SocketAddr]) -> Result<usize, AnyError> {
    let mut status = handles[0].raft().watch();
    timeout(PATIENCE, status.wait_for(|status| status.leader.is_some())).await??;
    let at = handles[0].status().leader.ok_or("no leader")?.address;
    Ok(addresses.iter().position(|address| address.to_string() == at).ok_or("a leader of another cluster")?)
}

fn channel(address: SocketAddr) -> Result<Channel, AnyError> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_lazy())
}

fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("request-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Creates an endpoint with two deployments that fit nowhere: only routes are looked at.
async fn create(
    mut endpoints: EndpointsClient<Channel>,
    mut deployments: DeploymentsClient<Channel>,
    name: &str,
) -> Result<(), AnyError> {
    let put = PutEndpointRequest {
        request_id: fresh_id(),
        name: name.to_owned(),
        spec: Some(endpoint_spec_message(&EndpointSpec::default())),
        ..PutEndpointRequest::default()
    };
    endpoints.put(put).await?;
    let mut spec = DeploymentSpec::new(Runtime::Command(vec!["serve".into()]));
    spec.resources = Resources { cpu_milli: 64_000, memory_mib: 64, disk_mib: 0, gpus: 0 };
    for deployment in ["blue", "green"] {
        let put = PutDeploymentRequest {
            request_id: fresh_id(),
            endpoint: name.to_owned(),
            name: deployment.to_owned(),
            spec: Some(deployment_spec_message(&spec)),
            ..PutDeploymentRequest::default()
        };
        deployments.put(put).await?;
    }
    Ok(())
}

async fn split(mut endpoints: EndpointsClient<Channel>, name: &str, percent: u32) -> Result<(), AnyError> {
    let percent = [("blue".to_owned(), percent), ("green".to_owned(), 100 - percent)].into();
    let set = SetTrafficRequest {
        request_id: fresh_id(),
        endpoint: name.to_owned(),
        split: Some(TrafficMap { percent }),
        ..SetTrafficRequest::default()
    };
    endpoints.set_traffic(set).await?;
    Ok(())
}

/// Lives as a node of which only the router is looked at. It ends with its session, which nobody expects to.
async fn router(
    id: u64,
    session: Channel,
    feed: Channel,
    token: MetadataValue<Ascii>,
    tell: mpsc::Sender<Result<Applied, AnyError>>,
) -> Result<(), AnyError> {
    let shows = move |mut request: Request<()>| {
        request.metadata_mut().insert(berth_coordinator::NODE_TOKEN, token.clone());
        Ok(request)
    };
    let mut session = NodeClient::with_interceptor(session, shows.clone());
    let (up, messages) = mpsc::channel(64);
    up.send(FromNode { message: Some(from_node::Message::Hello(hello(id)?)) }).await?;
    let mut down = session.session(ReceiverStream::new(messages)).await?.into_inner();
    let Some(to_node::Message::Welcome(welcome)) = down.message().await?.and_then(|message| message.message) else {
        return Err("the session was not taken".into());
    };
    let mut updates =
        NodeClient::with_interceptor(feed, shows).watch_table(WatchTableRequest::default()).await?.into_inner();
    let mut table = RouteTable::default();
    let mut beat = interval(BEAT);
    for seq in 1.. {
        let news = loop {
            tokio::select! {
                _ = beat.tick() => break false,
                // Its orders are nobody's here.
                order = down.message() => drop(order?.ok_or("a session ended: another member leads now")?),
                update = updates.message() => {
                    if let TableMessage::Change(change) = change_from_wire(update?.ok_or("the feed ended")?)? {
                        table = table.apply(change)?;
                        break true;
                    }
                }
            }
        };
        let version = table.version.0;
        let acks = Some(TableAcks { received: version, applied: version, warm: version });
        let heartbeat = Heartbeat { epoch: welcome.epoch, seq, acks, ..Heartbeat::default() };
        up.send(FromNode { message: Some(from_node::Message::Heartbeat(heartbeat)) }).await?;
        if news {
            let applied = Applied { router: id, version: table.version, at: Instant::now() };
            tell.send(Ok(applied)).await.map_err(|_| "nobody measures")?;
        }
    }
    Ok(())
}

fn hello(id: u64) -> Result<Hello, AnyError> {
    let profile = NodeProfile {
        name: NodeName::new(&format!("n-{id}"))?,
        labels: BTreeMap::new(),
        capacity: Resources { cpu_milli: 1_000, memory_mib: 1_024, disk_mib: 1_000, gpus: 0 },
        devices: Vec::new(),
        gate_address: "127.0.0.1:1".into(),
        ingress_address: "127.0.0.1:2".into(),
        is_virtual: true,
        version: "bench".into(),
    };
    Ok(Hello { node_id: id, profile: Some(profile_to_wire(&profile)), ..Hello::default() })
}

fn report(what: &str, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let at = |permille: usize| taken.get(taken.len() * permille / 1_000).map_or(0.0, |t| t.as_secs_f64() * 1e3);
    let most = taken.last().map_or(0.0, |t| t.as_secs_f64() * 1e3);
    println!("{what}: p50 {:.1} ms, p90 {:.1} ms, most {most:.1} ms", at(500), at(900));
}
