//! The event log: every event of the cluster as a row of Azure's `AmlOnlineEndpointEventLog`, in a file that is rotated by
//! size.
//!
//! A coordinator writes what it is told by its own API, so each that is asked to has all of them, whoever leads. After a
//! restart it goes on behind the last row, as far as the cluster still knows what came then.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use berth_client::{Client, api::Event};
use berth_node::RowFile;
use chrono::DateTime;
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use crate::view::EventRow;

/// Bytes after which another file is begun, and older files that are kept: as with every log of a node.
const FILE_BYTES: u64 = 16 << 20;
const FILES: usize = 3;
/// A row is far shorter; what ends a file that is longer is looked for in its last part.
const TAIL_BYTES: usize = 64 << 10;
/// How long to wait before a watch that ended, or whose event could not be written, is begun anew.
const AGAIN: Duration = Duration::from_secs(1);

/// The last event that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    seq: u64,
    at_ms: u64,
}

/// The file, and how far it goes.
struct EventLog<W> {
    file: W,
    last: Option<Last>,
}

/// Writes until it is aborted. Fails at once where the file cannot be written.
pub(crate) fn start(path: PathBuf, client: Client) -> io::Result<JoinHandle<()>> {
    let file = RowFile::open(&path, FILE_BYTES, FILES)?;
    let mut log = EventLog { file, last: last_of(&path) };
    Ok(tokio::spawn(async move {
        let mut well = true;
        loop {
            let mut events = client.watch_events(None);
            while let Ok(Some(event)) = events.next().await {
                // A row is small and rare: it is not worth a thread.
                let written = log.take(&event);
                // Once, not per row: the disk that is full may hold this process's own log too.
                if let Err(error) = &written
                    && well
                {
                    tracing::warn!(%error, "the event log cannot be written");
                }
                well = written.is_ok();
                // Followed anew, it comes again, and with it what the cluster still knows.
                if !well {
                    break;
                }
            }
            sleep(AGAIN).await;
        }
    }))
}

fn row(event: &Event) -> io::Result<Vec<u8>> {
    let mut row = serde_json::to_vec(&EventRow::of(event))?;
    row.push(b'\n');
    Ok(row)
}

/// Reads the last row of a file; of the one before when it was just begun.
fn last_of(path: &Path) -> Option<Last> {
    let older = PathBuf::from(format!("{}.1", path.display()));
    [path, &older].into_iter().find_map(|path| {
        let bytes = fs::read(path).ok()?;
        let tail = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]).into_owned();
        tail.lines().rev().find_map(Last::of_row)
    })
}

// === impl EventLog ===

impl<W: Write> EventLog<W> {
    /// Writes an event that has no row yet. It has one only when all of it was written.
    fn take(&mut self, event: &Event) -> io::Result<()> {
        if self.last.is_some_and(|last| last.has(event)) {
            return Ok(());
        }
        self.file.write_all(&row(event)?)?;
        self.file.flush()?;
        self.last = Some(Last { seq: event.seq, at_ms: event.at_ms });
        Ok(())
    }
}

// === impl Last ===

impl Last {
    fn of_row(row: &str) -> Option<Self> {
        let row: Value = serde_json::from_str(row).ok()?;
        let at = DateTime::parse_from_rfc3339(row["TimeGenerated"].as_str()?).ok()?;
        Some(Self { seq: row["Seq"].as_u64()?, at_ms: u64::try_from(at.timestamp_millis()).ok()? })
    }

    /// Returns whether an event is written already. Numbers begin anew with another cluster; its events are later.
    fn has(self, event: &Event) -> bool {
        event.seq <= self.seq && event.at_ms <= self.at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, at_ms: u64) -> Event {
        Event { seq, at_ms, kind: "node.lost".into(), text: "node n1 is lost".into(), ..Event::default() }
    }

    #[test]
    fn it_goes_on_behind_the_last_row() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.log");
        assert_eq!(last_of(&path), None, "there is no file");
        let rows: Vec<u8> = (1..=3).flat_map(|seq| row(&event(seq, 1_000 * seq)).expect("a row")).collect();
        fs::write(&path, [rows.as_slice(), br#"{"Seq":4,"TimeG"#].concat()).expect("a file");
        let last = last_of(&path).expect("a row");
        assert_eq!(last, Last { seq: 3, at_ms: 3_000 }, "a row that broke off is none");
        for (seq, at_ms, has, why) in [
            (2, 2_000, true, "it was written"),
            (3, 3_000, true, "it is the last"),
            (4, 3_000, false, "it came behind it"),
            (1, 9_000, false, "another cluster counts anew"),
        ] {
            assert_eq!(last.has(&event(seq, at_ms)), has, "{why}");
        }
        let file = RowFile::open(&path, FILE_BYTES, FILES).expect("a file");
        let mut log = EventLog { file, last: Some(last) };
        for seq in 2..=5 {
            log.take(&event(seq, 1_000 * seq)).expect("a row");
        }
        let text = fs::read_to_string(&path).expect("a file");
        let seqs: Vec<_> = text.lines().map(|line| Last::of_row(line).map(|row| row.seq)).collect();
        assert_eq!(seqs, [Some(1), Some(2), Some(3), None, Some(4), Some(5)], "what broke off spoils itself alone");
        let last = last_of(&path).expect("a row");
        fs::rename(&path, dir.path().join("events.log.1")).expect("a file");
        fs::write(&path, "").expect("a file");
        assert_eq!(last_of(&path), Some(last), "another file was just begun");
    }

    /// A disk that is full at one write.
    struct Disk {
        rows: Vec<u8>,
        writes: u32,
        full_at: u32,
    }

    impl Write for Disk {
        fn write(&mut self, row: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            match self.writes == self.full_at {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => self.rows.write(row),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_that_could_not_be_written_is_when_it_comes_again() {
        let mut log = EventLog { file: Disk { rows: Vec::new(), writes: 0, full_at: 3 }, last: None };
        let mut follow = || (1..=4).try_for_each(|seq| log.take(&event(seq, 1_000 * seq)));
        assert_eq!(follow().expect_err("the disk is full").kind(), io::ErrorKind::StorageFull);
        follow().expect("rows");
        let text = String::from_utf8(log.file.rows).expect("text");
        let seqs: Vec<_> = text.lines().map(|line| Last::of_row(line).expect("a row").seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4], "each has a row, and only one");
    }
}
