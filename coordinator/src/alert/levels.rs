//! Alerts as numbers of Prometheus: how every rule stands on the leader, and what became of messages.

use std::sync::atomic::AtomicU64;

use berth_core::{
    alert::{Stand, Standing},
    model::Measure,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What is told of alerts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    firing: Family<RuleLabels, Gauge>,
    value: Family<ValueLabels, Gauge<f64, AtomicU64>>,
    messages: Family<MessageLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    endpoint: String,
    rule: String,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ValueLabels {
    endpoint: String,
    rule: String,
    measure: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    receiver: String,
    outcome: &'static str,
}

// === impl Levels ===

impl Levels {
    /// Names them where a scrape finds them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("alert_firing", "1 while a rule of an endpoint fires, on the leader", self.firing.clone());
        let value = "What a rule measures, on the leader: a share of one, seconds, or a count; absent while unknown";
        registry.register("alert_value", value, self.value.clone());
        let messages = "Messages to receivers of alerts, by what became of them";
        registry.register("alert_messages", messages, self.messages.clone());
    }

    /// Counts a message that was sent.
    pub(super) fn sent(&self, receiver: &str, outcome: &Result<(), String>) {
        let outcome = if outcome.is_ok() { "taken" } else { "failed" };
        self.messages.get_or_create(&MessageLabels { receiver: receiver.to_owned(), outcome }).inc();
    }

    /// Brings the levels up to date. A member that does not lead has none: what it knew is another's by now.
    pub(crate) fn set(&self, standings: &[Standing]) {
        self.firing.clear();
        self.value.clear();
        for standing in standings {
            let (endpoint, rule) = (standing.key.endpoint.to_string(), standing.rule.name.clone());
            let severity = standing.rule.severity.word();
            let labels = RuleLabels { endpoint: endpoint.clone(), rule: rule.clone(), severity };
            self.firing.get_or_create(&labels).set(i64::from(standing.stand == Stand::Firing));
            if let Some(value) = standing.value {
                let measure = standing.rule.when.measure;
                let labels = ValueLabels { endpoint, rule, measure: word(measure) };
                self.value.get_or_create(&labels).set(in_base_units(measure, value));
            }
        }
    }
}

/// Shares of one and seconds, as Prometheus has them.
fn in_base_units(measure: Measure, value: u64) -> f64 {
    match measure {
        Measure::ErrorRate | Measure::ShedRate | Measure::P50 | Measure::P95 | Measure::P99 => {
            value as f64 / 1_000_000.0
        }
        Measure::Queue | Measure::ReplicasShort | Measure::ReserveShort => value as f64,
    }
}

fn word(measure: Measure) -> &'static str {
    match measure {
        Measure::ErrorRate => "error_rate",
        Measure::ShedRate => "shed_rate",
        Measure::P50 => "p50_seconds",
        Measure::P95 => "p95_seconds",
        Measure::P99 => "p99_seconds",
        Measure::Queue => "queue",
        Measure::ReplicasShort => "replicas_short",
        Measure::ReserveShort => "reserve_short",
    }
}

#[cfg(test)]
mod tests {
    use berth_core::{
        model::{AlertKey, AlertRule},
        time::Millis,
    };
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn standing(rule: &str, stand: Stand, value: Option<u64>) -> Standing {
        let rule = AlertRule::new(rule.parse().expect("a rule"));
        let key = AlertKey { endpoint: "fraud".parse().expect("a name"), rule: rule.name.clone() };
        Standing { key, rule, stand, value, held: Millis(0) }
    }

    fn text(levels: &Levels) -> Vec<String> {
        let mut registry = Registry::with_prefix("berth_coordinator");
        levels.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn a_rule_is_a_level_while_somebody_knows_it() {
        let levels = Levels::default();
        levels.set(&[
            standing("error rate > 1 % for 5m", Stand::Firing, Some(25_000)),
            standing("p99 > 1 s for 5m", Stand::Unknown, None),
        ]);
        let found = text(&levels);
        for wanted in [
            r#"berth_coordinator_alert_firing{endpoint="fraud",rule="error-rate",severity="critical"} 1"#,
            r#"berth_coordinator_alert_firing{endpoint="fraud",rule="p99",severity="critical"} 0"#,
            r#"berth_coordinator_alert_value{endpoint="fraud",rule="error-rate",measure="error_rate"} 0.025"#,
        ] {
            assert!(found.iter().any(|line| line == wanted), "{wanted} in {found:?}");
        }
        assert_eq!(found.len(), 3, "what is not measured has no value: {found:?}");
        levels.set(&[]);
        assert_eq!(text(&levels), [] as [String; 0], "a rule that is gone, or another member's, is no level");
    }

    #[test]
    fn messages_are_counted_by_what_became_of_them() {
        let levels = Levels::default();
        levels.sent("pager", &Ok(()));
        levels.sent("pager", &Err("503".into()));
        levels.sent("pager", &Err("503".into()));
        let found = text(&levels);
        let counts = |outcome: &str, count: u32| {
            let line =
                format!(r#"berth_coordinator_alert_messages_total{{receiver="pager",outcome="{outcome}"}} {count}"#);
            found.contains(&line)
        };
        assert!(counts("taken", 1) && counts("failed", 2), "{found:?}");
    }
}
