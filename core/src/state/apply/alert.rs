//! Alerts: what began to be bad, what is over, and who was told.

use super::{ClusterState, Context, EventSubject, Reply, Severity, cluster::stale_term};
use crate::{
    error::Error,
    id::Term,
    model::{Alert, AlertKey, AlertRule, AlertSeverity, AlertState, DeploymentKey, EndpointName},
    state::{AlertChange, AlertTold},
};

impl ClusterState {
    /// Keeps what changed. What is so already, or whose rule is another one by now, is left out: the leader looks again.
    pub(super) fn alerts_change(
        &mut self,
        cx: &mut Context,
        term: Term,
        changes: &[AlertChange],
    ) -> Result<Reply, Error> {
        if term < self.term {
            return Err(stale_term(term, self.term));
        }
        for change in changes {
            let fires = self.alerts.get(&change.key).is_some_and(Alert::is_firing);
            let has_rule = self
                .endpoints
                .get(&change.key.endpoint)
                .is_some_and(|endpoint| endpoint.spec.alerts.contains(&change.rule));
            match change.to {
                AlertState::Firing if !fires && has_rule => {
                    let alert = Alert {
                        key: change.key.clone(),
                        rule: change.rule.clone(),
                        state: AlertState::Firing,
                        fired_at: cx.now,
                        since: cx.now,
                        value: change.value,
                        text: change.text.clone(),
                        revision: cx.index,
                        told: false,
                    };
                    tell(cx, &alert);
                    self.alerts.insert(change.key.clone(), alert);
                }
                AlertState::Resolved if fires => self.alert_end(cx, &change.key, change.value, &change.text),
                AlertState::Firing | AlertState::Resolved => {}
            }
        }
        cx.done()
    }

    /// Keeps who was told; what is over and told is forgotten.
    pub(super) fn alerts_told(&mut self, cx: &mut Context, term: Term, told: &[AlertTold]) -> Result<Reply, Error> {
        if term < self.term {
            return Err(stale_term(term, self.term));
        }
        for told in told {
            let known = self.alerts.get_mut(&told.key);
            let Some(alert) = known.filter(|alert| alert.revision == told.revision && !alert.told) else { continue };
            alert.told = true;
            if !told.given_up.is_empty() {
                let text = format!("alert {} was not delivered to {}", told.key, told.given_up.join("; "));
                cx.event(Severity::Warning, "alert.undelivered", about(&alert.key, &alert.rule), text);
            }
            if alert.state == AlertState::Resolved {
                self.alerts.remove(&told.key);
            }
        }
        cx.done()
    }

    /// Ends alerts whose rule is gone or is another one now.
    pub(super) fn alerts_of_changed(&mut self, cx: &mut Context, name: &EndpointName) {
        let rules = self.endpoints.get(name).map_or(&[][..], |endpoint| &endpoint.spec.alerts);
        let gone = self
            .alerts
            .values()
            .filter(|alert| alert.key.endpoint == *name && alert.is_firing() && !rules.contains(&alert.rule));
        let gone: Vec<AlertKey> = gone.map(|alert| alert.key.clone()).collect();
        for key in gone {
            self.alert_end(cx, &key, None, &format!("rule {} of {name} was changed or taken away", key.rule));
        }
    }

    fn alert_end(&mut self, cx: &mut Context, key: &AlertKey, value: Option<u64>, text: &str) {
        let Some(alert) = self.alerts.get_mut(key) else { return };
        alert.state = AlertState::Resolved;
        alert.since = cx.now;
        alert.value = value;
        text.clone_into(&mut alert.text);
        alert.revision = cx.index;
        alert.told = false;
        tell(cx, alert);
    }
}

fn tell(cx: &mut Context, alert: &Alert) {
    let severity = match (alert.state, alert.rule.severity) {
        (AlertState::Resolved, _) => Severity::Info,
        (AlertState::Firing, AlertSeverity::Warning) => Severity::Warning,
        (AlertState::Firing, AlertSeverity::Critical) => Severity::Error,
    };
    let kind = format!("alert.{}", alert.state.word());
    cx.event(severity, &kind, about(&alert.key, &alert.rule), format!("{}: {}", alert.key.rule, alert.text));
}

fn about(key: &AlertKey, rule: &AlertRule) -> EventSubject {
    EventSubject {
        endpoint: Some(key.endpoint.clone()),
        deployment: rule.deployment.clone().map(|deployment| DeploymentKey::new(key.endpoint.clone(), deployment)),
        ..EventSubject::default()
    }
}
