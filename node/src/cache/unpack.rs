//! Unpacks a folder's archive without letting it reach anything outside.
//!
//! The archive is somebody else's bytes. Every name is checked; links are made last, so that nothing is ever written
//! through one, and each must in the end resolve to something inside.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use berth_core::error::{Code, Error};
use tar::{Archive, Entry, EntryType};

use crate::identity::io_error;

/// Entries an archive may hold: far more than any model, far fewer than the inodes of a disk.
const ENTRIES_MAX: usize = 200_000;
/// Depth of folders.
const DEPTH_MAX: usize = 64;

/// Unpacks the archive at `bytes` into the new folder `into`.
pub(super) fn unpack(bytes: &Path, into: &Path, size_bytes: u64) -> Result<(), Error> {
    fs::create_dir(into).map_err(|error| io_error("cannot create", into, &error))?;
    let file = File::open(bytes).map_err(|error| io_error("cannot open", bytes, &error))?;
    let mut archive = Archive::new(io::BufReader::new(file));
    let mut links = Vec::new();
    let mut left_bytes = size_bytes;
    let entries = archive.entries().map_err(|error| unreadable(&error))?;
    for (count, entry) in entries.enumerate() {
        if count >= ENTRIES_MAX {
            return Err(refused(Path::new("."), &format!("more than {ENTRIES_MAX} entries")));
        }
        let mut entry = entry.map_err(|error| unreadable(&error))?;
        let name = entry.path().map_err(|error| unreadable(&error))?.into_owned();
        let relative = inside(&name).map_err(|why| refused(&name, why))?;
        let path = into.join(&relative);
        match entry.header().entry_type() {
            EntryType::Directory => {
                folder(into, &relative).map_err(|error| io_error("cannot create", &path, &error))?
            }
            EntryType::Regular | EntryType::Continuous => {
                // A sparse or lying header must not fill the disk with more than was paid for.
                left_bytes = left_bytes
                    .checked_sub(entry.size())
                    .ok_or_else(|| refused(&name, "larger than the archive that holds it"))?;
                if let Some(parent) = relative.parent() {
                    folder(into, parent).map_err(|error| io_error("cannot create", &path, &error))?;
                }
                write(&mut entry, &path)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name().map_err(|error| unreadable(&error))?;
                let target = target.ok_or_else(|| refused(&name, "a link to nothing"))?.into_owned();
                links.push((name, relative, target));
            }
            EntryType::XGlobalHeader => {}
            kind => return Err(refused(&name, &format!("an entry of kind {kind:?}"))),
        }
    }
    link(into, &links)
}

/// Returns the name as a path below the root.
fn inside(name: &Path) -> Result<PathBuf, &'static str> {
    let mut relative = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => relative.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err("an absolute path"),
            Component::ParentDir => return Err("a path with `..`"),
        }
    }
    match relative.components().count() {
        depth if depth > DEPTH_MAX => Err("too many folders deep"),
        _ => Ok(relative),
    }
}

fn folder(into: &Path, relative: &Path) -> io::Result<()> {
    fs::create_dir_all(into.join(relative))
}

fn write(entry: &mut Entry<'_, impl io::Read>, path: &Path) -> Result<(), Error> {
    let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
    let mode = if executable { 0o555 } else { 0o444 };
    // `create_new`: a name that comes twice is damage, and an existing link is never followed.
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let copied = file.and_then(|mut file| io::copy(entry, &mut file));
    copied.map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => refused(path, "a name that comes twice"),
        io::ErrorKind::UnexpectedEof => unreadable(&error),
        _ => io_error("cannot write", path, &error),
    })
}

fn link(into: &Path, links: &[(PathBuf, PathBuf, PathBuf)]) -> Result<(), Error> {
    for (name, relative, target) in links {
        if target.is_absolute() {
            return Err(refused(name, "a link to an absolute path"));
        }
        let path = into.join(relative);
        if let Some(parent) = relative.parent() {
            // A parent that is a link would put this one somewhere else.
            let resolved = folder(into, parent).and_then(|()| into.join(parent).canonicalize());
            let resolved = resolved.map_err(|error| io_error("cannot create", &path, &error))?;
            let root = into.canonicalize().map_err(|error| io_error("cannot resolve", into, &error))?;
            if resolved != root.join(parent) {
                return Err(refused(name, "a link below a link"));
            }
        }
        symlink(target, &path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => refused(name, "a name that comes twice"),
            _ => io_error("cannot link", &path, &error),
        })?;
    }
    let root = into.canonicalize().map_err(|error| io_error("cannot resolve", into, &error))?;
    for (name, relative, _) in links {
        // Only the file system knows where a chain of links ends.
        match into.join(relative).canonicalize() {
            Ok(resolved) if resolved.starts_with(&root) => {}
            Ok(_) => return Err(refused(name, "a link that leads outside")),
            Err(_) => return Err(refused(name, "a link to nothing")),
        }
    }
    Ok(())
}

