//! Where a development cluster lives: its data, who uses it, and the addresses its coordinators know one another by.
//!
//! Coordinators write their addresses into the log, so a cluster that comes back has to come back where it was.

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use berth_core::error::{Code, Error};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use serde::{Deserialize, Serialize};

/// Marks a folder as ours: `--fresh` deletes no other.
const MARK: &str = "berth-dev.json";

/// An open data directory. Nobody else opens it meanwhile.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: Flock<fs::File>,
}

/// What is written down about a cluster.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    coordinators: Vec<SocketAddr>,
    /// Where the running cluster takes orders.
    #[serde(default)]
    control: Option<SocketAddr>,
}

// === impl Folder ===

impl Folder {
    /// Opens a data directory, empty when asked for.
    pub(super) fn open(path: Option<PathBuf>, fresh: bool, tell: impl Fn(String)) -> Result<Self, Error> {
        let path = match path {
            Some(path) => path,
            None => super::default_dir()?,
        };
        let unusable = |error: std::io::Error| {
            Error::new(Code::Invalid, format!("`{}` cannot be used", path.display()))
                .why(error.to_string())
                .try_("--data-dir DIR")
        };
        // Relative paths would mean something else to the processes this one starts.
        fs::create_dir_all(&path).map_err(unusable)?;
        let path = fs::canonicalize(&path).map_err(unusable)?;
        let lock = lock(&path)?;
        tell(format!("data in {}", path.display()));
        if fresh {
            // Environments are many small files, and nobody likes to look at nothing.
            if path.join(MARK).exists() {
                tell("removing what was there".to_owned());
            }
            empty(&path)?;
        }
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Binds a listener for every coordinator, where they were before if there was a before.
    pub(super) fn listeners(&self, api: SocketAddr, count: usize) -> Result<Vec<TcpListener>, Error> {
        let known = match self.path.join(MARK).exists() {
            true => read(&self.path).map_err(|why| unlike(&self.path, why))?,
            false => Mark::default(),
        };
        let before = known.coordinators;
        if !before.is_empty() && before.len() != count {
            return Err(unlike(&self.path, format!("it has {} coordinators", before.len()))
                .try_(format!("--coordinators {}, or --fresh to begin anew", before.len())));
        }
        let moved = before.first().is_some_and(|first| api.port() != 0 && *first != api);
        if moved && count > 1 {
            return Err(unlike(&self.path, format!("its first coordinator is at {}", before[0]))
                .try_(format!("--api {}, or --fresh to begin anew", before[0])));
        }
        let mut listeners = Vec::new();
        for at in 0..count {
            let wanted = match before.get(at) {
                Some(known) if !(at == 0 && moved) => *known,
                _ if at == 0 => api,
                _ => SocketAddr::new(api.ip(), 0),
            };
            listeners.push(bind(wanted)?);
        }
        let now: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        self.write(&Mark { coordinators: now, control: None })?;
        Ok(listeners)
    }

    /// Writes down where the running cluster takes orders.
    pub(super) fn controlled_at(&self, control: SocketAddr) -> Result<(), Error> {
        let mark = read(&self.path).map_err(|why| unlike(&self.path, why))?;
        self.write(&Mark { control: Some(control), ..mark })
    }

    fn write(&self, mark: &Mark) -> Result<(), Error> {
        let bytes = serde_json::to_vec_pretty(mark).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        fs::write(self.path.join(MARK), bytes).map_err(|error| unlike(&self.path, error.to_string()))
    }
}

fn read(path: &Path) -> Result<Mark, String> {
    let wrap = |error: String| format!("{MARK} cannot be read: {error}");
    let bytes = fs::read(path.join(MARK)).map_err(|error| wrap(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| wrap(error.to_string()))
}

/// Finds where the cluster of a folder answers, if one was ever started there.
pub(super) fn api_of(path: &Path) -> Option<SocketAddr> {
    read(path).ok()?.coordinators.first().copied()
}

/// Finds where the cluster that runs in a folder takes orders, or says why it cannot be found.
pub(super) fn control_of(path: &Path) -> Result<SocketAddr, String> {
    read(path)?.control.ok_or_else(|| "it has not come up yet".to_owned())
}

fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).map_err(|error| {
        let try_ = match error.kind() {
            ErrorKind::AddrInUse => {
                format!("stop what listens there (another `berth dev`?), or --api {}:0", address.ip())
            }
            _ => "--api HOST:PORT".to_owned(),
        };
        Error::new(Code::Unavailable, format!("cannot listen on {address}")).why(error.to_string()).try_(try_)
    })
}

