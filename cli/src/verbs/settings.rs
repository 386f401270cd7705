//! `berth operator settings`: what holds for the whole cluster.

use std::time::Duration;

use berth_client::store::{Settings, SettingsChange};
use berth_core::{defaults::DEFAULTS, time::Millis};

use super::Context;
use crate::{
    args::{SettingsArgs, SettingsVerb},
    output::{Fault, Ink},
};

pub(super) async fn run(context: &Context, verb: SettingsVerb) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    let settings = match verb {
        SettingsVerb::Show => client.settings().await?,
        SettingsVerb::Set(args) => client.set_settings(change(&args)).await?,
    };
    Ok(out.value(&settings, "settings", || {
        for (name, value, default) in rows(&settings) {
            let line = format!("{name:<18} = {value}");
            let aside = if value == default { String::new() } else { format!("  default {default}") };
            out.line(format!("{line}{}", out.paint(&aside, Ink::Grey)));
        }
    })?)
}

/// Lists each setting as people read it, with its default.
fn rows(settings: &Settings) -> [(&'static str, String, String); 14] {
    let span = |ms: u64| exact(Millis(ms));
    [
        ("suspect_after", span(settings.suspect_after_ms), exact(DEFAULTS.suspect_after)),
        ("lost_after", span(settings.lost_after_ms), exact(DEFAULTS.lost_after)),
        ("restart_grace", span(settings.restart_grace_ms), exact(DEFAULTS.restart_grace)),
        ("brake_percent", settings.brake_percent.to_string(), DEFAULTS.brake_percent.to_string()),
        ("brake_floor", settings.brake_floor.to_string(), DEFAULTS.brake_floor.to_string()),
        ("brake_window", span(settings.brake_window_ms), exact(DEFAULTS.brake_window)),
        ("returns_free", settings.returns_free.to_string(), DEFAULTS.returns_free.to_string()),
        ("returns_window", span(settings.returns_window_ms), exact(DEFAULTS.returns_window)),
        ("return_hold", span(settings.return_hold_ms), exact(DEFAULTS.return_hold)),
        ("return_hold_max", span(settings.return_hold_max_ms), exact(DEFAULTS.return_hold_max)),
        ("device_silent", span(settings.device_silent_ms), exact(DEFAULTS.device_silent)),
        ("device_probation", span(settings.device_probation_ms), exact(DEFAULTS.device_probation)),
        ("device_strikes_max", settings.device_strikes_max.to_string(), DEFAULTS.device_strikes_max.to_string()),
        ("device_failed", span(settings.device_failed_ms), exact(DEFAULTS.device_failed)),
    ]
}

/// Writes a span without rounding: a second and a half is not one second here.
fn exact(span: Millis) -> String {
    if span.0.is_multiple_of(1_000) { span.to_string() } else { format!("{}ms", span.0) }
}

fn change(args: &SettingsArgs) -> SettingsChange {
    let ms = |span: Option<Duration>| span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    SettingsChange {
        suspect_after_ms: ms(args.suspect_after),
        lost_after_ms: ms(args.lost_after),
        restart_grace_ms: ms(args.restart_grace),
        brake_percent: args.brake_percent,
        brake_floor: args.brake_floor,
        brake_window_ms: ms(args.brake_window),
        returns_free: args.returns_free,
        returns_window_ms: ms(args.returns_window),
        return_hold_ms: ms(args.return_hold),
        return_hold_max_ms: ms(args.return_hold_max),
        device_silent_ms: ms(args.device_silent),
        device_probation_ms: ms(args.device_probation),
        device_strikes_max: args.device_strikes_max,
        device_failed_ms: ms(args.device_failed),
        reset: args.reset,
    }
}
