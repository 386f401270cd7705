//! `berth rollout …`: follow, pause, go on, go back, and what there is to go back to.

use std::collections::{BTreeMap, BTreeSet};

use berth_client::api::{Deployment, DeploymentGeneration, Event, PutDeploymentRequest, PutMode};
use berth_core::error::{Code, Error};
use berth_proto::api::{deployment_spec, deployment_spec_message};
use serde::Serialize;
use serde_json::Value;

use super::{Context, named, wait, watch};
use crate::{
    args::{RolloutVerb, ShowRolloutArgs, UndoArgs, WaitArgs},
    output::{Cell, Fault, Ink, Listed, Misused, now_ms},
    view::age,
};

/// Fields named in a row of the history; the rest are counted.
const FIELDS: usize = 4;

/// One generation of a deployment, as the history lists it.
#[derive(Serialize)]
struct Row {
    deployment: String,
    /// The fields that differ from the generation before.
    changed: Vec<String>,
    #[serde(flatten)]
    generation: DeploymentGeneration,
}

pub(super) async fn run(context: &Context, verb: RolloutVerb) -> Result<(), Fault> {
    let scope = match &verb {
        RolloutVerb::Status { of, .. } | RolloutVerb::Restart { of, .. } | RolloutVerb::History { of, .. } => Some(of),
        RolloutVerb::Pause(of) | RolloutVerb::Resume(of) => Some(of),
        RolloutVerb::Undo(args) => Some(&args.of),
        RolloutVerb::Show(_) => None,
    };
    scope.and_then(|of| of.scope.note()).into_iter().for_each(|note| context.out.aside(note));
    match verb {
        RolloutVerb::Status { of, wait, .. } => {
            for deployment in all_of(context, &of.of).await? {
                let mut shown = deployment;
                if !wait.no_wait {
                    if shown.paused && shown.provisioning_state != "Succeeded" {
                        let name = shown.name();
                        context
                            .out
                            .note(format!("the rollout of {name} is paused; `berth rollout resume {name}` goes on"));
                    }
                    shown = wait::until_serving(context, &shown, wait.timeout).await?;
                }
                tell(context, &shown)?;
            }
            Ok(())
        }
        RolloutVerb::Pause(of) => pause(context, &of.of, true).await,
        RolloutVerb::Resume(of) => pause(context, &of.of, false).await,
        RolloutVerb::Restart { of, wait } => restart(context, &of.of, wait).await,
        RolloutVerb::History { of, watch: false } => history(context, &of.of).await,
        RolloutVerb::History { of, watch: true } => {
            watch::on_events(context, async || history(context, &of.of).await).await
        }
        RolloutVerb::Show(args) => show(context, args).await,
        RolloutVerb::Undo(args) => undo(context, args).await,
    }
}

/// Lists what is meant: one deployment, or all of an endpoint.
async fn all_of(context: &Context, of: &str) -> Result<Vec<Deployment>, Fault> {
    let client = &context.client;
    let of = named(context, of).await?;
    if of.contains('/') {
        let key = crate::args::parse_key(&of).or_misused()?;
        return Ok(vec![client.get_deployment(key.endpoint.as_str(), key.deployment.as_str()).await?]);
    }
    let endpoint = client.get_endpoint(&of).await?;
    let found = client.list_deployments(&endpoint.name).await?;
    if found.is_empty() {
        let error = Error::new(Code::DeploymentNotFound, format!("endpoint `{of}` has no deployments"));
        return Err(error.try_("`berth deployment create -f FILE` makes one").into());
    }
    Ok(found)
}

pub(super) fn tell(context: &Context, deployment: &Deployment) -> Result<(), Error> {
    let name = deployment.name();
    context.out.value(deployment, &name, || {
        let Deployment { generation, updated, ready, desired, .. } = deployment;
        let stands = if deployment.paused {
            format!("is paused with {updated} of {desired} at generation {generation}, {ready} serve")
        } else if deployment.provisioning_state == "Succeeded" {
            format!("serves generation {generation} with {ready} of {desired}")
        } else {
            format!("has {updated} of {desired} at generation {generation}, {ready} serve")
        };
        context.out.line(format!("{name} {stands}"));
        if !deployment.reason.is_empty() {
            context.out.aside(format!("  {}", deployment.reason.lines().next().unwrap_or_default()));
        }
    })
}

