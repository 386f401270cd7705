//! `berth label`: sets and removes tags of an endpoint or a deployment, in kubectl's words.

use std::collections::BTreeMap;

use berth_client::api::{PutDeploymentRequest, PutEndpointRequest};
use berth_core::error::{Code, Error, Problems};

use super::{
    Context,
    edit::{Target, target},
};
use crate::{
    args::{LabelArgs, is_type},
    output::{Fault, Misused},
};

/// What is to become of one tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change<'a> {
    Set(&'a str, &'a str),
    Remove(&'a str),
}

pub(super) async fn run(context: &Context, args: LabelArgs) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    args.scope.note().into_iter().for_each(|note| out.aside(note));
    let mut words = args.changes.iter().map(String::as_str).peekable();
    // A type and a name may be two words.
    let name = words.next_if(|word| is_type(&args.of) && Change::parse(word).is_none());
    let of = name.map_or(args.of.clone(), |name| format!("{}/{name}", args.of));
    let changes = words.map(|word| Change::parse(word).ok_or_else(|| no_change(word)));
    let changes = changes.collect::<Result<Vec<_>, _>>().or_misused()?;
    match target(context, &of, "label").await? {
        Target::Endpoint(name) => {
            let mut found = client.get_endpoint(&name).await?;
            let mut spec = found.spec.clone().unwrap_or_default();
            spec.tags = changed(context, &spec.tags, &changes, args.overwrite)?;
            if found.spec.as_ref() != Some(&spec) {
                let if_revision = Some(found.revision);
                let name = found.name;
                found = client
                    .put_endpoint(PutEndpointRequest { name, spec: Some(spec), if_revision, ..Default::default() })
                    .await?;
            }
            let text = told("endpoint", &found.name, &found.spec.clone().unwrap_or_default().tags);
            Ok(out.value(&found, &found.name, || out.line(text))?)
        }
        Target::Deployment(key) => {
            let mut found = client.get_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?;
            let mut spec = found.spec.clone().unwrap_or_default();
            spec.tags = changed(context, &spec.tags, &changes, args.overwrite)?;
            if found.spec.as_ref() != Some(&spec) {
                let (endpoint, name, if_revision) = (found.endpoint, found.name, Some(found.revision));
                let spec = Some(spec);
                found = client
                    .put_deployment(PutDeploymentRequest { endpoint, name, spec, if_revision, ..Default::default() })
                    .await?;
            }
            let text = told("deployment", &key.to_string(), &found.spec.clone().unwrap_or_default().tags);
            Ok(out.value(&found, &key.to_string(), || out.line(text))?)
        }
    }
}

fn no_change(word: &str) -> Error {
    Error::new(Code::Invalid, format!("`{word}` is no tag")).try_("KEY=VALUE sets one, KEY- removes it")
}

/// Says what there is now.
fn told(noun: &str, name: &str, tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    match tags.as_slice() {
        [] => format!("{noun} {name} has no tags"),
        tags => format!("{noun} {name} has {}", tags.join(", ")),
    }
}

/// Makes the changes, and says what was to be removed and is not there.
fn changed(
    context: &Context,
    tags: &BTreeMap<String, String>,
    changes: &[Change<'_>],
    overwrite: bool,
) -> Result<BTreeMap<String, String>, Fault> {
    for change in changes {
        if let Change::Remove(key) = change
            && !tags.contains_key(*key)
        {
            context.out.aside(format!("there is no tag `{key}`"));
        }
    }
    merged(tags, changes, overwrite).or_misused()
}

/// Lays changes over tags. As kubectl has it, a value that is there is replaced only where that is asked for.
fn merged(
    tags: &BTreeMap<String, String>,
    changes: &[Change<'_>],
    overwrite: bool,
) -> Result<BTreeMap<String, String>, Error> {
    let (mut problems, mut merged) = (Problems::default(), tags.clone());
    for (at, change) in changes.iter().enumerate() {
        let key = change.key();
        if changes[..at].iter().any(|before| before.key() == key) {
            problems.add_try(key, "is named twice", "keep one of them");
            continue;
        }
        match *change {
            Change::Set(key, value) => match tags.get(key).filter(|found| *found != value && !overwrite) {
                Some(found) => problems.add_try(key, format!("is `{found}` already"), "--overwrite replaces it"),
                None => drop(merged.insert(key.to_owned(), value.to_owned())),
            },
            Change::Remove(key) => drop(merged.remove(key)),
        }
    }
    problems.into_result(Code::Invalid, "the line").map(|()| merged)
}

// === impl Change ===

impl<'a> Change<'a> {
    /// Reads `KEY=VALUE` or `KEY-`.
    fn parse(word: &'a str) -> Option<Self> {
        match word.split_once('=') {
            Some((key, value)) => (!key.is_empty()).then_some(Self::Set(key, value)),
            None => word.strip_suffix('-').filter(|key| !key.is_empty()).map(Self::Remove),
        }
    }

    fn key(self) -> &'a str {
        match self {
            Self::Set(key, _) | Self::Remove(key) => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_changed_as_kubectl_changes_labels() {
        let tags: BTreeMap<_, _> = [("team", "risk"), ("tier", "gold")].map(|(k, v)| (k.into(), v.into())).into();
        for (words, overwrite, expected, why) in [
            (&[][..], false, Ok("team=risk tier=gold"), "nothing is asked for"),
            (&["owner=ann"], false, Ok("owner=ann team=risk tier=gold"), "a new one"),
            (&["tier-"], false, Ok("team=risk"), "one less"),
            (&["zone-"], false, Ok("team=risk tier=gold"), "one that is not there"),
            (&["team=risk"], false, Ok("team=risk tier=gold"), "what it is already"),
            (&["team=fraud"], false, Err("team: is `risk` already (try: --overwrite replaces it)"), "another value"),
            (&["team=fraud"], true, Ok("team=fraud tier=gold"), "another value that is meant"),
            (&["team=", "tier=a=b"], true, Ok("team= tier=a=b"), "values that look odd"),
            (&["a=1", "a-"], false, Err("a: is named twice (try: keep one of them)"), "both at once"),
        ] {
            let changes: Vec<_> = words.iter().map(|word| Change::parse(word).expect("a change")).collect();
            let found = merged(&tags, &changes, overwrite).map_err(|error| {
                let problem = &error.problems[0];
                format!("{}: {} (try: {})", problem.field, problem.what, problem.try_)
            });
            let found = found.map(|tags| tags.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{why}");
        }
        for word in ["team", "=x", "-", ""] {
            assert_eq!(Change::parse(word), None, "{word}");
        }
    }
}
