//! Files and folders as assets: the bytes that are stored, and the digest that names them.
//!
//! A folder is a tar archive whose bytes depend on names, contents and the executable bit alone, so that equal folders
//! have equal digests wherever and whenever they are packed. It is never written to disk: one pass finds the digest, a
//! second one sends; should the folder change in between, the digest no longer fits and the upload is refused.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use berth_core::{
    error::{Code, Error},
    id::Digest,
    model::{AssetKind, AssetRef},
};
use sha2::{Digest as _, Sha256};

/// Azure allows 1,500 files per model; environments of code have more. Beyond this a folder was meant to be something
/// else.
const ENTRIES_MAX: usize = 100_000;
/// A folder nested deeper follows a link in a circle.
const DEPTH_MAX: usize = 64;
/// What tools leave behind and no replica needs; it would change the digest with every local run.
const LEFT_OUT: &[&str] = &["__pycache__", ".git", ".DS_Store", ".ipynb_checkpoints"];
/// What lies in every folder that one of ours keeps its data in: of `berth dev`, of a coordinator and of a node. Beside the
/// code it is no part of it: it changes all the time, and it holds keys.
const DATA: &[&[&str]] = &[&["lock", "berth-dev.json"], &["raft", "artifacts", "node.token"], &["lock", "node-id"]];
/// How a file begins a line that describes an endpoint or a deployment. Beside the code it says how that is to run, and is
/// no part of it: or a changed number of instances would be another version of the code, which replaces every replica.
const DESCRIBES: &[&str] = &["endpoint_name:", "$schema: https://azuremlschemas.azureedge.net/"];
/// A larger file describes nothing.
const DESCRIPTION_BYTES_MAX: u64 = 256 << 10;
/// Bytes hashed and sent at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A file or folder whose digest is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// How a deployment refers to it.
    pub asset: AssetRef,
    path: PathBuf,
}

// === impl Packed ===

impl Packed {
    /// Reads a file or folder and finds its digest. Blocks; asynchronous callers use a blocking thread.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let meta = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        let kind = if meta.is_dir() { AssetKind::Folder } else { AssetKind::File };
        let mut sum = Sum { hasher: Sha256::new(), bytes: 0 };
        write(path, kind, &mut sum).map_err(|error| unreadable(path, &error))?;
        let name = match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => return Err(Error::new(Code::PathMissing, format!("`{}` has no name", path.display()))),
        };
        let digest = Digest(sum.hasher.finalize().into());
        Ok(Self { asset: AssetRef { digest, kind, name, size_bytes: sum.bytes }, path: path.to_owned() })
    }

    /// Reads a file or folder and finds its digest, without holding up the runtime.
    pub async fn of(path: &Path) -> Result<Self, Error> {
        crate::assets::pack(path).await
    }

    /// Hands the stored bytes to `send` in pieces, until it returns false. Blocks.
    pub(crate) fn stream(&self, send: impl FnMut(Vec<u8>) -> bool) -> io::Result<()> {
        let mut pieces = Pieces { piece: Vec::with_capacity(CHUNK_BYTES), send };
        write(&self.path, self.asset.kind, &mut pieces)?;
        pieces.flush()
    }
}

/// Writes the stored bytes of `path`.
fn write(path: &Path, kind: AssetKind, out: &mut impl Write) -> io::Result<()> {
    match kind {
        AssetKind::File => io::copy(&mut File::open(path)?, out).map(|_| ()),
        AssetKind::Folder => {
            let mut archive = tar::Builder::new(out);
            let mut entries = 0;
            add_folder(path, Path::new(""), 0, &mut entries, &mut archive)?;
            archive.into_inner().map(|_| ())
        }
    }
}

