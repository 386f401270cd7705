//! What `-o json` prints: the API's own messages, in words, and never a key.

use berth_core::state::ClusterState;
use berth_proto::api::{self, v1};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

use crate::{any, protos::Protos, samples};

/// Prints a message and reads it again.
fn printed<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) -> serde_json::Value {
    let value = serde_json::to_value(message).expect("a message prints");
    assert_eq!(&serde_json::from_value::<T>(value.clone()).expect("what is printed reads back"), message);
    value
}

#[test]
fn every_noun_prints_and_reads_back() {
    let state = ClusterState::from_snapshot(samples::snapshot());
    for endpoint in state.endpoints.values() {
        let value = printed(&api::endpoint_message(&state, endpoint));
        assert_eq!(value["spec"]["auth_mode"], "none", "an enum is a word");
        assert_eq!(value["traffic"]["blue"], 90);
    }
    for deployment in state.deployments.values() {
        let value = printed(&api::deployment_message(&state, deployment));
        let asset = &value["spec"]["model"]["asset"];
        assert_eq!(asset["kind"], "file");
        let digest = deployment.spec.model.as_ref().map(|model| model.asset.digest.to_string());
        assert_eq!(asset["digest"].as_str(), digest.as_deref());
        assert_eq!(value["spec"]["model"]["model_type"], "mlflow_model");
    }
    for replica in state.replicas.values() {
        let value = printed(&api::replica_message(&state, replica, Some(3)));
        assert_eq!(value["replica"], replica.id.to_string());
        assert_eq!(value["state"], "lost", "the state of a lost node's replica");
        assert_eq!(value["in_flight"], 3);
    }
    for node in state.nodes.values() {
        let value = printed(&api::node_message(&state, node, None, &[]));
        assert_eq!(value["state"], node.state.word());
        assert_eq!(value["devices"][0]["uuid"], "GPU-1");
    }
    let events: Vec<_> = state.events.iter().map(|event| printed(&api::event_message(&state, event))).collect();
    let severities: Vec<_> = events.iter().map(|event| event["severity"].as_str().unwrap_or_default()).collect();
    assert_eq!(severities, ["info", "warning", "error"]);
}

#[test]
fn unknown_words_are_refused() {
    let state = ClusterState::from_snapshot(samples::snapshot());
    let endpoint = state.endpoints.values().next().expect("the sample has an endpoint");
    let mut value = printed(&api::endpoint_message(&state, endpoint));
    value["spec"]["auth_mode"] = "magic".into();
    let error = serde_json::from_value::<v1::Endpoint>(value).expect_err("no such mode");
    assert!(error.to_string().contains("magic"), "{error}");
}

/// Sealed keys leave a coordinator in the log and in snapshots alone: no message to users or nodes can hold one.
#[test]
fn sealed_keys_have_no_place_outside_the_store() {
    let protos = Protos::load();
    for package in ["berth.api.v1", "berth.node.v1"] {
        let sayable = protos.reachable(protos.messages_of(package));
        let sealed: Vec<_> = sayable
            .iter()
            .filter(|name| [".berth.store.v1.SealedKey", ".berth.store.v1.EndpointKeys"].contains(&name.as_str()))
            .collect();
        assert!(sealed.is_empty(), "{package} reaches {sealed:?}");
    }
    let stored = protos.reachable([".berth.store.v1.Snapshot".to_owned()]);
    assert!(stored.contains(".berth.store.v1.SealedKey"), "the check looks for a name that exists");
}

proptest! {
    #[test]
    fn specs_print_and_read_back(deployment in any::spec(), endpoint in any::endpoint_spec()) {
        printed(&api::deployment_spec_message(&deployment));
        printed(&api::endpoint_spec_message(&endpoint));
    }
}
