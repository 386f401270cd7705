//! Puts cached assets into a replica's folder under the names its code expects.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

/// How a replica gets an asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Hard links to the cache, read-only: a model of some gigabytes takes no second copy. Real folders and real files,
    /// because code walks its model folder and many walkers do not follow links.
    Linked,
    /// A copy of its own that it may write to.
    Copied,
}

/// Makes `to` show what `from` holds.
pub(crate) fn mount(from: &Path, to: &Path, sharing: Sharing) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            mount(&entry.path(), &to.join(entry.file_name()), sharing)?;
        }
        return Ok(());
    }
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if sharing == Sharing::Linked && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    if sharing == Sharing::Copied {
        let mode = fs::metadata(to)?.permissions().mode();
        fs::set_permissions(to, fs::Permissions::from_mode(mode | 0o200))?;
    }
    Ok(())
}

/// Makes a cached file read-only: replicas hold it by hard links.
pub(super) fn protect(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_may_be_written_to_and_a_link_takes_no_space() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/a"), "x").unwrap();
        protect(&from.join("sub/a")).unwrap();
        symlink("sub/a", from.join("l")).unwrap();
        for sharing in [Sharing::Linked, Sharing::Copied] {
            let to = dir.path().join(format!("{sharing:?}"));
            // Twice: a restart mounts over what is there.
            mount(&from, &to, sharing).unwrap();
            mount(&from, &to, sharing).unwrap();
            assert_eq!(fs::read_to_string(to.join("l")).unwrap(), "x");
            let meta = fs::metadata(to.join("sub/a")).unwrap();
            let links = std::os::unix::fs::MetadataExt::nlink(&meta);
            assert_eq!(links > 1, sharing == Sharing::Linked);
            assert_eq!(meta.permissions().mode() & 0o200 != 0, sharing == Sharing::Copied);
        }
    }
}
