//! `berth get`: lists, and what changes in them.

use std::collections::BTreeMap;

use berth_client::api::{Deployment, Event};
use berth_core::error::{Code, Error};
use clap::ValueEnum as _;
use tokio::time::{Duration, timeout};

use super::{Context, by_prefix};
use crate::{
    args::{GetArgs, NarrowArgs, Noun},
    output::{Fault, Listed, now_ms},
    view::{EventRow, RolloutRow, coming, is_unknown_field, narrowed, standing},
};

/// What `berth get all` lists.
const ALL: [Noun; 4] = [Noun::Endpoints, Noun::Deployments, Noun::Replicas, Noun::Nodes];

/// Digits from which on a word without a slash may be a replica's id.
const ID_MIN: usize = 4;

/// Events that come together lead to one look.
const SETTLE: Duration = Duration::from_millis(100);

pub(super) async fn run(context: &Context, mut args: GetArgs) -> Result<(), Fault> {
    // A replica is shown by its id alone, which may be what an endpoint is called, too.
    let mut id = None;
    if let Some(thing) = args.noun.thing.take() {
        let found = one(context, args.noun.noun, &thing, args.of.as_deref()).await?;
        match args.noun.noun == Noun::Replicas && !found.contains('/') {
            true => id = Some(found),
            false => args.of = Some(found),
        }
    }
    args.scope.note().into_iter().for_each(|note| context.out.aside(note));
    let also = std::mem::take(&mut args.noun.also);
    if args.noun.noun == Noun::All || !also.is_empty() {
        let asked = std::iter::once(args.noun.noun).chain(also);
        let nouns = asked.flat_map(|noun| if noun == Noun::All { ALL.to_vec() } else { vec![noun] });
        return several(context, &args, nouns.collect()).await;
    }
    if let (Noun::Replicas, Some(of)) = (args.noun.noun, &args.of) {
        id = replica_named(context, of).await?;
    }
    if id.is_some() {
        args.of = None;
    }
    let of = args.of.as_deref().unwrap_or_default().to_ascii_lowercase();
    let (endpoint, deployment) = of.split_once('/').unwrap_or((&of, ""));
    let (endpoint, deployment) = (endpoint.to_owned(), deployment.to_owned());
    let client = &context.client;
    match args.noun.noun {
        Noun::Endpoints => {
            let list = async || {
                let all = client.list_endpoints().await?;
                Ok(all.into_iter().filter(|found| endpoint.is_empty() || found.name == endpoint).collect())
            };
            show(context, &args, "no endpoints yet; `berth endpoint create -f FILE` makes one", list).await
        }
        Noun::Deployments => {
            let list = async || {
                let all = client.list_deployments(&endpoint).await?;
                Ok(all.into_iter().filter(|found| deployment.is_empty() || found.name == deployment).collect())
            };
            show(context, &args, "no deployments; `berth deployment create -f FILE` makes one", list).await
        }
        Noun::Replicas => {
            let list = async || {
                let listed = client.list_replicas(&endpoint, &deployment).await?;
                Ok(listed.into_iter().filter(|found| id.as_ref().is_none_or(|id| found.replica == *id)).collect())
            };
            show(context, &args, "no replicas", list).await?;
            if args.watch || id.is_some() { Ok(()) } else { next_tries(context, &endpoint, &deployment).await }
        }
        Noun::Slots => {
            let list = async || client.list_slots(&endpoint, &deployment).await;
            show(context, &args, "no slots: nothing holds a reserve", list).await
        }
        Noun::Nodes => {
            let list = async || {
                let all = client.list_nodes().await?;
                Ok(all.into_iter().filter(|found| endpoint.is_empty() || found.node == endpoint).collect())
            };
            show(context, &args, "no nodes yet; `berth node` starts one", list).await
        }
        Noun::Rollouts => {
            let list = async || {
                let all = client.list_deployments(&endpoint).await?;
                let fits = |found: &Deployment| deployment.is_empty() || found.name == deployment;
                Ok(all.into_iter().filter(fits).map(RolloutRow).collect())
            };
            show(context, &args, "no deployments, so no rollouts", list).await
        }
        // Taken apart above.
        Noun::All => Ok(()),
        Noun::Events => events(context, &args, &endpoint, &deployment).await,
    }
}

