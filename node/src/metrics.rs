//! What a node counts about its replicas and cards: what each holds, what it uses, and both added up over time, per
//! endpoint and deployment. Costs are told from the sums; a collector adds those of all nodes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_core::{
    agent::LedgerEntry,
    id::ReplicaId,
    model::{DeploymentKey, DeviceGrant, NodeProfile},
};
use berth_proto::node::v1::ReplicaUse;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use tokio::sync::watch;

use crate::gpu::{CardLook, GpuMonitor};

/// What the replicas of a node hold and use.
#[derive(Debug, Default)]
pub(crate) struct NodeHolds(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    replicas: BTreeMap<ReplicaId, ReplicaHolds>,
    /// Kept for deployments that are gone, too: their sums are still billed. A node runs few of them in its life.
    sums: BTreeMap<DeploymentKey, Sums>,
    disk_mib: u64,
}

/// What one replica holds and uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaHolds {
    pub(crate) key: DeploymentKey,
    /// Cores it was given, in thousandths.
    pub(crate) cpu_held_milli: u64,
    /// Cores that were busy for it.
    pub(crate) cpu_used_milli: u64,
    pub(crate) memory_held_mib: u64,
    pub(crate) memory_used_mib: u64,
    /// Devices it was given, in thousandths of one.
    pub(crate) gpu_held_milli: u64,
    /// How busy those were, in thousandths of one.
    pub(crate) gpu_used_milli: u64,
}

/// Products of an amount and milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    cpu_held: u128,
    cpu_used: u128,
    gpu_held: u128,
    gpu_used: u128,
    memory_held: u128,
}

/// Shows them to a registry.
pub(crate) struct NodeCollector {
    pub(crate) holds: Arc<NodeHolds>,
    pub(crate) gpus: Arc<GpuMonitor>,
    pub(crate) profile: watch::Receiver<NodeProfile>,
}

// === impl ReplicaHolds ===

impl ReplicaHolds {
    /// Tells what an entry of the ledger holds; what it uses is measured.
    pub(crate) fn of(entry: &LedgerEntry, cards: &[CardLook], used: (u64, u64)) -> Self {
        let resources = entry.order.spec.resources;
        let (gpu_held_milli, gpu_used_milli) = devices(&entry.order.devices, cards);
        Self {
            key: entry.order.key.clone(),
            cpu_held_milli: resources.cpu_milli,
            cpu_used_milli: used.0,
            memory_held_mib: resources.memory_mib,
            memory_used_mib: used.1,
            gpu_held_milli,
            gpu_used_milli,
        }
    }
}

/// Adds up grants in thousandths of a device, and how busy those were. The driver tells how busy a card is, not for whom: a
/// share of it counts as busy as all of it, and a slice counts by its memory.
fn devices(grants: &[DeviceGrant], cards: &[CardLook]) -> (u64, u64) {
    grants.iter().fold((0, 0), |(held, used), grant| {
        let of = |card: &&CardLook| card.uuid == grant.uuid || card.slices.iter().any(|slice| slice.uuid == grant.uuid);
        let Some(card) = cards.iter().find(of) else { return (held + 1_000, used) };
        let slice = card.slices.iter().find(|slice| slice.uuid == grant.uuid);
        let mib = grant.memory_mib.or(slice.map(|slice| slice.memory_mib)).unwrap_or(card.memory_mib);
        let share = (mib * 1_000).checked_div(card.memory_mib).unwrap_or(1_000).min(1_000);
        let busy = share * u64::from(card.utilization_percent.unwrap_or(0).min(100)) / 100;
        (held + share, used + busy)
    })
}

// === impl NodeHolds ===

