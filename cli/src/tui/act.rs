//! What a screen asks of the world, and how the client does it.

use std::{collections::BTreeMap, time::Duration};

use berth_client::{
    Client, Error,
    api::{
        DeleteDeploymentRequest, DeleteEndpointRequest, DrainNodeRequest, PlanRequest, PutDeploymentRequest,
        PutEndpointRequest, ScaleDeploymentRequest, SetTrafficRequest, TrafficMap,
    },
};
use berth_core::{error::Code, units::Count};

use super::view::{Page, PageKind, Subject};
use crate::{
    args::{DRAIN_DEADLINE, parse_span},
    editor::{Draft, Wanted},
    output::now_ms,
    verbs::{describe, rollout},
    view,
};

/// What a screen asks of the world.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    Quit,
    /// Show the cluster of a context from now on.
    Context(String),
    /// Draw everything again, as if the terminal had forgotten it.
    Redraw,
    /// Fetch what a page shows.
    Open(Page),
    /// Hand text to the terminal's clipboard.
    Copy(String),
    /// Let a person edit it, plan what they changed, and ask.
    Edit(Subject),
    /// Find out what draining these means, and ask.
    AskDrain(Vec<String>),
    /// Find out what going back to the generation before changes, and ask.
    AskUndo {
        endpoint: String,
        name: String,
    },
    Restart {
        endpoint: String,
        name: String,
    },
    /// End a replica; another comes in its place.
    Replace {
        replica: String,
        /// Whether its requests are cut.
        now: bool,
    },
    /// Find out what another split means, and ask.
    AskTraffic(TrafficWish),
    SetTraffic(TrafficWish),
    Scale {
        endpoint: String,
        deployment: String,
        instance_count: u32,
    },
    Cordon {
        node: String,
        cordoned: bool,
    },
    Drain {
        node: String,
        cancel: bool,
    },
    PutEndpoint(Box<PutEndpointRequest>),
    PutDeployment(Box<PutDeploymentRequest>),
    DeleteEndpoint(String),
    DeleteDeployment {
        endpoint: String,
        name: String,
    },
    /// Forget a node that is lost.
    Forget(String),
    /// Several, one after another; the first that fails ends it.
    All(Vec<Act>),
}

/// A split as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrafficWish {
    pub(crate) endpoint: String,
    pub(crate) before: BTreeMap<String, u32>,
    pub(crate) shares: BTreeMap<String, u32>,
    /// The endpoint as it was when that was read: somebody else's change is not written over.
    pub(crate) revision: u64,
}

// === impl TrafficWish ===

impl TrafficWish {
    fn request(&self) -> SetTrafficRequest {
        SetTrafficRequest {
            // The client names a request that has no name yet, so that a retry of it is applied once.
            request_id: String::new(),
            endpoint: self.endpoint.clone(),
            split: Some(TrafficMap { percent: self.shares.clone() }),
            mirror: None,
            strict_azure: false,
            if_revision: Some(self.revision),
        }
    }
}

// === impl Act ===

impl Act {
    /// Makes one of several.
    pub(crate) fn all(mut acts: Vec<Self>) -> Self {
        match (acts.len(), acts.pop()) {
            (1, Some(only)) => only,
            (_, last) => Self::All(acts.into_iter().chain(last).collect()),
        }
    }
}

/// Does what changes the cluster and says what was done.
pub(crate) async fn change(client: &Client, act: Act) -> Result<String, Error> {
    let Act::All(acts) = act else { return one(client, act).await };
    let (all, mut done) = (acts.len(), Vec::new());
    for act in acts {
        match one(client, act).await {
            Ok(text) => done.push(text),
            Err(error) if done.is_empty() => return Err(error),
            Err(error) => {
                let what = format!("{} of {all} done, then: {}", done.len(), error.what);
                return Err(Error { what, ..error });
            }
        }
    }
    Ok(done.join("; "))
}

