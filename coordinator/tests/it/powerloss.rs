//! Twenty-five power losses: the disk keeps what was synced and nothing else.
//!
//! The store lives on ext4 on a loop device. While the storing process is stopped, the device's file is copied: the copy
//! has what reached the device, not what the page cache still held. Killing processes can never show this. Needs root
//! and loop devices; says so where there are none.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::store_child::{Promised, Storing, verify};

const ROUNDS: u64 = 25;

/// Room for the live data many times over: sled collects only while it runs.
const DISK_BYTES: u64 = 96 * 1024 * 1024;

/// Copies of a device that were no one moment, one after another. The kernel writes what is left once in some seconds.
const COPIES_MAX: u32 = 100;

/// A mounted disk image; unmounted when dropped.
pub(crate) struct Disk {
    mount: PathBuf,
}

// === impl Disk ===

impl Disk {
    pub(crate) fn mount(image: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|broken| broken.to_string())?;
        run("mount", &["-o", "loop", path(image), path(at)])?;
        Ok(Self { mount: at.to_owned() })
    }

    /// Makes an ext4 image of `bytes`, or says why that cannot be done here.
    pub(crate) fn format(image: &Path, bytes: u64) -> Result<(), String> {
        File::create(image).and_then(|file| file.set_len(bytes)).map_err(|broken| broken.to_string())?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0", path(image)])
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that was just killed may hold it for a moment.
        for _ in 0..100 {
            if run("umount", &[path(&self.mount)]).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Copies what has reached the device at one moment. The process is stopped, the kernel is not: it may write what its cache
/// holds while the copy is made, and a copy of an old inode beside a newer journal is a disk that never was. One that is
/// the device from its first byte to its last when it is whole is the device between the two.
fn lose_power(image: &Path, copy: &Path) {
    for _ in 0..COPIES_MAX {
        run("cp", &["--sparse=always", path(image), path(copy)]).unwrap();
        if run("cmp", &["--silent", path(image), path(copy)]).is_ok() {
            return;
        }
    }
    panic!("the kernel writes to {} all the time", image.display());
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|broken| format!("{program}: {broken}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Says that a test was left out. The harness keeps what `eprint!` writes to itself when a test passes; the handle is not
/// kept.
pub(crate) fn skipped(what: &str, why: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED {what}: {why}; it needs root, loop devices and mkfs.ext4");
}

#[test]
fn what_was_acknowledged_survives_power_loss() {
    let dir = TempDir::new().unwrap();
    let (mut image, mut spare) = (dir.path().join("disk-a"), dir.path().join("disk-b"));
    let mounted = Disk::format(&image, DISK_BYTES).and_then(|()| Disk::mount(&image, &dir.path().join("mnt")));
    let mut disk = match mounted {
        Ok(disk) => disk,
        Err(why) => return skipped("power loss", &why),
    };
    let mut promised = Promised::default();
    for round in 0..ROUNDS {
        let mut child = Storing::start(disk.path(), promised);
        child.listen(&mut promised, 20 + (round * 31 % 200) as usize);
        if round % 2 == 0 {
            kill(Pid::from_raw(child.process.id() as i32), Signal::SIGSTOP).unwrap();
            lose_power(&image, &spare);
            // What it had acknowledged when it stopped is in the pipe; nothing is added after that.
            child.kill(&mut promised);
        } else {
            // First the process dies. Then the power fails, when a successor has only opened what the cache holds.
            child.kill(&mut promised);
            verify(disk.path(), promised);
            lose_power(&image, &spare);
        }
        drop(disk);
        std::mem::swap(&mut image, &mut spare);
        disk = Disk::mount(&image, &dir.path().join("mnt")).unwrap();
        verify(disk.path(), promised);
    }
    assert!(promised.entries > 1_000 && promised.snapshot > 0, "{promised:?}");
}
