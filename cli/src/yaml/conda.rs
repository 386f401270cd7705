//! Conda files as pip requirements.
//!
//! Berth brings no conda: a Python of the node makes a virtual environment and pip fills it. Most of Azure's conda files
//! use conda only to get a Python and pip, so what is left is translated name by name, here, where every line of the file
//! is known; what has no meaning without conda is a warning. Nodes are given requirements and never see the file.

use super::{
    fields::{Field, Fields, clip},
    finding::Findings,
    tree::Value,
};

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
/// Names of a list that a message shows before it counts the rest.
const NAMES_SHOWN: usize = 6;

/// What a conda file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conda {
    /// The Python it was written for: `3.9`.
    pub(super) python: Option<String>,
    /// Requirements in pip's syntax.
    pub(super) requirements: Vec<String>,
}

/// Reads a conda file. What differs without conda is told once for all packages it is true of, at the first of them.
pub(super) fn read(field: &Field<'_>, findings: &mut Findings) -> Conda {
    let mut conda = Conda::default();
    let mut fields = Fields::open(field, findings);
    for name in ["name", "prefix", "channels"] {
        fields.take(name);
    }
    if let Some(variables) = fields.take("variables") {
        variables.warn(findings, "variables of a conda file are not set", "use environment_variables");
    }
    let dependencies = fields.take("dependencies");
    fields.finish(findings);
    let Some(dependencies) = dependencies else { return conda };
    let (mut from_index, mut left_out) = (Vec::new(), Vec::new());
    for item in dependencies.items(findings) {
        match &item.node.value {
            Value::Map(_) => {
                let mut inner = Fields::open(&item, findings);
                if let Some(pip) = inner.take("pip") {
                    conda.requirements.extend(pip.texts(findings));
                }
                inner.finish(findings);
            }
            Value::Scalar { text, .. } => {
                let Some((name, version)) = name_and_version(text) else {
                    item.refuse(findings, format!("`{}` names no package", clip(text)), "such as `numpy=1.26`");
                    continue;
                };
                match name.as_str() {
                    "python" => conda.python = python(&version).or(conda.python),
                    // The virtual environment has its own, and no code depends on which.
                    "pip" | "setuptools" | "wheel" if version.is_empty() => {}
                    "pip" => {}
                    name if NOT_PYTHON.contains(&name) => left_out.push((item.clone(), name.to_owned())),
                    name => {
                        let renamed = RENAMED.iter().find(|(conda, _)| *conda == name).map_or(name, |(_, pip)| *pip);
                        conda.requirements.push(format!("{renamed}{}", specifier(&version)));
                        let told = if renamed == name { name.to_owned() } else { format!("{name} (as {renamed})") };
                        from_index.push((item.clone(), told));
                    }
                }
            }
            Value::List(_) => item.refuse(findings, "expected a package, found a list", ""),
        }
    }
    warn_of(&from_index, "conda is not run; pip's index gives", findings);
    warn_of(&left_out, "conda is not run; these are no Python packages and are left to the node:", findings);
    conda
}

