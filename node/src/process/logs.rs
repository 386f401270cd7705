//! Logs of replicas: bounded on disk, readable from any offset that is still there.
//!
//! Children hold the file open, so it is rotated by copy and truncate: what it holds is copied aside and the file is
//! emptied in place. Offsets count everything ever written, so that a reader follows through rotations: a rotated file
//! carries the offset of its first byte in its name. Bytes written between the copy and the truncation are lost; that
//! window is a few microseconds, once per rotation.
//!
//! Nobody stands between a child and its log, so that it writes on while its agent restarts; the times of its lines are those
//! at which the file was written to, as the agent found them when it looked.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use berth_core::written::{Mark, begin_of, thinned};

use super::marks::Marks;

/// Bytes of one answer: what fits a message well.
pub(crate) const CHUNK_MAX: u64 = 256 << 10;
/// Bytes looked at for the end of a log.
const TAIL_BYTES: u64 = 64 << 10;
/// Bytes that are looked through for the beginning of a line.
const LINE_MAX: u64 = 64 << 10;
/// Marks of one answer.
const TIMES_MAX: usize = 2_048;
/// Bytes of a log's end that go into a failure's reason.
const REASON_BYTES: usize = 3_000;
/// Lines of a log's end that go into a failure's reason.
const REASON_LINES: usize = 30;

/// A log file and its rotated predecessors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    path: PathBuf,
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) data: Vec<u8>,
    /// Where to read on.
    pub(crate) next_offset: u64,
}

/// A file that holds the bytes from `start` on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    start: u64,
    len: u64,
    path: PathBuf,
}

// === impl Log ===

impl Log {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Rotates when the file has grown beyond `max_bytes`, and keeps at most `files` old ones.
    pub(crate) fn rotate(&self, max_bytes: u64, files: usize) -> io::Result<bool> {
        let len = match fs::metadata(&self.path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if len <= max_bytes {
            return Ok(false);
        }
        let mut from = OpenOptions::new().read(true).write(true).open(&self.path)?;
        // Whoever reads would find what is copied twice, or a part that is just taken away.
        from.lock()?;
        let old = self.rotated()?;
        let start = old.last().map_or(0, |part| part.start + part.len);
        let aside = self.aside(start);
        let copied = File::create(&aside).and_then(|mut to| io::copy(&mut from, &mut to));
        if let Err(error) = copied {
            // A full disk: the copy would lie in the way, and truncating at least frees what the log holds.
            drop(fs::remove_file(&aside));
            from.set_len(0)?;
            return Err(error);
        }
        from.set_len(0)?;
        let surplus = (old.len() + 1).saturating_sub(files.max(1));
        for part in old.iter().take(surplus) {
            fs::remove_file(&part.path)?;
        }
        self.marks().forget(old.get(surplus).map_or(start, |part| part.start))?;
        Ok(true)
    }

    /// Keeps a mark of how far the log has grown, and returns whether there was anything to look at.
    pub(crate) fn mark(&self) -> io::Result<bool> {
        match self.newest()? {
            Some(mark) => self.marks().add(mark).map(|()| true),
            None => Ok(false),
        }
    }

    /// Tells when the bytes from `from` to `to` were written; offsets are counted from `from`.
    pub(crate) fn times(&self, from: u64, to: u64) -> io::Result<Vec<Mark>> {
        let marks = self.all_marks()?;
        let first = marks.partition_point(|mark| mark.until <= from);
        let behind = marks.partition_point(|mark| mark.until < to);
        let told = marks.get(first..(behind + 1).min(marks.len())).unwrap_or_default();
        let told: Vec<Mark> = told.iter().map(|mark| Mark { until: mark.until.min(to) - from, ..*mark }).collect();
        Ok(thinned(&told, TIMES_MAX))
    }

    /// Finds the first line that may have been written since a time.
    pub(crate) fn since(&self, since_ms: u64) -> io::Result<u64> {
        let begin = begin_of(&self.all_marks()?, since_ms);
        let before = self.read(begin.saturating_sub(LINE_MAX), begin.min(LINE_MAX))?;
        // Where what was before it is rotated away, something behind it was read.
        let is_before = before.next_offset == begin;
        let open = before.data.rsplit(|byte| *byte == b'\n').next().filter(|_| is_before).map_or(0, <[u8]>::len);
        Ok(begin - open as u64)
    }

    /// Lists the marks, the last of them for what nobody has looked at yet.
    fn all_marks(&self) -> io::Result<Vec<Mark>> {
        let mut marks = self.marks().all()?;
        let newest = self.newest()?;
        marks.extend(newest.filter(|newest| marks.last().is_none_or(|last| last.until < newest.until)));
        Ok(marks)
    }

    /// Returns where the log ends, and when it was written to last.
    fn newest(&self) -> io::Result<Option<Mark>> {
        let _unrotated = self.hold()?;
        let start = self.rotated()?.last().map_or(0, |part| part.start + part.len);
        let meta = match fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let until = start + meta.len();
        Ok((until > 0).then_some(Mark { until, at_ms: unix_ms(meta.modified()?) }))
    }

    fn marks(&self) -> Marks {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".times");
        Marks::new(PathBuf::from(path))
    }