/// Takes the lock for as long as the process lives; a crash releases it.
fn lock(path: &Path) -> Result<Flock<fs::File>, Error> {
    let file = path.join("lock");
    let opened = fs::File::options().create(true).truncate(false).write(true).open(&file);
    let opened = opened.map_err(|error| unlike(path, format!("{}: {error}", file.display())))?;
    Flock::lock(opened, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        Error::new(Code::AlreadyExists, format!("`{}` is in use", path.display()))
            .why(match errno {
                Errno::EWOULDBLOCK => "another `berth dev` holds it".to_owned(),
                errno => format!("it cannot be locked: {}", errno.desc()),
            })
            .try_("stop it, or --data-dir DIR")
    })
}

/// Deletes what an earlier run left, and nothing that might be somebody else's.
fn empty(path: &Path) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::new(Code::Invalid, format!("`{}` cannot be emptied", path.display())).why(error.to_string())
    };
    let entries = fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let is_ours = path.join(MARK).exists() || path.join("cluster.key").exists();
    let others = entries.iter().filter(|entry| entry.file_name() != "lock").count();
    if others > 0 && !is_ours {
        return Err(unlike(path, "no `berth dev` made it".to_owned()).try_("name an empty folder with --data-dir"));
    }
    for entry in entries {
        // The lock is held; its file must stay the one others would lock.
        if entry.file_name() == "lock" {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }.map_err(failed)?;
    }
    Ok(())
}

fn unlike(path: &Path, why: String) -> Error {
    Error::new(Code::Invalid, format!("`{}` does not fit what was asked for", path.display())).why(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn open(path: &Path, fresh: bool) -> Result<Folder, Error> {
        Folder::open(Some(path.to_owned()), fresh, |_| {})
    }

    #[test]
    fn coordinators_come_back_where_they_were() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = open(dir.path(), false).expect("a folder");
        let addresses = |listeners: &[TcpListener]| -> Vec<_> {
            listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect()
        };
        let first = folder.listeners(any(), 3).expect("three listeners");
        let before = addresses(&first);
        drop(first);
        let again = folder.listeners(any(), 3).expect("three listeners");
        assert_eq!(addresses(&again), before);
        let error = folder.listeners(any(), 1).expect_err("another number");
        assert!(error.try_.contains("--coordinators 3"), "{error}");
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], 9));
        assert!(folder.listeners(elsewhere, 3).is_err(), "members know the first one by its address");
        let taken = folder.listeners(before[0], 3).expect_err("the listeners still stand");
        assert_eq!(taken.code, Code::Unavailable);
    }

    #[test]
    fn two_cannot_share_a_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = open(dir.path(), false).expect("a folder");
        assert_eq!(open(dir.path(), false).expect_err("in use").code, Code::AlreadyExists);
        drop(held);
        open(dir.path(), false).expect("free again");
    }

    #[test]
    fn fresh_deletes_only_what_is_ours() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("thesis.txt"), "years of work").expect("a file");
        assert!(open(dir.path(), true).is_err());
        assert!(dir.path().join("thesis.txt").exists());
        fs::write(dir.path().join(MARK), "{}").expect("a file");
        open(dir.path(), true).expect("ours");
        assert!(!dir.path().join("thesis.txt").exists() && dir.path().join("lock").exists());
    }
}
