//! What a receiver is told: JSON in the shape of Prometheus' Alertmanager, version 4, which pagers and chats take already.

use std::collections::BTreeMap;

use berth_core::{
    alert::Outgoing,
    id::Digest,
    model::{Alert, AlertState},
    time::LogTime,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::clock::wall;

/// The end of what has not ended, as Alertmanager writes it.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    /// What it says, as JSON.
    pub(super) body: Vec<u8>,
    /// The same for the same news, so that a receiver that hears it twice can tell.
    pub(super) id: String,
    /// `firing` as long as anything in it fires.
    pub(super) status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u32,
    status: &'static str,
    receiver: &'a str,
    group_labels: BTreeMap<&'static str, String>,
    common_labels: BTreeMap<&'static str, String>,
    common_annotations: BTreeMap<&'static str, String>,
    #[serde(rename = "externalURL")]
    external_url: &'static str,
    alerts: Vec<One>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    status: &'static str,
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'static str,
    fingerprint: String,
}

/// Words what a receiver is told.
pub(super) fn message(outgoing: &Outgoing, cluster: &str) -> Message {
    let alerts = outgoing.alerts.iter().map(|alert| one(alert, cluster)).collect();
    let news: Vec<String> = outgoing.alerts.iter().map(|alert| format!("{}@{}", alert.key, alert.revision.0)).collect();
    worded(&outgoing.receiver, cluster, alerts, &news.join("\n"))
}

/// Words something harmless.
pub(super) fn test(receiver: &str, cluster: &str) -> Message {
    let now = rfc3339(wall());
    let alert = One {
        status: AlertState::Firing.word(),
        labels: [("alertname", "test".to_owned()), ("cluster", cluster.to_owned()), ("severity", "none".to_owned())]
            .into(),
        annotations: [("summary", "somebody tries whether alerts arrive; there is nothing to do".to_owned())].into(),
        starts_at: now.clone(),
        ends_at: NO_END.to_owned(),
        generator_url: "",
        fingerprint: fingerprint(cluster, "test"),
    };
    worded(receiver, cluster, vec![alert], &now)
}

fn worded(receiver: &str, cluster: &str, alerts: Vec<One>, news: &str) -> Message {
    let fires = alerts.iter().any(|alert| alert.status == AlertState::Firing.word());
    let status = if fires { AlertState::Firing } else { AlertState::Resolved }.word();
    let body = Body {
        version: "4",
        group_key: format!("berth:{cluster}"),
        truncated_alerts: 0,
        status,
        receiver,
        group_labels: BTreeMap::new(),
        common_labels: [("cluster", cluster.to_owned())].into(),
        common_annotations: BTreeMap::new(),
        external_url: "",
        alerts,
    };
    let id = hex::encode(&Digest::of(format!("{cluster}\n{receiver}\n{news}").as_bytes()).0[..16]);
    // Texts and maps of texts: this cannot fail, and a receiver that gets nothing would say so.
    Message { body: serde_json::to_vec(&body).unwrap_or_default(), id, status }
}

fn one(alert: &Alert, cluster: &str) -> One {
    let mut labels: BTreeMap<&'static str, String> = [
        ("alertname", alert.key.rule.clone()),
        ("cluster", cluster.to_owned()),
        ("endpoint", alert.key.endpoint.to_string()),
        ("severity", alert.rule.severity.word().to_owned()),
    ]
    .into();
    if let Some(deployment) = &alert.rule.deployment {
        labels.insert("deployment", deployment.to_string());
    }
    let mut annotations: BTreeMap<&'static str, String> =
        [("summary", alert.text.clone()), ("rule", alert.rule.when.to_string())].into();
    if let Some(value) = alert.value {
        annotations.insert("value", alert.rule.when.measure.amount(value));
    }
    One {
        status: alert.state.word(),
        labels,
        annotations,
        starts_at: rfc3339(alert.fired_at),
        ends_at: if alert.is_firing() { NO_END.to_owned() } else { rfc3339(alert.since) },
        generator_url: "",
        fingerprint: fingerprint(cluster, &alert.key.to_string()),
    }
}

/// Names an alert, the same whenever it fires.
fn fingerprint(cluster: &str, key: &str) -> String {
    hex::encode(&Digest::of(format!("{cluster}/{key}").as_bytes()).0[..8])
}

fn rfc3339(at: LogTime) -> String {
    let at = i64::try_from(at.millis()).ok().and_then(DateTime::<Utc>::from_timestamp_millis).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use berth_core::{
        id::LogIndex,
        model::{AlertKey, AlertRule, EndpointName},
    };

    use super::*;

    fn alert(state: AlertState, revision: u64) -> Alert {
        let rule = AlertRule::new("error rate > 1 % for 5m".parse().expect("a condition"));
        Alert {
            key: AlertKey { endpoint: EndpointName::new("fraud").expect("a name"), rule: rule.name.clone() },
            rule,
            state,
            fired_at: LogTime::from_millis(1_700_000_000_123),
            since: LogTime::from_millis(1_700_000_300_000),
            value: Some(25_000),
            text: "error rate of fraud is 2.5 %, over 1 %, for 5m00s".into(),
            revision: LogIndex(revision),
            told: false,
        }
    }

    #[test]
    fn a_message_is_what_receivers_of_alertmanager_take() {
        let outgoing = |alerts| Outgoing { receiver: "pager".into(), alerts };
        let firing = message(&outgoing(vec![alert(AlertState::Firing, 9)]), "c1");
        let json: serde_json::Value = serde_json::from_slice(&firing.body).expect("JSON");
        assert_eq!(
            (&json["version"], &json["status"], &json["receiver"]),
            (&"4".into(), &"firing".into(), &"pager".into())
        );
        let one = &json["alerts"][0];
        assert_eq!(one["labels"]["alertname"], "error-rate");
        assert_eq!(one["labels"]["endpoint"], "fraud");
        assert_eq!(one["labels"]["severity"], "critical");
        assert_eq!(one["annotations"]["value"], "2.5 %");
        assert_eq!((&one["startsAt"], &one["endsAt"]), (&"2023-11-14T22:13:20.123Z".into(), &NO_END.into()));
        let resolved = message(&outgoing(vec![alert(AlertState::Resolved, 12)]), "c1");
        let json: serde_json::Value = serde_json::from_slice(&resolved.body).expect("JSON");
        assert_eq!((resolved.status, &json["alerts"][0]["endsAt"]), ("resolved", &"2023-11-14T22:18:20.000Z".into()));
        assert_eq!(json["alerts"][0]["fingerprint"], one["fingerprint"], "it is the same alert");
        assert_ne!(firing.id, resolved.id, "and other news");
        assert_eq!(firing.id, message(&outgoing(vec![alert(AlertState::Firing, 9)]), "c1").id, "a retry is known");
        let both = outgoing(vec![alert(AlertState::Resolved, 12), alert(AlertState::Firing, 9)]);
        assert_eq!(message(&both, "c1").status, "firing");
    }
}
