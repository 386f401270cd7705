//! Conda files as pip requirements.
//!
//! Berth brings no conda: the host's Python makes a virtual environment and pip fills it. Most of Azure's conda files
//! use conda only to get a Python and pip, so what is left is translated name by name, and what has no meaning here is a
//! warning. Only a failing resolve refuses.

use berth_core::error::{Code, Error};
use serde::Deserialize;

/// Names that differ between conda's channels and PyPI.
const RENAMED: &[(&str, &str)] = &[
    ("pytorch", "torch"),
    ("pytorch-cpu", "torch"),
    ("pytorch-gpu", "torch"),
    ("tensorflow-gpu", "tensorflow"),
    ("py-xgboost", "xgboost"),
    ("py-xgboost-cpu", "xgboost"),
    ("py-opencv", "opencv-python"),
    ("opencv", "opencv-python"),
    ("matplotlib-base", "matplotlib"),
    ("msgpack-python", "msgpack"),
    ("pytables", "tables"),
    ("python-flatbuffers", "flatbuffers"),
    ("importlib_metadata", "importlib-metadata"),
    ("ruamel_yaml", "ruamel.yaml"),
];
/// What conda installs that is no Python package: the host has it or it is not needed.
const NOT_PYTHON: &[&str] = &[
    "cudatoolkit",
    "cudnn",
    "pytorch-cuda",
    "pytorch-mutex",
    "cpuonly",
    "mkl",
    "libgcc",
    "libgcc-ng",
    "libstdcxx-ng",
    "libffi",
    "openssl",
    "ca-certificates",
    "gcc",
    "gxx",
    "git",
    "curl",
    "wget",
    "libgfortran",
    "libopenblas",
    "blas",
    "nccl",
    "openjdk",
    "r-base",
];

/// What a conda file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Translated {
    /// Lines of a requirements file.
    pub(super) requirements: Vec<String>,
    /// What was left out or changed.
    pub(super) warnings: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Dependency {
    Conda(String),
    Pip { pip: Vec<String> },
}

/// Translates the text of a conda file.
pub(super) fn translate(text: &str) -> Result<Translated, Error> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        Error::new(Code::Environment, "the conda file cannot be read")
            .why(error.to_string())
            .try_("it needs `dependencies:`, a list of packages and at most one `pip:` list")
    })?;
    let mut out = Translated::default();
    let named: Vec<&String> = file.channels.iter().filter(|name| *name != "defaults").collect();
    if !named.is_empty() {
        out.warn(format!("channels {named:?} are not used: packages come from pip's index"));
    }
    for dependency in file.dependencies {
        match dependency {
            Dependency::Conda(text) => out.conda(&text),
            Dependency::Pip { pip } => out.requirements.extend(pip),
        }
    }
    Ok(out)
}

// === impl Translated ===

impl Translated {
    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    fn conda(&mut self, text: &str) {
        let text = text.rsplit_once("::").map_or(text, |(_, package)| package).trim();
        let end = text.find(|c: char| "=<>!~ ".contains(c)).unwrap_or(text.len());
        let (name, version) = (text[..end].to_ascii_lowercase(), text[end..].trim());
        match name.as_str() {
            "python" => self.warn(format!("`{text}`: the host's Python is used")),
            "pip" | "setuptools" | "wheel" if version.is_empty() => {}
            "pip" => self.warn(format!("`{text}`: the pip of the virtual environment is used")),
            name if NOT_PYTHON.contains(&name) => self.warn(format!("`{text}` is no Python package: left out")),
            name => {
                let renamed = RENAMED.iter().find(|(conda, _)| *conda == name).map(|(_, pip)| *pip);
                if let Some(pip) = renamed {
                    self.warn(format!("`{name}` is called `{pip}` on PyPI"));
                }
                self.requirements.push(format!("{}{}", renamed.unwrap_or(name), specifier(version)));
            }
        }
    }
}

/// Translates a version: conda's single `=` means "this and what it begins", and a second one names a build.
fn specifier(version: &str) -> String {
    let version: String = version.chars().filter(|c| !c.is_whitespace()).collect();
    if version.starts_with("==") || !version.starts_with('=') {
        return version;
    }
    let exact = version[1..].split('=').next().unwrap_or_default();
    match exact {
        "" | "*" => String::new(),
        exact if exact.ends_with('*') => format!("=={exact}"),
        exact if version[1..].contains('=') => format!("=={exact}"),
        exact => format!("=={exact}.*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_mean_what_conda_means() {
        for (conda, pip) in [
            ("", ""),
            ("=1.21", "==1.21.*"),
            ("=1.21.2", "==1.21.2.*"),
            ("=1.21.*", "==1.21.*"),
            ("=1.21=py38_0", "==1.21"),
            ("==1.21", "==1.21"),
            (">=1.2, <2", ">=1.2,<2"),
            ("=*", ""),
        ] {
            assert_eq!(specifier(conda), pip, "{conda}");
        }
    }

    #[test]
    fn azures_sample_becomes_requirements_and_warnings() {
        let text = "name: model-env\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.8\n  - numpy=1.21.2\n  - pip=21.2.4\n  - conda-forge::scikit-learn>=0.24\n  - pytorch\n  - cudatoolkit=11.3\n  - pip:\n      - inference-schema[numpy-support]==1.3.0\n      - joblib==1.0.1\n";
        let translated = translate(text).unwrap();
        assert_eq!(
            translated.requirements,
            [
                "numpy==1.21.2.*",
                "scikit-learn>=0.24",
                "torch",
                "inference-schema[numpy-support]==1.3.0",
                "joblib==1.0.1"
            ]
        );
        assert_eq!(translated.warnings.len(), 5, "{:?}", translated.warnings);
    }

    #[test]
    fn what_is_no_conda_file_is_refused() {
        for text in ["dependencies: 3", "- a\n- b", "dependencies:\n  - {conda: [x]}", ": : :"] {
            assert_eq!(translate(text).unwrap_err().code, Code::Environment, "{text}");
        }
    }
}