fn warn_of(named: &[(Field<'_>, String)], what: &str, findings: &mut Findings) {
    let Some((first, _)) = named.first() else { return };
    let mut names: Vec<&str> = named.iter().take(NAMES_SHOWN).map(|(_, name)| name.as_str()).collect();
    let more = format!("{} more", named.len().saturating_sub(NAMES_SHOWN));
    if named.len() > NAMES_SHOWN {
        names.push(&more);
    }
    first.warn(findings, format!("{what} {}", names.join(", ")), "");
}

/// Splits `conda-forge::numpy >=1.26` into `numpy` and `>=1.26`; nothing when it is no name and version.
fn name_and_version(text: &str) -> Option<(String, String)> {
    let text = text.rsplit_once("::").map_or(text, |(_, package)| package).trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = (text[..end].to_ascii_lowercase(), text[end..].trim());
    // `numpy 1.26 py312_0`: a version that stands alone is meant exactly, and a build means nothing to pip.
    let version = match rest.split_whitespace().next() {
        Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => format!("=={version}"),
        _ => rest.chars().filter(|c| !c.is_whitespace()).collect(),
    };
    let is_version = version.is_empty() || version.starts_with(['=', '<', '>', '!', '~']);
    (!name.is_empty() && is_version).then_some((name, version))
}

/// Reads the Python a pin means: `=3.9.18` and `==3.9.*` mean 3.9. A range is left to the node.
fn python(version: &str) -> Option<String> {
    let exact = version.strip_prefix('=')?.trim_start_matches('=');
    let mut parts = exact.split(['.', '=', '*']);
    let mut number = || parts.next().filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    Some(format!("{}.{}", number()?, number()?))
}

/// Translates a version: conda's single `=` means "this and what it begins", and a second one names a build.
fn specifier(version: &str) -> String {
    if version.starts_with("==") || !version.starts_with('=') {
        return version.to_owned();
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
    use super::{
        super::tree::{Node, parse},
        *,
    };

    fn translated(text: &str) -> (Conda, Result<Vec<String>, Vec<String>>) {
        let mut findings = Findings::new("conda.yml");
        let documents = parse(text, &mut findings);
        let conda = documents.first().map(|node: &Node| read(&Field::root(node), &mut findings)).unwrap_or_default();
        let words = |problems: Vec<berth_core::error::Problem>| {
            problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.what)).collect::<Vec<_>>()
        };
        (conda, findings.into_result().map(words).map_err(|error| words(error.problems)))
    }

    #[test]
    fn versions_mean_what_conda_means() {
        for (conda, name, pip) in [
            ("numpy", "numpy", ""),
            ("numpy=1.21", "numpy", "==1.21.*"),
            ("numpy=1.21.2", "numpy", "==1.21.2.*"),
            ("numpy=1.21.*", "numpy", "==1.21.*"),
            ("numpy=1.21=py38_0", "numpy", "==1.21"),
            ("numpy==1.21", "numpy", "==1.21"),
            ("NumPy >=1.2, <2", "numpy", ">=1.2,<2"),
            ("numpy 1.21", "numpy", "==1.21"),
            ("numpy 1.21 py38_0", "numpy", "==1.21"),
            ("conda-forge::numpy=*", "numpy", ""),
        ] {
            let (found, version) = name_and_version(conda).expect(conda);
            assert_eq!((found.as_str(), specifier(&version).as_str()), (name, pip), "{conda}");
        }
        for text in ["", "=1.2", "numpy[version='>=1']", "numpy @ x"] {
            assert_eq!(name_and_version(text), None, "{text}");
        }
    }

    #[test]
    fn a_python_is_known_by_its_first_two_numbers() {
        for (pin, python_) in [
            ("=3.9", Some("3.9")),
            ("==3.9.18", Some("3.9")),
            ("=3.11.*", Some("3.11")),
            ("=3.9=h12debd9_1", Some("3.9")),
            ("=3", None),
            (">=3.8", None),
            ("", None),
        ] {
            assert_eq!(python(pin).as_deref(), python_, "{pin}");
        }
    }

    #[test]
    fn azures_sample_becomes_a_python_requirements_and_two_warnings() {
        let (conda, warnings) = translated(
            "name: model-env\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.8\n  - numpy=1.21.2\n  - pip=21.2.4\n  \
             - conda-forge::scikit-learn>=0.24\n  - pytorch\n  - cudatoolkit=11.3\n  - pip:\n      \
             - inference-schema[numpy-support]==1.3.0\n      - joblib==1.0.1\n",
        );
        assert_eq!(conda.python.as_deref(), Some("3.8"));
        let pip = "numpy==1.21.2.* scikit-learn>=0.24 torch inference-schema[numpy-support]==1.3.0 joblib==1.0.1";
        assert_eq!(conda.requirements.join(" "), pip);
        let expected = [
            "conda.yml:6:5 dependencies[1]: conda is not run; pip's index gives numpy, scikit-learn, pytorch (as torch)",
            "conda.yml:10:5 dependencies[5]: conda is not run; these are no Python packages and are left to the node: \
             cudatoolkit",
        ];
        assert_eq!(warnings.expect("nothing is wrong"), expected);
    }

    #[test]
    fn a_long_list_is_told_in_one_line() {
        let lines: String = (0..20).map(|at| format!("  - package-{at}\n")).collect();
        let (conda, warnings) = translated(&format!("dependencies:\n{lines}"));
        assert_eq!(conda.requirements.len(), 20);
        let warnings = warnings.expect("nothing is wrong");
        assert!(warnings.len() == 1 && warnings[0].ends_with("package-5, 14 more"), "{warnings:?}");
    }

    #[test]
    fn what_is_no_conda_file_is_refused_where_it_stands() {
        for (text, place) in [
            ("dependencies: 3", "conda.yml:1:15 dependencies"),
            ("- a\n- b", "conda.yml:1:1"),
            ("dependencies:\n  - {conda: [x]}", "conda.yml:2:6 dependencies[0].conda"),
            ("dependencies:\n  - numpy\n  - [x]", "conda.yml:3:5 dependencies[1]"),
            ("dependencies:\n  - '=1.2'", "conda.yml:2:5 dependencies[0]"),
            (": : :", "conda.yml:1"),
        ] {
            let problems = translated(text).1.expect_err(text);
            assert!(problems[0].starts_with(place), "{text}: {problems:?}");
        }
    }
}