/// Prints one list after the other.
async fn several(context: &Context, args: &GetArgs, nouns: Vec<Noun>) -> Result<(), Fault> {
    let watched = nouns.iter().filter_map(Noun::to_possible_value).next_back();
    let last = watched.as_ref().map_or("replicas", |value| value.get_name());
    if args.watch {
        let error = Error::new(Code::Invalid, "lists of several nouns cannot be watched together");
        return Err(Fault::misused(error.try_(format!("`berth status -w`, or watch one: `berth get {last} -w`"))));
    }
    if context.out.is_for_programs() {
        let error = Error::new(Code::Invalid, "lists of several nouns are no one answer");
        return Err(Fault::misused(error.try_(format!("ask for each: `berth get {last} -o json`"))));
    }
    let (mut lists, mut unknown) = (0, None);
    for noun in nouns {
        // Nodes belong to no endpoint.
        let of = args.of.clone().filter(|_| noun != Noun::Nodes);
        let narrow = NarrowArgs { apart: lists > 0, ..args.narrow.clone() };
        match Box::pin(run(context, GetArgs { narrow, ..GetArgs::new(noun, of, false, false) })).await {
            // What has no such field is none of those that are wanted, where others have it.
            Err(fault) if is_unknown_field(fault.error()) => unknown = unknown.or(Some(fault)),
            done => {
                done?;
                lists += 1;
            }
        }
    }
    unknown.filter(|_| lists == 0).map_or(Ok(()), Err)
}

/// Finds the replica that a word behind the noun names: an id, or the beginning of one, that is no endpoint.
async fn replica_named(context: &Context, of: &str) -> Result<Option<String>, Fault> {
    let is_id = of.len() >= ID_MIN && of.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || context.client.list_endpoints().await?.iter().any(|endpoint| endpoint.name.eq_ignore_ascii_case(of)) {
        return Ok(None);
    }
    let all = context.client.list_replicas("", "").await?;
    Ok(Some(by_prefix("replica", of, all.iter().map(|found| found.replica.as_str()))?.to_owned()))
}

/// Finds the one thing that `deploy/blue` names, and what a list of only that is asked for with.
async fn one(context: &Context, noun: Noun, thing: &str, of: Option<&str>) -> Result<String, Fault> {
    if let Some(of) = of {
        let error = Error::new(Code::Invalid, format!("`{thing}` and `{of}` are two things"));
        return Err(Fault::misused(error.try_(format!("list them one after the other, or leave out `{of}`"))));
    }
    let client = &context.client;
    let absent = |code: Code, what: String, list: &str| {
        let error = Error::new(code, format!("there is no {what} `{thing}`"));
        Err(Fault::from(error.try_(format!("`berth get {list}` lists them"))))
    };
    match noun {
        Noun::Endpoints => Ok(client.get_endpoint(thing).await?.name),
        Noun::Deployments | Noun::Rollouts => {
            let all = client.list_deployments("").await?;
            let fits = |found: &&Deployment| found.name() == thing || found.name == thing || found.endpoint == thing;
            let mut found = all.iter().filter(fits);
            match (found.next(), found.next()) {
                (Some(only), None) => Ok(only.name()),
                (None, _) => absent(Code::DeploymentNotFound, "deployment".to_owned(), "deployments"),
                // Those of an endpoint are a list that can be shown; one name at several endpoints is not.
                (Some(first), Some(_)) if first.endpoint == thing => Ok(thing.to_owned()),
                (Some(first), Some(second)) => {
                    let error = Error::new(Code::Invalid, format!("several deployments are called `{thing}`"));
                    let tried = format!("name its endpoint: {}, {}", first.name(), second.name());
                    Err(Fault::misused(error.try_(tried)))
                }
            }
        }
        Noun::Replicas if thing.contains('/') => Ok(thing.to_owned()),
        Noun::Replicas => {
            let all = client.list_replicas("", "").await?;
            Ok(by_prefix("replica", thing, all.iter().map(|found| found.replica.as_str()))?.to_owned())
        }
        Noun::Nodes => match client.list_nodes().await?.iter().any(|node| node.node == thing) {
            true => Ok(thing.to_owned()),
            false => absent(Code::NodeNotFound, "node".to_owned(), "nodes"),
        },
        Noun::Slots | Noun::Events | Noun::All => {
            let error = Error::new(Code::Invalid, format!("`{thing}` is no name of one: these are shown as lists"));
            Err(Fault::misused(error.try_("`berth get slots ENDPOINT/DEPLOYMENT` lists those of one deployment")))
        }
    }
}

