//! `berth get`: lists, and what changes in them.

use std::collections::BTreeMap;

use berth_client::api::{Deployment, Event};
use berth_core::error::{Code, Error};
use tokio::time::{Duration, timeout};

use super::Context;
use crate::{
    args::{GetArgs, Noun},
    output::{Fault, Listed, now_ms},
    view::{EventRow, RolloutRow, coming, standing},
};

/// Events that come together lead to one look.
const SETTLE: Duration = Duration::from_millis(100);

pub(super) async fn run(context: &Context, args: GetArgs) -> Result<(), Fault> {
    args.scope.note().into_iter().for_each(|note| context.out.aside(note));
    let of = args.of.as_deref().unwrap_or_default().to_ascii_lowercase();
    let (endpoint, deployment) = of.split_once('/').unwrap_or((&of, ""));
    let (endpoint, deployment) = (endpoint.to_owned(), deployment.to_owned());
    let client = &context.client;
    match args.noun {
        Noun::Endpoints => {
            let list = async || {
                let all = client.list_endpoints().await?;
                Ok(all.into_iter().filter(|found| endpoint.is_empty() || found.name == endpoint).collect())
            };
            show(context, args.watch, "no endpoints yet; `berth endpoint create -f FILE` makes one", list).await
        }
        Noun::Deployments => {
            let list = async || {
                let all = client.list_deployments(&endpoint).await?;
                Ok(all.into_iter().filter(|found| deployment.is_empty() || found.name == deployment).collect())
            };
            show(context, args.watch, "no deployments; `berth deployment create -f FILE` makes one", list).await
        }
        Noun::Replicas => {
            let list = async || client.list_replicas(&endpoint, &deployment).await;
            show(context, args.watch, "no replicas", list).await?;
            if args.watch { Ok(()) } else { next_tries(context, &endpoint, &deployment).await }
        }
        Noun::Slots => {
            let list = async || client.list_slots(&endpoint, &deployment).await;
            show(context, args.watch, "no slots: nothing holds a reserve", list).await
        }
        Noun::Nodes => {
            let list = async || {
                let all = client.list_nodes().await?;
                Ok(all.into_iter().filter(|found| endpoint.is_empty() || found.node == endpoint).collect())
            };
            show(context, args.watch, "no nodes yet; `berth node` starts one", list).await
        }
        Noun::Rollouts => {
            let list = async || {
                let all = client.list_deployments(&endpoint).await?;
                let fits = |found: &Deployment| deployment.is_empty() || found.name == deployment;
                Ok(all.into_iter().filter(fits).map(RolloutRow).collect())
            };
            show(context, args.watch, "no deployments, so no rollouts", list).await
        }
        Noun::All => {
            if args.watch {
                let error = Error::new(Code::Invalid, "lists of several nouns cannot be watched together");
                return Err(Fault::misused(error.try_("`berth status -w`, or watch one: `berth get replicas -w`")));
            }
            if context.out.is_for_programs() {
                let error = Error::new(Code::Invalid, "lists of several nouns are no one answer");
                return Err(Fault::misused(error.try_("ask for each: `berth get replicas -o json`")));
            }
            for (at, noun) in [Noun::Endpoints, Noun::Deployments, Noun::Replicas, Noun::Nodes].into_iter().enumerate()
            {
                // Nodes belong to no endpoint.
                let of = args.of.clone().filter(|_| noun != Noun::Nodes);
                if at > 0 && !context.out.is_names() {
                    context.out.line("");
                }
                Box::pin(run(context, GetArgs::new(noun, of, false, false))).await?;
            }
            Ok(())
        }
        Noun::Events => events(context, &args, &endpoint, &deployment).await,
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
    watch: bool,
    nothing: &str,
    list: impl AsyncFn() -> Result<Vec<T>, Error>,
) -> Result<(), Fault> {
    if !watch {
        return Ok(context.out.list(&list().await?, nothing)?);
    }
    // What happened before the first look is in it.
    let next = context.client.events().await?.last().map_or(0, |event| event.seq + 1);
    let mut events = context.client.watch_events(Some(next));
    let mut shown = BTreeMap::new();
    let mut first = true;
    loop {
        let items = list().await?;
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
    let kept: Vec<_> = context.client.events().await?.into_iter().filter(|event| fits(event)).collect();
    let show = |events: &[Event], first: bool| match args.table {
        true => events.iter().try_for_each(|event| context.out.json_line(&EventRow::of(event))),
        false => print(context, events, first),
    };
    match (args.watch, args.table) {
        (false, false) => return Ok(context.out.list(&kept, "no events")?),
        (false, true) => return Ok(show(&kept, true)?),
        (true, _) => show(&kept, true)?,
    }
    let next = kept.last().map(|event| event.seq + 1);
    let mut events = context.client.watch_events(next);
    while let Some(event) = events.next().await? {
        if fits(&event) {
            show(&[event], false)?;
        }
    }
    Ok(())
}