fn add_folder<W: Write>(
    folder: &Path,
    inside: &Path,
    depth: usize,
    entries: &mut usize,
    archive: &mut tar::Builder<W>,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("{} is nested too deeply; does a link lead back?", folder.display())));
    }
    let mut names = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .filter(|name| name.as_ref().map_or(true, |name| !LEFT_OUT.iter().any(|left_out| name == left_out)))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        *entries += 1;
        if *entries > ENTRIES_MAX {
            return Err(io::Error::other(format!("more than {ENTRIES_MAX} entries")));
        }
        let (path, inside) = (folder.join(&name), inside.join(&name));
        let in_entry = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        // Links are followed: a replica elsewhere does not have what they point to.
        let meta = fs::metadata(&path).map_err(in_entry)?;
        if depth == 0 && describes(&path, &meta) || is_data(&path, &meta) {
            continue;
        }
        if meta.is_dir() {
            archive.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), &inside, io::empty())?;
            add_folder(&path, &inside, depth + 1, entries, archive)?;
        } else if meta.is_file() {
            let file = File::open(&path).map_err(in_entry)?;
            let mut header = header(tar::EntryType::Regular, mode(&meta), meta.len());
            // A file that grows while it is read must not break the archive.
            archive.append_data(&mut header, &inside, Exact { file, left: meta.len() }).map_err(in_entry)?;
        }
        // What is neither, a socket, a FIFO or a device, is of this host: a replica elsewhere could do nothing with it.
    }
    Ok(())
}

/// Returns whether a file beside the code describes what is to be deployed.
fn describes(path: &Path, meta: &fs::Metadata) -> bool {
    let is_yaml = path.extension().is_some_and(|end| end == "yml" || end == "yaml");
    if !is_yaml || !meta.is_file() || meta.len() > DESCRIPTION_BYTES_MAX {
        return false;
    }
    // What cannot be read fails where it is packed.
    let text = fs::read(path).unwrap_or_default();
    text.split(|byte| *byte == b'\n').any(|line| DESCRIBES.iter().any(|begin| line.starts_with(begin.as_bytes())))
}

/// Returns whether a folder is one that a coordinator, a node or `berth dev` keeps its data in.
fn is_data(path: &Path, meta: &fs::Metadata) -> bool {
    meta.is_dir() && DATA.iter().any(|marks| marks.iter().all(|mark| path.join(mark).exists()))
}

/// Creates a header without times, owners and umask.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn mode(meta: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let code = if error.kind() == io::ErrorKind::NotFound { Code::PathMissing } else { Code::Invalid };
    let error = Error::new(code, format!("`{}` cannot be packed", path.display())).why(error.to_string());
    match code {
        Code::Invalid => error.try_("take that away, or name a folder that holds only what is to be served"),
        _ => error,
    }
}

/// Reads exactly as many bytes as the header promised.
struct Exact {
    file: File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut out[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Counts and hashes what is written.
struct Sum {
    hasher: Sha256,
    bytes: u64,
}

impl Write for Sum {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.hasher.update(data);
        self.bytes += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts what is written into pieces of one size.
struct Pieces<F> {
    piece: Vec<u8>,
    send: F,
}

impl<F: FnMut(Vec<u8>) -> bool> Write for Pieces<F> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = data.len().min(CHUNK_BYTES - self.piece.len());
        self.piece.extend_from_slice(&data[..taken]);
        if self.piece.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(CHUNK_BYTES));
        if (self.send)(piece) { Ok(()) } else { Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody listens")) }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn fill(folder: &Path, names: &[impl AsRef<str>]) {
        for name in names.iter().map(AsRef::as_ref) {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, format!("content of {name}")).expect("a file");
        }
    }

