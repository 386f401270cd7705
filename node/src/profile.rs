//! What a node says of itself: measured when it starts, and said anew when its GPUs change.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use berth_core::{
    error::{Code, Error},
    model::{Device, NodeProfile},
};
use tokio::{sync::watch, time::Duration};

use crate::{
    capacity::{self, CapacityOverride, Host},
    gpu::{self, GpuMonitor},
    identity::Home,
    mesh::MeshHandle,
    options::NodeOptions,
};

/// How long a node waits for the first look at its GPUs. A driver that was just loaded initialises each card for a second
/// or two; what it lists later is said later, and a node that came back must be heard before it counts as lost.
const GPUS_WITHIN: Duration = Duration::from_secs(2);

/// Keeps a node's profile true.
pub(crate) struct ProfileKeeper {
    folder: PathBuf,
    host: Host,
    declared: Option<CapacityOverride>,
    gpus: Arc<GpuMonitor>,
    profile: watch::Sender<NodeProfile>,
}

// === impl ProfileKeeper ===

impl ProfileKeeper {
    /// Measures the host.
    pub(crate) async fn open(
        home: &Home,
        options: &NodeOptions,
        mesh: &MeshHandle,
        gpus: Arc<GpuMonitor>,
    ) -> Result<Self, Error> {
        let (folder, asked) = (home.folder().to_owned(), Arc::clone(&gpus));
        let measure = move || (capacity::measure(&folder), asked.found(GPUS_WITHIN));
        let (host, found) = tokio::task::spawn_blocking(measure)
            .await
            .map_err(|error| Error::new(Code::Internal, "measuring the host broke off").why(error.to_string()))?;
        host.notes.iter().chain(found.why_none.as_ref()).for_each(|note| tracing::info!(note, "capacity"));
        let reached = |bound: SocketAddr| match &options.advertise {
            Some(host) => format!("{host}:{}", bound.port()),
            None => bound.to_string(),
        };
        let plain = NodeProfile {
            name: options.name.clone(),
            labels: options.labels.clone(),
            capacity: host.resources,
            devices: Vec::new(),
            gate_address: reached(mesh.gate_addr()),
            ingress_address: reached(mesh.ingress_addr()),
            is_virtual: options.is_virtual,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let keeper = Self {
            folder: home.folder().to_owned(),
            host,
            declared: options.capacity.clone(),
            gpus,
            profile: watch::Sender::new(plain),
        };
        keeper.say(found.devices, found.is_broken);
        Ok(keeper)
    }

    /// Watches what the node says of itself.
    pub(crate) fn watch(&self) -> watch::Receiver<NodeProfile> {
        self.profile.subscribe()
    }

    /// Says anew what the node has whenever its GPUs change; ends by being dropped.
    pub(crate) async fn keep(&self) {
        let mut devices = self.gpus.devices();
        let mut kept = None;
        loop {
            let now = devices.borrow_and_update().clone();
            self.say(now.clone(), self.gpus.found(Duration::ZERO).is_broken);
            if kept.as_ref() != Some(&now) {
                let (folder, written) = (self.folder.clone(), now.clone());
                let written = tokio::task::spawn_blocking(move || gpu::write_devices(&folder, &written)).await;
                if let Ok(Err(error)) = written {
                    tracing::warn!(%error, "an agent that starts while the driver hangs will not know its GPUs");
                }
                kept = Some(now);
            }
            if devices.changed().await.is_err() {
                // Without a monitor nothing changes any more, and the node goes on.
                return std::future::pending().await;
            }
        }
    }

    fn say(&self, devices: Vec<Device>, is_driver_broken: bool) {
        let (resources, devices) = self.host.with(devices, self.declared.as_ref(), is_driver_broken);
        self.profile.send_if_modified(|profile| {
            let is_changed = (profile.capacity, &profile.devices) != (resources, &devices);
            (profile.capacity, profile.devices) = (resources, devices);
            is_changed
        });
    }
}
