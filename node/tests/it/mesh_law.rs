//! Azure's law of admission, time limits, and what happens when one side leaves or dies in the middle.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use berth_core::{id::ReplicaId, traffic::table::RouteRuntime};
use berth_node::mesh::LocalState;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::{
    io::AsyncReadExt as _,
    net::TcpListener,
    sync::{Semaphore, mpsc},
};

use crate::mesh_support::{
    Deployed, Node, Placed, backend, body_of, call, counters, echo, endpoint, full, header, node, open, post, simple,
    until, within,
};

/// A replica that reports each request and answers when it gets a permit.
pub(crate) async fn held() -> (SocketAddr, mpsc::UnboundedReceiver<()>, Arc<Semaphore>) {
    let (seen, arrived) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(0));
    let gate = permits.clone();
    let address = backend(move |request| {
        let (seen, gate) = (seen.clone(), gate.clone());
        async move {
            let _ = request.into_body().collect().await;
            let _ = seen.send(());
            gate.acquire().await.expect("open").forget();
            Response::new(body_of("done"))
        }
    })
    .await;
    (address, arrived, permits)
}

/// A replica that takes a request and breaks the connection.
async fn dying() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut part = [0; 1_024];
            let mut got = Vec::new();
            while !got.ends_with(b"body") {
                match stream.read(&mut part).await {
                    Ok(read) if read > 0 => got.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
        }
    });
    address
}

fn calling(node: &Node, path: &str) -> tokio::task::JoinHandle<(u16, http::response::Parts)> {
    let (address, request) = (node.mesh.ingress_addr(), post(path, "body"));
    tokio::spawn(async move {
        let (parts, _) = call(address, request).await;
        (parts.status.as_u16(), parts)
    })
}

#[tokio::test]
async fn twice_the_slots_are_taken_and_not_one_more() {
    let n1 = node(1);
    let n2 = node(2);
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let (address, mut arrived, permits) = held().await;
        let id = ReplicaId(version);
        let deployed = Deployed { slots: 1, ..Deployed::one("blue", owner, version, address) };
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let running = calling(&n1, "/e/fraud/score");
        within(arrived.recv()).await.expect("the first runs");
        let waiting = calling(&n1, "/e/fraud/score");
        until(|| owner.mesh.gate_in_flight(id) == 2).await;
        let (status, parts) = within(calling(&n1, "/e/fraud/score")).await.expect("a task");
        assert_eq!(status, 429);
        assert_eq!(header(&parts, "ms-azureml-model-error-reason"), "too_many_pending_request");
        assert!(arrived.try_recv().is_err(), "one slot, one request at the replica");
        permits.add_permits(2);
        assert_eq!(within(running).await.expect("a task").0, 200);
        assert_eq!(within(waiting).await.expect("a task").0, 200);
        until(|| owner.mesh.gate_in_flight(id) == 0 && n1.mesh.in_flight().is_empty()).await;
    }
}

#[tokio::test]
async fn nobody_waits_behind_a_busy_slot_while_a_free_one_exists() {
    let n1 = node(1);
    let n2 = node(2);
    let (busy, mut arrived, permits) = held().await;
    let free = echo("free").await;
    let replicas = vec![Placed { node: &n1, id: 1, address: busy }, Placed { node: &n2, id: 2, address: free }];
    let deployed = Deployed { slots: 1, replicas, ..Deployed::one("blue", &n1, 1, busy) };
    simple(&n1, &deployed);
    // Draws go to either; keep asking until the held one has its request.
    let mut stuck = Vec::new();
    while arrived.try_recv().is_err() {
        let task = calling(&n1, "/e/fraud/score");
        until(|| task.is_finished() || n1.mesh.gate_in_flight(ReplicaId(1)) == 1).await;
        if n1.mesh.gate_in_flight(ReplicaId(1)) == 1 {
            within(arrived.recv()).await.expect("it runs");
            stuck.push(task);
            break;
        }
    }
    for _ in 0..20 {
        let (status, parts) = within(calling(&n1, "/e/fraud/score")).await.expect("a task");
        assert_eq!((status, header(&parts, "x-berth-replica")), (200, "0000000000000002"));
    }
    permits.add_permits(1);
    for task in stuck {
        assert_eq!(within(task).await.expect("a task").0, 200);
    }
}

