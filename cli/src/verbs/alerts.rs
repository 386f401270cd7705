//! `berth alerts`: every rule and how it stands; `berth alerts test RECEIVER` tries whether alerts arrive.

use std::collections::BTreeSet;

use berth_client::api::{AlertStatus, ListAlertsResponse};
use berth_core::error::{Code, Error};
use tokio::time::{Duration, timeout};

use super::Context;
use crate::{
    args::{AlertsArgs, AlertsVerb},
    output::{Cell, Fault, Ink, Listed, now_ms},
    view::age,
};

/// Rules change with what is measured, not with events alone.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub(super) async fn run(context: &Context, args: AlertsArgs) -> Result<(), Fault> {
    if let Some(AlertsVerb::Test { receiver }) = args.verb {
        return test(context, &receiver).await;
    }
    let endpoint = args.endpoint.unwrap_or_default().to_ascii_lowercase();
    if args.watch {
        return watch(context, &endpoint).await;
    }
    let found = context.client.alerts(&endpoint).await?;
    let out = &context.out;
    if out.is_lines() || out.is_names() {
        return Ok(out.list(&found.alerts, "")?);
    }
    let names: Vec<String> = found.alerts.iter().map(Listed::name).collect();
    Ok(out.value(&found, &names.join("\n"), || show(context, &found))?)
}

fn show(context: &Context, found: &ListAlertsResponse) {
    let out = &context.out;
    if found.alerts.is_empty() {
        out.note("no rules; an endpoint's file names them: `alerts: [error rate > 1 % for 5m]`");
    } else {
        out.line(out.rendered(&out.table(&found.alerts)));
    }
    for alert in found.alerts.iter().filter(|alert| !alert.text.is_empty()) {
        let untold = if alert.told { "" } else { " (being told)" };
        out.line(format!("  {}/{}: {}{untold}", alert.endpoint, alert.rule, alert.text));
    }
    let known: BTreeSet<&str> = found.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    let told: Vec<_> =
        found.receivers.iter().map(|receiver| format!("{} ({})", receiver.name, receiver.kind)).collect();
    if told.is_empty() && !found.alerts.is_empty() {
        out.aside("nobody is told but the events; `berth coordinator --alert-webhooks NAME=URL` names somebody");
    } else if !told.is_empty() {
        out.aside(format!("told: {}; `berth alerts test NAME` tries one", told.join(", ")));
    }
    for alert in &found.alerts {
        for name in alert.notify.iter().filter(|name| !known.contains(name.as_str())) {
            let warning = out.paint("warning:", Ink::Yellow);
            out.line(format!(
                "{warning} {}/{} names `{name}`, which the leader does not know",
                alert.endpoint, alert.rule
            ));
        }
    }
}

async fn watch(context: &Context, endpoint: &str) -> Result<(), Fault> {
    let next = context.client.events().await?.last().map_or(0, |event| event.seq + 1);
    let mut events = context.client.watch_events(Some(next));
    let mut shown = Vec::new();
    loop {
        let found = context.client.alerts(endpoint).await?.alerts;
        let stands: Vec<_> = found.iter().map(|it| (it.endpoint.clone(), it.rule.clone(), it.state.clone())).collect();
        let fresh: Vec<_> = found
            .into_iter()
            .zip(&stands)
            .filter(|(_, stand)| !shown.contains(*stand))
            .map(|(alert, _)| alert)
            .collect();
        if context.out.is_for_programs() {
            fresh.iter().try_for_each(|alert| context.out.json_line(alert))?;
        } else if shown.is_empty() {
            context.out.list(&fresh, "no rules")?;
        } else {
            context.out.rows(&fresh);
        }
        shown = stands;
        // Whatever wakes first: the figures move by themselves.
        if let Ok(event) = timeout(LOOK_AGAIN, events.next()).await {
            event?;
        }
    }
}

async fn test(context: &Context, receiver: &str) -> Result<(), Fault> {
    let tested = context.client.test_receiver(receiver).await?;
    if !tested.delivered {
        return Err(Error::new(Code::Upstream, format!("`{receiver}` did not take it"))
            .why(tested.why)
            .try_("look at the receiver's own log, and at the address that the coordinators have for it")
            .into());
    }
    Ok(context.out.value(&tested, receiver, || context.out.done(format!("`{receiver}` took a test message")))?)
}

impl Listed for AlertStatus {
    const COLUMNS: &'static [&'static str] = &["ALERT", "STATE", "SINCE", "VALUE", "WHEN", "OF", "SEVERITY", "NOTIFY"];
    const NARROW: usize = 5;

    fn name(&self) -> String {
        format!("{}/{}", self.endpoint, self.rule)
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let of = if self.deployment.is_empty() { "all" } else { &self.deployment };
        vec![
            self.name().into(),
            Cell::state(&self.state),
            age(self.since_ms, now_ms()).into(),
            if self.value.is_empty() { "-".into() } else { self.value.as_str().into() },
            self.when.as_str().into(),
            of.into(),
            self.severity.as_str().into(),
            if self.notify.is_empty() { "all".into() } else { self.notify.join(",").into() },
        ]
    }
}
