//! `berth cost`: what every deployment holds, what that costs, and how much of it is idle.

use std::{collections::BTreeMap, time::Duration};

use berth_client::{
    api::{Node, Replica, Slot},
    store::{DeviceGrant, Resources},
};
use berth_core::{
    cost::{Bill, Held, Prices},
    error::{Code, Error},
    time::Millis,
    units::{Cores, Mib},
};
use serde::Serialize;

use super::{Context, watch};
use crate::{
    args::{By, CostArgs},
    output::{Cell, Fault, Listed, Misused, now_ms},
    view,
};

/// A line of the bill. Amounts of money are in whatever the prices are in.
#[derive(Serialize)]
struct Row {
    endpoint: String,
    /// Empty for a whole endpoint.
    deployment: String,
    replicas: u64,
    /// Places held beyond the replicas.
    reserve_slots: u64,
    cores: f64,
    memory_gib: f64,
    gpus: f64,
    per_hour: f64,
    /// Of this, what the reserve costs.
    reserve_per_hour: f64,
    /// Since each replica and slot that is there now was placed.
    core_hours: f64,
    gpu_hours: f64,
    so_far: f64,
    /// In percent; absent while nothing is measured.
    idle_cpu_percent: Option<f64>,
    idle_gpu_percent: Option<f64>,
}

/// Idle shares move with what is measured, and no event tells.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What is added up.
#[derive(Default)]
struct Sum {
    replicas: u64,
    slots: u64,
    bill: Bill,
    reserve: Bill,
}

pub(super) async fn run(context: &Context, args: CostArgs) -> Result<(), Fault> {
    let show = async || show(context, &args).await;
    if args.watch { watch::every(context, LOOK_AGAIN, show).await } else { show().await }
}

async fn show(context: &Context, args: &CostArgs) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    let prices = prices(args).or_misused()?;
    let replicas = client.list_replicas("", "").await?;
    let (slots, nodes) = tokio::try_join!(client.list_slots("", ""), client.list_nodes())?;
    let sums = add_up(args, &replicas, &slots, &cards(&nodes), now_ms(), &prices);
    let mut rows: Vec<_> =
        sums.into_iter().map(|((endpoint, deployment), sum)| Row::of(endpoint, deployment, &sum)).collect();
    // The dearest first; without prices, the largest.
    rows.sort_by(|a, b| {
        (b.per_hour, b.gpus, b.cores).partial_cmp(&(a.per_hour, a.gpus, a.cores)).unwrap_or(std::cmp::Ordering::Equal)
    });
    if args.csv {
        return Ok(csv(&rows).map(|text| out.line(text.trim_end()))?);
    }
    out.list(&rows, "nothing is held")?;
    if !out.is_for_programs() && !rows.is_empty() {
        let total: f64 = rows.iter().map(|row| row.per_hour).sum();
        match prices == Prices::default() {
            true => out.aside("no prices are given: --core-hour, --gib-hour and --gpu-hour say what an hour costs"),
            false => out.aside(format!("{total:.2} an hour in all, {:.0} in 30 days", total * 720.0)),
        }
        out.aside("held since each of today's replicas was placed; what ended before is in the nodes' metrics");
    }
    Ok(())
}

/// Adds up what is held, by what it is asked for. Replicas of an older generation hold what that one asked for.
fn add_up(
    args: &CostArgs,
    replicas: &[Replica],
    slots: &[Slot],
    cards: &BTreeMap<&str, u64>,
    now_ms: u64,
    prices: &Prices,
) -> BTreeMap<(String, String), Sum> {
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    let key = |endpoint: &str, deployment: &str| {
        (endpoint.to_owned(), if args.by == By::Endpoint { String::new() } else { deployment.to_owned() })
    };
    let wanted = |endpoint: &str| args.endpoint.as_deref().is_none_or(|only| only == endpoint);
    for replica in replicas.iter().filter(|it| wanted(&it.endpoint) && view::holds(it)) {
        let size = replica.resources.unwrap_or_default();
        let used = replica.used_cpu_milli.map(|cpu| (cpu, replica.used_gpu_milli.unwrap_or(0)));
        let held = held(&size, &replica.devices, cards, now_ms.saturating_sub(replica.placed_at_ms), used);
        let sum = sums.entry(key(&replica.endpoint, &replica.deployment)).or_default();
        sum.replicas += 1;
        sum.bill += Bill::of(&held, prices);
    }
    for slot in slots.iter().filter(|it| wanted(&it.endpoint)) {
        let sum = sums.entry(key(&slot.endpoint, &slot.deployment)).or_default();
        let bill = Bill::of(&of_slot(slot, cards, now_ms), prices);
        sum.slots += 1;
        sum.bill += bill;
        sum.reserve += bill;
    }
    sums
}