/// `fraud` on three nodes with four replicas each, of one slot, as two of the nodes know it.
async fn twelve(nodes: &[Node; 3], address: impl AsyncFn(u64) -> SocketAddr) {
    let mut replicas = Vec::new();
    for id in 1..=TWELVE {
        replicas.push(Placed { node: &nodes[id as usize % 3], id, address: address(id).await });
    }
    let address = replicas[0].address;
    let deployed = Deployed { slots: 1, replicas, ..Deployed::one("blue", &nodes[0], 1, address) };
    let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
    for router in &nodes[..2] {
        router.mesh.apply_table(full(1, vec![route.clone()])).expect("a table");
    }
}

const TWELVE: u64 = 12;

/// No slot comes free meanwhile, so whoever is left finds the last one, whichever gates were full when it asked and
/// whatever its router believes of them.
#[tokio::test]
async fn as_many_as_there_are_slots_wait_for_nobody_whoever_routes_them() {
    let nodes = [1, 2, 3].map(node);
    let (address, _arrived, permits) = held().await;
    twelve(&nodes, async |_| address).await;
    let at_gates = || {
        let at = |id: u64| nodes[id as usize % 3].mesh.gate_in_flight(ReplicaId(id));
        (1..=TWELVE).map(at).collect::<Vec<_>>()
    };
    let callers: Vec<_> = (0..TWELVE).map(|at| calling(&nodes[at as usize % 2], "/e/fraud/score")).collect();
    until(|| at_gates().iter().sum::<u64>() == TWELVE).await;
    assert_eq!(at_gates(), [1; TWELVE as usize], "one has two, and another none");
    permits.add_permits(TWELVE as usize);
    for caller in callers {
        let (status, parts) = within(caller).await.expect("a task");
        assert_eq!((status, header(&parts, "x-berth-queue-ms")), (200, ""));
    }
}

