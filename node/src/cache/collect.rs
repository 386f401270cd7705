//! Collects cached assets: least recently used first, and never what is referred to.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use berth_core::id::Digest;

/// An entry nothing refers to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unused {
    used_at: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Removes unused entries, oldest use first, until those that remain hold at most `max_bytes`. Returns the bytes freed.
pub(super) fn collect(folder: &Path, max_bytes: u64, is_kept: impl Fn(&Path, &Digest) -> bool) -> io::Result<u64> {
    let mut unused = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| name.split_once('.')?.0.parse::<Digest>().ok());
        if let Some(digest) = digest.filter(|digest| !is_kept(&entry.path(), digest)) {
            tracing::debug!(%digest, "nothing refers to an asset");
            let used_at = entry.metadata()?.modified()?;
            unused.push(Unused { used_at, bytes: bytes_of(&entry.path())?, path: entry.path() });
        }
    }
    unused.sort();
    let mut held: u64 = unused.iter().map(|entry| entry.bytes).sum();
    let mut freed = 0;
    for entry in unused {
        if held <= max_bytes {
            break;
        }
        fs::remove_dir_all(&entry.path)?;
        held -= entry.bytes;
        freed += entry.bytes;
    }
    Ok(freed)
}

fn bytes_of(path: &Path) -> io::Result<u64> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + bytes_of(&entry?.path())?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_unused_goes_first_and_what_is_referred_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let digests: Vec<Digest> = (0..4_u8).map(|n| Digest::of(&[n])).collect();
        for (age, digest) in digests.iter().enumerate() {
            let path = dir.path().join(format!("{digest}.file"));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("content"), [0; 100]).unwrap();
            let used_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 * (4 - age as u64));
            fs::File::open(&path).unwrap().set_modified(used_at).unwrap();
        }
        fs::create_dir(dir.path().join("incoming")).unwrap();
        let kept = |_: &Path, digest: &Digest| *digest == digests[3];
        assert_eq!(collect(dir.path(), 200, kept).unwrap(), 100, "three unused of 100 bytes, 200 allowed");
        let is_there = |digest: &Digest| dir.path().join(format!("{digest}.file")).exists();
        assert_eq!(digests.iter().map(is_there).collect::<Vec<_>>(), [true, true, false, true]);
        assert_eq!(collect(dir.path(), 0, kept).unwrap(), 200);
        assert!(is_there(&digests[3]) && dir.path().join("incoming").exists());
    }
}
