//! `constraints`: what labels of a node have to say.

use std::collections::BTreeMap;

use berth_core::model::LabelRule;

use super::{
    fields::{Field, Fields},
    finding::Findings,
    tree::Value,
};

/// How a rule is written, told where one is not understood.
const FORMS: &str = "`a`, `[a, b]`, `{not: a}`, `{not: [a, b]}` or `{exists: true}`";

/// Reads a rule for each label.
pub(super) fn read_label_rules(field: &Field<'_>, findings: &mut Findings) -> BTreeMap<String, LabelRule> {
    let rules = field.pairs(findings).into_iter();
    rules.filter_map(|(name, field)| Some((name.to_owned(), read_rule(&field, findings)?))).collect()
}

fn read_rule(field: &Field<'_>, findings: &mut Findings) -> Option<LabelRule> {
    if !matches!(field.node.value, Value::Map(_)) {
        return Some(LabelRule::one_of(read_values(field, findings)?));
    }
    let mut fields = Fields::open(field, findings);
    let (not, exists) = (fields.take("not"), fields.take("exists"));
    fields.finish(findings);
    match (not, exists) {
        (Some(not), None) => Some(LabelRule::none_of(read_values(&not, findings)?)),
        (None, Some(exists)) => Some(LabelRule::exists(exists.flag(findings)?)),
        _ => {
            field.refuse(findings, "is no rule about a label", FORMS);
            None
        }
    }
}

/// Reads one value or several.
fn read_values(field: &Field<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    let values = match field.node.value {
        Value::List(_) => field.texts(findings),
        _ if field.node.is_null() => vec![String::new()],
        _ => vec![field.text(findings)?.to_owned()],
    };
    // What stands for an operator elsewhere would be a value that no node has.
    if let Some(value) = values.iter().find(|value| value.starts_with(['!', '=']) || value.starts_with("in (")) {
        field.refuse(findings, format!("`{value}` is no value of a label"), FORMS);
        return None;
    }
    if values.is_empty() {
        field.refuse(findings, "names no value", FORMS);
        return None;
    }
    Some(values)
}