    /// Reads from an offset on; what was rotated away is skipped.
    pub(crate) fn read(&self, offset: u64, max_bytes: u64) -> io::Result<Chunk> {
        let mut left = max_bytes.min(CHUNK_MAX);
        let mut chunk = Chunk { data: Vec::new(), next_offset: offset };
        let _unrotated = self.hold()?;
        for part in self.parts()? {
            let end = part.start + part.len;
            if end <= chunk.next_offset || left == 0 {
                continue;
            }
            let from = chunk.next_offset.max(part.start);
            let want = left.min(end - from);
            let at = chunk.data.len();
            chunk.data.resize(at + want as usize, 0);
            let got = read_up_to(&File::open(&part.path)?, &mut chunk.data[at..], from - part.start)?;
            chunk.data.truncate(at + got);
            chunk.next_offset = from + got as u64;
            left -= got as u64;
        }
        Ok(chunk)
    }

    /// Reads the last lines of what lies behind an offset.
    pub(crate) fn tail(&self, lines: u64, from: u64) -> io::Result<Chunk> {
        let end = self.end()?;
        let mut chunk = self.read(end.saturating_sub(CHUNK_MAX).max(from), CHUNK_MAX)?;
        let start = start_of_last(&chunk.data, usize::try_from(lines).unwrap_or(usize::MAX));
        chunk.data.drain(..start);
        Ok(chunk)
    }

    /// Returns the end of the log as text, short enough for a failure's reason.
    pub(crate) fn last_words(&self) -> String {
        self.last_words_from(0)
    }

    /// The same, of what was written from an offset on: the words of one start, not of the one before.
    pub(crate) fn last_words_from(&self, offset: u64) -> String {
        let read = || {
            let from = self.end()?.saturating_sub(TAIL_BYTES).max(offset);
            self.read(from, TAIL_BYTES)
        };
        let text = read().map(|chunk| String::from_utf8_lossy(&chunk.data).into_owned()).unwrap_or_default();
        let text = text.trim_end();
        let text = &text[start_of_last(text.as_bytes(), REASON_LINES)..];
        let cut = text.len().saturating_sub(REASON_BYTES);
        let cut = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text[cut..].to_owned()
    }

    /// Returns the offset after the last byte.
    pub(crate) fn end(&self) -> io::Result<u64> {
        let _unrotated = self.hold()?;
        Ok(self.parts()?.last().map_or(0, |part| part.start + part.len))
    }

