//! A list narrowed by what its items say: those whose field is a value, in the order of a field.
//!
//! Fields are those that `-o json` shows; a few words of kubectl's stand for ours.

use std::cmp::Ordering;

use berth_core::error::{Code, Error, nearest};
use serde_json::Value;

use crate::{
    args::{NarrowArgs, SelectArgs},
    output::Listed,
};

/// What kubectl calls a field, and what it is here: the first of these that an item has.
const KUBECTL: &[(&str, &[&str])] = &[
    ("spec.nodeName", &["node"]),
    ("status.phase", &["state", "provisioning_state"]),
    ("status.containerStatuses[0].restartCount", &["restarts"]),
    ("metadata.creationTimestamp", &["created_at_ms", "placed_at_ms", "began_at_ms", "since_ms", "at_ms"]),
    ("lastTimestamp", &["at_ms"]),
    ("firstTimestamp", &["at_ms"]),
    ("type", &["severity"]),
    ("reason", &["kind"]),
    // An endpoint's own name is what its deployments and replicas are of.
    ("endpoint", &["name"]),
];

/// What an error begins with whose cause is that nothing has a field.
const UNKNOWN: &str = "nothing that is listed has a field ";

/// What kubectl calls a state, and what it is here.
const STATES: &[(&str, &[&str])] = &[
    ("running", &["serving", "succeeded"]),
    ("pending", &["placed", "preparing", "starting", "creating"]),
    ("normal", &["info"]),
];

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition<'a> {
    field: &'a str,
    value: &'a str,
    is_equal: bool,
}

/// Returns the items that are wanted, in the order that is.
pub(crate) fn narrowed<T: Listed>(items: Vec<T>, narrow: &NarrowArgs) -> Result<Vec<T>, Error> {
    let conditions = narrow.only.select.iter().map(|text| condition(text)).collect::<Result<Vec<_>, _>>()?;
    if items.is_empty() || (conditions.is_empty() && narrow.sort_by.is_none()) {
        return Ok(items);
    }
    let json = |item: &T| serde_json::to_value(item).map_err(|error| Error::new(Code::Internal, error.to_string()));
    let mut found = items.into_iter().map(|item| Ok((json(&item)?, item))).collect::<Result<Vec<_>, Error>>()?;
    let known =
        |field: &str, found: &[(Value, T)]| match found.iter().any(|(json, item)| of(json, item, field).is_some()) {
            true => Ok(()),
            false => Err(unknown(field, &found[0].0)),
        };
    conditions.iter().try_for_each(|condition| known(condition.field, &found))?;
    let sort_by = narrow.sort_by.as_deref().map(plain);
    sort_by.iter().try_for_each(|field| known(field, &found))?;
    found.retain(|(json, item)| conditions.iter().all(|condition| condition.fits(asked(json, item, condition))));
    if let Some(field) = sort_by {
        found.sort_by(|(a, first), (b, second)| order(of(a, first, field), of(b, second, field)));
    }
    Ok(found.into_iter().map(|(_, item)| item).collect())
}

/// Returns the items that a selector means.
pub(crate) fn selected<T: Listed>(items: Vec<T>, only: &SelectArgs) -> Result<Vec<T>, Error> {
    narrowed(items, &NarrowArgs { only: only.clone(), ..NarrowArgs::default() })
}

/// Reads `state=serving`, `state==serving` and `state!=serving`.
fn condition(text: &str) -> Result<Condition<'_>, Error> {
    let (field, value) = text.split_once('=').ok_or_else(|| {
        Error::new(Code::Invalid, format!("`{text}` is no condition"))
            .try_("FIELD=VALUE or FIELD!=VALUE, several with commas: `-l state=serving,node!=node-1`")
    })?;
    let (field, is_equal) = field.strip_suffix('!').map_or((field, true), |field| (field, false));
    Ok(Condition { field: plain(field.trim()), value: value.strip_prefix('=').unwrap_or(value).trim(), is_equal })
}

