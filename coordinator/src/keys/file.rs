//! `cluster.key` on disk: three kinds of lines, mode 0600, never half written.
//!
//! The cluster's id lies beside its secrets because both are what makes two coordinators members of one cluster: a file
//! copied to another host says everything that host must know.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{ClusterKey, SECRET_BYTES, Secret, random};
use berth_core::error::{Code, Error};

/// The first line; a file of a later form is refused rather than misread.
const HEADER: &str = "berth-cluster-key v1";

/// Longer than any key file: something else was named by mistake.
const FILE_BYTES_MAX: u64 = 64 << 10;

// === impl ClusterKey ===

impl ClusterKey {
    /// Reads a key file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => refuse(path, "is not there")
                .why("members of a cluster share one key file; only the first one creates it")
                .try_("copy cluster.key from a member that runs, mode 0600"),
            _ => refuse(path, "cannot be read").why(error.to_string()),
        })?;
        let meta = file.metadata().map_err(|error| refuse(path, "cannot be read").why(error.to_string()))?;
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(refuse(path, "may be read by others")
                .why("it opens every endpoint key of the cluster")
                .try_(format!("chmod 600 {}", path.display())));
        }
        if meta.len() > FILE_BYTES_MAX {
            return Err(refuse(path, "is no cluster key").why(format!("it has {} bytes", meta.len())));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| refuse(path, "is no cluster key").why(error.to_string()))?;
        parse(&text).map_err(|why| refuse(path, "is no cluster key").why(why))
    }

    /// Makes a key for a new cluster. Refuses to replace a file that is there.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let id: [u8; 8] = random()?;
        let key =
            Self { cluster_id: format!("c-{}", hex::encode(id)), secrets: vec![Secret { id: 1, bytes: random()? }] };
        write(path, &print(&key)).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => refuse(path, "is there already"),
            ErrorKind::StorageFull => Error::new(Code::DiskFull, format!("cannot write {}", path.display())),
            _ => refuse(path, "cannot be written").why(error.to_string()),
        })?;
        Ok(key)
    }

    /// Reads a key file, or makes one for a new cluster.
    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        match Self::create(path) {
            Err(_) if path.exists() => Self::load(path),
            made => made,
        }
    }
}

/// Writes to a file of its own first and links it into place: a key is there whole or not at all, and of two writers
/// one wins.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&draft, path)?;
        File::open(&folder)?.sync_all()
    })();
    // The draft is a second name of the same bytes, or the rest of a failure; either way nobody needs it.
    let _ = fs::remove_file(&draft);
    written
}

fn print(key: &ClusterKey) -> String {
    let mut text = format!("{HEADER}\ncluster {}\n", key.cluster_id);
    for secret in &key.secrets {
        text.push_str(&format!("secret {} {}\n", secret.id, hex::encode(secret.bytes)));
    }
    text
}

fn parse(text: &str) -> Result<ClusterKey, String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if lines.next() != Some(HEADER) {
        return Err(format!("its first line is not `{HEADER}`"));
    }
    let (mut cluster_id, mut secrets) = (String::new(), Vec::<Secret>::new());
    for line in lines {
        // What a line holds is never part of an error: it may be a secret.
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["cluster", id] if cluster_id.is_empty() && is_id(id) => id.clone_into(&mut cluster_id),
            ["secret", id, hex_bytes] => {
                let id: u32 = id.parse().map_err(|_| "a secret has no number".to_owned())?;
                let mut bytes = [0; SECRET_BYTES];
                hex::decode_to_slice(hex_bytes, &mut bytes).map_err(|_| format!("secret {id} is not 64 hex digits"))?;
                if secrets.iter().any(|other| other.id == id) {
                    return Err(format!("two secrets have the number {id}"));
                }
                secrets.push(Secret { id, bytes });
            }
            _ => return Err("a line is neither `cluster ID` nor `secret NUMBER HEX`".to_owned()),
        }
    }
    if cluster_id.is_empty() {
        return Err("it names no cluster".to_owned());
    }
    if secrets.is_empty() {
        return Err("it holds no secret".to_owned());
    }
    Ok(ClusterKey { cluster_id, secrets })
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn refuse(path: &Path, what: &str) -> Error {
    Error::new(Code::ClusterKey, format!("the cluster key {} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_key_is_read_back_and_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/cluster.key");
        let made = ClusterKey::create(&path).expect("created");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let read = ClusterKey::load(&path).expect("read");
        assert_eq!((read.cluster_id(), read.node_token()), (made.cluster_id(), made.node_token()));
        assert_eq!(ClusterKey::create(&path).expect_err("there already").code, Code::ClusterKey);
        assert_eq!(ClusterKey::load_or_create(&path).expect("read").node_token(), made.node_token());
        let names: Vec<_> = fs::read_dir(folder.path().join("deep")).expect("a folder").collect();
        assert_eq!(names.len(), 1, "no draft is left");
    }

    #[test]
    fn what_is_no_key_is_refused_in_plain_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cluster.key");
        assert!(ClusterKey::load(&path).expect_err("absent").to_string().contains("copy cluster.key"));
        let secret = "00".repeat(32);
        for (text, why) in [
            (String::new(), "first line"),
            (format!("{HEADER}\n"), "names no cluster"),
            (format!("{HEADER}\ncluster c-1\n"), "no secret"),
            (format!("{HEADER}\ncluster c-1\nsecret 1 beef\n"), "not 64 hex digits"),
            (format!("{HEADER}\ncluster c-1\nsecret 1 {secret}\nsecret 1 {secret}\n"), "two secrets"),
            (format!("{HEADER}\ncluster c/1\n"), "neither"),
            ("berth-cluster-key v2\n".to_owned(), "first line"),
        ] {
            let _ = fs::remove_file(&path);
            write(&path, &text).expect("written");
            let error = ClusterKey::load(&path).expect_err("no key");
            assert_eq!(error.code, Code::ClusterKey);
            assert!(error.why.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_key_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cluster.key");
        ClusterKey::create(&path).expect("created");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let error = ClusterKey::load(&path).expect_err("too open");
        assert!(error.try_.contains("chmod 600"), "{error}");
    }
}
