//! How far a build is, by what pip says. Pure: bytes of its output in, a step of the build out.
//!
//! pip tells what it collects without knowing how much is to come, then names everything that it will install at once,
//! then says nothing until all of it is there. What is installed by then is counted by whoever looks at the folder.

use berth_proto::node::v1::PrepareProgress;

/// A virtual environment, the packages collected, the packages installed.
const STEPS: u32 = 3;
/// What is counted in each of the last two.
const PACKAGES: &str = "packages";
/// Bytes of a line that are looked at: of more, its beginning has said it all but the names that follow.
const LINE_MAX: usize = 64 << 10;

/// What pip has said so far.
#[derive(Debug, Default)]
pub(super) struct PipWords {
    /// A line that has not ended yet.
    begun: Vec<u8>,
    stage: Stage,
    detail: String,
    /// Packages that were collected.
    collected: u64,
    /// Packages of which there is no wheel: built of all to build.
    built: u64,
    to_build: u64,
    to_install: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Collects,
    Builds,
    Installs,
}

/// The step before pip runs.
pub(super) fn makes_venv() -> PrepareProgress {
    let what = "makes a virtual environment".to_owned();
    PrepareProgress { what, step: 1, steps: STEPS, ..PrepareProgress::default() }
}

// === impl PipWords ===

impl PipWords {
    /// Takes what was written since the last time.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_MAX.saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.line(String::from_utf8_lossy(&line).trim());
            }
        }
    }

    /// Returns how far it is. `installed` is what lies in the environment beyond what was there before pip began.
    pub(super) fn progress(&self, installed: u64) -> PrepareProgress {
        let (what, step, done, total) = match self.stage {
            Stage::Collects => ("collects packages", 2, self.collected, 0),
            Stage::Builds => ("builds packages", 2, self.built, self.to_build),
            Stage::Installs => ("installs packages", 3, installed.min(self.to_install), self.to_install),
        };
        PrepareProgress {
            what: what.to_owned(),
            detail: self.detail.clone(),
            step,
            steps: STEPS,
            done,
            total,
            unit: PACKAGES.to_owned(),
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("Collecting ").or_else(|| line.strip_prefix("Processing ")) {
            self.collected += 1;
            (self.stage, self.detail) = (Stage::Collects, package(rest));
        } else if let Some(rest) = line.strip_prefix("Downloading ").or_else(|| line.strip_prefix("Using cached ")) {
            // `numpy-2.4.6-….whl (18.0 MB)`; the metadata alone has the same word and is small.
            let size = rest.rsplit_once('(').and_then(|(_, size)| size.strip_suffix(')'));
            self.detail = [package(rest)].into_iter().chain(size.map(str::to_owned)).collect::<Vec<_>>().join(", ");
        } else if let Some(rest) = line.strip_prefix("Building wheels for collected packages: ") {
            (self.stage, self.to_build, self.detail) = (Stage::Builds, names(rest), String::new());
        } else if let Some(rest) = line.strip_prefix("Building wheel for ") {
            match rest.contains(": finished") {
                true => self.built += 1,
                false => self.detail = package(rest),
            }
        } else if let Some(rest) = line.strip_prefix("Installing collected packages: ") {
            (self.stage, self.to_install, self.detail) = (Stage::Installs, names(rest), String::new());
        }
    }
}

/// Counts `a, b, c`.
fn names(list: &str) -> u64 {
    list.split(',').filter(|name| !name.trim().is_empty()).count() as u64
}

/// Takes the name of a package out of a requirement, or of the file that it comes in.
fn package(text: &str) -> String {
    let word = text.split_whitespace().next().unwrap_or_default();
    let file = word.rsplit('/').next().unwrap_or(word);
    let is_file = [".whl", ".tar.gz", ".zip", ".metadata"].iter().any(|end| file.ends_with(end));
    let end = match is_file {
        // A name in a file has no hyphen of its own, but that of an old source archive may: its version begins with a
        // digit.
        true => file
            .match_indices('-')
            .map(|(at, _)| at)
            .find(|at| file[at + 1..].starts_with(|next: char| next.is_ascii_digit())),
        false => file.find(|next: char| !(next.is_ascii_alphanumeric() || "-_.".contains(next))),
    };
    file[..end.unwrap_or(file.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what a person reads of it: step, what, detail, and the count.
    fn told(progress: &PrepareProgress) -> String {
        let PrepareProgress { what, detail, step, steps, done, total, unit } = progress;
        format!("{step}/{steps} {what} [{detail}] {done}/{total} {unit}")
    }

    /// Each row: what pip writes next, how many packages lie in the folder by then, and what is told.
    #[test]
    fn what_pip_says_is_a_step_of_the_build() {
        let mut words = PipWords::default();
        for (said, installed, expected) in [
            ("Looking in links: /wheels\n", 0, "2/3 collects packages [] 0/0 packages"),
            (
                "Collecting numpy==2.4.6 (from -r requirements.txt (line 1))\n",
                0,
                "2/3 collects packages [numpy] 1/0 packages",
            ),
            (
                "  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl.metadata (6.6 kB)\n",
                0,
                "2/3 collects packages [numpy, 6.6 kB] 1/0 packages",
            ),
            ("Coll", 0, "2/3 collects packages [numpy, 6.6 kB] 1/0 packages"),
            ("ecting azure-core[aio]<2,>=1 (from x)\n", 0, "2/3 collects packages [azure-core] 2/0 packages"),
            (
                "  Using cached azure_core-1.41.0-py3-none-any.whl (210 kB)\n",
                0,
                "2/3 collects packages [azure_core, 210 kB] 2/0 packages",
            ),
            (
                "Processing ./wheels/typing_extensions-4.16.0-py3-none-any.whl (from y)\n",
                0,
                "2/3 collects packages [typing_extensions] 3/0 packages",
            ),
            (
                "Collecting old-thing\n  Downloading old-thing-1.2.tar.gz (5 kB)\n",
                0,
                "2/3 collects packages [old-thing, 5 kB] 4/0 packages",
            ),
            (
                "     ━━━━━━━━ 5.0/5.0 kB 9 MB/s eta 0:00:00\n",
                0,
                "2/3 collects packages [old-thing, 5 kB] 4/0 packages",
            ),
            ("Building wheels for collected packages: old-thing, other\n", 0, "2/3 builds packages [] 0/2 packages"),
            (
                "  Building wheel for old-thing (pyproject.toml): started\n",
                0,
                "2/3 builds packages [old-thing] 0/2 packages",
            ),
            (
                "  Building wheel for old-thing (pyproject.toml): finished with status 'done'\n",
                0,
                "2/3 builds packages [old-thing] 1/2 packages",
            ),
            (
                "Installing collected packages: numpy, azure-core, typing-extensions, old-thing\n",
                1,
                "3/3 installs packages [] 1/4 packages",
            ),
            ("", 3, "3/3 installs packages [] 3/4 packages"),
            // A package that brought its own copy of another counts twice in the folder.
            ("Successfully installed numpy-2.4.6\n", 9, "3/3 installs packages [] 4/4 packages"),
        ] {
            words.take(said.as_bytes());
            assert_eq!(told(&words.progress(installed)), expected, "after {said:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept_whole() {
        let mut words = PipWords::default();
        (0..100).for_each(|_| words.take(&[b'x'; 8 << 10]));
        assert_eq!(words.begun.len(), LINE_MAX);
        words.take(b"\nCollecting numpy\n");
        assert_eq!(words.progress(0).detail, "numpy");
    }
}