/// Takes the dress of a JSONPath off a field: `{.spec.nodeName}` is `spec.nodeName`.
fn plain(field: &str) -> &str {
    field.trim_matches(['{', '}', '\'', '"']).trim_start_matches('.')
}

/// Finds what a condition is about. A deployment is called by both names too, as it is printed.
fn asked<T: Listed>(json: &Value, item: &T, condition: &Condition<'_>) -> Option<Value> {
    let found = of(json, item, condition.field);
    if condition.field != "deployment" || !condition.value.contains('/') {
        return found;
    }
    let endpoint = of(json, item, "endpoint")?;
    Some(Value::String(format!("{}/{}", text(&endpoint), text(&found?))))
}

/// Finds a field of an item.
fn of<T: Listed>(json: &Value, item: &T, field: &str) -> Option<Value> {
    if matches!(field, "name" | "metadata.name") && json.get("name").is_none() {
        return Some(Value::String(item.name()));
    }
    let at = |path: &str| path.split('.').try_fold(json, |json, key| json.get(key)).cloned();
    let ours = KUBECTL.iter().find(|(theirs, _)| *theirs == field).map(|(_, ours)| *ours);
    let found = at(field).or_else(|| ours?.iter().find_map(|ours| at(ours))).or_else(|| {
        let short = field.strip_prefix("metadata.").or_else(|| field.strip_prefix("spec."))?;
        at(short).or_else(|| at(&format!("spec.{short}")))
    });
    // A label or a tag by its own name, as kubectl's selectors have it.
    found
        .or_else(|| json.get("labels")?.get(field).cloned())
        .or_else(|| json.get("spec")?.get("tags")?.get(field).cloned())
}

/// Returns whether a list could not be narrowed because nothing in it has such a field.
pub(crate) fn is_unknown_field(error: &Error) -> bool {
    error.code == Code::Invalid && error.what.starts_with(UNKNOWN)
}