impl NodeHolds {
    /// Notes a measurement and adds what was held since the last one.
    pub(crate) fn measured(&self, replicas: BTreeMap<ReplicaId, ReplicaHolds>, since_last: Duration, disk_mib: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = since_last.as_millis();
        for holds in replicas.values() {
            let sums = inner.sums.entry(holds.key.clone()).or_default();
            sums.cpu_held += u128::from(holds.cpu_held_milli) * ms;
            sums.cpu_used += u128::from(holds.cpu_used_milli) * ms;
            sums.gpu_held += u128::from(holds.gpu_held_milli) * ms;
            sums.gpu_used += u128::from(holds.gpu_used_milli) * ms;
            sums.memory_held += u128::from(holds.memory_held_mib) * ms;
        }
        inner.replicas = replicas;
        inner.disk_mib = disk_mib;
    }

    /// Returns what every replica used at the last measurement.
    pub(crate) fn uses(&self) -> Vec<ReplicaUse> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = inner.replicas.iter().map(|(replica, holds)| ReplicaUse {
            replica: replica.0,
            cpu_milli: holds.cpu_used_milli,
            memory_mib: holds.memory_used_mib,
            gpu_milli: holds.gpu_used_milli,
        });
        used.collect()
    }
}

// === impl NodeCollector ===