/// Fewer callers than slots, on replicas of which one is twelve times as fast as another. That nobody waits can only be had by
/// asking everybody each time: what a router believes for 10 ms, and slots that come free behind who is asking, let a few.
#[tokio::test]
async fn fewer_than_there_are_slots_hardly_ever_wait() {
    const CALLERS: usize = 8;
    const EACH: usize = 60;
    let nodes = [1, 2, 3].map(node);
    let takes = async |id: u64| {
        backend(move |request| async move {
            let _ = request.into_body().collect().await;
            tokio::time::sleep(Duration::from_millis(2 * id)).await;
            Response::new(body_of("done"))
        })
        .await
    };
    twelve(&nodes, takes).await;
    let callers = (0..CALLERS).map(|at| {
        let ingress = nodes[at % 2].mesh.ingress_addr();
        tokio::spawn(async move {
            let mut waited = 0;
            for _ in 0..EACH {
                let (parts, _) = call(ingress, post("/e/fraud/score", "body")).await;
                assert_eq!(parts.status, 200);
                waited += usize::from(!header(&parts, "x-berth-queue-ms").is_empty());
            }
            waited
        })
    });
    let mut waited = 0;
    for caller in callers.collect::<Vec<_>>() {
        waited += within(caller).await.expect("a task");
    }
    // Of two drawn without asking, both are busy for every third.
    assert!(waited < CALLERS * EACH / 20, "{waited} of {} waited while slots were free", CALLERS * EACH);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_408_and_its_slot_is_freed() {
    let n1 = node(1);
    let (address, _arrived, _permits) = held().await;
    simple(&n1, &Deployed { timeout_ms: 50, ..Deployed::one("blue", &n1, 1, address) });
    assert_eq!(within(calling(&n1, "/e/fraud/score")).await.expect("a task").0, 408);
    until(|| n1.mesh.gate_in_flight(ReplicaId(1)) == 0).await;
    let mut grpc = post("/e/fraud/echo.Echo/Say", "");
    grpc.headers_mut().insert("content-type", "application/grpc".parse().expect("a value"));
    grpc.headers_mut().insert("grpc-timeout", "10m".parse().expect("a value"));
    let (parts, _) = call(n1.mesh.ingress_addr(), grpc).await;
    assert_eq!(header(&parts, "grpc-status"), "4");
}

#[tokio::test]
async fn a_caller_that_leaves_frees_the_slot_unless_the_worker_cannot_be_stopped() {
    let n1 = node(1);
    let n2 = node(2);
    for (runtime, owner, version) in
        [(RouteRuntime::Onnx, &n1, 1), (RouteRuntime::Onnx, &n2, 2), (RouteRuntime::Python, &n1, 3)]
    {
        let (address, mut arrived, permits) = held().await;
        let deployed = Deployed { runtime, ..Deployed::one("blue", owner, version, address) };
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let abandoned = counters(&n1, "blue").abandoned;
        let caller = tokio::spawn(open(n1.mesh.ingress_addr(), post("/e/fraud/score", "body")));
        within(arrived.recv()).await.expect("it runs");
        caller.abort();
        until(|| counters(&n1, "blue").abandoned == abandoned + 1).await;
        if runtime == RouteRuntime::Python {
            assert_eq!(owner.mesh.gate_in_flight(ReplicaId(version)), 1, "the worker is still at it");
            permits.add_permits(1);
        }
        until(|| owner.mesh.gate_in_flight(ReplicaId(version)) == 0).await;
        assert!(n1.mesh.in_flight().is_empty());
    }
}

#[tokio::test]
async fn a_replica_that_dies_in_the_middle_is_a_model_error_and_repeated_only_where_it_may() {
    let n1 = node(1);
    let n2 = node(2);
    let (dead, well) = (dying().await, echo("well").await);
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let replica = |id, address| Placed { node: owner, id: 10 * version + id, address };
        let one = Deployed { replicas: vec![replica(1, dead)], ..Deployed::one("one", owner, 1, dead) };
        let two =
            Deployed { replicas: vec![replica(2, dead), replica(3, well)], ..Deployed::one("two", owner, 1, dead) };
        let routes = vec![
            endpoint("fraud", &[("one", 100)], vec![one.publish("fraud")]),
            endpoint("pair", &[("two", 100)], vec![two.publish("pair")]),
        ];
        n1.mesh.apply_table(full(version, routes)).expect("a table");
        let (status, parts) = within(calling(&n1, "/e/fraud/score")).await.expect("a task");
        assert_eq!(status, 424);
        assert_eq!(header(&parts, "ms-azureml-model-error-statuscode"), "502");
        assert_eq!(header(&parts, "ms-azureml-model-error-reason"), "model_error");
        within(calling(&n1, "/e/fraud/v2/models/m/infer")).await.expect("a task");
        assert_eq!(counters(&n1, "one").retries, 0, "nobody is left to be asked again");
        for _ in 0..5 {
            let (status, parts) = within(calling(&n1, "/e/pair/v2/models/m/infer")).await.expect("a task");
            assert_eq!(
                (status, header(&parts, "azureml-model-deployment")),
                (200, "two"),
                "an inference may be repeated"
            );
        }
        until(|| n1.mesh.in_flight().is_empty() && owner.mesh.in_flight().is_empty()).await;
    }
}

#[tokio::test]
async fn a_replica_that_cannot_be_connected_costs_no_answer() {
    let n1 = node(1);
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let well = echo("well").await;
    let replicas = vec![Placed { node: &n1, id: 1, address: closed }, Placed { node: &n1, id: 2, address: well }];
    simple(&n1, &Deployed { replicas, ..Deployed::one("blue", &n1, 1, well) });
    for _ in 0..20 {
        let (status, parts) = within(calling(&n1, "/e/fraud/score")).await.expect("a task");
        assert_eq!((status, header(&parts, "x-berth-replica")), (200, "0000000000000002"));
    }
}