fn unknown(field: &str, json: &Value) -> Error {
    let keys: Vec<_> = json.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let error = Error::new(Code::Invalid, format!("{UNKNOWN}`{field}`"));
    let error = error.why(format!("fields: {}", keys.join(", ")));
    match nearest(field, keys.iter().copied()) {
        Some(near) => error.try_(format!("did you mean `{near}`?")),
        None => error
            .try_("an ENDPOINT or ENDPOINT/DEPLOYMENT behind the noun narrows a list, too: `berth get replicas fraud`"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Numbers by their size, words by the alphabet; what an item does not have comes first.
fn order(a: Option<Value>, b: Option<Value>) -> Ordering {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (a, b) => a.as_ref().map(text).cmp(&b.as_ref().map(text)),
    }
}

// === impl Condition ===

impl Condition<'_> {
    fn fits(&self, found: Option<Value>) -> bool {
        let found = found.as_ref().map(text).unwrap_or_default().to_ascii_lowercase();
        let value = self.value.to_ascii_lowercase();
        let also = STATES.iter().find(|(theirs, _)| *theirs == value).map_or(&[][..], |(_, ours)| *ours);
        (found == value || also.contains(&found.as_str())) == self.is_equal
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::output::Cell;

    #[derive(Serialize)]
    struct Item {
        replica: &'static str,
        endpoint: &'static str,
        deployment: &'static str,
        node: &'static str,
        state: &'static str,
        restarts: u32,
        created_at_ms: u64,
        labels: serde_json::Map<String, Value>,
        spec: Value,
    }

    impl Listed for Item {
        const COLUMNS: &'static [&'static str] = &[];
        const NARROW: usize = 0;

        fn name(&self) -> String {
            self.replica.to_owned()
        }

        fn cells(&self, _now_ms: u64) -> Vec<Cell> {
            Vec::new()
        }
    }

    fn items() -> Vec<Item> {
        let labels = |zone: &str| serde_json::Map::from_iter([("zone".to_owned(), Value::from(zone))]);
        let tags = |team: &str| serde_json::json!({"tags": {"team": team}});
        vec![
            Item {
                replica: "c",
                endpoint: "fraud",
                deployment: "blue",
                node: "n1",
                state: "serving",
                restarts: 10,
                created_at_ms: 3,
                labels: labels("a"),
                spec: tags("risk"),
            },
            Item {
                replica: "a",
                endpoint: "fraud",
                deployment: "green",
                node: "n2",
                state: "starting",
                restarts: 9,
                created_at_ms: 1,
                labels: labels("b"),
                spec: tags("risk"),
            },
            Item {
                replica: "b",
                endpoint: "fraud",
                deployment: "blue",
                node: "n1",
                state: "failed",
                restarts: 0,
                created_at_ms: 2,
                labels: labels("b"),
                spec: tags("fraud"),
            },
        ]
    }

    fn names(select: &[&str], sort_by: Option<&str>) -> Result<String, Error> {
        let select = select.iter().map(|text| (*text).to_owned()).collect();
        let narrow = NarrowArgs {
            only: SelectArgs { select },
            sort_by: sort_by.map(str::to_owned),
            no_headers: false,
            apart: false,
        };
        Ok(narrowed(items(), &narrow)?.iter().map(Listed::name).collect())
    }

    #[test]
    fn lists_are_narrowed_by_what_their_items_say() {
        for (select, sort_by, left, why) in [
            (&[][..], None, "cab", "as it came"),
            (&["node=n1"], None, "cb", "a field"),
            (&["node=n1", "state=failed"], None, "b", "both hold"),
            (&["node!=n1"], None, "a", "all others"),
            (&["node==n2"], None, "a", "kubectl's other equals sign"),
            (&["labels.zone=b"], None, "ab", "a field within another"),
            (&["zone=b"], None, "ab", "a label by its name"),
            (&["zone!=b"], None, "c", "the others by their label"),
            (&["team=risk"], None, "ca", "a tag by its name"),
            (&["spec.nodeName=n1"], None, "cb", "kubectl's word"),
            (&["status.phase=Running"], None, "c", "kubectl's word of a state"),
            (&["status.phase=Pending"], None, "a", "several of ours"),
            (&["metadata.name=b"], None, "b", "the name that other verbs take"),
            (&["deployment=blue"], None, "cb", "a deployment"),
            (&["deployment=fraud/blue"], None, "cb", "a deployment as it is printed"),
            (&["deployment!=fraud/blue"], None, "a", "all but it"),
            (&["deployment=chat/blue"], None, "", "one of another endpoint"),
            (&["state=none-such"], None, "", "nothing is no error"),
            (&[], Some("restarts"), "bac", "numbers by their size"),
            (&[], Some("{.metadata.creationTimestamp}"), "abc", "kubectl's word in its dress"),
            (&[], Some(".metadata.name"), "abc", "by name"),
            (&["node=n1"], Some("restarts"), "bc", "both"),
        ] {
            assert_eq!(names(select, sort_by).as_deref(), Ok(left), "{why}");
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_told_with_those_that_are() {
        for (select, sort_by, what, try_) in [
            (&["app=fraud"][..], None, "`app`", "berth get replicas fraud"),
            (&["stat=serving"], None, "`stat`", "did you mean `state`?"),
            (&[], Some(".spec.unknown"), "`spec.unknown`", "berth get replicas fraud"),
            (&["serving"], None, "`serving` is no condition", "FIELD=VALUE"),
        ] {
            let error = names(select, sort_by).expect_err(what);
            assert!(error.what.contains(what) && error.try_.contains(try_), "{error:?}");
            assert!(what.ends_with("condition") || error.why.contains("replica, "), "{error:?}");
            assert_eq!(is_unknown_field(&error), !what.ends_with("condition"), "{error:?}");
        }
    }
}
