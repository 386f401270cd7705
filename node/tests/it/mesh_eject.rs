//! Replicas that fail: they rest, one request finds out whether they are back, and no more than half of them rest at once.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::mesh_support::{Deployed, Placed, call, echo, endpoint, full, node, one_core, post, simple, until, within};

/// Reads a request whose body is `body`; nothing when nobody asks.
async fn asked(stream: &mut TcpStream) -> Option<()> {
    let mut got = Vec::new();
    while !got.ends_with(b"body") {
        if stream.read_buf(&mut got).await.ok()? == 0 {
            return None;
        }
    }
    Some(())
}

/// A replica that takes requests and breaks the connection, and counts them.
async fn failing() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                if asked(&mut stream).await.is_some() {
                    counted.fetch_add(1, Relaxed);
                }
            });
        }
    });
    (address, tries)
}

/// Of four replicas, two on each of two nodes, so many fail at once. What rests is asked a few times in all, since each rest
/// is twice as long as the one before it; what does not is asked as often as any other.
#[tokio::test]
async fn half_of_a_deployment_may_rest_and_beyond_that_all_are_asked() {
    const REQUESTS: usize = 100;
    /// A tenth of a fair share and a quarter of it, for ten rests last more than two minutes.
    const RARELY: usize = 10;
    for (bad, rest) in [(1, true), (2, true), (3, false)] {
        let (n1, n2) = (node(1), node(2));
        let mut replicas = Vec::new();
        let mut tries = Vec::new();
        for (id, owner) in (1..).zip([&n1, &n2, &n1, &n2]) {
            let address = if tries.len() < bad {
                let (address, counted) = failing().await;
                tries.push(counted);
                address
            } else {
                echo("well").await
            };
            replicas.push(Placed { node: owner, id, address });
        }
        let address = replicas[0].address;
        let deployed = Deployed { replicas, ..Deployed::one("blue", &n1, 1, address) };
        let mut route = endpoint("fraud", &[("blue", 100)], vec![deployed.publish("fraud")]);
        // Each request tells of one replica alone.
        route.idempotent = Some(false);
        n1.mesh.apply_table(full(1, vec![route])).expect("a table");
        let mut well = 0;
        for _ in 0..REQUESTS {
            let (parts, _) = call(n1.mesh.ingress_addr(), post("/e/fraud/any", "body")).await;
            well += usize::from(parts.status == 200);
        }
        let tries: Vec<usize> = tries.iter().map(|tries| tries.load(Relaxed)).collect();
        assert_eq!(well + tries.iter().sum::<usize>(), REQUESTS, "each was asked of one: {tries:?}");
        if rest {
            assert!(tries.iter().all(|tries| (1..RARELY).contains(tries)), "{bad} of 4 rest: {tries:?}");
        } else {
            assert!(tries.iter().all(|tries| *tries >= RARELY), "with {bad} of 4 failing all are asked: {tries:?}");
        }
    }
}

/// When a replica was asked, and when it let go of each.
#[derive(Default)]
struct Trials {
    begun: Mutex<Vec<Instant>>,
    ended: Mutex<Vec<Instant>>,
    is_well: AtomicBool,
    end: Notify,
}

/// A replica that keeps what it is asked until it is told to end it, with an answer or by a broken connection.
async fn on_trial(trials: &Arc<Trials>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let trials = trials.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let trials = trials.clone();
            tokio::spawn(async move {
                if asked(&mut stream).await.is_none() {
                    return;
                }
                trials.begun.lock().expect("no panic").push(Instant::now());
                if !trials.is_well.load(Relaxed) {
                    trials.end.notified().await;
                }
                trials.ended.lock().expect("no panic").push(Instant::now());
                if trials.is_well.load(Relaxed) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_rest_ends_with_one_request_that_finds_out() {
    /// How long the first rest is; each that follows is twice as long. A clock of milliseconds may take one off.
    const REST: Duration = Duration::from_millis(999);
    /// Answers of the others that are waited for while a trial is under way.
    const MEANWHILE: usize = 8;
    let n1 = one_core();
    let trials = Arc::new(Trials::default());
    let mut replicas = vec![Placed { node: &n1, id: 1, address: on_trial(&trials).await }];
    for id in 2..=4 {
        replicas.push(Placed { node: &n1, id, address: echo("well").await });
    }
    let address = replicas[0].address;
    simple(&n1, &Deployed { slots: 64, replicas, ..Deployed::one("blue", &n1, 1, address) });
    let begun = |of: &Trials| of.begun.lock().expect("no panic").len();
    let ingress = n1.mesh.ingress_addr();

    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let caller = || {
        let (over, answered) = (over.clone(), answered.clone());
        tokio::spawn(async move {
            while !over.load(Relaxed) {
                // An inference call may be repeated: whoever takes part in a trial is answered all the same.
                let (parts, _) = call(ingress, post("/e/fraud/v2/models/m/infer", "body")).await;
                assert_eq!(parts.status, 200);
                answered.fetch_add(1, Relaxed);
            }
        })
    };
    // The first failure alone, before anybody else calls.
    let mut callers = vec![caller()];
    until(|| begun(&trials) == 1).await;
    let before = answered.load(Relaxed);
    trials.end.notify_one();
    until(|| answered.load(Relaxed) > before).await;
    callers.extend((0..8).map(|_| caller()));

    // The first trial fails, and the second does not.
    for turn in 2..=3 {
        until(|| begun(&trials) == turn).await;
        let before = answered.load(Relaxed);
        until(|| answered.load(Relaxed) >= before + MEANWHILE).await;
        assert_eq!(begun(&trials), turn, "one request finds out, and the others go elsewhere");
        trials.is_well.store(turn == 3, Relaxed);
        trials.end.notify_one();
    }
    // Then it is asked as any other.
    until(|| begun(&trials) > 20).await;
    over.store(true, Relaxed);
    for caller in callers {
        within(caller).await.expect("no request was lost");
    }
    let (begun, ended) = (trials.begun.lock().expect("no panic"), trials.ended.lock().expect("no panic"));
    for (turn, rest) in [REST, 2 * REST].into_iter().enumerate() {
        assert!(begun[turn + 1] - ended[turn] >= rest, "rest {turn}: {:?}", begun[turn + 1] - ended[turn]);
    }
}
