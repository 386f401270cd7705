//! Cost: what is held, priced, and how much of it is idle.
//!
//! What is paid for is what was given, not what was used: a replica that sleeps keeps everybody else out all the same, and
//! so does a place held in reserve. How busy it was is told beside it. Prices are whole micros of any currency.

use std::ops::AddAssign;

use crate::time::Millis;

/// Milliseconds of an hour.
const HOUR_MS: u128 = 3_600_000;

/// What an hour costs, in millionths of whatever money is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Of a core.
    pub core_hour_micro: u64,
    /// Of a GiB of memory.
    pub gib_hour_micro: u64,
    /// Of a device.
    pub gpu_hour_micro: u64,
}

/// What one replica or slot holds, and what it uses of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Cores, in thousandths.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Devices, in thousandths.
    pub gpu_milli: u64,
    /// For how long it has held them.
    pub held_for: Millis,
    /// Cores and devices that were busy at the last measurement, in thousandths; nothing when it was not measured.
    pub used: Option<(u64, u64)>,
}

/// What a deployment, an endpoint or a cluster costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// Cores held now, in thousandths.
    pub cpu_milli: u64,
    /// Memory held now, in MiB.
    pub memory_mib: u64,
    /// Devices held now, in thousandths.
    pub gpu_milli: u64,
    /// What that costs per hour.
    pub per_hour_micro: u64,
    /// What has been held so far, in thousandths of a core, times hours.
    pub core_milli_hours: u64,
    /// The same of devices.
    pub gpu_milli_hours: u64,
    /// What that has cost.
    pub so_far_micro: u64,
    /// Of what was measured: held and busy cores, then devices.
    measured: [(u64, u64); 2],
}

// === impl Prices ===

impl Prices {
    /// Prices an amount held for a time.
    fn of(&self, held: &Held, time: Millis) -> u64 {
        let part = |amount: u64, unit: u64, price: u64| {
            u128::from(amount) * u128::from(price) * u128::from(time.0) / u128::from(unit) / HOUR_MS
        };
        let sum = part(held.cpu_milli, 1_000, self.core_hour_micro)
            + part(held.memory_mib, 1_024, self.gib_hour_micro)
            + part(held.gpu_milli, 1_000, self.gpu_hour_micro);
        u64::try_from(sum).unwrap_or(u64::MAX)
    }
}

// === impl Bill ===

impl Bill {
    /// Bills one replica or slot.
    pub fn of(held: &Held, prices: &Prices) -> Self {
        let hours =
            |milli: u64| u64::try_from(u128::from(milli) * u128::from(held.held_for.0) / HOUR_MS).unwrap_or(u64::MAX);
        let busy = |of: fn((u64, u64)) -> u64, all: u64| held.used.map_or((0, 0), |used| (all, of(used).min(all)));
        Self {
            cpu_milli: held.cpu_milli,
            memory_mib: held.memory_mib,
            gpu_milli: held.gpu_milli,
            per_hour_micro: prices.of(held, Millis(HOUR_MS as u64)),
            core_milli_hours: hours(held.cpu_milli),
            gpu_milli_hours: hours(held.gpu_milli),
            so_far_micro: prices.of(held, held.held_for),
            measured: [busy(|used| used.0, held.cpu_milli), busy(|used| used.1, held.gpu_milli)],
        }
    }

    /// Returns the idle share of the cores that were measured, in thousandths; nothing when none were.
    pub fn idle_cpu_permille(&self) -> Option<u64> {
        idle(self.measured[0])
    }

    /// Returns the idle share of the devices that were measured, in thousandths; nothing when none were.
    pub fn idle_gpu_permille(&self) -> Option<u64> {
        idle(self.measured[1])
    }
}

fn idle((held, busy): (u64, u64)) -> Option<u64> {
    (held.saturating_sub(busy)).saturating_mul(1_000).checked_div(held)
}

impl AddAssign for Bill {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.cpu_milli, other.cpu_milli);
        add(&mut self.memory_mib, other.memory_mib);
        add(&mut self.gpu_milli, other.gpu_milli);
        add(&mut self.per_hour_micro, other.per_hour_micro);
        add(&mut self.core_milli_hours, other.core_milli_hours);
        add(&mut self.gpu_milli_hours, other.gpu_milli_hours);
        add(&mut self.so_far_micro, other.so_far_micro);
        for (sum, more) in self.measured.iter_mut().zip(other.measured) {
            add(&mut sum.0, more.0);
            add(&mut sum.1, more.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices { core_hour_micro: 40_000, gib_hour_micro: 5_000, gpu_hour_micro: 2_500_000 };
    const HOUR: Millis = Millis(HOUR_MS as u64);

    fn held(cpu_milli: u64, gpu_milli: u64, held_for: Millis, used: Option<(u64, u64)>) -> Held {
        Held { cpu_milli, memory_mib: 0, gpu_milli, held_for, used }
    }

    #[test]
    fn what_is_held_is_paid_for() {
        for (what, per_hour, so_far, why) in [
            (held(2_000, 0, HOUR, None), 80_000, 80_000, "two cores for an hour"),
            (held(500, 0, Millis(HOUR.0 / 2), None), 20_000, 10_000, "half a core for half an hour"),
            (held(0, 250, HOUR, None), 625_000, 625_000, "a quarter of a card"),
            (Held { memory_mib: 2_048, ..held(0, 0, HOUR, None) }, 10_000, 10_000, "two GiB"),
            (held(1_000, 1_000, Millis(0), None), 2_540_000, 0, "placed this moment"),
            (held(u64::MAX, 0, HOUR, None), u64::MAX, u64::MAX, "no overflow"),
        ] {
            let bill = Bill::of(&what, &PRICES);
            assert_eq!((bill.per_hour_micro, bill.so_far_micro), (per_hour, so_far), "{why}");
        }
    }

    #[test]
    fn idle_is_what_was_held_and_not_busy() {
        for (used, cpu, gpu, why) in [
            (Some((500, 0)), Some(750), Some(1_000), "a quarter of the cores, no device"),
            (Some((9_000, 1_000)), Some(0), Some(0), "a burst beyond what was given is not idle"),
            (None, None, None, "not measured"),
        ] {
            let bill = Bill::of(&held(2_000, 1_000, HOUR, used), &PRICES);
            assert_eq!((bill.idle_cpu_permille(), bill.idle_gpu_permille()), (cpu, gpu), "{why}");
        }
        let mut sum = Bill::of(&held(1_000, 0, HOUR, Some((1_000, 0))), &PRICES);
        sum += Bill::of(&held(1_000, 0, HOUR, Some((0, 0))), &PRICES);
        // A slot is billed and says nothing about how busy replicas are.
        sum += Bill::of(&held(1_000, 0, HOUR, None), &PRICES);
        assert_eq!((sum.idle_cpu_permille(), sum.cpu_milli, sum.core_milli_hours), (Some(500), 3_000, 3_000));
        assert_eq!(Bill::default().idle_gpu_permille(), None);
    }
}
