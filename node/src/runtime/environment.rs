//! Python environments: virtual environments built once per set of requirements and shared by every replica that asks
//! for the same.
//!
//! An environment is built in its final place, because what pip installs writes that path into its scripts, and counts
//! only once a marker lies in it. A lock file, held by the kernel, keeps other builders out: also those of other agents
//! on this host that share the folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use berth_core::{
    error::{Code, Error},
    id::Digest,
    model::{DeploymentSpec, Runtime},
    units::Count,
};
use tokio::{
    process::Command,
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    PrepareLog, does,
    interpreter::{Interpreter, Interpreters},
    pip::{PipWords, makes_venv},
};
use crate::{identity::io_error, options::NodeOptions};

/// The server that runs Azure's scoring scripts.
const SERVER: &str = "azureml-inference-server-http";
/// Lies in an environment that is complete.
const MARKER: &str = ".berth-complete";
/// Builds at once: each may use every core and a lot of memory.
const BUILDS_MAX: usize = 2;
/// How long a build may take: a large framework over a slow line.
const BUILD_DEADLINE: Duration = Duration::from_secs(1_800);
/// How often a build is looked at for people; nothing but what they see depends on it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Complete environments that are kept although nothing uses them now.
const UNUSED_MAX: usize = 8;
/// Lines of pip's output that go into an error.
const WORDS_LINES: usize = 20;
/// Bytes of one of them: pip lists every version there ever was in one line.
const WORDS_LINE_BYTES: usize = 400;
/// Errors of pip that only lead to, or from, the one that counts.
const PIP_ASIDES: &[&str] = &["Ignored the following", "Could not find a version", "ResolutionImpossible"];
/// What pip says when its index could not be reached: another attempt may help.
const TRANSIENT_WORDS: &[&str] = &[
    "Retrying (Retry(",
    "Connection refused",
    "Connection reset",
    "Read timed out",
    "Temporary failure in name resolution",
    "Max retries exceeded",
];

/// Builds environments and remembers where they lie.
#[derive(Debug)]
pub(crate) struct Environments {
    folder: PathBuf,
    pip_args: Vec<String>,
    base_env: BTreeMap<String, String>,
    builds: Semaphore,
    /// Every restart of a replica asks them what they are.
    interpreters: Interpreters,
    /// Whether the folder is this node's alone, so that it may remove what it does not use.
    is_own: bool,
}

/// What an environment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recipe {
    python: Option<String>,
    requirements: Vec<String>,
}

// === impl Environments ===

impl Environments {
    pub(crate) fn open(home: &Path, options: &NodeOptions) -> Result<Self, Error> {
        let own = home.join("envs");
        let folder = options.env_dir.clone().unwrap_or_else(|| own.clone());
        fs::create_dir_all(&folder).map_err(|error| io_error("cannot create", &folder, &error))?;
        let folder = folder.canonicalize().map_err(|error| io_error("cannot resolve", &folder, &error))?;
        Ok(Self {
            is_own: folder == own,
            folder,
            interpreters: Interpreters::new(options.python.clone(), options.base_env.clone()),
            pip_args: options.pip_args.clone(),
            base_env: options.base_env.clone(),
            builds: Semaphore::new(BUILDS_MAX),
        })
    }

    /// Returns the environment of a deployment, built if it is not there yet; none when it needs none.
    pub(crate) async fn obtain(&self, spec: &DeploymentSpec, log: &PrepareLog) -> Result<Option<PathBuf>, Error> {
        let Some(recipe) = Recipe::of(spec) else {
            return Ok(None);
        };
        let python = self.interpreters.pick(recipe.python.as_deref()).await?;
        let other = recipe.python.as_deref().filter(|wanted| !python.is_of(wanted));
        if let Some(wanted) = other {
            log.line(&format!(
                "warning: this is for Python {wanted}, which this node has not: {} is used",
                python.version
            ));
        }
        let folder = self.folder.join(self.key(&python, &recipe));
        if is_complete(&folder) {
            log.line("the environment is there already");
        } else {
            log.at(does("waits until another environment is built"));
            let _permit = self.builds.acquire().await.map_err(|_| internal("no build slot"))?;
            let built = self.build(&folder, &python, &recipe, log).await;
            built.map_err(|error| match other {
                Some(wanted) if error.code == Code::Environment => {
                    let hint = format!("it is for Python {wanted}; this node has only {}", python.version);
                    Error { what: format!("{}; {hint}", error.what), ..error }
                }
                _ => error,
            })?;
        }
        touch(&folder);
        Ok(Some(folder))
    }

