//! Callers that mean harm, and what others are told meanwhile, and how fast.
//!
//! Each kind of attack goes on from a thread of its own, as fast as the wire takes it or as slowly as it may; others ask at a
//! fixed rate, each counted by its id. The same is measured without the attack in turn, so that what the machine does besides
//! is in both. An attack takes processor time of the machine too: where it shares the cores, that is in the figures.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use berth_cli::load::{LoadOptions, LoadReport};
use hyper::{HeaderMap, body::Bytes};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::cluster::{Cluster, ENDPOINT};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A part that is not taken for so long ends its connection.
const STUCK: Duration = Duration::from_millis(100);

/// Parts of a connection; streams have numbers, and these have an end.
const PARTS_MAX: u32 = 1_000_000;

/// One kind of attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// What it is.
    pub what: &'static str,
    opens: fn() -> Vec<u8>,
    part: fn(u32) -> Vec<u8>,
    connections: usize,
    pause: Duration,
    reads: bool,
}

/// How others ask.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests due per second.
    pub rate_per_second: u64,
    /// How long each part of a round takes, in seconds.
    pub seconds: u64,
    /// Rounds: each without the attack and during it.
    pub rounds: u64,
}

/// What others were told, beside one attack.
#[derive(Debug)]
pub struct Beside {
    what: &'static str,
    parts: u64,
    without: Vec<Seen>,
    during: Vec<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    asked: u64,
    answered: u64,
    p50: Duration,
    p99: Duration,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a `POST` to a path.
fn head(path: &str) -> Vec<u8> {
    let literal = |name: u8, value: &str| [&[name, value.len() as u8][..], value.as_bytes()].concat();
    [&[0x83, 0x86][..], &literal(0x04, path), &literal(0x01, "any")].concat()
}

fn score() -> Vec<u8> {
    head(&format!("/e/{ENDPOINT}/score"))
}

fn opens_http2() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

// === impl Attack ===

impl Attack {
    /// Every kind.
    pub fn all() -> Vec<Self> {
        let flood = Self {
            what: "pings",
            opens: opens_http2,
            part: |_| frame(PING, 0, 0, &[7; 8]).repeat(100),
            connections: 1,
            pause: Duration::ZERO,
            reads: true,
        };
        let slow = Self { connections: 64, pause: Duration::from_millis(20), ..flood };
        // A connection for each: as many as the wire takes would use up the ports of a host.
        let refused = Self { opens: Vec::new, pause: Duration::from_millis(2), ..flood };
        vec![
            flood,
            Self { what: "settings", part: |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(100), ..flood },
            Self { what: "pings, answers not read", reads: false, ..flood },
            Self {
                what: "rapid reset",
                part: |turn| {
                    let id = 2 * turn + 1;
                    let reset = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
                    [frame(HEADERS, END_HEADERS, id, &head("/e/nobody/score")), reset].concat()
                },
                ..flood
            },
            Self {
                what: "continuation",
                part: |turn| match turn {
                    0 => frame(HEADERS, END_STREAM, 1, &score()),
                    _ => frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'a', 0x01, b'b'].repeat(3_000)),
                },
                ..flood
            },
            Self {
                what: "HPACK bomb",
                part: |turn| {
                    let entry = [&[0x40, 0x01, b'a', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4_000]].concat();
                    let block = [&score()[..], &entry, &[0xbe; 8_000]].concat();
                    frame(HEADERS, END_HEADERS | END_STREAM, 2 * turn + 1, &block)
                },
                ..flood
            },
            Self {
                what: "frames of nothing",
                part: |turn| match turn {
                    0 => frame(HEADERS, END_HEADERS, 1, &head("/e/nobody/score")),
                    _ => frame(DATA, 0, 1, &[]).repeat(100),
                },
                ..flood
            },
            Self {
                what: "slow reads",
                opens: || [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 16])].concat(),
                part: |turn| match turn {
                    0 => [frame(HEADERS, END_HEADERS, 1, &score()), frame(DATA, END_STREAM, 1, &[b'x'; 8 << 10])]
                        .concat(),
                    _ => frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
                },
                ..slow
            },
            Self {
                what: "slow writes",
                part: |turn| match turn {
                    0 => frame(HEADERS, END_HEADERS, 1, &score()),
                    _ => frame(DATA, 0, 1, b"x"),
                },
                ..slow
            },
            Self {
                what: "slow heads",
                opens: || format!("POST /e/{ENDPOINT}/score HTTP/1.1\r\nhost: h\r\nx: ").into_bytes(),
                part: |_| vec![b'y'],
                ..slow
            },
            Self {
                what: "header limits",
                part: |_| {
                    let many: String = (0..200).map(|at| format!("h{at}: v\r\n")).collect();
                    format!("GET /e/{ENDPOINT}/score HTTP/1.1\r\nhost: h\r\n{many}\r\n").into_bytes()
                },
                ..refused
            },
            Self {
                what: "URL limits",
                part: |_| {
                    let long = "x".repeat(9 << 10);
                    format!("GET /e/{ENDPOINT}/{long} HTTP/1.1\r\nhost: h\r\n\r\n").into_bytes()
                },
                ..refused
            },
            Self {
                what: "smuggling",
                part: |_| {
                    let head = format!("POST /e/{ENDPOINT}/score HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n");
                    let inner = format!("GET /e/{ENDPOINT}/smuggled HTTP/1.1\r\nhost: h\r\n\r\n");
                    format!("{head}content-length: 40\r\n\r\nabc{inner}").into_bytes()
                },
                ..refused
            },
        ]
    }

    /// One connection after the other.
    async fn go_on(self, address: SocketAddr, over: &AtomicBool, parts: &AtomicU64) {
        let mut sink = vec![0; 64 << 10];
        while !over.load(Relaxed) {
            let Ok(mut stream) = TcpStream::connect(address).await else { continue };
            let _ = stream.write_all(&(self.opens)()).await;
            for turn in 0..PARTS_MAX {
                let sent = tokio::time::timeout(STUCK, stream.write_all(&(self.part)(turn))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
                parts.fetch_add(1, Relaxed);
                if !self.pause.is_zero() {
                    tokio::time::sleep(self.pause).await;
                }
                if over.load(Relaxed) || self.reads && matches!(stream.try_read(&mut sink), Ok(0)) {
                    break;
                }
            }
        }
    }

    /// Goes on until the answer is asked to end, on a thread of its own. Returns how many parts were sent.
    fn start(self, address: SocketAddr, over: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
        thread::spawn(move || {
            let parts = AtomicU64::new(0);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let all = (0..self.connections).map(|_| self.go_on(address, &over, &parts));
            runtime.block_on(futures::future::join_all(all));
            parts.into_inner()
        })
    }
}

