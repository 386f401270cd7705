//! Durable writes per second and their latency, beside the floor the disk sets, in interleaved rounds.
//!
//! The floor is one writer that appends the same bytes to a file and calls `fdatasync`. All members run in this process
//! and share its cores and its disk, so three members show the protocol's cost, not what three machines would do.
//!
//! `cargo run --release -p berth-coordinator --example durable_writes -- [members] [clients] [seconds] [bytes] [dir]`

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::{
    error::Error,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use berth_coordinator::raft::{
    Formation, LogIndex, RaftHandle, RaftOptions, RaftService, RaftToken, RestoreError, StateMachine,
};
use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;

/// Rounds of floor and cluster in turn: a disk that changes its mind in between shows in the spread.
const ROUNDS: u32 = 3;

/// Keeps the last command: the cost measured is consensus, not the state.
#[derive(Default)]
struct Last(Mutex<Vec<u8>>);

impl StateMachine for Last {
    fn apply(&self, _: LogIndex, command: &[u8]) -> Vec<u8> {
        *self.0.lock().expect("nothing panics under it") = command.to_vec();
        Vec::new()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.lock().expect("nothing panics under it").clone()
    }

    fn restore(&self, snapshot: &[u8]) -> Result<(), RestoreError> {
        *self.0.lock().expect("nothing panics under it") = snapshot.to_vec();
        Ok(())
    }
}

struct Asked {
    members: usize,
    clients: usize,
    span: Duration,
    bytes: usize,
    dir: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (members, clients, seconds, bytes) = (number(1)?, number(8)?, number(5)?, number(256)?);
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let span = Duration::from_secs(seconds as u64);
    let asked = Asked { members, clients, span, bytes, dir };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&asked))
}

async fn measure(asked: &Asked) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir_in(&asked.dir)?;
    let handles = start(asked.members, dir.path()).await?;
    println!(
        "members {} clients {} seconds {} bytes {} rounds {ROUNDS}",
        asked.members,
        asked.clients,
        asked.span.as_secs(),
        asked.bytes
    );
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let (path, bytes, span) = (dir.path().join("floor"), asked.bytes, asked.span);
        let floor = tokio::task::spawn_blocking(move || floor(&path, bytes, span)).await??;
        let written = writes(&handles, asked).await?;
        let (floor_rate, rate) = (report(round, "floor", floor, span), report(round, "berth", written, span));
        ratios.push(rate / floor_rate);
    }
    let ratios: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    println!("ratio berth/floor per round: {}", ratios.join(" "));
    for handle in handles {
        handle.shutdown().await?;
    }
    Ok(())
}

/// Starts members that form a cluster over loopback.
async fn start(members: usize, dir: &Path) -> Result<Vec<RaftHandle>, Box<dyn Error>> {
    let mut listeners = Vec::new();
    for _ in 0..members {
        listeners.push(TcpListener::bind("127.0.0.1:0").await?);
    }
    let peers: Vec<String> =
        listeners.iter().map(|listener| listener.local_addr().map(|at| at.to_string())).collect::<Result<_, _>>()?;
    let mut handles = Vec::new();
    for (listener, advertise) in listeners.into_iter().zip(&peers) {
        let formation = Formation::Bootstrap { expect: members, peers: peers.clone() };
        let place = dir.join(advertise.replace(':', "-"));
        let options = RaftOptions::new(place, "bench", vec![RaftToken::new("bench")], advertise, formation);
        let service = RaftService::open(options, Arc::new(Last::default())).await?;
        handles.push(service.handle());
        let server = tonic::transport::Server::builder().add_service(service.grpc());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        tokio::spawn(service.run(std::future::pending()));
    }
    for handle in &handles {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let ready = handle.wait_for(deadline, "a cluster with a leader", |status| {
            status.leader.is_some() && status.own().is_some_and(|own| own.voter)
        });
        ready.await?;
    }
    Ok(handles)
}

/// Appends and syncs, one after the other.
fn floor(path: &Path, bytes: usize, span: Duration) -> std::io::Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let record = vec![7; bytes];
    let mut taken = Vec::new();
    let end = Instant::now() + span;
    while Instant::now() < end {
        let begun = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        taken.push(begun.elapsed());
    }
    Ok(taken)
}

/// Proposes from `clients` callers at once, all through the leader's member.
async fn writes(handles: &[RaftHandle], asked: &Asked) -> Result<Vec<Duration>, Box<dyn Error>> {
    let leader = handles.iter().find(|handle| handle.status().is_leader).ok_or("there is no leader")?;
    let end = Instant::now() + asked.span;
    let command = Bytes::from(vec![7; asked.bytes]);
    let mut callers = JoinSet::new();
    for _ in 0..asked.clients {
        let (leader, command) = (leader.clone(), command.clone());
        callers.spawn(async move {
            let mut taken = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
                leader.propose(command.clone(), deadline).await?;
                taken.push(begun.elapsed());
            }
            Ok::<_, berth_coordinator::raft::Error>(taken)
        });
    }
    let mut all = Vec::new();
    for taken in callers.join_all().await {
        all.extend(taken?);
    }
    Ok(all)
}

/// Prints one line and returns the rate.
fn report(round: u32, what: &str, mut taken: Vec<Duration>, span: Duration) -> f64 {
    taken.sort_unstable();
    let at = |permille: usize| taken.get(taken.len() * permille / 1000).map_or(0.0, |t| t.as_secs_f64() * 1e3);
    let rate = taken.len() as f64 / span.as_secs_f64();
    println!(
        "round {round} {what}: {rate:.0} writes/s, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
        at(500),
        at(990),
        at(999)
    );
    rate
}