    /// Returns the folder of an environment that is already there, for a process that starts again.
    pub(crate) async fn find(&self, spec: &DeploymentSpec) -> Result<Option<PathBuf>, Error> {
        let Some(recipe) = Recipe::of(spec) else {
            return Ok(None);
        };
        let python = self.interpreters.pick(recipe.python.as_deref()).await?;
        let folder = self.folder.join(self.key(&python, &recipe));
        match is_complete(&folder) {
            true => Ok(Some(folder)),
            false => Err(Error::new(Code::Unavailable, "the environment is not there any more")),
        }
    }

    /// Removes environments that no deployment of `specs` uses, all but the few used last.
    pub(crate) async fn collect(&self, specs: &[&DeploymentSpec]) -> Result<(), Error> {
        if !self.is_own {
            return Ok(());
        }
        let mut used = BTreeSet::new();
        for recipe in specs.iter().filter_map(|spec| Recipe::of(spec)) {
            // Without its Python nobody can tell which environment is in use, so none is removed.
            let Ok(python) = self.interpreters.pick(recipe.python.as_deref()).await else {
                return Ok(());
            };
            used.insert(self.key(&python, &recipe));
        }
        remove_unused(&self.folder, &used).map_err(|error| io_error("cannot collect in", &self.folder, &error))
    }

    fn key(&self, python: &Interpreter, recipe: &Recipe) -> String {
        let words = [python.identity.as_str()].into_iter().chain(recipe.requirements.iter().map(String::as_str));
        let text: Vec<&str> = words.chain(self.pip_args.iter().map(String::as_str)).collect();
        Digest::of(text.join("\n").as_bytes()).to_string()[..24].to_owned()
    }

    async fn build(&self, folder: &Path, python: &Interpreter, recipe: &Recipe, log: &PrepareLog) -> Result<(), Error> {
        let lock = folder.with_extension("lock");
        let _held = tokio::task::spawn_blocking(move || {
            let file = File::create(&lock)?;
            file.lock().map(|()| file)
        })
        .await
        .map_err(|_| internal("waiting for an environment broke off"))?
        .map_err(|error| io_error("cannot lock", folder, &error))?;
        if is_complete(folder) {
            return Ok(());
        }
        let packages = Count(recipe.requirements.len() as u64, "package");
        log.line(&format!("building an environment of {packages} for {}", python.identity));
        let built = timeout(BUILD_DEADLINE, self.build_locked(folder, python, recipe, log)).await;
        let built = built.unwrap_or_else(|_| {
            Err(Error::new(Code::Timeout, format!("the environment was not built within {BUILD_DEADLINE:?}")))
        });
        if built.is_err() {
            remove(folder).map_err(|error| io_error("cannot remove", folder, &error))?;
        }
        built
    }

    async fn build_locked(
        &self,
        folder: &Path,
        python: &Interpreter,
        recipe: &Recipe,
        log: &PrepareLog,
    ) -> Result<(), Error> {
        remove(folder).map_err(|error| io_error("cannot remove", folder, &error))?;
        let target = folder.display().to_string();
        log.at(makes_venv());
        self.run(&python.program, &["-m".into(), "venv".into(), target], log).await?;
        let requirements = folder.join("requirements.txt");
        let text = recipe.requirements.join("\n") + "\n";
        fs::write(&requirements, text).map_err(|error| io_error("cannot write", &requirements, &error))?;
        let words = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check"].map(str::to_owned);
        let file = ["-r".to_owned(), requirements.display().to_string()];
        let args: Vec<String> = words.into_iter().chain(self.pip_args.iter().cloned()).chain(file).collect();
        let pip = folder.join("bin/python");
        // Before pip runs: what it says and installs first would be missed.
        let (from, before) = (log.end(), count_installed(folder).await);
        tokio::select! {
            done = self.run(&pip, &args, log) => done?,
            () = tell_progress(folder, log, from, before) => {}
        }
        log.at(does("brings the environment to the disk"));
        let marked = File::open(folder).and_then(|handle| {
            rustix::fs::syncfs(&handle)?;
            let marker = File::create(folder.join(MARKER))?;
            marker.sync_all()?;
            handle.sync_all()
        });
        marked.map_err(|error| io_error("cannot complete", folder, &error))?;
        log.line("the environment is complete");
        Ok(())
    }