async fn pause(context: &Context, of: &str, paused: bool) -> Result<(), Fault> {
    for deployment in all_of(context, of).await? {
        let changed = context.client.pause_rollout(&deployment.endpoint, &deployment.name, paused).await?;
        let name = changed.name();
        context.out.value(&changed, &name, || {
            context.out.done(match paused {
                true => format!("the rollout of {name} is paused; `berth rollout resume {name}` goes on"),
                false => format!("the rollout of {name} goes on"),
            });
        })?;
    }
    Ok(())
}

async fn restart(context: &Context, of: &str, wait: WaitArgs) -> Result<(), Fault> {
    let mut begun = Vec::new();
    for deployment in all_of(context, of).await? {
        // Somebody else's change in between is a rollout of its own.
        let revision = Some(deployment.revision);
        let changed = context.client.restart_deployment(&deployment.endpoint, &deployment.name, revision).await?;
        context.out.note(format!("{} starts anew as generation {}", changed.name(), changed.generation));
        begun.push(changed);
    }
    for changed in begun {
        let shown = if wait.no_wait { changed } else { wait::until_serving(context, &changed, wait.timeout).await? };
        tell(context, &shown)?;
    }
    Ok(())
}

async fn history(context: &Context, of: &str) -> Result<(), Fault> {
    let mut rows = Vec::new();
    for deployment in all_of(context, of).await? {
        let generations = context.client.generations(&deployment.endpoint, &deployment.name).await?;
        let mut before: Option<Value> = None;
        for generation in generations {
            let spec = serde_json::to_value(&generation.spec)
                .map_err(|error| Error::new(Code::Internal, "a spec cannot be shown").why(error.to_string()))?;
            let changed = before.as_ref().map(|before| changed(before, &spec)).unwrap_or_default();
            before = Some(spec);
            rows.push(Row { deployment: deployment.name(), changed, generation });
        }
    }
    Ok(context.out.list(&rows, "no generations")?)
}

async fn show(context: &Context, args: ShowRolloutArgs) -> Result<(), Fault> {
    let key = crate::args::parse_key(&named(context, &args.of).await?).or_misused()?;
    let (endpoint, name) = (key.endpoint.as_str(), key.deployment.as_str());
    let generations = context.client.generations(endpoint, name).await?;
    let wanted =
        |found: &DeploymentGeneration| args.generation.map_or(found.current, |wanted| found.generation == wanted);
    let Some(at) = generations.iter().position(wanted) else {
        let kept: Vec<_> = generations.iter().map(|found| found.generation.to_string()).collect();
        let error =
            Error::new(Code::Invalid, format!("generation {} of {key} is not kept", args.generation.unwrap_or(0)));
        return Err(error.try_(format!("one of {}; `berth rollout history {key}` lists them", kept.join(", "))).into());
    };
    let (found, before) = (&generations[at], at.checked_sub(1).map(|before| &generations[before]));
    let until_ms = generations.get(at + 1).map(|next| next.began_ms);
    let events: Vec<Event> = context
        .client
        .events()
        .await?
        .into_iter()
        .filter(|event| {
            event.endpoint == endpoint
                && event.deployment == name
                && event.at_ms >= found.began_ms
                && until_ms.is_none_or(|until| event.at_ms < until)
        })
        .collect();
    let out = &context.out;
    Ok(out.value(found, &format!("{key}@{}", found.generation), || {
        let newest = if found.current { " (the newest)" } else { "" };
        out.line(format!(
            "{key} generation {}{newest}, began {} ago, {} serve",
            found.generation,
            age(found.began_ms, now_ms()),
            found.ready
        ));
        match before {
            None => out.aside("  the generation before is not kept: what it changed is not known"),
            Some(before) => {
                let fields = fields(before, found);
                if fields.is_empty() {
                    out.line(format!("  nothing differs from generation {}: it was restarted", before.generation));
                }
                fields.iter().for_each(|line| out.line(format!("  {line}")));
            }
        }
        if events.is_empty() {
            return out.aside("no events of that time are kept");
        }
        out.line(format!("\n{}", out.rendered(&out.table(&events))));
    })?)
}