fn refused(name: &Path, why: &str) -> Error {
    Error::new(Code::Invalid, "the archive of a folder is refused")
        .why(format!("`{}` is {why}", name.display()))
        .try_("upload the folder again, without such an entry")
}

fn unreadable(error: &io::Error) -> Error {
    Error::new(Code::Invalid, "the archive of a folder cannot be read")
        .why(error.to_string())
        .try_("upload the folder again")
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;

    /// An archive with one entry per row: kind, name, and content or target.
    fn archive(rows: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, name, content) in rows {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o6755);
            // Written raw: the library refuses to make what must be refused here.
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            let is_file = kind.is_file();
            if !is_file && !content.is_empty() {
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let body = if is_file { content.as_bytes() } else { b"" };
            header.set_size(body.len() as u64);
            header.set_cksum();
            builder.append(&header, body).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<(), Error>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bytes");
        fs::write(&path, bytes).unwrap();
        let result = unpack(&path, &dir.path().join("in"), bytes.len() as u64);
        (dir, result)
    }

    #[test]
    fn a_folder_comes_out_as_it_went_in() {
        let (dir, result) = unpacked(&archive(&[
            (EntryType::Directory, "sub", ""),
            (EntryType::Regular, "sub/a.txt", "hello"),
            (EntryType::Regular, "./deep/er/b.txt", "there"),
            (EntryType::Symlink, "sub/link", "../deep/er/b.txt"),
        ]));
        result.unwrap();
        let root = dir.path().join("in");
        assert_eq!(fs::read_to_string(root.join("sub/a.txt")).unwrap(), "hello");
        assert_eq!(fs::read_to_string(root.join("sub/link")).unwrap(), "there");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(root.join("sub/a.txt")).unwrap().permissions());
        assert_eq!(mode & 0o7777, 0o555, "no set-uid bit survives");
    }

    #[test]
    fn nothing_reaches_outside() {
        use EntryType as T;
        for (rows, why) in [
            (vec![(T::Regular, "../evil", "x")], "climbs out"),
            (vec![(T::Regular, "a/../../evil", "x")], "climbs out in the middle"),
            (vec![(T::Regular, "/tmp/evil", "x")], "absolute"),
            (vec![(T::Symlink, "l", "/etc/passwd")], "absolute link"),
            (vec![(T::Symlink, "l", "../../etc/passwd")], "link that climbs out"),
            (vec![(T::Symlink, "l", "nowhere")], "dangling link"),
            (vec![(T::Symlink, "l", "l")], "link to itself"),
            (vec![(T::Symlink, "l", ".."), (T::Regular, "l/evil", "x")], "file below a link"),
            (
                vec![
                    (T::Directory, "d/e/f", ""),
                    (T::Directory, "x", ""),
                    (T::Symlink, "d/e/f/one", "../../../x"),
                    (T::Symlink, "two", "d/e/f/one/../.."),
                ],
                "two links that only together lead outside",
            ),
            (vec![(T::Directory, "d", ""), (T::Symlink, "s", "d"), (T::Symlink, "s/t", "../d")], "link below a link"),
            (vec![(T::Link, "h", "/etc/passwd")], "hard link"),
            (vec![(T::Char, "c", "")], "device"),
            (vec![(T::Fifo, "f", "")], "pipe"),
            (vec![(T::Regular, "a", "x"), (T::Regular, "a", "y")], "twice"),
        ] {
            let (dir, result) = unpacked(&archive(&rows));
            assert_eq!(result.unwrap_err().code, Code::Invalid, "{why}");
            assert!(!dir.path().join("evil").exists(), "{why}");
        }
    }

    #[test]
    fn garbage_and_lies_about_size_are_refused() {
        let (_dir, result) = unpacked(&[7; 2_000]);
        assert_eq!(result.unwrap_err().code, Code::Invalid);
        let bytes = archive(&[(EntryType::Regular, "a", "0123456789")]);
        let (_dir, result) = unpacked(&bytes[..600]);
        assert_eq!(result.unwrap_err().code, Code::Invalid);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bytes");
        fs::write(&path, &bytes).unwrap();
        assert!(unpack(&path, &dir.path().join("in"), 5).is_err(), "more content than declared");
    }
}
