//! `hedging` of an endpoint: Berth's addition. A flag, or when and how often.

use berth_core::{
    model::{HEDGE_PERCENT_MAX, HedgeAfter, Hedging},
    time::Millis,
};

use super::{
    fields::{Field, Fields, clip},
    finding::Findings,
    tree::Value,
};

/// Reads when a second replica is asked. Only what is no number at all is refused here; the model knows the ranges.
pub(super) fn read(field: &Field<'_>, hedging: &mut Option<Hedging>, findings: &mut Findings) {
    if matches!(field.node.value, Value::Scalar { .. }) {
        match field.flag(findings) {
            Some(true) => *hedging = Some(hedging.unwrap_or_default()),
            Some(false) => *hedging = None,
            None => {}
        }
        return;
    }
    let mut fields = Fields::open(field, findings);
    let mut said = hedging.unwrap_or_default();
    let delay = fields.take("after_ms");
    let percentile = fields.take("percentile");
    if let (Some(_), Some(percentile)) = (&delay, &percentile) {
        percentile.refuse(findings, "a request is hedged after a time or after a percentile", "keep one of the two");
    }
    if let Some(ms) = delay.and_then(|delay| delay.number(0..=u64::MAX, findings)) {
        said.after = HedgeAfter::Delay(Millis(ms));
    } else if let Some(permille) = percentile.and_then(|percentile| permille(&percentile, findings)) {
        said.after = HedgeAfter::Percentile { permille };
    }
    if let Some(budget) = fields.take("budget_percent")
        && let Some(percent) = budget.number(1..=u64::from(HEDGE_PERCENT_MAX), findings)
    {
        said.budget_percent = percent as u32;
    }
    fields.finish(findings);
    *hedging = Some(said);
}

/// Reads `95` or `99.9` in thousandths.
fn permille(field: &Field<'_>, findings: &mut Findings) -> Option<u32> {
    let text = field.text(findings)?;
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits =
        |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole, 3) || !is_digits(tenth, 1) {
        field.refuse(findings, format!("`{}` is no percentile", clip(text)), "use 50 to 99.9, such as 95");
        return None;
    }
    format!("{whole}{tenth}").parse().ok()
}