/// Says which deployments have fewer replicas than they ask for: because they fail, and when they are tried again, or
/// because no node takes them. No replica would show it.
async fn next_tries(context: &Context, endpoint: &str, deployment: &str) -> Result<(), Fault> {
    if context.out.is_for_programs() || context.out.is_names() {
        return Ok(());
    }
    let all = context.client.list_deployments(endpoint).await?;
    let replicas = context.client.list_replicas(endpoint, deployment).await?;
    for found in all.iter().filter(|found| deployment.is_empty() || found.name == deployment) {
        if let Some((line, next)) = coming::next_try(found, now_ms()) {
            context.out.aside(format!("{}/{}{line}; {next}", found.endpoint, found.name));
        } else if let Some(line) = standing::missing(found, &replicas) {
            context.out.aside(line);
        }
    }
    Ok(())
}

/// Prints a list; when watching, also every item that changed, as it changes.
async fn show<T: Listed>(
    context: &Context,
    args: &GetArgs,
    nothing: &str,
    list: impl AsyncFn() -> Result<Vec<T>, Error>,
) -> Result<(), Fault> {
    let list = async || narrowed(list().await?, &args.narrow);
    if !args.watch {
        let items = list().await?;
        if args.narrow.apart && !context.out.is_names() {
            context.out.line("");
        }
        let nothing = if args.narrow.only.select.is_empty() { nothing } else { "none of them" };
        let bare = args.narrow.no_headers && !context.out.is_for_programs();
        return Ok(if bare { print(context, &items, false) } else { context.out.list(&items, nothing) }?);
    }
    // What happened before the first look is in it.
    let next = context.client.events().await?.last().map_or(0, |event| event.seq + 1);
    let mut events = context.client.watch_events(Some(next));
    let mut shown = BTreeMap::new();
    let mut first = !args.narrow.no_headers;
    let mut has_looked = false;
    loop {
        let items = match list().await {
            // The last one that had the field is gone; another may come.
            Err(error) if has_looked && is_unknown_field(&error) => Vec::new(),
            items => items?,
        };
        has_looked = true;
        let mut fresh = Vec::new();
        let mut now = BTreeMap::new();
        for item in items {
            // What is told by the clock alone is no change.
            let text = serde_json::to_string(&item).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
            if shown.get(&item.name()) != Some(&text) {
                fresh.push(item_of(&mut now, item, text));
            } else {
                now.insert(item.name(), text);
            }
        }
        for gone in shown.keys().filter(|name| !now.contains_key(*name)) {
            context.out.aside(format!("{gone} is gone"));
        }
        shown = now;
        print(context, &fresh, first)?;
        first = false;
        // The first event wakes; those right behind it are part of the same change.
        if events.next().await?.is_none() {
            return Ok(());
        }
        while let Ok(event) = timeout(SETTLE, events.next()).await {
            event?;
        }
    }
}

fn item_of<T: Listed>(now: &mut BTreeMap<String, String>, item: T, text: String) -> T {
    now.insert(item.name(), text);
    item
}

fn print<T: Listed>(context: &Context, items: &[T], first: bool) -> Result<(), Error> {
    if context.out.is_for_programs() {
        return items.iter().try_for_each(|item| context.out.json_line(item));
    }
    if items.is_empty() {
        return Ok(());
    }
    if first {
        return context.out.list(items, "");
    }
    context.out.rows(items);
    Ok(())
}

async fn events(context: &Context, args: &GetArgs, endpoint: &str, deployment: &str) -> Result<(), Fault> {
    let fits = |event: &Event| {
        (endpoint.is_empty() || event.endpoint == endpoint || event.node == endpoint)
            && (deployment.is_empty() || event.deployment == deployment)
    };
    let mut kept: Vec<_> = context.client.events().await?.into_iter().filter(|event| fits(event)).collect();
    let next = kept.last().map(|event| event.seq + 1);
    kept.retain(|event| event.at_ms >= args.since_ms);
    let kept = narrowed(kept, &args.narrow)?;
    if args.narrow.apart && !context.out.is_names() {
        context.out.line("");
    }
    let show = |events: &[Event], first: bool| match args.table {
        true => events.iter().try_for_each(|event| context.out.json_line(&EventRow::of(event))),
        false => print(context, events, first),
    };
    match (args.watch, args.table) {
        (false, false) if args.narrow.no_headers && !context.out.is_for_programs() => {
            return Ok(print(context, &kept, false)?);
        }
        (false, false) => return Ok(context.out.list(&kept, "no events")?),
        (false, true) => return Ok(show(&kept, true)?),
        (true, _) => show(&kept, !args.narrow.no_headers)?,
    }
    let mut events = context.client.watch_events(next);
    while let Some(event) = events.next().await? {
        if fits(&event) {
            let fitting = match narrowed(vec![event], &args.narrow) {
                Err(error) if is_unknown_field(&error) => Vec::new(),
                fitting => fitting?,
            };
            show(&fitting, false)?;
        }
    }
    Ok(())
}
