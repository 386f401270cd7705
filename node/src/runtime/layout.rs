//! Where things are in a replica's folder.
//!
//! Azure mounts code and models below `/var/azureml-app`. A process cannot own that path, two replicas on one host even
//! less, so everything lies below the replica's own root under the same names, and `AML_APP_ROOT` and
//! `AZUREML_MODEL_DIR` say where. Code that asks these variables, as Azure's documents tell it to, runs unchanged.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Component, Path, PathBuf},
};

use berth_core::{
    error::Error,
    id::ReplicaId,
    model::{DeploymentKey, DeploymentSpec, Model},
};

use crate::identity::io_error;

/// The folders of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    root: PathBuf,
    logs: PathBuf,
}

// === impl Layout ===

impl Layout {
    pub(crate) fn new(home: &Path, replica: ReplicaId) -> Self {
        Self {
            root: Self::all_roots(home).join(replica.to_string()),
            logs: Self::all_logs(home).join(replica.to_string()),
        }
    }

    /// Where every replica of a node lies.
    pub(crate) fn all_roots(home: &Path) -> PathBuf {
        home.join("replicas")
    }

    /// Where the logs of every replica lie: apart, because they outlive it.
    pub(crate) fn all_logs(home: &Path) -> PathBuf {
        home.join("logs")
    }

    /// Where the logs of what is got ready for reserve slots lie.
    pub(crate) fn all_prefetches(home: &Path) -> PathBuf {
        Self::all_logs(home).join("prefetch")
    }

    /// What getting ready for the slots of a deployment wrote last.
    pub(crate) fn prefetch(home: &Path, key: &DeploymentKey) -> PathBuf {
        Self::all_prefetches(home).join(format!("{}.{}.log", key.endpoint, key.deployment))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What the process writes.
    pub(crate) fn output(&self) -> PathBuf {
        self.logs.join("output.log")
    }

    /// What fetching and building write.
    pub(crate) fn prepare(&self) -> PathBuf {
        self.logs.join("prepare.log")
    }

    /// Azure's `/var/azureml-app`.
    pub(crate) fn app(&self) -> PathBuf {
        self.root.join("app")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where the code folder called `name` lies.
    pub(crate) fn code(&self, name: &str) -> PathBuf {
        self.app().join(name)
    }

    /// Where the code of a deployment lies; the app folder when it brings none.
    pub(crate) fn code_of(&self, spec: &DeploymentSpec) -> PathBuf {
        spec.code.as_ref().map_or_else(|| self.app(), |code| self.code(&code.asset.name))
    }

    /// Returns `AZUREML_MODEL_DIR`: `<mount>/<model>/<version>`, which holds the base name of what was uploaded.
    pub(crate) fn model_dir(&self, model: &Model, mount: Option<&str>) -> PathBuf {
        let mount = match mount {
            Some(path) => self.root.join("mount").join(below(Path::new(path))),
            None => self.app().join("azureml-models"),
        };
        mount.join(&model.name).join(&model.version)
    }

    /// Makes the folders.
    pub(crate) fn create(&self) -> Result<(), Error> {
        for folder in [&self.root, &self.logs, &self.app(), &self.tmp()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(folder)
                .map_err(|error| io_error("cannot create", folder, &error))?;
        }
        Ok(())
    }

    /// Removes everything but the logs.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        match std::fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error("cannot remove", &self.root, &error))
            }
            _ => Ok(()),
        }
    }
}

/// Turns an absolute path into one that can be joined and never climbs out.
fn below(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

#[cfg(test)]
mod tests {
    use berth_core::{
        id::Digest,
        model::{AssetKind, AssetRef, ModelType},
    };

    use super::*;

    #[test]
    fn models_lie_where_azure_puts_them_below_the_replica() {
        let layout = Layout::new(Path::new("/d"), ReplicaId(7));
        let asset = AssetRef { digest: Digest::of(b"x"), kind: AssetKind::Folder, name: "model".into(), size_bytes: 1 };
        let model = Model { name: "m".into(), version: "3".into(), model_type: ModelType::CustomModel, asset };
        let root = "/d/replicas/0000000000000007";
        for (mount, expected) in [
            (None, "app/azureml-models/m/3"),
            (Some("/models"), "mount/models/m/3"),
            (Some("/../../etc"), "mount/etc/m/3"),
        ] {
            assert_eq!(layout.model_dir(&model, mount), Path::new(root).join(expected));
        }
    }
}
