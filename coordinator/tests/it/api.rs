//! The API: round trips, refusals, retries, any member for any call.

use berth_core::{
    error::{Code, Error},
    model::EndpointSpec,
    state::ClusterState,
};
use berth_proto::{
    api::endpoint_spec_message,
    api::v1::{
        AddMemberRequest, CheckRequest, ClusterInfoRequest, CordonNodeRequest, DeleteDeploymentRequest,
        DeleteEndpointRequest, DrainNodeRequest, ExplainDeploymentRequest, ForgetNodeRequest, GetDeploymentRequest,
        GetEndpointRequest, KeyType, ListDeploymentsRequest, ListEndpointsRequest, ListKeysRequest, ListMembersRequest,
        ListNodesRequest, ListReplicasRequest, LogsRequest, MissingAssetsRequest, PutEndpointRequest, PutMode,
        RegenerateKeyRequest, RemoveMemberRequest, SaveSnapshotRequest, ScaleDeploymentRequest, SetTrafficRequest,
        TrafficMap, TransferLeadershipRequest, WatchEventsRequest, assets_client::AssetsClient,
        cluster_client::ClusterClient, nodes_client::NodesClient, replicas_client::ReplicasClient,
        watch_client::WatchClient,
    },
    status::from_status,
    store::decode_snapshot,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Response, Status};

use crate::api_fleet::{Fleet, PATIENCE, deployment_request, endpoint_request, fresh_id};

fn code<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> Result<(), Code> {
    result.map(|_| ()).map_err(|status| from_status(&status).code)
}

