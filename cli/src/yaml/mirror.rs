//! `mirror_settings` of an endpoint: Berth's addition beside Azure's `mirror_traffic`.

use berth_core::model::MirrorRules;

use super::{
    fields::{Field, Fields},
    finding::Findings,
};

/// Parts of one that a tolerance counts in.
const PARTS: f64 = 1e9;

/// Reads how mirrors are judged; what the file does not say stays.
pub(super) fn read(field: &Field<'_>, rules: &mut MirrorRules, findings: &mut Findings) {
    let mut fields = Fields::open(field, findings);
    let flag = |fields: &mut Fields<'_>, name, place: &mut bool, findings: &mut Findings| {
        if let Some(said) = fields.take(name).and_then(|field| field.flag(findings)) {
            *place = said;
        }
    };
    flag(&mut fields, "compare", &mut rules.compare, findings);
    flag(&mut fields, "redact", &mut rules.redact, findings);
    flag(&mut fields, "pinned", &mut rules.pinned, findings);
    for (name, place) in [("rtol", &mut rules.rtol_ppb), ("atol", &mut rules.atol_ppb)] {
        if let Some(said) = fields.take(name).and_then(|field| tolerance(&field, findings)) {
            *place = said;
        }
    }
    if let Some(field) = fields.take("ignore") {
        rules.ignore = field.texts(findings);
    }
    fields.finish(findings);
}

/// Reads a tolerance in billionths.
fn tolerance(field: &Field<'_>, findings: &mut Findings) -> Option<u64> {
    let text = field.text(findings)?;
    // Beyond a million nothing is told apart any more.
    let said = text.parse::<f64>().ok().filter(|said| (0.0..=1e6).contains(said));
    if said.is_none() {
        field.refuse(findings, format!("`{text}` is no tolerance"), "a number from 0 on, such as 1e-5");
    }
    let parts = said? * PARTS;
    if parts > 0.0 && parts < 0.5 {
        field.warn(findings, "is less than a billionth and counts as zero", "");
    }
    Some(parts.round() as u64)
}