async fn one(client: &Client, act: Act) -> Result<String, Error> {
    // The client names a request that has no name yet, so that a retry of it is applied once.
    let request_id = String::new();
    match act {
        Act::SetTraffic(wish) => {
            client.put_traffic(wish.request()).await?;
            Ok(format!("traffic of {} is {}", wish.endpoint, view::shares(&wish.shares)))
        }
        Act::Scale { endpoint, deployment, instance_count } => {
            let name = format!("{endpoint}/{deployment}");
            let request =
                ScaleDeploymentRequest { request_id, endpoint, name: deployment, instance_count, if_revision: None };
            client.scale_deployment(request).await?;
            Ok(format!("{name} goes to {}", Count(u64::from(instance_count), "instance")))
        }
        Act::Cordon { node, cordoned } => {
            client.cordon_node(&node, cordoned).await?;
            Ok(if cordoned { format!("{node} takes nothing new") } else { format!("{node} takes replicas again") })
        }
        Act::Drain { node, cancel } => {
            let within = parse_span(DRAIN_DEADLINE).map_err(|why| Error::new(Code::Internal, why))?;
            let request = DrainNodeRequest {
                request_id,
                node: node.clone(),
                within_ms: within.as_millis() as u64,
                reason: "from the screen".to_owned(),
                force: false,
                cancel,
                upgrade: false,
            };
            client.drain_node(request).await?;
            Ok(if cancel { format!("{node} need not be empty any more") } else { format!("{node} becomes empty") })
        }
        Act::Restart { endpoint, name } => {
            let changed = client.restart_deployment(&endpoint, &name, None).await?;
            Ok(format!("{endpoint}/{name} starts anew as generation {}", changed.generation))
        }
        Act::Replace { replica, now } => {
            client.replace_replica(&replica, now.then_some(Duration::ZERO)).await?;
            Ok(format!("replica {} goes; another comes in its place", view::short_id(&replica)))
        }
        Act::PutEndpoint(request) => {
            let name = request.name.clone();
            client.put_endpoint(*request).await?;
            Ok(format!("{name} was changed"))
        }
        Act::PutDeployment(request) => {
            let name = format!("{}/{}", request.endpoint, request.name);
            client.put_deployment(*request).await?;
            Ok(format!("{name} was changed"))
        }
        Act::DeleteEndpoint(name) => {
            client.delete_endpoint(DeleteEndpointRequest { request_id, name: name.clone(), if_revision: None }).await?;
            Ok(format!("{name} is being deleted"))
        }
        Act::DeleteDeployment { endpoint, name } => {
            let text = format!("{endpoint}/{name} is being deleted");
            client.delete_deployment(DeleteDeploymentRequest { request_id, endpoint, name, if_revision: None }).await?;
            Ok(text)
        }
        Act::Forget(node) => {
            client.forget_node(&node).await?;
            Ok(format!("{node} is forgotten"))
        }
        Act::Quit
        | Act::Redraw
        | Act::Open(_)
        | Act::Copy(_)
        | Act::Edit(_)
        | Act::AskDrain(_)
        | Act::AskUndo { .. }
        | Act::AskTraffic(_)
        | Act::Context(_)
        | Act::All(_) => Ok(String::new()),
    }
}

/// Finds out what draining nodes means: the question, and what `y` does.
pub(crate) async fn ask_drain(client: &Client, nodes: Vec<String>) -> Result<(Vec<String>, Act), Error> {
    let request = PlanRequest { drain: nodes.clone(), ..PlanRequest::default() };
    let report = client.plan(request).await?;
    let mut question = drain_question(&nodes);
    question.extend(view::plan_lines(&report));
    let acts = nodes.into_iter().map(|node| Act::Drain { node, cancel: false });
    Ok((question, Act::all(acts.collect())))
}

fn drain_question(nodes: &[String]) -> Vec<String> {
    vec![
        format!("Drain {}: everything moves away;", nodes.join(", ")),
        format!("requests that still run after {DRAIN_DEADLINE} are cut."),
        String::new(),
    ]
}