    /// Runs a step of a build, its words going to the log, and turns its failure into an error that says what it said.
    async fn run(&self, program: &Path, args: &[String], log: &PrepareLog) -> Result<(), Error> {
        let path = log.path();
        let open = |path: &Path| {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::OpenOptions::new().create(true).append(true).open(path)
        };
        let output = open(&path).map_err(|error| io_error("cannot open", &path, &error))?;
        let from = output.metadata().map_or(0, |meta| meta.len());
        let errors = output.try_clone().map_err(|error| io_error("cannot open", &path, &error))?;
        let mut command = self.command(program);
        command.args(args).stdout(output).stderr(errors);
        let status = command.status().await.map_err(|error| {
            Error::new(Code::Environment, format!("`{}` cannot be run", program.display())).why(error.to_string())
        })?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read(&path).unwrap_or_default();
        let said = String::from_utf8_lossy(said.get(from as usize..).unwrap_or_default()).into_owned();
        Err(failure(&said))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(&self.base_env)
            .env("PYTHONNOUSERSITE", "1")
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Tells how far pip is, for as long as it is asked to. The log had `from` bytes and the folder `before` packages when it began.
async fn tell_progress(folder: &Path, log: &PrepareLog, mut from: u64, before: u64) {
    let mut words = PipWords::default();
    loop {
        let said = log.read(from);
        words.take(&said.data);
        from = said.next_offset;
        let now = count_installed(folder).await;
        log.at(words.progress(now.saturating_sub(before)));
        sleep(LOOK_AGAIN).await;
    }
}

/// Counts on a thread that may wait for the disk.
async fn count_installed(folder: &Path) -> u64 {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || installed(&folder)).await.unwrap_or_default()
}

/// Counts the packages whose installation pip has ended: it says who installed each as the last thing.
fn installed(folder: &Path) -> u64 {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let pythons = entries(folder.join("lib")).map(|python| python.path().join("site-packages"));
    pythons.flat_map(entries).filter(|package| package.path().join("INSTALLER").exists()).count() as u64
}

// === impl Recipe ===

impl Recipe {
    /// Works out what a deployment needs; nothing for what brings no requirements and is no scoring script.
    fn of(spec: &DeploymentSpec) -> Option<Self> {
        let mut requirements = spec.environment.pip.clone();
        requirements.retain(|line| !line.trim().is_empty());
        match spec.runtime {
            Runtime::Onnx => return None,
            Runtime::Command(_) if requirements.is_empty() => return None,
            Runtime::Python if !requirements.iter().any(|line| names(line, SERVER)) => {
                requirements.push(SERVER.to_owned());
            }
            Runtime::Python | Runtime::Command(_) => {}
        }
        Some(Self { python: spec.environment.python.clone(), requirements })
    }
}

/// Returns whether a requirement names this package, whatever version it wants. PyPI reads `-`, `_` and `.` alike.
fn names(line: &str, package: &str) -> bool {
    let name = line.trim().split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).next();
    name.is_some_and(|name| name.to_ascii_lowercase().replace(['_', '.'], "-") == package)
}

/// Turns the words of a failed step into an error: what it comes down to first, then all from the first error on.
fn failure(said: &str) -> Error {
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_error = |line: &&str| line.trim_start().to_ascii_lowercase().starts_with("error");
    let from = lines.iter().position(is_error).unwrap_or(0);
    let is_aside = |line: &str| PIP_ASIDES.iter().any(|aside| line.contains(aside));
    let decisive = lines[from..].iter().filter(|line| is_error(line)).find(|line| !is_aside(line));
    let decisive = decisive.or(lines.last()).map(|line| line.trim_start_matches("ERROR: ")).unwrap_or_default();
    let words: Vec<_> =
        lines[from..].iter().filter(|line| !line.contains(PIP_ASIDES[0])).map(|line| shortened(line)).collect();
    let words = words[words.len().saturating_sub(WORDS_LINES)..].join("\n");
    if said.contains("No space left on device") {
        return Error::new(Code::DiskFull, "the environment does not fit on the node's disk").why(words);
    }
    if TRANSIENT_WORDS.iter().any(|hint| said.contains(hint)) {
        return Error::new(Code::Unavailable, "the package index could not be reached").why(words);
    }
    Error::new(Code::Environment, format!("the environment cannot be built: {}", shortened(decisive)))
        .why(words)
        .try_("mend the requirements; `berth logs` shows everything pip said")
}

