//! What a host had of GPUs when it was last asked, on its disk: for an agent that starts while the driver says nothing.

use std::{fs, io, path::Path};

use berth_core::{error::Error, model::Device};

use crate::identity::{io_error, write_durably};

/// The file, in the node's folder.
const FILE: &str = "gpus.json";

/// Reads what the host had; nothing where that is not known. It only bridges a silence, so a file that cannot be read is
/// no reason not to start.
pub(crate) fn read_devices(folder: &Path) -> Vec<Device> {
    let path = folder.join(FILE);
    let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    read.unwrap_or_else(|error: io::Error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(%error, path = %path.display(), "what this host had of GPUs cannot be read");
        }
        Vec::new()
    })
}

/// Keeps what the host has.
pub(crate) fn write_devices(folder: &Path, devices: &[Device]) -> Result<(), Error> {
    let path = folder.join(FILE);
    let text = serde_json::to_vec(devices).map_err(io::Error::from);
    text.and_then(|text| write_durably(&path, &text)).map_err(|error| io_error("cannot write", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_damaged_file_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_devices(dir.path()), []);
        let slice = Device { uuid: "MIG-1".into(), card: Some("GPU-1".into()), healthy: true, ..Device::default() };
        let devices = [slice, Device { uuid: "GPU-2".into(), model: "H100".into(), ..Device::default() }];
        write_devices(dir.path(), &devices).unwrap();
        assert_eq!(read_devices(dir.path()), devices);
        fs::write(dir.path().join(FILE), "[{").unwrap();
        assert_eq!(read_devices(dir.path()), []);
    }
}
