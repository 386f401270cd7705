//! Every conversion loses nothing.

use berth_core::{
    error::Code,
    id::Digest,
    state::{Command, PutMode},
    traffic::{
        acks::TableAcks,
        change::{Resync, TableChange},
    },
};
use berth_proto::{
    api,
    node::{self, TableMessage},
    status::{from_status, to_status},
    store,
};
use proptest::prelude::*;
use prost::Message;

use crate::{any, samples};

/// Sends a message as bytes, as gRPC does.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("what was encoded decodes")
}

/// What cannot be read from a caller is the caller's mistake, never a damaged store.
#[test]
fn mistakes_of_callers_are_theirs() {
    let misspelt = api::v1::TrafficMap { percent: [("no name".to_owned(), 100)].into() };
    let odd_mode = store::v1::EndpointSpec { auth_mode: 99, ..Default::default() };
    for (refusal, why) in [
        (api::endpoint_spec(None).err(), "no spec at all"),
        (api::deployment_spec(None).err(), "no spec at all"),
        (api::endpoint_spec(Some(odd_mode)).err(), "an enum value of no meaning"),
        (api::deployment_spec(Some(Default::default())).err(), "a spec without a runtime"),
        (api::traffic(misspelt).err(), "a name that breaks the rules"),
        (api::put_mode(99).err(), "a mode of no meaning"),
    ] {
        assert_eq!(refusal.map(|error| error.code), Some(Code::Invalid), "{why}");
    }
}

#[test]
fn what_callers_send_rightly_is_taken() {
    let entries = samples::entries();
    let specs = entries.iter().filter_map(|(_, entry)| match &entry.command {
        Command::DeploymentPut { spec, .. } => Some(&**spec),
        _ => None,
    });
    let python = specs.filter(|spec| spec.resources.gpus == 1 && spec.validate().is_ok()).collect::<Vec<_>>();
    assert!(!python.is_empty(), "a sample keeps every rule");
    for spec in python {
        assert_eq!(api::deployment_spec(Some(api::deployment_spec_message(spec))).as_ref(), Ok(spec));
    }
    for (wire, mode) in [
        (api::v1::PutMode::Upsert, PutMode::Upsert),
        (api::v1::PutMode::Create, PutMode::Create),
        (api::v1::PutMode::Update, PutMode::Update),
    ] {
        assert_eq!(api::put_mode(wire as i32), Ok(mode));
    }
}

proptest! {
    #[test]
    fn entries(entry in any::entry()) {
        let bytes = store::encode_entry(&entry);
        let read = store::decode_entry(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&entry));
        prop_assert_eq!(read.map(|read| store::encode_entry(&read)), Ok(bytes), "equal values have equal bytes");
    }

    #[test]
    fn replies(reply in any::reply()) {
        prop_assert_eq!(store::decode_reply(&store::encode_reply(&reply)), Ok(reply));
    }

    #[test]
    fn snapshots(snapshot in any::snapshot()) {
        let bytes = store::encode_snapshot(&snapshot);
        let read = store::decode_snapshot(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&snapshot));
        prop_assert_eq!(read.map(|read| store::encode_snapshot(&read)), Ok(bytes), "members compare them by digest");
    }

    #[test]
    fn tables_on_disk(table in any::table()) {
        let read = node::decode_table(&node::encode_table(&table));
        prop_assert_eq!(read.as_ref().map(berth_core::traffic::table::RouteTable::digest), Ok(table.digest()));
        prop_assert_eq!(read, Ok(table));
    }

    #[test]
    fn a_whole_table_sent(table in any::table()) {
        let change = TableChange::Full(table);
        let read = node::change_from_wire(sent(&node::change_to_wire(&change)));
        prop_assert_eq!(read, Ok(TableMessage::Change(change)));
    }

    #[test]
    fn a_delta_sent_leads_to_the_newer_table(held in any::table(), mut newer in any::table()) {
        newer.version = newer.version.max(held.version);
        newer.cluster_id.clone_from(&held.cluster_id);
        let change = TableChange::Delta(held.delta_to(&newer));
        let read = node::change_from_wire(sent(&node::change_to_wire(&change)));
        prop_assert_eq!(read.as_ref(), Ok(&TableMessage::Change(change)));
        let Ok(TableMessage::Change(change)) = read else { return Err(TestCaseError::fail("no change came")) };
        // A delta goes by revisions: a route that changed under an unchanged revision is outside the log's promise.
        for (name, route) in &mut newer.endpoints {
            if let Some(known) = held.endpoints.get(name).filter(|known| known.revision == route.revision) {
                route.clone_from(known);
            }
        }
        prop_assert_eq!(held.apply(change), Ok(newer));
    }

    #[test]
    fn a_delta_onto_another_version_asks_for_everything(held in any::table(), newer in any::table()) {
        let mut other = held.clone();
        other.version.0 = held.version.0 ^ 1;
        let change = TableChange::Delta(held.delta_to(&newer));
        let Ok(TableMessage::Change(change)) = node::change_from_wire(sent(&node::change_to_wire(&change))) else {
            return Err(TestCaseError::fail("no change came"));
        };
        prop_assert_eq!(other.apply(change), Err(Resync::Base { applies_to: held.version, have: other.version }));
    }

    #[test]
    fn heartbeats_of_a_feed(
        version in any::index(),
        digest in any::<[u8; 32]>().prop_map(Digest),
        expected in prop::collection::vec(any::expected(), 0..3),
    ) {
        let read = node::change_from_wire(sent(&node::heartbeat_to_wire(version, digest, &expected)));
        prop_assert_eq!(read, Ok(TableMessage::Heartbeat { version, digest, expected }));
    }

    #[test]
    fn orders(orders in any::assignments()) {
        let read = node::assignments_from_wire(sent(&node::assignments_to_wire(&orders)));
        prop_assert_eq!(read, Ok(orders));
    }

    #[test]
    fn reports(report in any::report()) {
        prop_assert_eq!(node::report_from_wire(sent(&node::report_to_wire(&report))), Ok(report));
    }

    #[test]
    fn profiles(profile in any::profile()) {
        prop_assert_eq!(node::profile_from_wire(sent(&node::profile_to_wire(&profile))), Ok(profile));
    }

    #[test]
    fn acks(received in any::index(), applied in any::index(), warm in any::index()) {
        let acks = TableAcks { received, applied, warm };
        prop_assert_eq!(node::acks_from_wire(&sent(&node::acks_to_wire(acks))), acks);
    }

    #[test]
    fn errors(error in any::error()) {
        prop_assert_eq!(from_status(&to_status(&error)), error);
    }

    /// A caller's spec is taken as it was sent exactly when it keeps the rules.
    #[test]
    fn specs_of_callers(deployment in any::spec(), endpoint in any::endpoint_spec()) {
        let expected = deployment.validate().map(|()| deployment.clone());
        prop_assert_eq!(api::deployment_spec(Some(sent(&api::deployment_spec_message(&deployment)))), expected);
        let expected = endpoint.validate().map(|()| endpoint.clone());
        prop_assert_eq!(api::endpoint_spec(Some(sent(&api::endpoint_spec_message(&endpoint)))), expected);
    }
}
