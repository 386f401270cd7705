//! What is packed: the Debian package's contents, and units that systemd understands. Skipped, loudly, where the tools are
//! not installed.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::berth::not_required;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a tool; nothing where it is not installed and nobody requires it.
fn tool(name: &str, args: &[&str]) -> Option<Output> {
    let ran = Command::new(name).args(args).stdin(Stdio::null()).output();
    if ran.is_err() {
        not_required(name);
        let mut err = std::io::stderr();
        let _ = writeln!(err, "SKIPPED: no `{name}` on this host");
    }
    ran.ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a program through a child: another thread's fork cannot hold it open for writing.
fn write_program(path: &Path, program: &str) {
    let script = "cat > \"$0\" && chmod 755 \"$0\"";
    let mut child = Command::new("sh").args(["-c", script]).arg(path).stdin(Stdio::piped()).spawn().expect("sh runs");
    child.stdin.take().expect("a pipe").write_all(program.as_bytes()).expect("written");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_debian_package_holds_what_a_host_needs() {
    if tool("dpkg-deb", &["--version"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // What is packed is small; what it says about itself is the program's own.
    let (binary, out) = (folder.path().join("berth"), folder.path().join("out"));
    write_program(&binary, &format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_berth")));
    let built = Command::new(root().join("packaging/build-deb.sh")).arg(&binary).arg(&out).output().expect("it runs");
    assert!(built.status.success(), "{}{}", text(&built.stdout), text(&built.stderr));
    let package = text(&built.stdout).trim().to_owned();
    let version = env!("CARGO_PKG_VERSION");
    assert!(package.contains(&format!("berth_{version}_")), "{package}");

    let listed = tool("dpkg-deb", &["--contents", &package]).expect("it was there");
    let listed = text(&listed.stdout);
    for (path, mode) in [
        ("./usr/bin/berth", "-rwxr-xr-x"),
        ("./lib/systemd/system/berth-coordinator.service", "-rw-r--r--"),
        ("./lib/systemd/system/berth-node.service", "-rw-r--r--"),
        ("./usr/share/doc/berth/config.example.toml", "-rw-r--r--"),
        ("./usr/share/doc/berth/copyright", "-rw-r--r--"),
        ("./usr/share/man/man1/berth.1.gz", "-rw-r--r--"),
        ("./usr/share/man/man1/berth-node-drain.1.gz", "-rw-r--r--"),
        ("./usr/share/bash-completion/completions/berth", "-rw-r--r--"),
        ("./usr/share/zsh/vendor-completions/_berth", "-rw-r--r--"),
        ("./usr/share/fish/vendor_completions.d/berth.fish", "-rw-r--r--"),
    ] {
        let line = listed.lines().find(|line| line.ends_with(&format!(" {path}")));
        let line = line.unwrap_or_else(|| panic!("{path} is not in {listed}"));
        assert!(line.starts_with(mode) && line.contains("root/root"), "{line}");
    }
    let unpacked = folder.path().join("unpacked");
    let done = tool("dpkg-deb", &["--raw-extract", &package, &unpacked.display().to_string()]).expect("it was there");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let read = |path: &str| fs::read_to_string(unpacked.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for unit in ["coordinator", "node"] {
        let unit = read(&format!("lib/systemd/system/berth-{unit}.service"));
        assert!(unit.contains("ExecStart=/usr/bin/berth ") && !unit.contains("/usr/local"), "{unit}");
    }
    assert!(read("DEBIAN/control").contains(&format!("Version: {version}\n")));
    for script in ["postinst", "prerm"] {
        let path = unpacked.join("DEBIAN").join(script).display().to_string();
        let checked = tool("sh", &["-n", &path]).expect("sh runs");
        assert!(checked.status.success(), "{script}: {}", text(&checked.stderr));
    }
}

#[test]
fn units_are_what_systemd_understands() {
    let folder = tempfile::tempdir().expect("a folder");
    if tool("systemd-analyze", &["--version"]).is_none() {
        return;
    }
    for unit in ["berth-coordinator.service", "berth-node.service"] {
        let given = fs::read_to_string(root().join("examples/systemd").join(unit)).expect("a unit");
        // The program's place is the package's business; here it is what was built.
        let here = given.replace("/usr/local/bin/berth", env!("CARGO_BIN_EXE_berth"));
        assert_ne!(given, here, "{unit} starts the program");
        let path = folder.path().join(unit);
        fs::write(&path, here).expect("a unit");
        let path = path.display().to_string();
        let checked = tool("systemd-analyze", &["verify", "--man=no", &path]).expect("it was there");
        let said = text(&checked.stderr);
        // Units of the host itself may be as they like.
        let own: Vec<_> = said.lines().filter(|line| line.contains("berth")).collect();
        assert!(own.is_empty(), "{own:#?}");
    }
}

#[test]
fn scripts_of_the_release_can_be_read() {
    for script in ["build-deb.sh", "build-release.sh", "profile.sh"] {
        let path = root().join("packaging").join(script).display().to_string();
        let checked = tool("bash", &["-n", &path]).expect("bash runs");
        assert!(checked.status.success(), "{script}: {}", text(&checked.stderr));
    }
}
