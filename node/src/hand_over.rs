//! Hand-over: another process of the same node takes the listening sockets, and nobody who connects notices.
//!
//! The process that runs keeps a socket in its folder. One that is started with `take_over` asks there; the older one ends
//! its control side, writes the ledger, lets go of the folder and gives its listeners away. It goes on accepting until the
//! newer one has found every replica again and says so; from there on it only ends what it has. When the newer one fails
//! before that, the older one takes the folder back and goes on as if nothing had been.
//!
//! Who accepts has the slots: the older process stops both before it says what it has left, and the newer one begins with
//! both when it has heard that. Connections that are made in between, a moment, wait in the listener's queue.
//!
//! Several may follow each other while the first still ends a stream. Each hears of the one before it and tells the one after
//! it of both, until the one before it has no request left. It is asked only once it has begun itself: until then the one before it
//! counts on it.

use std::{
    io::{self, IoSlice, IoSliceMut, Write},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use berth_core::{
    error::{Code, Error},
    id::ReplicaId,
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixListener,
    time::{interval, timeout},
};

use crate::mesh::{Listening, MeshHandle, Remains};

/// Where the older process is asked, in the node's folder, which nobody else may enter.
const SOCKET: &str = "hand-over.sock";

/// What the newer one says: that it wants to take over, and that it has.
const TAKE: &[u8; 4] = b"take";
const HAVE: &[u8; 4] = b"have";

/// Listeners one message may carry; the kernel takes 253.
const LISTENERS_MAX: usize = 250;

/// How long either side may take for one word: the older one ends its actors and writes its ledger meanwhile.
const WORD_WITHIN: Duration = Duration::from_secs(20);

/// How long the newer one may take until every replica is found again.
const FOUND_WITHIN: Duration = Duration::from_secs(30);

/// How often the older one says what it still has, beside whenever it has a slot less.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// A longer line is not kept: forty bytes for each of some ten thousand replicas.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Where a process that runs is asked to hand over.
#[derive(Debug)]
pub(crate) struct Desk {
    listener: Option<UnixListener>,
}

/// A newer process that asks.
#[derive(Debug)]
pub(crate) struct Successor(tokio::net::UnixStream);

/// What a newer process was given.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) listening: Listening,
    older: UnixStream,
}

// === impl Desk ===

impl Desk {
    /// Opens the desk. Without one a node runs as well; it only cannot be taken over.
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join(SOCKET);
        // What a process left that was killed: the folder is locked, so nobody listens there.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path);
        if let Err(error) = &listener {
            tracing::warn!(%error, path = %path.display(), "this node cannot be taken over: it will have to be drained");
        }
        Self { listener: listener.ok() }
    }

    /// Waits for somebody who asks, which counts once this process has what it took over itself: until then what an older
    /// one still has is not known here, and could not be told.
    pub(crate) async fn asked(&self, mesh: &MeshHandle) -> Successor {
        mesh.opened().await;
        let Some(listener) = &self.listener else { return std::future::pending().await };
        loop {
            let accepted = listener.accept().await;
            let Ok((mut stream, _)) = accepted else {
                tokio::time::sleep(TELL_EVERY).await;
                continue;
            };
            let mut word = [0; TAKE.len()];
            let read = timeout(WORD_WITHIN, stream.read_exact(&mut word)).await;
            if matches!(read, Ok(Ok(_))) && word == *TAKE {
                return Successor(stream);
            }
        }
    }
}

// === impl Successor ===