/// Writes every field in which two generations differ, with what it was and what it became.
fn fields(before: &DeploymentGeneration, after: &DeploymentGeneration) -> Vec<String> {
    let leaves = |generation: &DeploymentGeneration| {
        let mut leaves = BTreeMap::new();
        flatten(&serde_json::to_value(&generation.spec).unwrap_or_default(), String::new(), &mut leaves);
        leaves
    };
    let (old, new) = (leaves(before), leaves(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let shown = |value: Option<&String>| value.cloned().unwrap_or_else(|| "(none)".to_owned());
    let differs = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differs.map(|name| format!("{name}: {} → {}", shown(old.get(name)), shown(new.get(name)))).collect()
}

/// Names every leaf of a message by its path.
fn flatten(value: &Value, path: String, leaves: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| flatten(value, below(name), leaves)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| flatten(value, below(&at.to_string()), leaves));
        }
        Value::Null => {}
        Value::String(text) => drop(leaves.insert(path, text.clone())),
        other => drop(leaves.insert(path, other.to_string())),
    }
}

/// Names the fields in which two specs differ.
fn changed(before: &Value, after: &Value) -> Vec<String> {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return Vec::new() };
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

async fn undo(context: &Context, args: UndoArgs) -> Result<(), Fault> {
    let of = all_of(context, &args.of.of).await?;
    let [current] = of.as_slice() else {
        let error = Error::new(Code::Invalid, format!("`{}` has several deployments", args.of.of));
        return Err(Fault::misused(error.try_(format!("name one: `berth rollout undo {}`", of[0].name()))));
    };
    let name = current.name();
    let generations = context.client.generations(&current.endpoint, &current.name).await?;
    let older = generations.iter().filter(|found| !found.current);
    let target = match args.to_generation {
        Some(wanted) => older.clone().find(|found| found.generation == wanted),
        None => earlier(&generations)?,
    };
    let Some(target) = target else {
        let kept: Vec<_> = older.map(|found| found.generation.to_string()).collect();
        let what = match args.to_generation {
            Some(wanted) if wanted == current.generation => format!("{name} is at generation {wanted} already"),
            Some(wanted) => format!("generation {wanted} of {name} is not kept"),
            None if kept.is_empty() => format!("{name} has no earlier generation"),
            None => format!("no earlier generation of {name} says anything else"),
        };
        let error = Error::new(Code::Invalid, what);
        let error = match (kept.is_empty(), args.to_generation) {
            (false, None) => error
                .why("a restart begins a generation and changes nothing")
                .try_(format!("`berth rollout history {name}` lists them")),
            (true, None) => {
                error.why("nothing but its count was ever changed").try_("change its file and `berth apply -f` it")
            }
            (true, Some(_)) => error
                .why(format!("generation {} is the only one there is", current.generation))
                .try_("change its file and `berth apply -f` it: that makes another one"),
            (false, _) => error.try_(format!("one of {}; `berth rollout history {name}` lists them", kept.join(", "))),
        };
        return Err(error.into());
    };
    let changed = context.client.put_deployment(back_to(current, target)?).await?;
    context
        .out
        .note(format!("{name} goes back to generation {}, as generation {}", target.generation, changed.generation));
    if args.wait.no_wait || changed.paused {
        return Ok(tell(context, &changed)?);
    }
    let served = wait::until_serving(context, &changed, args.wait.timeout).await?;
    Ok(tell(context, &served)?)
}

