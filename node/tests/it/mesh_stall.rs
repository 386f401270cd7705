//! A control side that hangs, or never rests: whoever speaks to the mesh does not come back, and requests go on.

use std::sync::mpsc::{self, TryRecvError};

use berth_core::id::NodeId;
use berth_node::mesh::Mesh;
use prometheus_client::registry::Registry;

use crate::mesh_support::{
    Deployed, Node, TOKEN, backend, body_of, call, endpoint, full, header, options, post, shares, until,
};

/// What the control side does in place of its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    StandsStill,
    /// It asks the mesh for all it tells, again and again.
    Spins,
}

/// Everything that a node's agent does with its mesh happens on one thread, which then stands still for as long as requests
/// are served: through this node's gate and another's, with copies, splits and refusals.
async fn requests_go_on_while(does: Control) {
    const REQUESTS: usize = 200;
    let (ready, started) = tokio::sync::oneshot::channel();
    let (go_on, stands_still) = mpsc::channel::<()>();
    let control = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let nodes = [1, 2].map(|id| {
                let dir = tempfile::tempdir().expect("a folder");
                let mesh = Mesh::start(options(id, &dir), &mut Registry::default()).expect("a mesh");
                mesh.set_gate_token(TOKEN);
                Node { mesh, id: NodeId(id), dir }
            });
            let mut acks = nodes[0].mesh.watch_acks();
            let reports = tokio::spawn(async move { while acks.changed().await.is_ok() {} });
            let handles = [0, 1].map(|at: usize| nodes[at].mesh.clone());
            ready.send(nodes).unwrap_or_else(|_| panic!("the test is there"));
            // Nothing on this runtime comes to its turn from here on.
            match does {
                Control::StandsStill => drop(stands_still.recv()),
                Control::Spins => {
                    while stands_still.try_recv() == Err(TryRecvError::Empty) {
                        for mesh in &handles {
                            drop((mesh.counters(), mesh.in_flight(), mesh.acks(), mesh.mirror_verdicts("fraud")));
                        }
                    }
                }
            }
            reports.abort();
        });
    });
    let [n1, n2] = started.await.expect("nodes");
    let model = |name: &'static str| backend(move |_request| std::future::ready(http::Response::new(body_of(name))));
    let (blue, green, red) = (model("blue").await, model("green").await, model("red").await);
    let deployments = vec![
        Deployed::one("blue", &n1, 1, blue).publish("fraud"),
        Deployed::one("green", &n2, 2, green).publish("fraud"),
        Deployed { slots: 64, ..Deployed::one("red", &n2, 3, red) }.publish("fraud"),
    ];
    let mut route = endpoint("fraud", &[("blue", 50), ("green", 50)], deployments);
    route.mirror = shares(&[("red", 100)]);
    n1.mesh.apply_table(full(1, vec![route])).expect("a table");
    let mut by = [0, 0];
    for _ in 0..REQUESTS {
        let (parts, body) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "x")).await;
        let name = header(&parts, "azureml-model-deployment");
        assert_eq!((parts.status.as_u16(), &body[..]), (200, name.as_bytes()));
        by[usize::from(name == "green")] += 1;
    }
    assert_eq!(by, [REQUESTS / 2; 2]);
    until(|| {
        n1.mesh.mirror_verdicts("fraud").iter().map(|tally| tally.mismatched.values().sum::<u64>()).sum::<u64>() > 0
    })
    .await;
    assert!(!control.is_finished(), "it had no turn all the while");
    go_on.send(()).expect("it waits");
    control.join().expect("no panic");
}

#[tokio::test]
async fn requests_go_on_while_the_control_side_stands_still() {
    requests_go_on_while(Control::StandsStill).await;
}

#[tokio::test]
async fn requests_go_on_while_the_control_side_never_rests() {
    requests_go_on_while(Control::Spins).await;
}
