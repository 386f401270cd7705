//! Between agents and coordinators: orders, reports, route tables.

mod device;
mod mirror;
mod order;
mod table;

/// Version 1.
#[expect(missing_docs, reason = "generated; the .proto files hold the words")]
pub mod v1 {
    tonic::include_proto!("berth.node.v1");
}

pub use device::{device_sign_from_wire, device_sign_to_wire};
pub use mirror::{tally_from_wire, verdicts_to_wire};
pub use order::{
    acks_from_wire, acks_to_wire, assignments_from_wire, assignments_to_wire, prefetch_from_wire, prefetch_to_wire,
    profile_from_wire, profile_to_wire, report_from_wire, report_to_wire,
};
pub use table::{
    TableMessage, change_from_wire, change_to_wire, decode_table, encode_table, heartbeat_to_wire, table_from_wire,
    table_to_wire,
};
