//! The last good table and the gate token on disk, so that a restarted node routes although no coordinator answers.
//!
//! Written behind the memory by one thread, coalesced: only the newest table matters. Each file is written beside the
//! old one, synced and renamed, so that a crash leaves one or the other.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use berth_core::traffic::table::RouteTable;
use sha2::{Digest as _, Sha256};

use super::options::TableCodec;

const TABLE: &str = "routes.bin";
const TOKEN: &str = "gate-token";

/// Begins the file, so that another format is recognised.
const MAGIC: &[u8; 8] = b"berthrt1";

/// Bytes of the checksum behind the magic.
const CHECKSUM: usize = 32;

/// Writes in the background.
pub(super) struct Writer {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    table: Option<Arc<RouteTable>>,
    token: Option<Vec<u8>>,
    closed: bool,
}

// === impl Writer ===

impl Writer {
    pub(super) fn start(folder: PathBuf, codec: TableCodec) -> io::Result<Self> {
        let inbox = Arc::new(Inbox::default());
        let work = inbox.clone();
        let thread = thread::Builder::new().name("mesh-persist".into()).spawn(move || work.run(&folder, codec))?;
        Ok(Self { inbox, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn table(&self, table: Arc<RouteTable>) {
        self.inbox.state().table = Some(table);
        self.inbox.changed.notify_one();
    }

    pub(super) fn token(&self, token: &[u8]) {
        self.inbox.state().token = Some(token.to_vec());
        self.inbox.changed.notify_one();
    }

    /// Writes what is still to be written and ends.
    pub(super) fn close(&self) {
        self.inbox.state().closed = true;
        self.inbox.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that stores the route table has panicked");
        }
    }
}

// === impl Inbox ===

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, folder: &Path, codec: TableCodec) {
        loop {
            let (table, token) = {
                let idle = |state: &mut State| state.table.is_none() && state.token.is_none() && !state.closed;
                let waited = self.changed.wait_while(self.state(), idle);
                let mut state = waited.unwrap_or_else(PoisonError::into_inner);
                match (state.table.take(), state.token.take()) {
                    (None, None) => return,
                    work => work,
                }
            };
            // The table in memory stays in force; the file is only older than it could be.
            if let Some(table) = table
                && let Err(error) = write(folder, TABLE, 0o644, &framed(&(codec.encode)(&table)))
            {
                tracing::warn!(%error, version = %table.version, "could not store the route table");
            }
            if let Some(token) = token
                && let Err(error) = write(folder, TOKEN, 0o600, &token)
            {
                tracing::warn!(%error, "could not store the gate token");
            }
        }
    }
}

/// Reads the table; nothing when there is none or it is damaged, which costs a wait for a coordinator and no more.
pub(super) fn load_table(folder: &Path, codec: TableCodec) -> Option<RouteTable> {
    let bytes = match fs::read(folder.join(TABLE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "could not read the stored route table");
            return None;
        }
    };
    let Some(body) = unframed(&bytes) else {
        tracing::warn!("the stored route table is damaged and ignored");
        return None;
    };
    match (codec.decode)(body) {
        Ok(table) => Some(table),
        Err(error) => {
            tracing::warn!(%error, "the stored route table cannot be read and is ignored");
            None
        }
    }
}

/// Reads the gate token, if there is one.
pub(super) fn load_token(folder: &Path) -> Option<Vec<u8>> {
    fs::read(folder.join(TOKEN)).ok().filter(|token| !token.is_empty())
}

fn framed(body: &[u8]) -> Vec<u8> {
    let checksum: [u8; CHECKSUM] = Sha256::digest(body).into();
    [MAGIC.as_slice(), &checksum, body].concat()
}

fn unframed(bytes: &[u8]) -> Option<&[u8]> {
    let (checksum, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(CHECKSUM)?;
    (Sha256::digest(body).as_slice() == checksum).then_some(body)
}

fn write(folder: &Path, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let (path, beside) = (folder.join(name), folder.join(format!("{name}.new")));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_file_is_not_read() {
        let bytes = framed(b"routes");
        assert_eq!(unframed(&bytes), Some(b"routes".as_slice()));
        assert!((0..bytes.len()).all(|length| unframed(&bytes[..length]).is_none()), "cut anywhere");
        let mut flipped = bytes;
        flipped[45] ^= 1;
        assert_eq!(unframed(&flipped), None);
    }
}
