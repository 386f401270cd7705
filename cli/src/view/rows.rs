//! Rows of Azure's diagnostic tables, for those whose queries name them: a line of JSON each.

use std::collections::BTreeMap;

use berth_client::api::Event;
use berth_core::agent::ProbeKind;
use serde::Serialize;

use super::iso;

/// A row of `AmlOnlineEndpointEventLog`; what follows `Message` is ours.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EventRow<'a> {
    time_generated: String,
    operation_name: &'static str,
    instance_id: &'a str,
    deployment_name: &'a str,
    /// Azure's word for it.
    name: &'a str,
    message: &'a str,
    endpoint_name: &'a str,
    kind: &'a str,
    seq: u64,
}

/// A row of `AmlOnlineEndpointConsoleLog`; `EndpointName` is ours.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ConsoleRow<'a> {
    /// When it was written, or from a node that keeps no times when it was read.
    time_generated: String,
    operation_name: &'static str,
    instance_id: &'a str,
    deployment_name: &'a str,
    container_name: &'static str,
    message: &'a str,
    endpoint_name: &'a str,
}

/// Azure's names of what happens to an instance; anything else keeps ours.
static NAMES: [(&str, &str); 7] = [
    ("replica.placed", "Created"),
    ("replica.starting", "Pulled"),
    ("replica.warm", "Started"),
    ("replica.draining", "Killing"),
    ("replica.stopped", "Killing"),
    ("replica.failed", "BackOff"),
    ("replica.crash_looping", "BackOff"),
];

// === impl EventRow ===

impl<'a> EventRow<'a> {
    /// Words an event.
    pub(crate) fn of(event: &'a Event) -> Self {
        let names: BTreeMap<&str, &str> = NAMES.into();
        let probe = match event.kind.as_str() {
            "replica.failed" | "replica.crash_looping" => ProbeKind::of_reason(&event.text),
            _ => None,
        };
        let probe = probe.map(|kind| match kind {
            ProbeKind::Liveness => "LivenessProbeFailed",
            ProbeKind::Readiness => "ReadinessProbeFailed",
        });
        Self {
            time_generated: iso(event.at_ms),
            operation_name: "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/event",
            instance_id: &event.replica,
            deployment_name: &event.deployment,
            name: probe.or(names.get(event.kind.as_str()).copied()).unwrap_or(&event.kind),
            message: &event.text,
            endpoint_name: &event.endpoint,
            kind: &event.kind,
            seq: event.seq,
        }
    }
}

// === impl ConsoleRow ===

impl<'a> ConsoleRow<'a> {
    /// Words a line that a replica wrote, or that preparing it did.
    pub(crate) fn of(
        endpoint: &'a str,
        deployment: &'a str,
        replica: &'a str,
        at_ms: Option<u64>,
        line: &'a str,
        prepare: bool,
    ) -> Self {
        Self {
            time_generated: iso(at_ms.unwrap_or_else(crate::output::now_ms)),
            operation_name: "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/console",
            instance_id: replica,
            deployment_name: deployment,
            container_name: if prepare { "storage-initializer" } else { "inference-server" },
            message: line,
            endpoint_name: endpoint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_azures_names_where_there_are_some() {
        for (kind, text, name) in [
            ("replica.placed", "", "Created"),
            ("replica.warm", "", "Started"),
            ("replica.draining", "", "Killing"),
            ("replica.failed", "its process ended", "BackOff"),
            ("replica.failed", "is failed: readiness probe failed 3 times in a row: no", "ReadinessProbeFailed"),
            ("replica.crash_looping", "so far: liveness probe failed 1 times in a row: no", "LivenessProbeFailed"),
            ("replica.failed", "is failed: exited with 1: no liveness without readiness", "BackOff"),
            ("replica.stopped", "is stopped: readiness probe: no", "Killing"),
            ("node.lost", "", "node.lost"),
        ] {
            let event = Event { kind: kind.into(), text: text.into(), at_ms: 1_700_000_000_123, ..Event::default() };
            let row = serde_json::to_value(EventRow::of(&event)).expect("JSON");
            assert_eq!((&row["Name"], &row["Kind"]), (&name.into(), &kind.into()));
            assert_eq!(row["TimeGenerated"], "2023-11-14T22:13:20.123Z");
        }
    }

    #[test]
    fn lines_name_their_container() {
        for (prepare, container) in [(false, "inference-server"), (true, "storage-initializer")] {
            let row = serde_json::to_value(ConsoleRow::of("e", "d", "r", Some(1_700_000_000_123), "hello", prepare))
                .expect("JSON");
            assert_eq!((&row["ContainerName"], &row["Message"]), (&container.into(), &"hello".into()));
            assert_eq!(row["TimeGenerated"], "2023-11-14T22:13:20.123Z");
        }
    }
}
