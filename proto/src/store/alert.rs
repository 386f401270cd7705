//! Alert rules and alerts, to and from their stored form.

use berth_core::{
    error::Error,
    id::LogIndex,
    model::{Alert, AlertKey, AlertRule, AlertSeverity, AlertState, Condition},
    state::{AlertChange, AlertTold},
    time::LogTime,
};

use super::v1;
use crate::convert::{Wire, damaged, enum_wire, name, need};

enum_wire!(AlertSeverity, v1::AlertSeverity, Warning, Critical);
enum_wire!(AlertState, v1::AlertState, Firing, Resolved);

impl Wire<AlertRule> for v1::AlertRule {
    fn wire(value: &AlertRule) -> Self {
        Self {
            name: value.name.clone(),
            when: value.when.to_string(),
            deployment: value.deployment.as_ref().map(ToString::to_string).unwrap_or_default(),
            severity: i32::wire(&value.severity),
            notify: value.notify.clone(),
            min_requests: value.min_requests,
        }
    }

    fn core(self) -> Result<AlertRule, Error> {
        let when: Condition = self.when.parse().map_err(|error| damaged(format!("`alerts`: {error}")))?;
        let default = AlertRule::new(when);
        Ok(AlertRule {
            name: if self.name.is_empty() { default.name } else { self.name },
            when,
            deployment: if self.deployment.is_empty() { None } else { Some(name(&self.deployment)?) },
            severity: if self.severity == 0 { default.severity } else { self.severity.core()? },
            notify: self.notify,
            min_requests: if self.min_requests == 0 { default.min_requests } else { self.min_requests },
        })
    }
}

impl Wire<Alert> for v1::Alert {
    fn wire(value: &Alert) -> Self {
        Self {
            endpoint: value.key.endpoint.to_string(),
            rule: Some(Wire::wire(&value.rule)),
            state: i32::wire(&value.state),
            fired_at_ms: value.fired_at.millis(),
            since_ms: value.since.millis(),
            value: value.value,
            text: value.text.clone(),
            revision: value.revision.0,
            told: value.told,
        }
    }

    fn core(self) -> Result<Alert, Error> {
        let rule: AlertRule = need(self.rule, "rule")?.core()?;
        Ok(Alert {
            key: AlertKey { endpoint: name(&self.endpoint)?, rule: rule.name.clone() },
            rule,
            state: self.state.core()?,
            fired_at: LogTime::from_millis(self.fired_at_ms),
            since: LogTime::from_millis(self.since_ms),
            value: self.value,
            text: self.text,
            revision: LogIndex(self.revision),
            told: self.told,
        })
    }
}

impl Wire<AlertChange> for v1::AlertChange {
    fn wire(value: &AlertChange) -> Self {
        Self {
            endpoint: value.key.endpoint.to_string(),
            rule: Some(Wire::wire(&value.rule)),
            to: i32::wire(&value.to),
            value: value.value,
            text: value.text.clone(),
        }
    }

    fn core(self) -> Result<AlertChange, Error> {
        let rule: AlertRule = need(self.rule, "rule")?.core()?;
        Ok(AlertChange {
            key: AlertKey { endpoint: name(&self.endpoint)?, rule: rule.name.clone() },
            rule,
            to: self.to.core()?,
            value: self.value,
            text: self.text,
        })
    }
}

impl Wire<AlertTold> for v1::AlertTold {
    fn wire(value: &AlertTold) -> Self {
        Self {
            endpoint: value.key.endpoint.to_string(),
            rule: value.key.rule.clone(),
            revision: value.revision.0,
            given_up: value.given_up.clone(),
        }
    }

    fn core(self) -> Result<AlertTold, Error> {
        Ok(AlertTold {
            key: AlertKey { endpoint: name(&self.endpoint)?, rule: self.rule },
            revision: LogIndex(self.revision),
            given_up: self.given_up,
        })
    }
}