    /// Keeps the log from being rotated until what is returned is dropped. Who writes to it is not held up.
    fn hold(&self) -> io::Result<Option<File>> {
        match File::open(&self.path) {
            Ok(file) => file.lock_shared().map(|()| Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists every file, oldest first, the current one last.
    fn parts(&self) -> io::Result<Vec<Part>> {
        let mut parts = self.rotated()?;
        let start = parts.last().map_or(0, |part| part.start + part.len);
        match fs::metadata(&self.path) {
            Ok(meta) => parts.push(Part { start, len: meta.len(), path: self.path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(parts)
    }

    fn rotated(&self) -> io::Result<Vec<Part>> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name().and_then(|name| name.to_str()))
        else {
            return Ok(Vec::new());
        };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut parts = Vec::new();
        for entry in entries {
            let entry = entry?;
            let file = entry.file_name();
            let suffix = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.'));
            if let Some(start) = suffix.and_then(|suffix| suffix.parse().ok()) {
                parts.push(Part { start, len: entry.metadata()?.len(), path: entry.path() });
            }
        }
        parts.sort();
        Ok(parts)
    }

    fn aside(&self, start: u64) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(format!(".{start}"));
        PathBuf::from(path)
    }
}

/// Returns a file's time as logs tell it.
fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn read_up_to(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < into.len() {
        match file.read_at(&mut into[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Returns where the last `lines` lines begin.
fn start_of_last(data: &[u8], lines: usize) -> usize {
    let body = data.strip_suffix(b"\n").unwrap_or(data);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    match lines {
        0 => data.len(),
        lines => ends.nth(lines - 1).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(log: &Log, text: &str) {
        super::super::spawner::append(log.path()).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_last_lines_are_found() {
        for (text, lines, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\n", 5, "a\n"),
            ("a\nb\n", 0, ""),
            ("", 3, ""),
            ("\n\n", 1, "\n"),
        ] {
            assert_eq!(&text[start_of_last(text.as_bytes(), lines)..], expected, "{text:?} {lines}");
        }
    }

    #[test]
    fn a_reader_follows_through_rotations_and_disk_use_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("output.log"));
        // The child's handle: opened once, before any rotation.
        let mut child = super::super::spawner::append(log.path()).unwrap();
        let (mut written, mut seen, mut offset) = (String::new(), String::new(), 0);
        for n in 0..200 {
            let line = format!("line {n:04}\n");
            child.write_all(line.as_bytes()).unwrap();
            written.push_str(&line);
            log.rotate(300, 2).unwrap();
            let chunk = log.read(offset, CHUNK_MAX).unwrap();
            offset = chunk.next_offset;
            seen.push_str(&String::from_utf8(chunk.data).unwrap());
        }
        assert_eq!(seen, written, "no byte twice, none left out");
        assert_eq!(log.end().unwrap(), written.len() as u64);
        let kept: u64 = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(kept <= 3 * 320, "{kept} bytes are kept");
        let old = log.read(0, CHUNK_MAX).unwrap();
        assert_eq!(old.next_offset, written.len() as u64, "what was rotated away is skipped");
        assert_eq!(String::from_utf8(log.tail(2, 0).unwrap().data).unwrap(), "line 0198\nline 0199\n");
    }

    fn written_at(log: &Log, at_ms: u64) {
        let file = File::open(log.path()).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_millis(at_ms)).unwrap();
    }

    #[test]
    fn lines_have_the_time_of_the_look_that_found_them_through_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("output.log"));
        assert!(!log.mark().unwrap(), "nothing is there");
        for (text, at_ms) in [("one\ntw", 1_000), ("o\nthree\n", 2_000), ("four\n", 3_000)] {
            write(&log, text);
            written_at(&log, at_ms);
            log.mark().unwrap();
            log.rotate(9, 9).unwrap();
        }
        write(&log, "five\n");
        written_at(&log, 4_000);
        let times = |from, to| -> Vec<(u64, u64)> {
            log.times(from, to).unwrap().iter().map(|mark| (mark.until, mark.at_ms)).collect()
        };
        let all = [(6, 1_000), (14, 2_000), (19, 3_000), (24, 4_000)];
        assert_eq!(times(0, 24), all, "the last of them from the file itself: nobody has looked since");
        assert_eq!(times(8, 16), [(6, 2_000), (8, 3_000)], "counted from where the answer begins");
        assert_eq!(times(24, 24), []);
        for (since_ms, text, why) in [
            (0, "one\ntwo\nthree\nfour\nfive\n", "all"),
            (1_001, "two\nthree\nfour\nfive\n", "a line is whole: it ended later than it began"),
            (2_001, "four\nfive\n", "in a part that was rotated"),
            (3_500, "five\n", "what nobody has looked at yet"),
            (4_001, "", "nothing since"),
        ] {
            let begin = log.since(since_ms).unwrap();
            assert_eq!(String::from_utf8(log.read(begin, CHUNK_MAX).unwrap().data).unwrap(), text, "{why}");
        }
        assert_eq!(log.tail(1, log.since(2_001).unwrap()).unwrap().data, b"five\n");
        assert_eq!(log.tail(9, log.since(2_001).unwrap()).unwrap().data, b"four\nfive\n");
    }

    #[test]
    fn marks_go_with_what_is_rotated_away() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("output.log"));
        for at_ms in 1..=100 {
            write(&log, "0123456789\n");
            written_at(&log, at_ms);
            log.mark().unwrap();
            log.rotate(20, 2).unwrap();
        }
        let kept = log.marks().all().unwrap();
        let first = log.parts().unwrap().first().unwrap().start;
        assert!(kept.iter().all(|mark| mark.until > first), "{first}: {kept:?}");
        assert_eq!(kept.last(), Some(&Mark { until: 1_100, at_ms: 100 }));
        assert_eq!(log.since(50).unwrap(), 0, "what began before is gone");
        assert_eq!(log.since(98).unwrap(), 97 * 11);
    }

    #[test]
    fn a_log_from_before_there_were_marks_has_the_time_at_which_its_file_was_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("output.log"));
        write(&log, "old\nolder\n");
        written_at(&log, 7_000);
        assert_eq!(log.times(0, 4).unwrap(), [Mark { until: 4, at_ms: 7_000 }]);
        assert_eq!((log.since(7_000).unwrap(), log.since(7_001).unwrap()), (0, 10));
    }