/// Cuts the middle out of a line that is too long to read: its ends say what it is about.
fn shortened(line: &str) -> String {
    if line.len() <= WORDS_LINE_BYTES {
        return line.to_owned();
    }
    let half = WORDS_LINE_BYTES / 2;
    let head = (0..=half).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    let tail = (line.len() - half..=line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
    format!("{} … {}", &line[..head], &line[tail..])
}

fn is_complete(folder: &Path) -> bool {
    folder.join(MARKER).exists()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_unused(folder: &Path, used: &BTreeSet<String>) -> io::Result<()> {
    let mut unused = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !used.contains(&name) && is_complete(&entry.path()) {
            unused.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    unused.sort();
    let surplus = unused.len().saturating_sub(UNUSED_MAX);
    unused.iter().take(surplus).try_for_each(|(_, path)| remove(path))
}

fn touch(folder: &Path) {
    let touched = File::open(folder).and_then(|handle| handle.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(path = %folder.display(), %error, "the use of an environment could not be noted");
    }
}

fn internal(what: &str) -> Error {
    Error::new(Code::Internal, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_added_unless_it_is_named() {
        for (line, is_server) in [
            ("azureml-inference-server-http", true),
            ("azureml_inference_server_http==1.5.1", true),
            ("AzureML-Inference-Server-HTTP>=1 ; python_version>'3'", true),
            ("azureml-inference-server-http-extra", false),
            ("numpy", false),
            ("-r other.txt", false),
        ] {
            assert_eq!(names(line, SERVER), is_server, "{line}");
        }
        let mut spec = DeploymentSpec::new(Runtime::Python);
        spec.environment.pip = vec!["numpy".into(), " ".into()];
        assert_eq!(Recipe::of(&spec).unwrap().requirements, ["numpy", SERVER]);
        spec.runtime = Runtime::Command(vec!["x".into()]);
        assert_eq!(Recipe::of(&spec).unwrap().requirements, ["numpy"]);
        spec.environment.pip.clear();
        assert_eq!(Recipe::of(&spec), None);
    }

    #[test]
    fn a_failure_says_what_pip_said_and_whether_another_try_may_help() {
        let built = |what: &str| format!("the environment cannot be built: {what}");
        for (said, code, what, why) in [
            (
                "Collecting x\nERROR: Ignored the following versions: 1, 2\nERROR: Could not find a version for x\nERROR: No matching distribution found for x\n",
                Code::Environment,
                built("No matching distribution found for x"),
                "ERROR: Could not find a version for x\nERROR: No matching distribution found for x",
            ),
            (
                "ERROR: Cannot install a and b\nThe conflict is caused by:\n  a needs c\nERROR: ResolutionImpossible: see",
                Code::Environment,
                built("Cannot install a and b"),
                "ERROR: Cannot install a and b\nThe conflict is caused by:\n  a needs c\nERROR: ResolutionImpossible: see",
            ),
            (
                "WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: none",
                Code::Unavailable,
                "the package index could not be reached".to_owned(),
                "ERROR: none",
            ),
            (
                "OSError: [Errno 28] No space left on device",
                Code::DiskFull,
                "the environment does not fit on the node's disk".to_owned(),
                "OSError: [Errno 28] No space left on device",
            ),
            ("boom", Code::Environment, built("boom"), "boom"),
            ("", Code::Environment, built(""), ""),
        ] {
            let error = failure(said);
            assert_eq!((error.code, error.what, error.why.as_str()), (code, what, why));
        }
    }

    #[test]
    fn a_line_too_long_to_read_keeps_its_ends() {
        let line = format!("é from {} to the end é", "é".repeat(1_000));
        let short = shortened(&line);
        assert!(short.starts_with("é from é") && short.ends_with("to the end é"), "{short}");
        assert!(short.len() <= WORDS_LINE_BYTES + " … ".len(), "{}", short.len());
    }
}