/// Returns the newest generation that was another than the current one: a restart is nothing to go back to.
pub(crate) fn earlier(generations: &[DeploymentGeneration]) -> Result<Option<&DeploymentGeneration>, Error> {
    let Some(current) = generations.iter().find(|found| found.current) else { return Ok(None) };
    let now = deployment_spec(current.spec.clone())?;
    for found in generations.iter().rev().filter(|found| !found.current) {
        if now.differs_beyond_count(&deployment_spec(found.spec.clone())?) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Makes the request that goes back to a generation. What makes no generation stays as it is now: going back would change
/// it unseen.
pub(crate) fn back_to(current: &Deployment, target: &DeploymentGeneration) -> Result<PutDeploymentRequest, Error> {
    let (now, then) = (deployment_spec(current.spec.clone())?, deployment_spec(target.spec.clone())?);
    Ok(PutDeploymentRequest {
        endpoint: current.endpoint.clone(),
        name: current.name.clone(),
        spec: Some(deployment_spec_message(&now.with_process_of(then))),
        mode: PutMode::Update.into(),
        // Somebody else's change in between is not to be undone unseen.
        if_revision: Some(current.revision),
        ..PutDeploymentRequest::default()
    })
}

impl Listed for Row {
    const COLUMNS: &'static [&'static str] = &["DEPLOYMENT", "GENERATION", "BEGAN", "READY", "CHANGED"];
    const NARROW: usize = 5;

    fn name(&self) -> String {
        format!("{}@{}", self.deployment, self.generation.generation)
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        let DeploymentGeneration { generation, current, ready, began_ms, .. } = &self.generation;
        let number = if *current { format!("{generation} *") } else { generation.to_string() };
        let mut changed = self.changed.iter().take(FIELDS).cloned().collect::<Vec<_>>().join(", ");
        if self.changed.len() > FIELDS {
            changed.push_str(&format!(" and {} more", self.changed.len() - FIELDS));
        }
        vec![
            self.deployment.as_str().into(),
            Cell::inked(number, if *current { Ink::Bold } else { Ink::Plain }),
            if *began_ms == 0 { "-".into() } else { age(*began_ms, now_ms).into() },
            ready.to_string().into(),
            changed.into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use berth_client::store;
    use berth_core::model::{DeploymentSpec, Runtime};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_restart_is_nothing_to_go_back_to() {
        let generation = |generation: u64, at_once: u32, priority: u32, current| {
            let mut spec = DeploymentSpec::new(Runtime::Command(vec!["true".to_owned()]));
            spec.tags = [("team".to_owned(), generation.to_string())].into();
            spec.request_settings.max_concurrent_requests_per_instance = at_once;
            spec.priority = priority;
            let spec = Some(deployment_spec_message(&spec));
            DeploymentGeneration { generation, spec, current, ..DeploymentGeneration::default() }
        };
        let all = [generation(3, 1, 1, false), generation(4, 2, 1, false), generation(5, 2, 2, true)];
        let number = |all| earlier(all).expect("they are read").map(|found| found.generation);
        assert_eq!(number(&all), Some(3));
        assert_eq!(number(&all[1..]), None);
        let current = Deployment { spec: all[2].spec.clone(), revision: 7, ..Deployment::default() };
        let request = back_to(&current, &all[0]).expect("they are read");
        let spec = request.spec.expect("a spec");
        let at_once = spec.request_settings.map(|it| it.max_concurrent_requests_per_instance);
        assert_eq!((at_once, request.if_revision), (Some(1), Some(7)));
        assert_eq!((spec.priority, spec.tags["team"].as_str()), (Some(2), "5"), "what makes no generation stays");
    }

    #[test]
    fn every_field_that_differs_is_shown_with_what_it_was() {
        let generation = |description: &str, tags: &[(&str, &str)]| {
            let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let spec = store::DeploymentSpec { description: description.to_owned(), tags, ..Default::default() };
            DeploymentGeneration { spec: Some(spec), ..DeploymentGeneration::default() }
        };
        let (old, new) =
            (generation("a", &[("team", "x"), ("old", "1")]), generation("b", &[("team", "x"), ("new", "2")]));
        assert_eq!(fields(&old, &new), ["description: a → b", "tags.new: (none) → 2", "tags.old: 1 → (none)"]);
        assert_eq!(fields(&old, &old), [] as [&str; 0]);
    }

    #[test]
    fn what_differs_is_named_and_what_is_new_too() {
        let before = json!({"command": ["a"], "model": {"name": "m"}, "priority": 50});
        let after = json!({"command": ["b"], "model": {"name": "m"}, "spread": {"by": "rack"}});
        assert_eq!(changed(&before, &after), ["command", "priority", "spread"]);
        assert_eq!(changed(&before, &before), [] as [&str; 0]);
    }
}