/// Finds out what going back to the generation before changes: the question, and what `y` does.
pub(crate) async fn ask_undo(client: &Client, endpoint: &str, name: &str) -> Result<(Vec<String>, Act), Error> {
    let current = client.get_deployment(endpoint, name).await?;
    let generations = client.generations(endpoint, name).await?;
    let Some(target) = rollout::earlier(&generations)? else {
        return Err(Error::new(Code::Invalid, format!("{endpoint}/{name} has no earlier generation to go back to")));
    };
    let request = rollout::back_to(&current, target)?;
    let report = client.plan(PlanRequest { deployments: vec![request.clone()], ..PlanRequest::default() }).await?;
    let mut question =
        vec![format!("{endpoint}/{name} goes back from generation {} to {}:", current.generation, target.generation)];
    question.push(String::new());
    question.extend(view::plan_lines(&report));
    Ok((question, Act::PutDeployment(Box::new(request))))
}

/// Finds out what another split means: the plan, and what `y` does.
pub(crate) async fn ask_traffic(client: &Client, wish: TrafficWish) -> Result<(Vec<String>, Act), Error> {
    let report = client.plan(PlanRequest { traffic: vec![wish.request()], ..PlanRequest::default() }).await?;
    let plan = view::split_lines(&wish.before, &wish.shares, report);
    Ok((plan, Act::SetTraffic(wish)))
}

/// Fetches what a page shows, as lines, or what there is to say instead; logs come by themselves.
pub(crate) async fn page(client: &Client, page: &Page) -> Vec<String> {
    fetch(client, page).await.unwrap_or_else(|error| lines(&error.to_string()))
}

async fn fetch(client: &Client, page: &Page) -> Result<Vec<String>, Error> {
    match (page.kind, &page.of) {
        (PageKind::Describe, of) => match described(of) {
            Some(words) => describe::lines(client, &words).await,
            None => Ok(lines(&yaml(client, of).await?)),
        },
        (PageKind::WhatIf, Subject::Node(name)) => {
            let request = PlanRequest { lose: vec![name.clone()], ..PlanRequest::default() };
            let report = client.plan(request).await?;
            let mut text = vec![format!("If {name} were lost now:"), String::new()];
            text.extend(view::plan_lines(&report));
            Ok(text)
        }
        (PageKind::Request, Subject::Request(id)) => {
            Ok(lines(&view::request(&client.explain_request(id).await?, now_ms())))
        }
        (PageKind::Mirror, Subject::Endpoint(name)) => mirror(client, name).await,
        (_, of) => Ok(lines(&yaml(client, of).await?)),
    }
}

/// Returns what `berth describe` calls it; nothing for what it does not describe.
fn described(of: &Subject) -> Option<Vec<String>> {
    let (noun, name) = match of {
        Subject::Endpoint(name) => ("endpoint", name.clone()),
        Subject::Deployment { .. } => ("deployment", of.to_string()),
        Subject::Node(node) | Subject::Device { node, .. } => ("node", node.clone()),
        Subject::Replica { id, .. } => ("replica", id.clone()),
        Subject::Event(seq) => ("event", seq.to_string()),
        Subject::Slot(_) | Subject::Coordinator(_) | Subject::Request(_) | Subject::Line(_) => return None,
    };
    Some(vec![noun.to_owned(), name])
}

async fn mirror(client: &Client, name: &str) -> Result<Vec<String>, Error> {
    let endpoint = client.get_endpoint(name).await?;
    if endpoint.mirror_traffic.values().all(|percent| *percent == 0) {
        return Ok(vec![
            format!("{name} has no mirror"),
            String::new(),
            format!("berth mirror {name} DEPLOYMENT=10 copies a tenth of its requests to a deployment"),
        ]);
    }
    let mut text = vec![format!("{name} copies to {}", view::shares(&endpoint.mirror_traffic)), String::new()];
    text.extend(lines(&view::mirrors(&client.mirror_report(name).await?, now_ms())));
    Ok(text)
}