/// Reads prices such as `0.045`, to a millionth.
fn prices(args: &CostArgs) -> Result<Prices, Error> {
    let micro = |text: &Option<String>| match text {
        None => Ok(0),
        Some(text) => parse_micro(text).ok_or_else(|| {
            Error::new(Code::Invalid, format!("`{text}` is no price"))
                .try_("write it such as 0.045, up to six digits behind the point")
        }),
    };
    Ok(Prices {
        core_hour_micro: micro(&args.core_hour)?,
        gib_hour_micro: micro(&args.gib_hour)?,
        gpu_hour_micro: micro(&args.gpu_hour)?,
    })
}

pub(crate) fn parse_micro(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 6 || !digits(whole) || !digits(part) {
        return None;
    }
    let part: u64 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(part)
}

/// Lists the memory of every device.
fn cards(nodes: &[Node]) -> BTreeMap<&str, u64> {
    nodes.iter().flat_map(|node| &node.devices).map(|device| (&*device.uuid, device.memory_mib)).collect()
}

fn held(
    size: &Resources,
    devices: &[DeviceGrant],
    cards: &BTreeMap<&str, u64>,
    for_ms: u64,
    used: Option<(u64, u64)>,
) -> Held {
    let share = |grant: &DeviceGrant| {
        let whole = cards.get(&*grant.uuid).copied().unwrap_or(0);
        let part = grant.memory_mib.and_then(|mib| mib.saturating_mul(1_000).checked_div(whole));
        part.unwrap_or(1_000).min(1_000)
    };
    Held {
        cpu_milli: size.cpu_milli,
        memory_mib: size.memory_mib,
        gpu_milli: devices.iter().map(share).sum(),
        held_for: Millis(for_ms),
        used,
    }
}

fn of_slot(slot: &Slot, cards: &BTreeMap<&str, u64>, now_ms: u64) -> Held {
    let size = slot.resources.unwrap_or_default();
    held(&size, &slot.devices, cards, now_ms.saturating_sub(slot.since_ms), None)
}

