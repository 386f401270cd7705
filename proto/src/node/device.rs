//! What a node says of its cards, to and from the wire.

use berth_core::{health::DeviceSign, time::Millis};

use super::v1;

/// Writes what a node makes of a card, with what it measured last.
pub fn device_sign_to_wire(value: &DeviceSign, sample: Option<v1::DeviceSample>) -> v1::DeviceReport {
    v1::DeviceReport {
        card: value.card.clone(),
        faults: value.faults,
        last_fault: value.last_fault.clone(),
        passing_ms: value.passing.map(|passing| passing.0),
        silent_ms: value.silent.0,
        notes: value.notes,
        last_note: value.last_note.clone(),
        sample,
    }
}

/// Reads what a node makes of a card.
pub fn device_sign_from_wire(wire: &v1::DeviceReport) -> DeviceSign {
    DeviceSign {
        card: wire.card.clone(),
        faults: wire.faults,
        last_fault: wire.last_fault.clone(),
        passing: wire.passing_ms.map(Millis),
        silent: Millis(wire.silent_ms),
        notes: wire.notes,
        last_note: wire.last_note.clone(),
    }
}