async fn yaml(client: &Client, of: &Subject) -> Result<String, Error> {
    match of {
        Subject::Endpoint(name) => crate::output::as_yaml(&client.get_endpoint(name).await?),
        Subject::Deployment { endpoint, name } => crate::output::as_yaml(&client.get_deployment(endpoint, name).await?),
        Subject::Replica { id, endpoint, deployment } => {
            let replicas = client.list_replicas(endpoint, deployment).await?;
            // From outside, the beginning of an id is enough.
            crate::output::as_yaml(&replicas.iter().find(|replica| replica.replica.starts_with(id.as_str())))
        }
        Subject::Slot(id) => {
            let slots = client.list_slots("", "").await?;
            crate::output::as_yaml(&slots.iter().find(|slot| slot.slot == *id))
        }
        Subject::Node(name) | Subject::Device { node: name, .. } => {
            let nodes = client.list_nodes().await?;
            crate::output::as_yaml(&nodes.iter().find(|node| node.node == *name))
        }
        Subject::Event(seq) => {
            let events = client.events().await?;
            crate::output::as_yaml(&events.iter().find(|event| event.seq == *seq))
        }
        Subject::Coordinator(id) => {
            let members = client.list_members().await?.members;
            crate::output::as_yaml(&members.iter().find(|member| member.id == *id))
        }
        Subject::Line(_) | Subject::Request(_) => Ok(String::new()),
    }
}

/// Writes down what may be changed of an endpoint or a deployment.
pub(crate) async fn draft(client: &Client, of: &Subject) -> Result<Draft, Error> {
    match of {
        Subject::Endpoint(name) => Draft::of_endpoint(client, name).await,
        Subject::Deployment { endpoint, name } => Draft::of_deployment(client, endpoint, name).await,
        _ => Err(Error::new(Code::Invalid, "endpoints and deployments can be edited")),
    }
}

/// Plans what an edited draft changes: the question, and what `y` does; nothing when nothing changes.
pub(crate) async fn ask_edited(
    client: &Client,
    draft: Draft,
    edited: &str,
) -> Result<Option<(Vec<String>, Act)>, Error> {
    let wanted = draft.edited(edited).map_err(|error| error.try_("`e` edits it again"))?;
    let report = client.plan(wanted.plan()).await?;
    if report.changes.iter().all(|change| change.action == "none") {
        return Ok(None);
    }
    let act = match wanted {
        Wanted::Endpoint(request) => Act::PutEndpoint(request),
        Wanted::Deployment(request) => Act::PutDeployment(request),
    };
    Ok(Some((view::plan_lines(&report), act)))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The question names the time that is sent, which is the one of the verb.
    #[test]
    fn a_drain_names_its_deadline() {
        let question = drain_question(&["node-1".to_owned(), "node-2".to_owned()]).join("\n");
        let told = "Drain node-1, node-2: everything moves away;\nrequests that still run after 5m are cut.\n";
        assert_eq!(question, told);
        assert_eq!(parse_span(DRAIN_DEADLINE), Ok(Duration::from_secs(300)));
        let args = ["berth", "node", "drain", "node-1"];
        let typed = crate::args::command().try_get_matches_from(args).expect("it can be typed");
        let (_, node) = typed.subcommand().expect("node");
        let (_, drain) = node.subcommand().expect("drain");
        assert_eq!(drain.get_one::<Duration>("deadline"), parse_span(DRAIN_DEADLINE).ok().as_ref());
    }

    #[test]
    fn one_of_several_is_itself() {
        let delete = |name: &str| Act::DeleteEndpoint(name.to_owned());
        assert_eq!(Act::all(vec![delete("a")]), delete("a"));
        assert_eq!(Act::all(vec![delete("a"), delete("b")]), Act::All(vec![delete("a"), delete("b")]));
    }
}
