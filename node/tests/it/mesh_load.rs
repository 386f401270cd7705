//! What replicas say of their own load: they are asked, they are believed, and callers do not see it.

use std::net::SocketAddr;

use http::{HeaderValue, Response};

use crate::mesh_support::{
    Deployed, Placed, backend, body_of, call, endpoint, full, header, node, post, simple, until, within,
};

/// A replica that says how many requests wait inside it, to who asks, in the form that is asked for.
async fn telling(waiting: u32) -> SocketAddr {
    backend(move |request| async move {
        let asked = request.headers().get("endpoint-load-metrics-format").cloned();
        let mut response = Response::new(body_of("blue"));
        if let Some(format) = asked {
            let told = match format.as_bytes() {
                b"json" => format!(r#"JSON {{"named_metrics":{{"num_requests_waiting":{waiting}}}}}"#),
                _ => format!("TEXT named_metrics.num_requests_waiting={waiting}"),
            };
            let map = response.headers_mut();
            map.insert("endpoint-load-metrics", told.parse().expect("a value"));
            map.insert("seen-format", format);
        }
        response
    })
    .await
}

#[tokio::test]
async fn a_replica_is_asked_for_its_load_and_its_word_is_kept_from_callers() {
    let n1 = node(1);
    simple(&n1, &Deployed::one("blue", &n1, 1, telling(3).await));
    // Which core a connection gets is the kernel's choice; each asks with its first request.
    let mut asked = 0;
    within(async {
        while asked < 3 {
            let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "")).await;
            assert_eq!(header(&parts, "endpoint-load-metrics"), "", "it is not for callers");
            match header(&parts, "seen-format") {
                "text" => asked += 1,
                seen => assert_eq!(seen, ""),
            }
        }
    })
    .await;
    for _ in 0..4 {
        let mut request = post("/e/fraud/score", "");
        request.headers_mut().insert("endpoint-load-metrics-format", HeaderValue::from_static("json"));
        let (parts, _) = call(n1.mesh.ingress_addr(), request).await;
        let told = header(&parts, "endpoint-load-metrics");
        assert_eq!(told, r#"JSON {"named_metrics":{"num_requests_waiting":3}}"#, "who asks gets it as it is");
    }
}

#[tokio::test]
async fn what_waits_inside_a_replica_counts_when_it_is_weighed() {
    let (n1, n2) = (node(1), node(2));
    for owner in [&n1, &n2] {
        let (idle, busy) = (telling(0).await, telling(50).await);
        let replicas = vec![
            Placed { node: owner, id: 10 * owner.id.0, address: idle },
            Placed { node: owner, id: 10 * owner.id.0 + 1, address: busy },
        ];
        let deployed = Deployed { replicas, ..Deployed::one("blue", owner, 0, idle) };
        let route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        n1.mesh.apply_table(full(owner.id.0, vec![route])).expect("a table");
        // It counts for a second only, so a machine that stands still may need another try.
        within(async {
            loop {
                let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/score", "")).await;
                let mut found = None;
                let id = header(&parts, "x-request-id").to_owned();
                until(|| {
                    found = n1.mesh.find_request(&id);
                    found.is_some()
                })
                .await;
                let found = found.expect("it is remembered");
                if let [first, other] = &found.drawn[..]
                    && other.outstanding >= 50
                {
                    assert!(first.outstanding < 50 && first.replica == found.attempts[0].replica, "{found:?}");
                    return;
                }
            }
        })
        .await;
    }
}