impl fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeCollector")
    }
}

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (replicas, sums, disk_mib) = {
            let inner = self.holds.0.lock().unwrap_or_else(PoisonError::into_inner);
            (inner.replicas.clone(), inner.sums.clone(), inner.disk_mib)
        };
        type Level = fn(&ReplicaHolds) -> f64;
        let levels: [(&str, &str, Level); 6] = [
            ("berth_replica_cpu_used_cores", "Cores that are busy for a replica", |it| milli(it.cpu_used_milli)),
            ("berth_replica_cpu_held_cores", "Cores a replica was given", |it| milli(it.cpu_held_milli)),
            ("berth_replica_memory_used_bytes", "Memory a replica uses", |it| mib(it.memory_used_mib)),
            ("berth_replica_memory_held_bytes", "Memory a replica was given", |it| mib(it.memory_held_mib)),
            ("berth_replica_gpu_used_devices", "Busy devices of a replica", |it| milli(it.gpu_used_milli)),
            ("berth_replica_gpu_held_devices", "Devices a replica was given", |it| milli(it.gpu_held_milli)),
        ];
        for (name, help, read) in levels {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (replica, holds) in &replicas {
                let replica = replica.to_string();
                let labels = [
                    ("endpoint", holds.key.endpoint.as_str()),
                    ("deployment", holds.key.deployment.as_str()),
                    ("replica", replica.as_str()),
                ];
                ConstGauge::new(read(holds)).encode(family.encode_family(&labels)?)?;
            }
        }
        type Sum = fn(&Sums) -> f64;
        let totals: [(&str, &str, Sum); 5] = [
            ("berth_deployment_core_seconds_held", "Cores given, times seconds", |it| product(it.cpu_held)),
            ("berth_deployment_core_seconds_used", "Cores busy, times seconds", |it| product(it.cpu_used)),
            ("berth_deployment_gpu_seconds_held", "Devices given, times seconds", |it| product(it.gpu_held)),
            ("berth_deployment_gpu_seconds_used", "Devices busy, times seconds", |it| product(it.gpu_used)),
            ("berth_deployment_gib_seconds_held", "GiB of memory given, times seconds", |it| {
                it.memory_held as f64 / 1_024.0 / 1_000.0
            }),
        ];
        for (name, help, read) in totals {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (key, sums) in &sums {
                let labels = [("endpoint", key.endpoint.as_str()), ("deployment", key.deployment.as_str())];
                ConstCounter::new(read(sums)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Disk the replicas of this node use";
        let family = encoder.encode_descriptor("berth_node_disk_used_bytes", help, None, MetricType::Gauge)?;
        ConstGauge::new(mib(disk_mib)).encode(family)?;
        let help = "Disk this node has for replicas";
        let family = encoder.encode_descriptor("berth_node_disk_bytes", help, None, MetricType::Gauge)?;
        ConstGauge::new(mib(self.profile.borrow().capacity.disk_mib)).encode(family)?;
        cards(&mut encoder, &self.gpus.view().look.cards)
    }
}

fn cards(encoder: &mut DescriptorEncoder<'_>, cards: &[CardLook]) -> fmt::Result {
    type Read = fn(&CardLook) -> Option<f64>;
    let levels: [(&str, &str, Read); 6] = [
        ("berth_gpu_utilization_ratio", "How busy a card is", |card| {
            card.utilization_percent.map(|percent| f64::from(percent) / 100.0)
        }),
        ("berth_gpu_memory_used_bytes", "Memory of a card in use", |card| Some(mib(card.used_mib))),
        ("berth_gpu_memory_bytes", "Memory of a card", |card| Some(mib(card.memory_mib))),
        ("berth_gpu_power_watts", "What a card draws", |card| card.power_milliwatt.map(watts)),
        ("berth_gpu_power_limit_watts", "The most a card may draw", |card| card.power_limit_milliwatt.map(watts)),
        ("berth_gpu_temperature_celsius", "How hot a card is", |card| card.temperature_celsius.map(f64::from)),
    ];
    for (name, help, read) in levels {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (card, value) in cards.iter().filter_map(|card| Some((card, read(card)?))) {
            let labels = [("card", card.uuid.as_str()), ("model", card.model.as_str())];
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn watts(milliwatt: u32) -> f64 {
    f64::from(milliwatt) / 1_000.0
}

fn milli(amount: u64) -> f64 {
    amount as f64 / 1_000.0
}

fn mib(amount: u64) -> f64 {
    amount as f64 * f64::from(1 << 20)
}

/// Thousandths times milliseconds as units times seconds.
fn product(sum: u128) -> f64 {
    sum as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::SliceLook;

    fn holds(cpu_used_milli: u64) -> ReplicaHolds {
        ReplicaHolds {
            key: "fraud/blue".parse().unwrap(),
            cpu_held_milli: 2_000,
            cpu_used_milli,
            memory_held_mib: 1_024,
            memory_used_mib: 10,
            gpu_held_milli: 500,
            gpu_used_milli: 250,
        }
    }

    #[test]
    fn what_is_held_adds_up_and_outlives_the_replica() {
        let node = NodeHolds::default();
        let two = [(ReplicaId(1), holds(500)), (ReplicaId(2), holds(0))];
        node.measured(two.into(), Duration::from_secs(10), 3);
        let used = ReplicaUse { replica: 1, cpu_milli: 500, memory_mib: 10, gpu_milli: 250 };
        assert_eq!((node.uses().len(), node.uses()[0]), (2, used));
        node.measured(BTreeMap::new(), Duration::from_secs(10), 3);
        assert_eq!(node.uses(), []);
        let inner = node.0.lock().unwrap();
        let sums = inner.sums["fraud/blue".parse::<DeploymentKey>().as_ref().unwrap()];
        assert_eq!((product(sums.cpu_held), product(sums.cpu_used)), (40.0, 5.0));
        assert_eq!((product(sums.gpu_held), product(sums.gpu_used)), (10.0, 5.0));
    }

    #[test]
    fn a_share_of_a_card_counts_by_its_memory() {
        let slices = vec![SliceLook { uuid: "slice".into(), profile: "1g".into(), memory_mib: 200 }];
        let card = |uuid: &str, busy| CardLook {
            uuid: uuid.into(),
            memory_mib: 1_000,
            utilization_percent: Some(busy),
            ..CardLook::default()
        };
        let cards = [card("whole", 50), CardLook { slices, ..card("cut", 100) }];
        let grant = |uuid: &str, memory_mib| DeviceGrant { uuid: uuid.into(), memory_mib };
        for (grants, expected) in [
            (vec![grant("whole", None)], (1_000, 500)),
            (vec![grant("whole", Some(250))], (250, 125)),
            (vec![grant("slice", None)], (200, 200)),
            (vec![grant("unseen", None)], (1_000, 0)),
            (vec![], (0, 0)),
        ] {
            assert_eq!(devices(&grants, &cards), expected, "{grants:?}");
        }
    }
}