#[tokio::test]
async fn the_models_own_status_is_wrapped_on_azure_routes_only() {
    let n1 = node(1);
    let address = backend(|_| async move {
        let mut response = Response::new(body_of("no"));
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        response
    })
    .await;
    simple(&n1, &Deployed::one("blue", &n1, 1, address));
    for (path, status, model) in
        [("/e/fraud/score", 424, "422"), ("/e/fraud/v2/models/m/infer", 422, ""), ("/e/fraud/other", 422, "")]
    {
        let (parts, body) = call(n1.mesh.ingress_addr(), post(path, "x")).await;
        assert_eq!((parts.status.as_u16(), body.as_ref()), (status, b"no".as_slice()), "{path}");
        assert_eq!(header(&parts, "ms-azureml-model-error-statuscode"), model, "{path}");
    }
}

#[tokio::test]
async fn a_draining_or_withdrawn_replica_gets_nothing_new_and_keeps_what_it_has() {
    let n1 = node(1);
    let n2 = node(2);
    let (leaving, mut arrived, permits) = held().await;
    let staying = echo("staying").await;
    let replicas = vec![Placed { node: &n2, id: 1, address: leaving }, Placed { node: &n1, id: 2, address: staying }];
    let deployed = Deployed { replicas, ..Deployed::one("blue", &n1, 1, leaving) };
    let both = deployed.publish("fraud");
    let mut only = both.clone();
    only.replicas.truncate(1);
    n1.mesh.apply_table(full(1, vec![endpoint("fraud", &[("blue", 100)], vec![only])])).expect("a table");
    let running = calling(&n1, "/e/fraud/score");
    within(arrived.recv()).await.expect("it runs");
    assert_eq!(n1.mesh.in_flight().get(&ReplicaId(1)), Some(&1), "the ingress counts what it has under way");
    // The router still has the old table; the gate already knows better.
    n1.mesh.apply_table(full(2, vec![endpoint("fraud", &[("blue", 100)], vec![both])])).expect("a table");
    for state in [Some(LocalState::Draining), None] {
        match state {
            Some(state) => {
                n2.mesh.publish_local(ReplicaId(1), deployed.local("fraud", &deployed.replicas[0], state));
            }
            None => n2.mesh.withdraw_local(ReplicaId(1)),
        }
        for _ in 0..10 {
            let (status, parts) = within(calling(&n1, "/e/fraud/score")).await.expect("a task");
            assert_eq!((status, header(&parts, "x-berth-replica")), (200, "0000000000000002"));
        }
    }
    assert!(arrived.try_recv().is_err(), "nothing new arrived");
    permits.add_permits(1);
    assert_eq!(within(running).await.expect("a task").0, 200, "what it had was finished");
}

/// A status that Azure's law changes takes its own words with it, over one hop and two.
#[tokio::test]
async fn a_wrapped_answer_has_its_own_reason_and_the_models_time() {
    let (n1, n2) = (node(1), node(2));
    for (owner, version) in [(&n1, 1), (&n2, 2)] {
        let address = backend(|request| async move {
            let _ = request.into_body().collect().await;
            let mut response = Response::new(body_of("no"));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(b"MY OWN WORDS"));
            response
        })
        .await;
        let deployed = Deployed::one("blue", owner, version, address);
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(version, vec![route])).expect("a table");
        let request = "POST /e/fraud/score HTTP/1.1\r\nhost: any\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody";
        let answer = crate::mesh_stream::raw(n1.mesh.ingress_addr(), request, 1).await;
        assert!(answer.starts_with("HTTP/1.1 424 Failed Dependency\r\n"), "{answer}");
        assert!(answer.contains("ms-azureml-model-time: "), "{answer}");
        assert!(answer.contains("ms-azureml-model-error-statuscode: 500\r\n"), "{answer}");
    }
}
