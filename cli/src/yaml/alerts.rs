//! `alerts` of an endpoint: a rule in words, or a mapping that says more about one.

use berth_core::model::{AlertRule, AlertSeverity, Condition, DeploymentName};

use super::{
    fields::{Field, Fields},
    finding::Findings,
};

/// Reads all rules; the list replaces those that were there.
pub(super) fn read(field: &Field<'_>, findings: &mut Findings) -> Vec<AlertRule> {
    field.items(findings).iter().filter_map(|item| rule(item, findings)).collect()
}

fn rule(field: &Field<'_>, findings: &mut Findings) -> Option<AlertRule> {
    if field.node.entries().is_none() {
        return condition(field, findings).map(AlertRule::new);
    }
    let mut fields = Fields::open(field, findings);
    let when = match fields.take("when") {
        Some(when) => condition(&when, findings),
        None => {
            field.refuse(findings, "has no `when`", "when: error rate > 1 % for 5m");
            None
        }
    };
    let name = fields.take("name").and_then(|name| name.text(findings));
    let deployment = fields.take("deployment").and_then(|field| {
        let text = field.text(findings)?;
        DeploymentName::new(text).map_err(|error| field.refuse(findings, error.to_string(), "")).ok()
    });
    let severity = fields.take("severity").and_then(|field| field.word(&["critical", "warning"], findings));
    let notify = fields.take("notify").map(|field| field.texts(findings));
    let min_requests = fields.take("min_requests").and_then(|field| field.number(1..=1_000_000_000, findings));
    fields.finish(findings);
    let default = AlertRule::new(when?);
    Some(AlertRule {
        name: name.map_or(default.name, str::to_owned),
        deployment,
        severity: if severity == Some("warning") { AlertSeverity::Warning } else { AlertSeverity::Critical },
        notify: notify.unwrap_or_default(),
        min_requests: min_requests.unwrap_or(default.min_requests),
        when: default.when,
    })
}

fn condition(field: &Field<'_>, findings: &mut Findings) -> Option<Condition> {
    match field.text(findings)?.parse() {
        Ok(condition) => Some(condition),
        Err(error) => {
            let berth_core::model::ConditionError { what, try_ } = error;
            field.refuse(findings, what, try_);
            None
        }
    }
}
