//! Members whose packets vanish: who was cut off promises nothing, disturbs nobody, and comes back.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use berth_coordinator::raft::{Dialer, Error, Formation};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::Instant,
};
use tonic::transport::{Channel, Endpoint};

use crate::raft_cluster::{Node, Start, agree, leader, listen, soon};

/// A network in which single members can be cut off. Every connection runs through a relay that knows both ends; a cut
/// one carries nothing and tells nobody, as a dropped packet would.
#[derive(Clone)]
struct Links {
    places: Arc<BTreeMap<SocketAddr, usize>>,
    cut_off: watch::Sender<Option<usize>>,
}

// === impl Links ===

impl Links {
    fn new(members: &[SocketAddr]) -> Self {
        let places = members.iter().copied().zip(0..).collect();
        Self { places: Arc::new(places), cut_off: watch::Sender::new(None) }
    }

    fn cut_off(&self, place: usize) {
        self.cut_off.send_replace(Some(place));
    }

    fn heal(&self) {
        self.cut_off.send_replace(None);
    }

    /// Returns the dialer of the member at `from`.
    fn dialer(&self, from: usize) -> Dialer {
        let links = self.clone();
        let relays: Mutex<BTreeMap<SocketAddr, SocketAddr>> = Mutex::default();
        Dialer::new(move |endpoint| {
            let to: SocketAddr = endpoint.uri().authority().unwrap().as_str().parse().unwrap();
            let relay = *relays.lock().unwrap().entry(to).or_insert_with(|| links.relay(from, to));
            dial(relay)
        })
    }

    /// Starts a relay to `to` and returns its address.
    fn relay(&self, from: usize, to: SocketAddr) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let ends = [from, self.places[&to]];
        let cut_off = self.cut_off.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((near, _)) = listener.accept().await {
                let cut_off = cut_off.subscribe();
                tokio::spawn(async move {
                    let mut wait = cut_off.clone();
                    let _ = wait.wait_for(|place| place.is_none_or(|place| !ends.contains(&place))).await;
                    let Ok(far) = TcpStream::connect(to).await else {
                        return;
                    };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::select! {
                        _ = carry(near_in, far_out, ends, cut_off.clone()) => {}
                        _ = carry(far_in, near_out, ends, cut_off) => {}
                    }
                });
            }
        });
        address
    }
}

fn dial(relay: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{relay}"))
        .unwrap()
        .connect_timeout(Duration::from_millis(500))
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(1))
        .keep_alive_while_idle(true)
        .connect_lazy()
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    ends: [usize; 2],
    mut cut_off: watch::Receiver<Option<usize>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let open = cut_off.wait_for(|place| place.is_none_or(|place| !ends.contains(&place)));
        open.await.map_err(io::Error::other)?;
        to.write_all(&buffer[..read]).await?;
    }
}

async fn linked_cluster() -> (Links, Vec<Node>) {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(listen().await);
    }
    let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let links = Links::new(&addresses);
    let peers: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut nodes = Vec::new();
    for (place, listener) in listeners.into_iter().enumerate() {
        let formation = Formation::Bootstrap { expect: 3, peers: peers.clone() };
        let start = Start { dialer: links.dialer(place), ..Start::new(formation) };
        nodes.push(start.run_on(listener).await);
    }
    for node in &nodes {
        node.is_voter().await;
    }
    (links, nodes)
}

/// Writes `name0`, `name1`, … until `until` and returns the keys by what their proposer was told.
async fn write_on(node: &Node, name: &str, until: Instant) -> BTreeMap<String, Result<(), Error>> {
    let mut told = BTreeMap::new();
    for n in 0.. {
        if Instant::now() >= until {
            break;
        }
        let key = format!("{name}{n}");
        let patience = Instant::now() + Duration::from_millis(700);
        let outcome = node.handle.propose(Bytes::from(format!("{key}=v")), patience).await;
        told.insert(key, outcome.map(|_| ()));
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_loses_nothing_that_was_acknowledged() {
    let (links, nodes) = linked_cluster().await;
    let nodes = Arc::new(nodes);
    let old = leader(&nodes).await;
    let begun = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for place in 0..3 {
        let nodes = nodes.clone();
        writers
            .spawn(async move { write_on(&nodes[place], &format!("w{place}."), begun + Duration::from_secs(5)).await });
    }
    tokio::time::sleep_until(begun + Duration::from_millis(500)).await;
    links.cut_off(old);
    // The others go on without it…
    let other = &nodes[(old + 1) % 3];
    let old_id = nodes[old].id();
    let status = other
        .handle
        .wait_for(soon(), "another leader", |status| status.leader.as_ref().is_some_and(|leader| leader.id != old_id))
        .await
        .unwrap();
    other.put("meanwhile", "v").await.unwrap();
    // …and it neither promises nor answers anything as of now.
    let patience = Instant::now() + Duration::from_millis(800);
    assert!(nodes[old].handle.read_barrier(patience).await.is_err(), "a cut-off leader must not serve such reads");
    links.heal();
    let healed = nodes[old].handle.wait_for(soon(), "the new leader", |seen| seen.term >= status.term).await.unwrap();
    assert!(!healed.is_leader || healed.term > status.term);

    let told: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    let state = agree(&nodes).await;
    assert!(state.values.contains_key("meanwhile"));
    let mut acknowledged = 0;
    for (key, outcome) in told {
        let there = state.values.contains_key(&key);
        match outcome {
            Ok(()) => {
                acknowledged += 1;
                assert!(there, "{key} was acknowledged");
            }
            Err(error) if error.may_have_been_applied() => {}
            Err(error) => assert!(!there, "{key} is there although its proposer was told it is not: {error}"),
        }
    }
    assert!(acknowledged > 30, "{acknowledged} writes were acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_cut_off_deposes_nobody() {
    let (links, nodes) = linked_cluster().await;
    nodes[0].put("k", "v").await.unwrap();
    let led = leader(&nodes).await;
    let term = nodes[led].handle.status().term;
    let follower = (led + 1) % 3;
    links.cut_off(follower);
    // Several election timeouts.
    let until = Instant::now() + Duration::from_secs(3);
    let told = write_on(&nodes[led], "w", until).await;
    assert!(told.values().all(Result::is_ok), "two of three go on undisturbed");
    links.heal();
    let last = nodes[led].put("k", "w").await.unwrap();
    nodes[follower].handle.wait_applied(last.index, soon()).await.unwrap();
    assert_eq!(nodes[follower].handle.status().term, term, "it came back without an election");
    agree(&nodes).await;
}