fn split(shares: &[(&str, u32)]) -> Option<TrafficMap> {
    Some(TrafficMap { percent: shares.iter().map(|(name, percent)| ((*name).to_owned(), *percent)).collect() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_takes_every_call_of_a_life() {
    let fleet = Fleet::start(1).await;
    let (mut endpoints, mut deployments) = (fleet.endpoints(0), fleet.deployments(0));

    let made = endpoints.put(endpoint_request("Fraud", &fresh_id())).await.expect("created").into_inner();
    assert_eq!(
        (made.name.as_str(), made.project.as_str(), made.provisioning_state.as_str()),
        ("fraud", "default", "Succeeded")
    );
    let mut change = endpoint_request("fraud", &fresh_id());
    change.if_revision = Some(made.revision);
    change.spec.as_mut().expect("a spec").description = "card fraud".into();
    let changed = endpoints.put(change).await.expect("changed").into_inner();
    assert!(changed.revision > made.revision);
    let got = endpoints.get(GetEndpointRequest { name: "fraud".into() }).await.expect("found").into_inner();
    assert_eq!(got, changed);

    fleet.put_deployment(0, "fraud", "blue", 2).await.expect("created");
    fleet.put_deployment(0, "fraud", "green", 1).await.expect("created");
    let traffic = SetTrafficRequest {
        strict_azure: false,
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        split: split(&[("blue", 90), ("green", 10)]),
        mirror: split(&[("green", 5)]),
        if_revision: None,
    };
    let split_now = endpoints.set_traffic(traffic).await.expect("set").into_inner();
    assert_eq!(split_now.traffic.into_iter().collect::<Vec<_>>(), [("blue".to_owned(), 90), ("green".to_owned(), 10)]);
    assert_eq!(split_now.mirror_traffic.into_iter().collect::<Vec<_>>(), [("green".to_owned(), 5)]);

    let scale = ScaleDeploymentRequest {
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        name: "blue".into(),
        instance_count: 4,
        if_revision: None,
    };
    assert_eq!(deployments.scale(scale).await.expect("scaled").into_inner().desired, 4);
    let key = GetDeploymentRequest { endpoint: "fraud".into(), name: "blue".into() };
    let blue = deployments.get(key).await.expect("found").into_inner();
    assert_eq!((blue.desired, blue.ready, blue.traffic_percent, blue.generation), (4, 0, 90, 1));
    assert_eq!(blue.provisioning_state, "Creating");
    let asked = ExplainDeploymentRequest { endpoint: "fraud".into(), name: "blue".into() };
    let verdict = deployments.explain(asked).await.expect("explained").into_inner();
    assert_eq!((verdict.desired, verdict.placed, verdict.nodes_looked_at), (4, 0, 0));
    assert!(verdict.text.starts_with("fraud/blue"), "{}", verdict.text);

    let listed =
        deployments.list(ListDeploymentsRequest { endpoint: "fraud".into() }).await.expect("listed").into_inner();
    assert_eq!(listed.deployments.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["blue", "green"]);
    let clear = SetTrafficRequest {
        strict_azure: false,
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        split: split(&[("blue", 100)]),
        mirror: split(&[]),
        if_revision: None,
    };
    endpoints.set_traffic(clear).await.expect("set");
    let green = DeleteDeploymentRequest {
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        name: "green".into(),
        if_revision: None,
    };
    deployments.delete(green).await.expect("deleted");
    let gone = GetDeploymentRequest { endpoint: "fraud".into(), name: "green".into() };
    assert_eq!(code(deployments.get(gone).await), Err(Code::DeploymentNotFound));
    let all = DeleteEndpointRequest { request_id: fresh_id(), name: "fraud".into(), if_revision: None };
    endpoints.delete(all).await.expect("deleted");
    let left = endpoints.list(ListEndpointsRequest {}).await.expect("listed").into_inner();
    assert!(left.endpoints.is_empty() && left.index > changed.revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_its_code() {
    let fleet = Fleet::start(1).await;
    let (mut endpoints, mut deployments) = (fleet.endpoints(0), fleet.deployments(0));
    let mut nodes = NodesClient::new(fleet.channel(0));
    let mut cluster = ClusterClient::new(fleet.channel(0));
    let mut assets = AssetsClient::new(fleet.channel(0));
    fleet.put_endpoint(0, "fraud").await.expect("created");
    let at = fleet.put_deployment(0, "fraud", "blue", 1).await.expect("created");

    // A request that breaks several rules is told all of them.
    let mut wrong = endpoint_request("?", "");
    wrong.spec.as_mut().expect("a spec").max_body_bytes = 0;
    let all = from_status(&endpoints.put(wrong).await.expect_err("refused"));
    let fields: Vec<_> = all.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!((all.code, fields), (Code::Invalid, vec!["request_id", "name", "max_body_bytes"]));

    let mut create = endpoint_request("fraud", &fresh_id());
    create.mode = PutMode::Create.into();
    assert_eq!(code(endpoints.put(create).await), Err(Code::AlreadyExists));
    let mut update = endpoint_request("other", &fresh_id());
    update.mode = PutMode::Update.into();
    assert_eq!(code(endpoints.put(update).await), Err(Code::EndpointNotFound));
    let mut stale = endpoint_request("fraud", &fresh_id());
    stale.if_revision = Some(1);
    stale.spec.as_mut().expect("a spec").description = "new".into();
    assert_eq!(code(endpoints.put(stale).await), Err(Code::Revision));
    let mut none = endpoint_request("fraud", &fresh_id());
    none.spec = None;
    assert_eq!(code(endpoints.put(none).await), Err(Code::Invalid));

    let get = |name: &str| GetEndpointRequest { name: name.to_owned() };
    let near = from_status(&endpoints.get(get("frau")).await.expect_err("not there"));
    assert_eq!((near.code, near.try_.as_str()), (Code::EndpointNotFound, "did you mean `fraud`?"));
    assert_eq!(code(endpoints.get(get("no name")).await), Err(Code::Invalid));

    for (shares, expected) in
        [(split(&[("blue", 90)]), Code::Traffic), (split(&[("red", 100)]), Code::Traffic), (None, Code::Invalid)]
    {
        let request = SetTrafficRequest {
            strict_azure: false,
            request_id: fresh_id(),
            endpoint: "fraud".into(),
            split: shares,
            mirror: None,
            if_revision: None,
        };
        assert_eq!(code(endpoints.set_traffic(request).await), Err(expected));
    }

    let mut unknown_asset = deployment_request("fraud", "green", 1);
    let mut spec = crate::api_fleet::spec();
    spec.code = Some(berth_core::model::Code {
        asset: berth_core::model::AssetRef {
            digest: berth_core::id::Digest::of(b"nowhere"),
            kind: berth_core::model::AssetKind::Folder,
            name: "code".into(),
            size_bytes: 7,
        },
        scoring_script: String::new(),
    });
    unknown_asset.spec = Some(berth_proto::api::deployment_spec_message(&spec));
    assert_eq!(code(deployments.put(unknown_asset).await), Err(Code::AssetNotFound));
    assert_eq!(code(deployments.put(deployment_request("nowhere", "blue", 1)).await), Err(Code::EndpointNotFound));
    let scale = |count, if_revision| ScaleDeploymentRequest {
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        name: "blue".into(),
        instance_count: count,
        if_revision,
    };
    assert_eq!(code(deployments.scale(scale(1_000_000, None)).await), Err(Code::Invalid));
    assert_eq!(code(deployments.scale(scale(2, Some(at + 1_000))).await), Err(Code::Revision));

    let full = SetTrafficRequest {
        strict_azure: false,
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        split: split(&[("blue", 100)]),
        mirror: None,
        if_revision: None,
    };
    endpoints.set_traffic(full).await.expect("set");
    let blue = DeleteDeploymentRequest {
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        name: "blue".into(),
        if_revision: None,
    };
    assert_eq!(code(deployments.delete(blue).await), Err(Code::CarriesTraffic));
    let logs = |replica: &str| LogsRequest {
        endpoint: "fraud".into(),
        deployment: "blue".into(),
        replica: replica.to_owned(),
        ..LogsRequest::default()
    };
    assert_eq!(code(deployments.logs(logs("nonsense")).await.map(|_| Response::new(()))), Err(Code::Invalid));
    assert_eq!(
        code(deployments.logs(logs("00000000000000ff")).await.map(|_| Response::new(()))),
        Err(Code::ReplicaNotFound)
    );

    let cordon = CordonNodeRequest { request_id: fresh_id(), node: "n-1".into(), cordoned: true };
    assert_eq!(code(nodes.cordon(cordon).await), Err(Code::NodeNotFound));
    let drain = DrainNodeRequest { request_id: fresh_id(), node: "n-1".into(), ..DrainNodeRequest::default() };
    assert_eq!(code(nodes.drain(drain).await), Err(Code::NodeNotFound));
    let forget = ForgetNodeRequest { request_id: fresh_id(), node: "n 1".into() };
    assert_eq!(code(nodes.forget(forget).await), Err(Code::Invalid));

    let missing = MissingAssetsRequest { digests: vec!["beef".into()] };
    assert_eq!(code(assets.missing(missing).await), Err(Code::Invalid));
    let many = MissingAssetsRequest { digests: vec!["00".repeat(32); 1_001] };
    assert_eq!(code(assets.missing(many).await), Err(Code::Limit));

    let remove = RemoveMemberRequest { id: "00000000000000ff".into() };
    assert_eq!(code(cluster.remove_member(remove).await), Err(Code::MemberNotFound));
    assert_eq!(code(cluster.remove_member(RemoveMemberRequest { id: "ff".into() }).await), Err(Code::Invalid));
    let add = AddMemberRequest { id: "x".into(), address: "127.0.0.1:1".into() };
    assert_eq!(code(cluster.add_member(add).await), Err(Code::Invalid));
    let to = TransferLeadershipRequest { id: "00000000000000ff".into() };
    assert!(code(cluster.transfer_leadership(to).await).is_err());
}

/// Azure copies no request that names its deployment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_azures_limits_gets_no_mirror_of_pinned_requests() {
    let fleet = Fleet::start(1).await;
    let mut endpoints = fleet.endpoints(0);
    for (pinned, expected) in [(true, Err(Code::Traffic)), (false, Ok(()))] {
        let mut spec = EndpointSpec::default();
        spec.mirror_rules.pinned = pinned;
        let put =
            PutEndpointRequest { spec: Some(endpoint_spec_message(&spec)), ..endpoint_request("fraud", &fresh_id()) };
        endpoints.put(put).await.expect("put");
        for name in ["blue", "green"] {
            fleet.put_deployment(0, "fraud", name, 1).await.expect("put");
        }
        for (strict_azure, expected) in [(true, expected), (false, Ok(()))] {
            let request = SetTrafficRequest {
                strict_azure,
                request_id: fresh_id(),
                endpoint: "fraud".into(),
                split: split(&[("blue", 100)]),
                mirror: split(&[("green", 10)]),
                if_revision: None,
            };
            assert_eq!(code(endpoints.set_traffic(request).await), expected, "pinned {pinned}, strict {strict_azure}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_is_one_request() {
    let fleet = Fleet::start(1).await;
    let mut endpoints = fleet.endpoints(0);
    let request = endpoint_request("fraud", "the-one");
    let first = endpoints.put(request.clone()).await.expect("created").into_inner();
    let again = endpoints.put(request.clone()).await.expect("the same answer").into_inner();
    assert_eq!(again, first);
    let keys = endpoints.list_keys(ListKeysRequest { endpoint: "fraud".into() }).await.expect("keys").into_inner();
    let mut other = request;
    other.name = "other".into();
    assert_eq!(code(endpoints.put(other).await), Err(Code::RequestIdReused));
    let after = endpoints.list_keys(ListKeysRequest { endpoint: "fraud".into() }).await.expect("keys").into_inner();
    assert_eq!(keys, after, "a retry makes no new keys");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_member_takes_any_call_and_shows_what_it_wrote() {
    let fleet = Fleet::start(3).await;
    for at in 0..3 {
        let name = format!("endpoint-{at}");
        let revision = fleet.put_endpoint(at, &name).await.expect("created");
        // Written through one member, read through each other.
        for other in 0..3 {
            let got = fleet.endpoints(other).get(GetEndpointRequest { name: name.clone() }).await.expect("found");
            assert_eq!(got.into_inner().revision, revision);
        }
        fleet.put_deployment(at, &name, "blue", 1).await.expect("created");
        let asked = ExplainDeploymentRequest { endpoint: name.clone(), name: "blue".into() };
        let verdict = fleet.deployments(at).explain(asked).await.expect("explained").into_inner();
        assert_eq!(verdict.desired, 1);
        ReplicasClient::new(fleet.channel(at)).list(ListReplicasRequest::default()).await.expect("listed");
        NodesClient::new(fleet.channel(at)).list(ListNodesRequest {}).await.expect("listed");
        let info = ClusterClient::new(fleet.channel(at)).info(ClusterInfoRequest {}).await.expect("told").into_inner();
        assert_eq!(info.endpoints, at as u64 + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_across_a_change_of_leader_is_applied_once() {
    let mut fleet = Fleet::start(3).await;
    let leader = fleet.leader().await;
    let request = endpoint_request("fraud", "across-leaders");
    let first = fleet.endpoints(leader).put(request.clone()).await.expect("created").into_inner();
    fleet.members[leader].stop().await;
    let other = fleet.leader().await;
    assert_ne!(other, leader);
    let again = fleet.endpoints(other).put(request).await.expect("the same answer").into_inner();
    assert_eq!(again.revision, first.revision);
    let created = |state: &ClusterState| state.events.iter().filter(|event| event.kind == "endpoint.created").count();
    assert_eq!(fleet.handle(other).read(created), 1);
    // The stopped member comes back and holds the same state.
    fleet.members[leader].start(None).await;
    let applied = fleet.handle(other).read(|state| state.applied);
    fleet.until(leader, "the returned member catches up", |state| state.applied >= applied).await;
    assert_eq!(fleet.handle(leader).read(created), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_can_be_read_and_replaced_and_lie_nowhere_in_clear() {
    let fleet = Fleet::start(1).await;
    let mut endpoints = fleet.endpoints(0);
    fleet.put_endpoint(0, "fraud").await.expect("created");
    let list = || ListKeysRequest { endpoint: "fraud".into() };
    let made = endpoints.list_keys(list()).await.expect("keys").into_inner();
    assert!(made.primary_key.len() == 43 && made.primary_key != made.secondary_key);

    let regenerate = |key_type: KeyType, key_value: &str| RegenerateKeyRequest {
        request_id: fresh_id(),
        endpoint: "fraud".into(),
        key_type: key_type.into(),
        key_value: key_value.to_owned(),
    };
    let fresh = endpoints.regenerate_key(regenerate(KeyType::Primary, "")).await.expect("made").into_inner();
    assert!(fresh.primary_key != made.primary_key && fresh.secondary_key == made.secondary_key);
    // Azure's SDK sends the present key when it wants a new one.
    let present = regenerate(KeyType::Secondary, &fresh.secondary_key);
    let replaced = endpoints.regenerate_key(present).await.expect("made").into_inner();
    assert!(replaced.secondary_key != fresh.secondary_key && replaced.primary_key == fresh.primary_key);
    let supplied = "a-key-the-caller-chose";
    let chosen = endpoints.regenerate_key(regenerate(KeyType::Secondary, supplied)).await.expect("set").into_inner();
    assert_eq!(chosen.secondary_key, supplied);
    assert_eq!(code(endpoints.regenerate_key(regenerate(KeyType::Primary, "short")).await), Err(Code::Invalid));
    assert_eq!(code(endpoints.regenerate_key(regenerate(KeyType::Unspecified, "")).await), Err(Code::Invalid));

    // Snapshots, logs, tables and debug output hold none of them.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    fleet.handle(0).raft().snapshot_now(deadline).await.expect("a snapshot");
    let mut cluster = ClusterClient::new(fleet.channel(0));
    let mut parts = cluster.save_snapshot(SaveSnapshotRequest {}).await.expect("a stream").into_inner();
    let mut snapshot = Vec::new();
    while let Some(part) = parts.message().await.expect("a part") {
        snapshot.extend_from_slice(&part.data);
    }
    let restored = ClusterState::from_snapshot(decode_snapshot(&snapshot).expect("readable"));
    assert_eq!(restored, fleet.handle(0).read(Clone::clone));
    let table = berth_core::traffic::table::RouteTable::of(&restored);
    let mut places = vec![
        ("the snapshot", snapshot),
        ("the table", berth_proto::node::encode_table(&table)),
        ("debug output", format!("{restored:?}").into_bytes()),
        ("metrics", fleet.handle(0).metrics_text().into_bytes()),
    ];
    let mut folders = vec![fleet.members[0].data_dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                places.push(("a file of the store", std::fs::read(path).expect("readable")));
            }
        }
    }
    assert!(places.len() > 5, "there are files to look at");
    let secrets =
        [made.primary_key, made.secondary_key, fresh.primary_key, replaced.secondary_key, supplied.to_owned()];
    for (place, bytes) in &places {
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "a key lies in clear in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_without_gap_or_repeat_from_any_member() {
    let fleet = Fleet::start(3).await;
    let follower = fleet.follower().await;
    let mut watch = WatchClient::new(fleet.channel(follower));
    let live = watch.events(WatchEventsRequest { from_seq: Some(0), once: false }).await.expect("a stream");
    let mut live = live.into_inner();
    for at in 0..10 {
        fleet.put_endpoint(at % 3, &format!("endpoint-{at}")).await.expect("created");
    }
    let (mut seqs, mut created) = (Vec::new(), 0);
    while created < 10 {
        let batch =
            tokio::time::timeout(PATIENCE, live.message()).await.expect("in time").expect("a batch").expect("more");
        assert_eq!(batch.next_seq, batch.events.last().map_or(batch.next_seq, |event| event.seq + 1));
        seqs.extend(batch.events.iter().map(|event| event.seq));
        created += batch.events.iter().filter(|event| event.kind == "endpoint.created").count();
    }
    assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>());

    let once = watch.events(WatchEventsRequest { from_seq: Some(3), once: true }).await.expect("a stream");
    let mut once = once.into_inner();
    let mut numbers = Vec::new();
    while let Some(batch) = once.message().await.expect("a batch") {
        numbers.extend(batch.events.iter().map(|event| event.seq));
    }
    assert_eq!(numbers.first(), Some(&3));
    assert!(numbers.len() + 3 >= seqs.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_fell_behind_what_is_kept_is_told() {
    let fleet = Fleet::start(1).await;
    let mut nodes = Vec::new();
    // Each change leaves one event; two thousand are kept.
    for round in 0..110 {
        let endpoints = fleet.endpoints(0);
        for at in 0..20 {
            let mut endpoints = endpoints.clone();
            nodes.push(tokio::spawn(async move {
                let mut request = endpoint_request(&format!("endpoint-{at}"), &fresh_id());
                request.spec.as_mut().expect("a spec").description = format!("round {round}");
                endpoints.put(request).await.expect("put");
            }));
        }
        for put in nodes.drain(..) {
            put.await.expect("no panic");
        }
    }
    let mut watch = WatchClient::new(fleet.channel(0));
    let behind = watch.events(WatchEventsRequest { from_seq: Some(0), once: false }).await.expect("a stream");
    let status = behind.into_inner().message().await.expect_err("too far behind");
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    let kept = watch.events(WatchEventsRequest { from_seq: None, once: true }).await.expect("a stream");
    let mut kept = kept.into_inner();
    let mut count = 0;
    while let Some(batch) = kept.message().await.expect("a batch") {
        count += batch.events.len();
    }
    assert_eq!(count, 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_tells_about_itself_and_hands_over() {
    let fleet = Fleet::start(3).await;
    let (leader, follower) = (fleet.leader().await, fleet.follower().await);
    let mut cluster = ClusterClient::new(fleet.channel(follower));
    let members = cluster.members(ListMembersRequest {}).await.expect("listed").into_inner().members;
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| member.voter));
    assert_eq!(members.iter().filter(|member| member.leader).count(), 1);
    let info = cluster.info(ClusterInfoRequest {}).await.expect("told").into_inner();
    assert_eq!(info.cluster_id, fleet.handle(leader).cluster_id());
    assert_eq!(info.leader_address, fleet.members[leader].address.to_string());
    assert!(info.warnings.is_empty(), "{:?}", info.warnings);
    fleet.put_endpoint(follower, "fraud").await.expect("created");
    let report = cluster.check(CheckRequest {}).await.expect("checked").into_inner();
    assert!(report.violations.is_empty() && report.objects >= 1, "{report:?}");
    let has = |list: &[String], id: &str| list.iter().any(|own| own == id);
    assert!(has(&report.checked, "PL01") && has(&report.need_history, "WR01"), "{report:?}");
    assert!(!has(&report.checked, "WR01"), "one state has no order: {report:?}");
    let to = TransferLeadershipRequest { id: fleet.handle(follower).member_id().to_string() };
    let after = cluster.transfer_leadership(to).await.expect("handed over").into_inner();
    assert!(after.term > info.term);
    assert_eq!(fleet.leader().await, follower);
    fleet.put_endpoint(leader, "other").await.expect("the cluster goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_for_operators_are_plain_http() {
    let fleet = Fleet::start(1).await;
    fleet.put_endpoint(0, "fraud").await.expect("created");
    for (path, expected) in [("/healthz", "ok\n"), ("/metrics", "berth_coordinator_endpoints 1")] {
        let mut stream = TcpStream::connect(fleet.members[0].address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("in time").expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let text = fleet.handle(0).metrics_text();
    assert!(text.contains("berth_coordinator_calls_total{rpc=\"Endpoints/Put\",code=\"OK\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_unsafe_or_foreign_is_refused_in_plain_words() {
    use berth_coordinator::{CoordinatorOptions, CoordinatorService, keys::ClusterKey, raft::Formation};
    let dir = tempfile::TempDir::new().expect("a folder");
    let alone = || Formation::Bootstrap { expect: 1, peers: Vec::new() };
    let refused =
        |options: CoordinatorOptions| async { CoordinatorService::open(options).await.err().expect("refused") };

    let mut open = CoordinatorOptions::new(dir.path().join("a"), alone());
    open.listen = "0.0.0.0:0".parse().expect("an address");
    let error: Error = refused(open).await;
    assert_eq!(error.code, Code::Insecure);
    assert!(error.try_.contains("--insecure"), "{error}");

    let mut joins =
        CoordinatorOptions::new(dir.path().join("b"), Formation::Join { addresses: vec!["127.0.0.1:1".into()] });
    joins.listen = "127.0.0.1:0".parse().expect("an address");
    let error = refused(joins).await;
    assert_eq!(error.code, Code::ClusterKey);
    assert!(error.try_.contains("copy cluster.key"), "{error}");

    // A member that holds another key than the cluster it wants to join.
    let fleet = Fleet::start(1).await;
    let other = dir.path().join("other.key");
    ClusterKey::create(&other).expect("a key");
    let address = fleet.members[0].address.to_string();
    let mut stranger = CoordinatorOptions::new(dir.path().join("c"), Formation::Join { addresses: vec![address] });
    stranger.listen = "127.0.0.1:0".parse().expect("an address");
    stranger.key_file = Some(other);
    let service = CoordinatorService::open(stranger).await.expect("it opens");
    let ended = tokio::time::timeout(PATIENCE, service.run(std::future::pending())).await.expect("in time");
    let error = ended.expect_err("refused");
    assert_eq!(error.code, Code::ClusterKey);
    assert!(error.try_.contains("cluster.key"), "{error}");
}