    #[test]
    fn a_reader_beside_a_rotation_misses_nothing_and_finds_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("output.log"));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut child = super::super::spawner::append(log.path()).unwrap();
                for n in 0..5_000_u64 {
                    child.write_all(format!("{n:04}\n").as_bytes()).unwrap();
                    log.rotate(100, 2).unwrap();
                }
            });
            while !writer.is_finished() {
                let text = String::from_utf8(log.read(0, CHUNK_MAX).unwrap().data).unwrap();
                let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
                assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
            }
            writer.join().unwrap();
        });
    }

    #[test]
    fn a_chunk_is_bounded_and_the_next_one_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("output.log"));
        write(&log, "0123456789");
        let first = log.read(2, 3).unwrap();
        assert_eq!((first.data.as_slice(), first.next_offset), (b"234".as_slice(), 5));
        assert_eq!(log.read(5, 100).unwrap().data, b"56789");
        assert_eq!(log.read(99, 10).unwrap(), Chunk { data: vec![], next_offset: 99 });
        assert_eq!(Log::new(dir.path().join("none")).read(0, 9).unwrap(), Chunk::default());
    }

    #[test]
    fn a_reason_holds_the_last_words_of_this_start_only() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("output.log"));
        write(&log, "first start failed\n");
        let offset = log.end().unwrap();
        write(&log, "ü second\n");
        assert_eq!(log.last_words_from(offset), "ü second");
        write(&log, &"x".repeat(10_000));
        assert!(log.last_words().len() <= REASON_BYTES);
    }
}
