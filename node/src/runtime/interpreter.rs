//! Which Python makes an environment: the one the code was written for where this host has it, else the node's own.
//!
//! Azure's conda files name a Python, and pins of their time have no wheels for later ones. A host that has several
//! Pythons has them under names and in folders that tell their versions, so nothing needs to be configured.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use berth_core::error::{Code, Error};
use tokio::{
    process::Command,
    sync::{Mutex, OnceCell},
    time::timeout,
};

/// How long asking an interpreter what it is may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// One line each: what tells its builds apart, its version, where it is installed. One that cannot make environments
/// fails here already.
const ASK: &str = "import sys, venv, ensurepip; \
                   print(sys.implementation.name, sys.version.split()[0], sys.prefix, '%d.%d' % sys.version_info[:2], \
                   sys.base_prefix, sep='\\n')";

/// A Python of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// How it is started.
    pub(super) program: PathBuf,
    /// What it said it is: `cpython 3.11.7 /usr`. Environments of others are of no use to it.
    pub(super) identity: String,
    /// Its version as people write it: `3.11.7`.
    pub(super) version: String,
    /// The version that decides what can be installed: `3.11`.
    minor: String,
    /// Where it is installed; its siblings are there too.
    base: PathBuf,
}

/// The Pythons of this host, as far as they were asked for.
#[derive(Debug)]
pub(super) struct Interpreters {
    own: PathBuf,
    base_env: BTreeMap<String, String>,
    asked: OnceCell<Interpreter>,
    /// Those found beside the node's own, by version. What was not found may be installed later, so it is not kept.
    found: Mutex<BTreeMap<String, Interpreter>>,
}

// === impl Interpreter ===

impl Interpreter {
    /// Returns whether this is the Python that `version`, such as `3.9`, means.
    pub(super) fn is_of(&self, version: &str) -> bool {
        self.minor == version
    }
}

// === impl Interpreters ===

impl Interpreters {
    pub(super) fn new(own: PathBuf, base_env: BTreeMap<String, String>) -> Self {
        Self { own, base_env, asked: OnceCell::new(), found: Mutex::default() }
    }

    /// Returns the interpreter for code that was written for `wanted`: one of that version, or the node's own.
    pub(super) async fn pick(&self, wanted: Option<&str>) -> Result<Interpreter, Error> {
        let own = self.asked.get_or_try_init(|| self.ask(&self.own)).await?;
        let Some(wanted) = wanted.filter(|wanted| *wanted != own.minor) else {
            return Ok(own.clone());
        };
        let mut found = self.found.lock().await;
        if let Some(known) = found.get(wanted).filter(|known| known.program.exists()) {
            return Ok(known.clone());
        }
        for program in self.candidates(wanted, own) {
            if let Ok(interpreter) = self.ask(&program).await
                && interpreter.minor == wanted
            {
                found.insert(wanted.to_owned(), interpreter.clone());
                return Ok(interpreter);
            }
        }
        Ok(own.clone())
    }

    /// Lists where a Python of this version may be: on the search path, and beside the node's own, whose folder is named
    /// after its version where several are kept (`3.9.18`, `cpython-3.9.18-linux`).
    fn candidates(&self, wanted: &str, own: &Interpreter) -> Vec<PathBuf> {
        let name = format!("python{wanted}");
        let path = self.base_env.get("PATH").map(std::env::split_paths).into_iter().flatten();
        let mut programs: Vec<PathBuf> = path.map(|folder| folder.join(&name)).collect();
        programs.push(own.base.join("bin").join(&name));
        let siblings = own.base.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
        let mut siblings: Vec<PathBuf> = siblings
            .flatten()
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| is_of_version(name, wanted)))
            .map(|entry| entry.path().join("bin").join(&name))
            .collect();
        siblings.sort();
        programs.extend(siblings);
        programs.retain(|program| program.exists());
        programs
    }

    async fn ask(&self, program: &Path) -> Result<Interpreter, Error> {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.base_env).stdin(Stdio::null()).kill_on_drop(true);
        let answer = timeout(ANSWER_DEADLINE, command.args(["-c", ASK]).output());
        let output = match answer.await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => {
                let what = format!("`{}` cannot be run on this node", program.display());
                return Err(Error::new(Code::Environment, what)
                    .why(error.to_string())
                    .try_("install Python 3 on the node, or name it with `--python`"));
            }
            Err(_) => return Err(Error::new(Code::Internal, "the Python interpreter did not answer")),
        };
        if !output.status.success() {
            return Err(Error::new(Code::Environment, "the Python of this node cannot make environments")
                .why(String::from_utf8_lossy(&output.stderr).trim().to_owned())
                .try_("install its `venv` and `ensurepip` (Debian: python3-venv), or name another with `--python`"));
        }
        read(program, &String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| Error::new(Code::Environment, format!("`{}` is no Python 3", program.display())))
    }
}