// === impl Plan ===

impl Plan {
    /// Starts a node that serves.
    pub async fn start(berth: &str) -> Cluster {
        let cluster = Cluster::start(berth, 1, 1).await;
        cluster.endpoint().await;
        let mut spec = cluster.command(&["echo-model"]);
        // More than the slow ones of an attack take.
        spec.request_settings.max_concurrent_requests_per_instance = 256;
        cluster.put(ENDPOINT, "blue", &spec).await;
        cluster.serving("blue", 1).await;
        cluster.split(&[("blue", 100)]).await;
        cluster.routed().await;
        cluster
    }

    /// Asks in turn without the attack and during it.
    pub async fn measure(&self, cluster: &Cluster, attack: Attack) -> Beside {
        let address = cluster.fleet.ingress(0);
        let (mut parts, mut without, mut during) = (0, Vec::new(), Vec::new());
        for round in 0..self.rounds {
            without.push(self.others(address, &format!("without-{round}")).await);
            let over = Arc::new(AtomicBool::new(false));
            let attackers = attack.start(address, over.clone());
            during.push(self.others(address, &format!("during-{round}")).await);
            over.store(true, Relaxed);
            parts += tokio::task::spawn_blocking(|| attackers.join().expect("no panic")).await.expect("it ends");
        }
        Beside { what: attack.what, parts, without, during }
    }

    async fn others(&self, address: SocketAddr, run: &str) -> Seen {
        let total = self.rate_per_second * self.seconds;
        let report = berth_cli::load::run(LoadOptions {
            targets: vec![address],
            path: format!("/e/{ENDPOINT}/anything"),
            headers: HeaderMap::new(),
            bodies: Arc::new([Bytes::from_static(b"one of the others")]),
            first: 0,
            total,
            rate_per_second: self.rate_per_second,
            timeout: Duration::from_secs(15),
            deadline_header: None,
            in_flight_max: 2_000,
            idempotent: false,
            patient: false,
            run: run.to_owned(),
        })
        .await;
        Seen::of(&report, total)
    }
}

// === impl Seen ===

impl Seen {
    fn of(report: &LoadReport, asked: u64) -> Self {
        Self { asked, answered: report.ok(), p50: report.latency(500), p99: report.latency(990) }
    }
}

// === impl Beside ===

impl Beside {
    /// The heading above rows.
    pub fn heading() -> String {
        let head = format!("{:<26} {:>10} {:>15} {:>15}", "attack", "its parts", "without it", "during it");
        format!("{head}  {:<26} {:<26}", "x p50", "x p99")
    }

    /// Returns how many requests were not answered, without the attack and during it.
    pub fn lost(&self) -> u64 {
        self.without.iter().chain(&self.during).map(|seen| seen.asked - seen.answered).sum()
    }

    fn counts(of: &[Seen]) -> String {
        let sum = |read: fn(&Seen) -> u64| of.iter().map(read).sum::<u64>();
        format!("{} of {}", sum(|seen| seen.answered), sum(|seen| seen.asked))
    }

    /// The median of the rounds with its range, and the two times that it is of.
    fn ratio(&self, read: fn(&Seen) -> Duration) -> String {
        let (mut without, mut during): (Vec<_>, Vec<_>) =
            (self.without.iter().map(read).collect(), self.during.iter().map(read).collect());
        let mut ratios: Vec<_> =
            without.iter().zip(&during).map(|(without, during)| during.as_secs_f64() / without.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        without.sort();
        during.sort();
        let middle = ratios.len() / 2;
        let ms = |times: &[Duration]| times[middle].as_secs_f64() * 1_000.0;
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        format!("{:.2} ({least:.2}-{most:.2}) {:.1}->{:.1} ms", ratios[middle], ms(&without), ms(&during))
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (without, during) = (Self::counts(&self.without), Self::counts(&self.during));
        write!(f, "{:<26} {:>10} {without:>15} {during:>15}", self.what, self.parts)?;
        write!(f, "  {:<26} {:<26}", self.ratio(|seen| seen.p50), self.ratio(|seen| seen.p99))
    }
}