impl Successor {
    /// Gives the listeners away and waits until the successor is there. On an error everything is as before.
    pub(crate) async fn give(self, listening: &Listening) -> io::Result<Self> {
        let listeners: Vec<BorrowedFd<'_>> = listening.all().map(AsFd::as_fd).collect();
        if listeners.len() > LISTENERS_MAX {
            return Err(io::Error::other("there are more listeners than one message carries"));
        }
        let counts = [listening.ingress.len() as u8, listening.gate.len() as u8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&listeners)) {
            return Err(io::Error::other("the listeners fit in no message"));
        }
        let stream = self.0;
        let sent = stream.async_io(tokio::io::Interest::WRITABLE, || {
            sendmsg(&stream, &[IoSlice::new(&counts)], &mut control, SendFlags::NOSIGNAL).map_err(io::Error::from)
        });
        timeout(WORD_WITHIN, sent).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let mut stream = stream;
        let mut word = [0; HAVE.len()];
        timeout(FOUND_WITHIN + WORD_WITHIN, stream.read_exact(&mut word))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        if word != *HAVE {
            return Err(io::Error::other("the successor spoke out of turn"));
        }
        Ok(Self(stream))
    }

    /// Tells the successor what this process still has, until it has nothing: drains must wait for that, too.
    pub(crate) async fn tell(mut self, mesh: MeshHandle) {
        let mut beat = interval(TELL_EVERY);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = mesh.left_less() => {}
            }
            if self.0.write_all(write_left(&mesh.left()).as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

// === impl Inheritance ===

impl Inheritance {
    /// Asks the process that runs on this folder, if there is one, for what it listens on. Blocks.
    pub(crate) fn ask(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(SOCKET);
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(&error)),
        };
        Self::receive(stream).map(Some).map_err(|error| failed(&error))
    }

    fn receive(mut stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(WORD_WITHIN))?;
        stream.set_write_timeout(Some(WORD_WITHIN))?;
        stream.write_all(TAKE)?;
        let mut counts = [0_u8; 2];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(&stream, &mut [IoSliceMut::new(&mut counts)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let got = got.map_err(|error| match io::Error::from(error) {
            late if late.kind() == io::ErrorKind::WouldBlock => {
                io::Error::other(format!("it gave nothing for {} s", WORD_WITHIN.as_secs()))
            }
            error => error,
        })?;
        let mut listeners: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(given) = message {
                listeners.extend(given);
            }
        }
        let [ingress, gate] = counts.map(usize::from);
        if got.bytes != counts.len() || ingress == 0 || ingress != gate || listeners.len() != ingress + gate {
            return Err(io::Error::other("the listeners did not arrive"));
        }
        let gate = listeners.split_off(ingress);
        let listening = Listening {
            ingress: listeners.into_iter().map(TcpListener::from).collect(),
            gate: gate.into_iter().map(TcpListener::from).collect(),
        };
        Ok(Self { listening, older: stream })
    }

    /// Waits until these replicas take requests here, tells the older process, opens the doors when it says what it has
    /// left, and follows that until it has nothing.
    pub(crate) async fn begin(older: UnixStream, mesh: MeshHandle, replicas: Vec<ReplicaId>) {
        let found = timeout(FOUND_WITHIN, async {
            while !replicas.iter().all(|replica| mesh.is_published(*replica)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        if found.await.is_err() {
            tracing::warn!("not every replica was found again in time; requests for it go elsewhere");
        }
        // Whatever becomes of the older process, nobody else opens these doors.
        let doors = Doors(mesh.clone());
        let told = older.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(older));
        let mut older = match told {
            Ok(older) => older,
            Err(error) => return tracing::warn!(%error, "the older process cannot be told"),
        };
        if let Err(error) = older.write_all(HAVE).await {
            return tracing::warn!(%error, "the older process was gone before it was told");
        }
        let mut older = Older { lines: BufReader::new(older), is_understood: true };
        let mut goes_on = older.hear(&mesh).await;
        drop(doors);
        tracing::info!("took over from the older process of this node");
        while goes_on {
            goes_on = older.hear(&mesh).await;
        }
        mesh.set_elsewhere(Remains::default());
    }

    /// Splits into what the mesh listens on and the way to the older process.
    pub(crate) fn split(self) -> (Listening, UnixStream) {
        (self.listening, self.older)
    }
}

/// An older process that says what it still has.
struct Older<R> {
    lines: R,
    is_understood: bool,
}

// === impl Older ===

impl<R: AsyncBufRead + Unpin> Older<R> {
    /// Takes its next word into account, and says whether more may come. It speaks several times a second: one that stands
    /// still holds nobody up for ever.
    async fn hear(&mut self, mesh: &MeshHandle) -> bool {
        match timeout(WORD_WITHIN, next_line(&mut self.lines)).await {
            Ok(Ok(Some(line))) => {
                mesh.set_elsewhere(read_left(&line));
                return true;
            }
            Ok(Ok(None)) => tracing::info!("the older process of this node has ended"),
            // What it has only falls, so what was heard last is never too little.
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                if std::mem::replace(&mut self.is_understood, false) {
                    tracing::error!(%error, "the older process of this node is not understood: what it said last counts");
                }
                return true;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the older process of this node is not heard any more"),
            Err(_) => {
                tracing::error!("the older process of this node stands still: what it has is not counted any more");
            }
        }
        false
    }
}

/// Reads a line; nothing when none comes any more. One that is too long is an error, behind which the next one is read.
async fn next_line(lines: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    (&mut *lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.ends_with(b"\n") {
        return String::from_utf8(line).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
    }
    // Its writer has ended, maybe in the middle.
    if (line.len() as u64) < LINE_BYTES_MAX {
        return Ok(None);
    }
    while !line.is_empty() && !line.ends_with(b"\n") {
        line.clear();
        (&mut *lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {LINE_BYTES_MAX} bytes")))
}

/// Opens the mesh when it goes away.
struct Doors(MeshHandle);

impl Drop for Doors {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Writes `replica=requests` and `replica:slots`.
pub(crate) fn write_left(left: &Remains) -> String {
    let requests = left.in_flight.iter().map(|(replica, count)| format!("{replica}={count} "));
    let slots = left.taken.iter().map(|(replica, count)| format!("{replica}:{count} "));
    requests.chain(slots).chain(["\n".to_owned()]).collect()
}

/// Reads what [`write_left`] wrote. Of a release that does not tell slots, every request has one.
pub(crate) fn read_left(line: &str) -> Remains {
    let mut left = Remains::default();
    for word in line.trim_end().split(' ') {
        if let Some((replica, count)) = pair::<u64>(word, '=') {
            left.in_flight.insert(replica, count);
        } else if let Some((replica, count)) = pair(word, ':') {
            left.taken.insert(replica, count);
        }
    }
    for (replica, count) in &left.in_flight {
        left.taken.entry(*replica).or_insert(u32::try_from(*count).unwrap_or(u32::MAX));
    }
    left
}

fn pair<T: std::str::FromStr>(word: &str, between: char) -> Option<(ReplicaId, T)> {
    let (replica, count) = word.split_once(between)?;
    Some((replica.parse().ok()?, count.parse().ok()?))
}

fn failed(error: &io::Error) -> Error {
    Error::new(Code::Unavailable, "the process that runs did not hand over")
        .why(error.to_string())
        .try_("look at its log; `berth node drain` and a restart do without a hand-over")
}

#[cfg(test)]
mod tests {
    use berth_proto::node::{decode_table, encode_table};
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::mesh::{Mesh, MeshOptions, TableCodec};

    #[tokio::test]
    async fn listeners_arrive_as_they_were_and_a_silent_successor_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Inheritance::ask(folder.path()).expect("nobody is no error").is_none());
        let (desk, mesh) = (Desk::open(folder.path()), mesh(&folder));
        mesh.open();
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let listening = Listening { ingress: vec![bind(), bind()], gate: vec![bind(), bind()] };
        let addresses: Vec<_> = listening.all().map(|listener| listener.local_addr().expect("bound")).collect();
        for arrives in [false, true] {
            let path = folder.path().to_owned();
            let newer = tokio::task::spawn_blocking(move || Inheritance::ask(&path));
            let asked = desk.asked(&mesh).await;
            let given = async {
                let inherited = newer.await.expect("a thread").expect("no error").expect("somebody");
                let got: Vec<_> = inherited.listening.all().map(|l| l.local_addr().expect("bound")).collect();
                assert_eq!(got, addresses);
                let (_, mut older) = inherited.split();
                if arrives {
                    older.write_all(HAVE).expect("told");
                }
            };
            let (gave, ()) = tokio::join!(asked.give(&listening), given);
            assert_eq!(gave.is_ok(), arrives);
        }
    }

    #[tokio::test]
    async fn who_closes_its_desk_leaves_that_of_its_successor() {
        let folder = tempfile::tempdir().expect("a folder");
        let mesh = mesh(&folder);
        mesh.open();
        let older = Desk::open(folder.path());
        let newer = Desk::open(folder.path());
        drop(older);
        let path = folder.path().join(SOCKET);
        let asks = tokio::spawn(async move {
            let mut stream = tokio::net::UnixStream::connect(path).await.expect("the newer one's desk is there");
            stream.write_all(TAKE).await.expect("asked");
            stream
        });
        timeout(WORD_WITHIN, newer.asked(&mesh)).await.expect("it is asked");
        asks.await.expect("a task");
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_an_error_and_no_end() {
        let most = LINE_BYTES_MAX as usize;
        for (length, too_long) in [(most - 1, false), (most, true), (most + 1, true), (3 * most, true)] {
            let long = [&b"a=1\n"[..], &vec![b'x'; length], b"\nb=2\n"].concat();
            let mut lines = BufReader::new(&*long);
            assert_eq!(next_line(&mut lines).await.expect("short").as_deref(), Some("a=1\n"));
            let read = next_line(&mut lines).await;
            assert_eq!(read.is_err_and(|error| error.to_string().contains("longer than 1048576 bytes")), too_long);
            assert_eq!(next_line(&mut lines).await.expect("short").as_deref(), Some("b=2\n"));
            assert_eq!(next_line(&mut lines).await.expect("the end"), None);
        }
        let half = next_line(&mut BufReader::new(&b"b=2"[..])).await;
        assert_eq!(half.expect("the end"), None, "its writer ended in the middle");
        let endless = vec![b'x'; 2 * most];
        assert!(next_line(&mut BufReader::new(&*endless)).await.is_err(), "and then there is no more");
    }

    /// What a process says that nobody understands leaves what it said before.
    #[tokio::test]
    async fn what_was_heard_last_counts_until_the_older_process_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let mesh = mesh(&folder);
        let words = [&b"0000000000000007=3 \n"[..], &vec![b'x'; LINE_BYTES_MAX as usize], b"\n"].concat();
        let mut older = Older { lines: BufReader::new(&*words), is_understood: true };
        let has = |mesh: &MeshHandle| mesh.gate_in_flight(ReplicaId(7));
        for (goes_on, count) in [(true, 3), (true, 3), (false, 3)] {
            assert_eq!((older.hear(&mesh).await, has(&mesh)), (goes_on, count));
        }
    }

    fn mesh(folder: &tempfile::TempDir) -> MeshHandle {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let codec = TableCodec { encode: encode_table, decode: decode_table };
        let options = MeshOptions::new(berth_core::id::NodeId(1), folder.path(), codec);
        let options = MeshOptions { ingress: any, gate: any, cores: 1, ..options };
        Mesh::inherit(options, None, &mut Registry::default()).expect("a mesh")
    }

    /// The one before it counts on a process that has not begun: it would be left with the same slots as the one after it.
    #[tokio::test]
    async fn who_has_not_begun_is_not_taken_over_from() {
        let folder = tempfile::tempdir().expect("a folder");
        let (desk, mesh) = (Desk::open(folder.path()), mesh(&folder));
        let path = folder.path().join(SOCKET);
        let mut asks = tokio::net::UnixStream::connect(path).await.expect("the desk is there");
        asks.write_all(TAKE).await.expect("asked");
        let mut asked = std::pin::pin!(desk.asked(&mesh));
        // A second time once whatever is there to be read has been seen.
        for _ in 0..2 {
            tokio::task::yield_now().await;
            assert!(futures::poll!(asked.as_mut()).is_pending());
        }
        mesh.open();
        timeout(WORD_WITHIN, asked).await.expect("it is asked");
    }

    #[test]
    fn what_is_left_is_read_as_written_and_nonsense_is_passed_over() {
        let (one, two, three) = (ReplicaId(7), ReplicaId(8), ReplicaId(9));
        let left = Remains { in_flight: [(one, 3), (three, 1)].into(), taken: [(one, 2), (two, 0), (three, 0)].into() };
        assert_eq!(read_left(write_left(&left).trim_end()), left);
        let older = read_left(&format!("{one}=3 x=1 {two} {two}:x "));
        assert_eq!(older, Remains { in_flight: [(one, 3)].into(), taken: [(one, 3)].into() });
    }
}
