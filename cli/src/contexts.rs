//! Contexts: names for clusters, in one small file of the user's.
//!
//! `$XDG_CONFIG_HOME/berth/contexts.toml`, or below `~/.config`. The file is replaced whole, so a reader sees the old
//! one or the new one.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use berth_core::error::{Code, Error, nearest};
use serde::{Deserialize, Serialize};

/// The contexts of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Contexts {
    /// The one in use.
    pub(crate) current: Option<String>,
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A named cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Its coordinators: HOST:PORT or https://HOST:PORT, several with commas.
    pub(crate) api: String,
    /// Who signed their certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The certificate that they are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_key: Option<PathBuf>,
}

// === impl Contexts ===

impl Contexts {
    /// Reads the user's file; no file is no contexts.
    pub(crate) fn load() -> Result<Self, Error> {
        path().map_or(Ok(Self::default()), |path| Self::read(&path))
    }

    /// Replaces the user's file and returns where it is.
    pub(crate) fn save(&self) -> Result<PathBuf, Error> {
        let path = path().ok_or_else(|| {
            Error::new(Code::Invalid, "there is no folder for settings").try_("set HOME or XDG_CONFIG_HOME")
        })?;
        self.write(&path)?;
        Ok(path)
    }

    /// Returns a context.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, Error> {
        self.contexts.get(name).ok_or_else(|| {
            let error = Error::new(Code::Invalid, format!("no context is called `{name}`"));
            match nearest(name, self.contexts.keys().map(String::as_str)) {
                Some(near) => error.try_(format!("did you mean `{near}`?")),
                None => error.try_(format!("add it with `berth context set {name} --api HOST:PORT`")),
            }
        })
    }

    /// Returns the context in use.
    pub(crate) fn current(&self) -> Option<&Context> {
        self.contexts.get(self.current.as_deref()?)
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed("read", path, &error.to_string())),
        };
        toml::from_str(&text).map_err(|error| failed("read", path, error.message()))
    }

    fn write(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string(self).map_err(|error| failed("write", path, &error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let done = fs::create_dir_all(folder).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            io::Write::write_all(&mut file, text.as_bytes())?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        });
        done.map_err(|error| failed("write", path, &error.to_string()))
    }
}

fn failed(what: &str, path: &Path, why: &str) -> Error {
    Error::new(Code::Invalid, format!("cannot {what} {}", path.display())).why(why)
}

fn path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("berth/contexts.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        let context = |api: &str| Context { api: api.to_owned(), ..Context::default() };
        let contexts = [("prod".to_owned(), context("a:7400,b:7400")), ("test".to_owned(), context("c:7400"))].into();
        Contexts { current: Some("prod".to_owned()), contexts }
    }

    #[test]
    fn what_is_written_reads_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("below/contexts.toml");
        assert_eq!(Contexts::read(&path).expect("no file is fine"), Contexts::default());
        contexts().write(&path).expect("written");
        assert_eq!(Contexts::read(&path).expect("read"), contexts());
    }

    #[test]
    fn names_lead_to_coordinators() {
        let mut contexts = contexts();
        assert_eq!(contexts.current().map(|context| context.api.as_str()), Some("a:7400,b:7400"));
        assert_eq!(contexts.named("test").expect("known").api, "c:7400");
        let error = contexts.named("tset").expect_err("unknown");
        assert!(error.try_.contains("`test`"), "{error:?}");
        contexts.contexts.remove("prod");
        assert_eq!(contexts.current(), None);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("contexts.toml");
        fs::write(&path, "[contexts.prod]\napi = \"a:1\"\nkey = 1\n").expect("written");
        let error = Contexts::read(&path).expect_err("refused");
        assert!(error.why.contains("key"), "{error:?}");
    }
}