fn csv(rows: &[Row]) -> Result<String, Error> {
    let failed =
        |error: &dyn std::fmt::Display| Error::new(Code::Internal, "the bill has no CSV form").why(error.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

// === impl Row ===

impl Row {
    fn of(endpoint: String, deployment: String, sum: &Sum) -> Self {
        let milli = |amount: u64| amount as f64 / 1e3;
        let money = |micro: u64| micro as f64 / 1e6;
        let percent = |permille: Option<u64>| permille.map(|permille| permille as f64 / 10.0);
        let bill = &sum.bill;
        Self {
            endpoint,
            deployment,
            replicas: sum.replicas,
            reserve_slots: sum.slots,
            cores: milli(bill.cpu_milli),
            memory_gib: bill.memory_mib as f64 / 1_024.0,
            gpus: milli(bill.gpu_milli),
            per_hour: money(bill.per_hour_micro),
            reserve_per_hour: money(sum.reserve.per_hour_micro),
            core_hours: milli(bill.core_milli_hours),
            gpu_hours: milli(bill.gpu_milli_hours),
            so_far: money(bill.so_far_micro),
            idle_cpu_percent: percent(bill.idle_cpu_permille()),
            idle_gpu_percent: percent(bill.idle_gpu_permille()),
        }
    }
}

impl Listed for Row {
    const COLUMNS: &'static [&'static str] = &[
        "DEPLOYMENT",
        "REPLICAS",
        "RESERVE",
        "CORES",
        "MEMORY",
        "GPUS",
        "PER HOUR",
        "IDLE CPU",
        "IDLE GPU",
        "SO FAR",
        "CORE HOURS",
        "GPU HOURS",
        "RESERVE PER HOUR",
    ];
    const NARROW: usize = 10;

    fn name(&self) -> String {
        if self.deployment.is_empty() {
            self.endpoint.clone()
        } else {
            format!("{}/{}", self.endpoint, self.deployment)
        }
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{share:.0} %"));
        let amount = |amount: f64| (amount * 1e3).round() as u64;
        vec![
            self.name().into(),
            self.replicas.to_string().into(),
            self.reserve_slots.to_string().into(),
            Cores(amount(self.cores)).to_string().into(),
            Mib((self.memory_gib * 1_024.0).round() as u64).to_string().into(),
            Cores(amount(self.gpus)).to_string().into(),
            format!("{:.4}", self.per_hour).into(),
            percent(self.idle_cpu_percent).into(),
            percent(self.idle_gpu_percent).into(),
            format!("{:.4}", self.so_far).into(),
            format!("{:.2}", self.core_hours).into(),
            format!("{:.2}", self.gpu_hours).into(),
            format!("{:.4}", self.reserve_per_hour).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_to_a_millionth() {
        for (text, micro) in [
            ("0.045", Some(45_000)),
            ("2", Some(2_000_000)),
            ("2.5", Some(2_500_000)),
            ("0.000001", Some(1)),
            ("0.0000001", None),
            (".5", None),
            ("-1", None),
            ("1e3", None),
            ("", None),
            ("18446744073709551615", None),
        ] {
            assert_eq!(parse_micro(text), micro, "{text}");
        }
    }

    #[test]
    fn a_grant_counts_as_its_share_of_the_card() {
        let cards = BTreeMap::from([("a", 1_000)]);
        let grant = |uuid: &str, memory_mib| DeviceGrant { uuid: uuid.into(), memory_mib };
        let gpus = |grants: &[DeviceGrant]| held(&Resources::default(), grants, &cards, 0, None).gpu_milli;
        assert_eq!(gpus(&[grant("a", None), grant("a", Some(250)), grant("gone", Some(1))]), 2_250);
    }

    #[test]
    fn a_replica_is_billed_for_what_its_own_generation_asked_for() {
        let replica = |deployment: &str, generation, state: &str, cores: u64, memory_gib: u64| Replica {
            endpoint: "fraud".into(),
            deployment: deployment.into(),
            generation,
            state: state.into(),
            placed_at_ms: 1_000,
            resources: Some(Resources {
                cpu_milli: cores * 1_000,
                memory_mib: memory_gib << 10,
                ..Resources::default()
            }),
            devices: vec![DeviceGrant { uuid: "a".into(), memory_mib: Some(500) }],
            ..Replica::default()
        };
        let replicas = [
            replica("blue", 1, "serving", 1, 2),
            replica("blue", 2, "starting", 4, 8),
            replica("blue", 2, "failed", 4, 8),
            replica("green", 1, "lost", 2, 1),
        ];
        let slots = [Slot {
            endpoint: "fraud".into(),
            deployment: "green".into(),
            resources: Some(Resources { cpu_milli: 2_000, memory_mib: 1 << 10, ..Resources::default() }),
            ..Slot::default()
        }];
        let bill = |by: By, endpoint: Option<&str>| {
            let price = |price: &str| Some(price.to_owned());
            let args = CostArgs {
                endpoint: endpoint.map(str::to_owned),
                by,
                core_hour: price("1"),
                gib_hour: price("0.1"),
                gpu_hour: price("10"),
                csv: false,
                watch: false,
            };
            let prices = prices(&args).expect("prices");
            let sums = add_up(&args, &replicas, &slots, &BTreeMap::from([("a", 1_000)]), 1_000, &prices);
            let rows = sums.into_iter().map(|((endpoint, deployment), sum)| Row::of(endpoint, deployment, &sum));
            rows.map(|row| (row.deployment, row.replicas, row.cores, row.memory_gib, row.gpus, row.per_hour))
                .collect::<Vec<_>>()
        };
        let (blue, green) = (("blue".into(), 2, 5.0, 10.0, 1.0, 16.0), ("green".into(), 1, 4.0, 2.0, 0.5, 9.2));
        assert_eq!(Vec::from([blue, green]), bill(By::Deployment, None));
        assert_eq!(Vec::from([(String::new(), 3, 9.0, 12.0, 1.5, 25.2)]), bill(By::Endpoint, Some("fraud")));
        assert_eq!(Vec::<(String, u64, f64, f64, f64, f64)>::new(), bill(By::Endpoint, Some("other")));
    }

    #[test]
    fn the_file_has_a_line_for_every_row() {
        let sum = Sum { replicas: 1, ..Sum::default() };
        let text = csv(&[Row::of("fraud".into(), "a,b".into(), &sum)]).expect("a file");
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|head| head.starts_with("endpoint,deployment,replicas,reserve_slots,cores")));
        assert!(lines.next().is_some_and(|row| row.starts_with("fraud,\"a,b\",1,0,0.0,")), "{text}");
    }
}