fn read(program: &Path, answer: &str) -> Option<Interpreter> {
    let mut lines = answer.lines();
    let mut line = || lines.next();
    let (name, version, prefix, minor, base) = (line()?, line()?, line()?, line()?, line()?);
    Some(Interpreter {
        program: program.to_owned(),
        identity: format!("{name} {version} {prefix}"),
        version: version.to_owned(),
        minor: minor.to_owned(),
        base: base.into(),
    })
}

/// Returns whether a folder named `name` holds a Python of this version.
fn is_of_version(name: &str, version: &str) -> bool {
    name.split('-').any(|part| part == version || part.strip_prefix(version).is_some_and(|rest| rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_tell_their_version() {
        for (name, version, is) in [
            ("3.9.18", "3.9", true),
            ("3.9", "3.9", true),
            ("cpython-3.9.19-linux-x86_64-gnu", "3.9", true),
            ("3.10.13", "3.1", false),
            ("2.3.9", "3.9", false),
            ("lib", "3.9", false),
        ] {
            assert_eq!(is_of_version(name, version), is, "{name} {version}");
        }
    }

    /// Writes a program that answers as the Python of this version installed in `base` does.
    fn python(base: &Path, name: &str, version: &str) -> PathBuf {
        let program = base.join("bin").join(name);
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        let minor = version.rsplit_once('.').unwrap().0;
        let base = base.display();
        let text = format!("#!/bin/sh\nprintf 'cpython\\n{version}\\n{base}\\n{minor}\\n{base}\\n'\n");
        write_program(&program, &text);
        program
    }

    /// Writes a program by another process: one forked here by a test beside this one would hold a file that is open
    /// here, and a file that is open for writing cannot be started.
    fn write_program(program: &Path, text: &str) {
        let written = std::process::Command::new("sh")
            .args(["-c", r#"printf %s "$1" > "$0" && chmod 755 "$0""#])
            .args([program.as_os_str(), text.as_ref()])
            .status();
        assert!(written.unwrap().success());
    }

    #[tokio::test]
    async fn the_python_that_is_asked_for_is_found_by_name_or_beside_the_own_one() {
        let dir = tempfile::tempdir().unwrap();
        let versions = dir.path().join("versions");
        let own = python(&versions.join("3.11.7"), "python3", "3.11.7");
        let sibling = python(&versions.join("3.9.18"), "python3.9", "3.9.18");
        let named = python(&dir.path().join("usr"), "python3.8", "3.8.1");
        // A name that lies: what it answers counts.
        python(&dir.path().join("usr"), "python3.7", "3.6.0");
        let path = dir.path().join("usr/bin").display().to_string();
        let interpreters = Interpreters::new(own.clone(), BTreeMap::from([("PATH".to_owned(), path)]));
        for (wanted, program, why) in [
            (None, &own, "nothing is asked for"),
            (Some("3.11"), &own, "the node's own is the one"),
            (Some("3.9"), &sibling, "beside the node's own"),
            (Some("3.8"), &named, "on the search path"),
            (Some("3.7"), &own, "what calls itself so is another"),
            (Some("3.13"), &own, "there is none"),
        ] {
            for _ in 0..2 {
                let picked = interpreters.pick(wanted).await.unwrap();
                assert_eq!(&picked.program, program, "{why}");
            }
        }
        let later = python(&versions.join("3.13.0"), "python3.13", "3.13.0");
        assert_eq!(interpreters.pick(Some("3.13")).await.unwrap().program, later, "installed meanwhile");
    }

    #[tokio::test]
    async fn a_python_that_cannot_make_environments_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("python3");
        write_program(&program, "#!/bin/sh\necho \"No module named 'ensurepip'\" >&2\nexit 1\n");
        let error = Interpreters::new(program, BTreeMap::new()).pick(None).await.unwrap_err();
        assert_eq!((error.code, error.why.as_str()), (Code::Environment, "No module named 'ensurepip'"));
    }
}