    #[test]
    fn equal_folders_have_equal_digests_however_they_came_to_be() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (one, two) = (one.path().join("model"), two.path().join("model"));
        fill(&one, &["b/c.txt", "a.txt", "z/deep/er/f"]);
        fill(&two, &["z/deep/er/f", "a.txt", "b/c.txt", "__pycache__/x.pyc", ".git/HEAD"]);
        fs::set_permissions(two.join("a.txt"), fs::Permissions::from_mode(0o600)).expect("a mode");
        let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        File::options().write(true).open(two.join("b/c.txt")).and_then(|file| file.set_times(old)).expect("a time");
        let (one, two) = (Packed::read(&one).expect("a folder"), Packed::read(&two).expect("a folder"));
        assert_eq!(one.asset, two.asset);
        assert_eq!(one.asset.name, "model");
    }

    #[test]
    fn what_describes_a_deployment_is_no_part_of_its_code() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), &["score.py", "below/blue.yml"]);
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
        let digest = || Packed::read(folder.path()).expect("a folder").asset.digest;
        let before = digest();
        write("blue.yml", "name: blue\nendpoint_name: fraud\ninstance_count: 2\n");
        write("endpoint.yaml", "$schema: https://azuremlschemas.azureedge.net/latest/x.json\nname: fraud\n");
        assert_eq!(digest(), before);
        write("conda.yml", "dependencies: [python=3.11]\n");
        let with_conda = digest();
        assert_ne!(with_conda, before, "what the code may read is a part of it");
        write("below/blue.yml", "endpoint_name: fraud\n");
        assert_ne!(digest(), with_conda, "only what lies beside the code is left out");
    }

    #[test]
    fn what_is_of_this_host_alone_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), &["score.py", "below/weights"]);
        let digest = || Packed::read(folder.path()).expect("a folder").asset.digest;
        let before = digest();
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join("below/hand-over.sock"));
        std::os::unix::fs::symlink("/dev/null", folder.path().join("null")).expect("a link");
        assert_eq!(digest(), before, "a socket and a device");
        drop(socket);
        for (name, data, is_left_out) in [
            ("berth dev", &["lock", "berth-dev.json", "cluster.key", "node-1/node-id"] as &[_], true),
            ("a coordinator", &["cluster.key", "node.token", "raft/db", "artifacts/drafts/x"], true),
            ("a node", &["lock", "node-id", "ledger.json"], true),
            ("somebody's own lock", &["lock", "weights"], false),
            ("somebody's own key", &["cluster.key", "node.token"], false),
            ("somebody's own model", &["raft/model.py", "artifacts/weights"], false),
        ] {
            let within = format!("below/{name}");
            fill(folder.path(), &data.iter().map(|file| format!("{within}/{file}")).collect::<Vec<_>>());
            assert_eq!(digest() == before, is_left_out, "{name}");
            fs::remove_dir_all(folder.path().join(&within)).expect("it goes");
        }
    }

    #[test]
    fn what_matters_changes_the_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), &["a.txt"]);
        let digest = || Packed::read(folder.path()).expect("a folder").asset.digest;
        let mut seen = vec![digest()];
        fs::write(folder.path().join("a.txt"), "other").expect("a file");
        seen.push(digest());
        fs::set_permissions(folder.path().join("a.txt"), fs::Permissions::from_mode(0o755)).expect("a mode");
        seen.push(digest());
        fs::rename(folder.path().join("a.txt"), folder.path().join("b.txt")).expect("a rename");
        seen.push(digest());
        fs::create_dir(folder.path().join("empty")).expect("a folder");
        seen.push(digest());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn what_is_sent_is_what_was_hashed_and_unpacks() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = format!("{}/{}.txt", "d".repeat(120), "n".repeat(120));
        fill(folder.path(), &["score.py", &long]);
        fs::write(folder.path().join("large"), vec![7; CHUNK_BYTES * 2 + 1]).expect("a file");
        let packed = Packed::read(folder.path()).expect("a folder");
        let mut bytes = Vec::new();
        let sent = packed.stream(|piece| {
            assert!(piece.len() <= CHUNK_BYTES);
            bytes.extend(piece);
            true
        });
        sent.expect("all pieces");
        assert_eq!(bytes.len() as u64, packed.asset.size_bytes);
        assert_eq!(Digest::of(&bytes), packed.asset.digest);
        let out = tempfile::tempdir().expect("a folder");
        tar::Archive::new(&bytes[..]).unpack(out.path()).expect("an archive");
        assert_eq!(fs::read_to_string(out.path().join(&long)).expect("the file"), format!("content of {long}"));
        assert_eq!(fs::read(out.path().join("large")).expect("the file").len(), CHUNK_BYTES * 2 + 1);
    }

    #[test]
    fn a_link_that_leads_back_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).expect("a link");
        let error = Packed::read(folder.path()).expect_err("a circle");
        assert_eq!(error.code, Code::Invalid);
        assert_eq!(Packed::read(&folder.path().join("gone")).expect_err("nothing").code, Code::PathMissing);
    }

    #[test]
    fn a_file_is_stored_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path(), &["model.onnx"]);
        let packed = Packed::read(&folder.path().join("model.onnx")).expect("a file");
        assert_eq!(packed.asset.digest, Digest::of(b"content of model.onnx"));
        assert_eq!(packed.asset.kind, AssetKind::File);
    }
}
