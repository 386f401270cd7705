//! Files of rows that grow for ever and take a bounded part of the disk.

use std::{fs, io, path::Path};

use file_rotate::{ContentLimit, FileRotate, compression::Compression, suffix::AppendCount};

/// Opens a file that is begun anew after so many bytes, beside so many older ones.
pub(crate) fn rotated(path: &Path, max_bytes: u64, files: usize) -> FileRotate<AppendCount> {
    let limit = ContentLimit::BytesSurpassed(usize::try_from(max_bytes).unwrap_or(usize::MAX));
    FileRotate::new(path, AppendCount::new(files), limit, Compression::None, None)
}

/// Finds out now, and not with the first row, whether a file can be written.
pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path).map(drop)
}
