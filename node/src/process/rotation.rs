//! Files of rows that grow for ever and take a bounded part of the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use file_rotate::{ContentLimit, FileRotate, compression::Compression, suffix::AppendCount};

/// A file of rows that is begun anew after so many bytes, beside so many older ones.
///
/// What is written is whole rows. A row that broke off, when the disk was full or the process was killed, is ended
/// before the next one: it spoils itself alone.
pub struct RowFile {
    path: PathBuf,
    max_bytes: u64,
    files: usize,
    /// Absent until the first row, and after an error: then it is not known how the file ends.
    file: Option<FileRotate<AppendCount>>,
}

// === impl RowFile ===

impl RowFile {
    /// Names a file; it is opened with the first row.
    pub(crate) fn new(path: &Path, max_bytes: u64, files: usize) -> Self {
        Self { path: path.to_owned(), max_bytes, files, file: None }
    }

    /// Opens a file, and fails now, and not with the first row, where it cannot be written.
    pub fn open(path: &Path, max_bytes: u64, files: usize) -> io::Result<Self> {
        let mut rows = Self::new(path, max_bytes, files);
        rows.file = Some(rows.opened()?);
        Ok(rows)
    }

    fn opened(&self) -> io::Result<FileRotate<AppendCount>> {
        end_row(&self.path)?;
        let limit = ContentLimit::BytesSurpassed(usize::try_from(self.max_bytes).unwrap_or(usize::MAX));
        Ok(FileRotate::new(&self.path, AppendCount::new(self.files), limit, Compression::None, None))
    }
}

impl Write for RowFile {
    fn write(&mut self, rows: &[u8]) -> io::Result<usize> {
        let mut file = match self.file.take() {
            Some(file) if self.path.exists() => file,
            _ => self.opened()?,
        };
        file.write_all(rows)?;
        // Where rotating could open no new file it says nothing, and what is written goes nowhere.
        if !self.path.exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.file = Some(file);
        Ok(rows.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Finds out now, and not with the first row, whether a file can be written.
pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
    to_append(path).map(drop)
}

fn to_append(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().read(true).create(true).append(true).open(path)
}

/// Begins a new line where the last one has no end.
fn end_row(path: &Path) -> io::Result<()> {
    let mut file = to_append(path)?;
    let Some(last_at) = file.metadata()?.len().checked_sub(1) else { return Ok(()) };
    let mut last = [0];
    file.read_exact_at(&mut last, last_at)?;
    match last {
        [b'\n'] => Ok(()),
        _ => file.write_all(b"\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const MAX: u64 = 1 << 20;

    #[test]
    fn a_row_that_broke_off_spoils_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.log");
        for (before, after) in [("", "new\n"), ("old\n", "old\nnew\n"), ("old\nbrok", "old\nbrok\nnew\n")] {
            fs::write(&path, before).unwrap();
            let mut rows = RowFile::open(&path, MAX, 1).unwrap();
            rows.write_all(b"new\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after, "{before:?}");
        }
    }

    #[test]
    fn after_an_error_the_file_is_looked_at_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.log");
        symlink("/dev/full", &path).unwrap();
        let mut rows = RowFile::open(&path, MAX, 1).unwrap();
        assert_eq!(rows.write_all(b"one\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "on").unwrap();
        rows.write_all(b"one\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "on\none\n");
        // Taken away, it is begun anew.
        fs::remove_file(&path).unwrap();
        rows.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn it_is_begun_anew_after_so_many_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.log");
        let mut rows = RowFile::open(&path, 5, 2).unwrap();
        for row in ["one\n", "two\n", "three\n"] {
            rows.write_all(row.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(fs::read_to_string(dir.path().join("rows.log.1")).unwrap(), "one\ntwo\n");
    }
}
