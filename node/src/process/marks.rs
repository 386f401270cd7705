//! The marks of a log on disk: beside it, because a log's own bytes are the process's.
//!
//! A mark is sixteen bytes, so that what a crash left of one is known by its length. A file of them is bounded whatever the
//! process does: when it is full every second mark goes, so the oldest lines are told of the least exactly.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
};

use berth_core::written::{Mark, thinned};

/// Marks of one log: half a MiB, and with five looks a second the first two hours of a process that never stops writing.
const MARKS_MAX: usize = 32 << 10;
/// Bytes of one mark: its offset and its time.
const MARK_BYTES: usize = 16;

/// The file of marks beside a log.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    path: PathBuf,
}

// === impl Marks ===

impl Marks {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Lists them in the order of their offsets.
    pub(super) fn all(&self) -> io::Result<Vec<Mark>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut marks: Vec<Mark> = bytes.chunks_exact(MARK_BYTES).map(decode).collect();
        // A file that somebody harmed makes times that are wrong, and no panic.
        marks.dedup_by(|next, kept| next.until <= kept.until);
        Ok(marks)
    }

    /// Adds a mark. What lies behind it is forgotten: a log that was cut because the disk was full grows anew.
    pub(super) fn add(&self, mark: Mark) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(&self.path)?;
        let bytes = file.metadata()?.len();
        let mut last = [0; MARK_BYTES];
        let last = match bytes.checked_sub(MARK_BYTES as u64) {
            Some(at) => file.read_exact_at(&mut last, at).map(|()| decode(&last).until)?,
            None => 0,
        };
        // The whole file is read when that is needed, not five times a second.
        if bytes % MARK_BYTES as u64 == 0 {
            if last == mark.until {
                return Ok(());
            }
            if last < mark.until && bytes < (MARKS_MAX * MARK_BYTES) as u64 {
                return file.write_all(&encode(&mark));
            }
        }
        let mut marks = self.all()?;
        marks.retain(|old| old.until < mark.until);
        marks.push(mark);
        self.replace(&thinned(&marks, MARKS_MAX / 2))
    }

    /// Forgets those of what was rotated away.
    pub(super) fn forget(&self, before: u64) -> io::Result<()> {
        let mut marks = self.all()?;
        let had = marks.len();
        marks.retain(|mark| mark.until > before);
        if marks.len() == had { Ok(()) } else { self.replace(&marks) }
    }

    /// Writes all anew. Whoever reads finds the old ones or the new ones.
    fn replace(&self, marks: &[Mark]) -> io::Result<()> {
        let mut aside = self.path.as_os_str().to_owned();
        aside.push("~");
        fs::write(&aside, marks.iter().flat_map(encode).collect::<Vec<u8>>())?;
        fs::rename(&aside, &self.path)
    }
}

fn encode(mark: &Mark) -> [u8; MARK_BYTES] {
    (u128::from(mark.until) << 64 | u128::from(mark.at_ms)).to_be_bytes()
}

fn decode(bytes: &[u8]) -> Mark {
    let number = bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    Mark { until: (number >> 64) as u64, at_ms: number as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(until: u64, at_ms: u64) -> Mark {
        Mark { until, at_ms }
    }

    #[test]
    fn marks_are_kept_in_order_whatever_happens_to_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output.log.times");
        let marks = Marks::new(path.clone());
        assert_eq!(marks.all().unwrap(), []);
        for (until, at_ms) in [(10, u64::MAX), (10, 5), (u64::MAX >> 1, 6)] {
            marks.add(mark(until, at_ms)).unwrap();
        }
        assert_eq!(marks.all().unwrap(), [mark(10, u64::MAX), mark(u64::MAX >> 1, 6)], "the same offset once");
        marks.add(mark(12, 7)).unwrap();
        assert_eq!(marks.all().unwrap(), [mark(10, u64::MAX), mark(12, 7)], "a log that was cut");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"torn").unwrap();
        assert_eq!(marks.all().unwrap().len(), 2, "half a mark is none");
        marks.add(mark(20, 8)).unwrap();
        marks.add(mark(30, 9)).unwrap();
        assert_eq!(
            marks.all().unwrap()[1..],
            [mark(12, 7), mark(20, 8), mark(30, 9)],
            "and is not in the way of the next"
        );
        marks.forget(12).unwrap();
        assert_eq!(marks.all().unwrap(), [mark(20, 8), mark(30, 9)]);
    }

    #[test]
    fn a_file_of_marks_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output.log.times");
        let marks = Marks::new(path.clone());
        let full: Vec<Mark> = (1..=MARKS_MAX as u64).map(|n| mark(n, n)).collect();
        marks.replace(&full).unwrap();
        let next = mark(MARKS_MAX as u64 + 1, 9);
        marks.add(next).unwrap();
        let kept = marks.all().unwrap();
        assert!(kept.len() <= MARKS_MAX / 2 && kept.len() > MARKS_MAX / 4, "{}", kept.len());
        assert_eq!(kept.last(), Some(&next));
        assert!(kept.iter().all(|mark| *mark == next || full.contains(mark)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
