//! What changes the cluster: each is asked first, and refused on a screen that is frozen or read-only.

use super::{
    act::Act,
    app::App,
    dialog::{Dialog, PromptKind, TrafficEdit},
    view::Subject,
};
use crate::output::Ink;

/// Things that are named in a question; the others are counted.
const NAMED_MAX: usize = 10;

// === impl App ===

impl App {
    pub(super) fn ask(&mut self, mut question: Vec<String>, act: Act) {
        question.push(String::new());
        question.push("y does it, n leaves everything as it is".to_owned());
        self.dialog = Some(Dialog::Confirm { question, act, top: 0 });
    }

    fn may_change(&mut self) -> bool {
        if self.read_only {
            self.say("this screen was started with --read-only", Ink::Yellow);
        } else if self.frozen.is_some() {
            self.say("no coordinator answers: nothing can be changed now", Ink::Red);
        }
        !self.read_only && self.frozen.is_none()
    }

    pub(super) fn edit_traffic(&mut self) {
        let endpoint = match self.subject() {
            Some(Subject::Endpoint(name)) => name,
            Some(Subject::Deployment { endpoint, .. } | Subject::Replica { endpoint, .. }) => endpoint,
            _ => return self.say("choose an endpoint, a deployment or a replica first", Ink::Yellow),
        };
        if !self.may_change() {
            return;
        }
        let Some(found) = self.board.endpoint(&endpoint) else { return };
        let names: Vec<_> = self.board.deployments_of(&endpoint).iter().map(|it| it.name.clone()).collect();
        if names.is_empty() {
            return self.say(format!("{endpoint} has no deployments yet"), Ink::Yellow);
        }
        let edit = TrafficEdit::open(&endpoint, &found.traffic, names.into_iter(), found.revision);
        self.dialog = Some(Dialog::Traffic(edit));
    }

    pub(super) fn ask_scale(&mut self) {
        match self.subject() {
            Some(Subject::Deployment { endpoint, name }) if self.may_change() => {
                self.prompt(PromptKind::Scale { endpoint, deployment: name });
            }
            Some(Subject::Deployment { .. }) => {}
            _ => self.say("choose a deployment first", Ink::Yellow),
        }
    }

    pub(super) fn scale(&mut self, endpoint: String, deployment: String, text: &str) {
        match text.trim().parse::<u32>() {
            Ok(instance_count) => {
                let known = self.board.deployment(&endpoint, &deployment);
                let now = known.map_or(0, |it| it.desired);
                let count = berth_core::units::Count(u64::from(instance_count), "instance");
                let mut question = vec![format!("{endpoint}/{deployment} goes from {now} to {count}.")];
                // A line each: the question stays whole on a small screen.
                let lost = known.map(|it| crate::view::advice::lost_by_scaling(it, u64::from(instance_count)));
                question.extend(lost.into_iter().flatten());
                self.ask(question, Act::Scale { endpoint, deployment, instance_count });
            }
            Err(_) => self.say(format!("`{}` is no number of instances", text.trim()), Ink::Red),
        }
    }

    pub(super) fn ask_cordon(&mut self) {
        let nodes: Vec<_> = self.subjects().into_iter().filter_map(|it| node_of(&it)).collect();
        if nodes.is_empty() {
            return self.say("choose a node first", Ink::Yellow);
        }
        if !self.may_change() {
            return;
        }
        let (mut question, mut acts) = (Vec::new(), Vec::new());
        for node in nodes {
            let known = self.board.node(&node);
            let is_cordoned = known.is_some_and(|known| known.cordoned);
            let is_drained = known.is_some_and(|known| known.drain.is_some());
            // As the verb: a node that shall be empty, too, takes replicas again.
            let is_closed = is_cordoned || is_drained;
            let what = if is_closed { "takes replicas again." } else { "takes nothing new; what runs there stays." };
            question.push(format!("{node} {what}"));
            if is_drained {
                acts.push(Act::Drain { node: node.clone(), cancel: true });
            }
            if is_cordoned || !is_drained {
                acts.push(Act::Cordon { node, cordoned: !is_closed });
            }
        }
        self.ask(shortened(question), Act::all(acts));
    }

    /// Restarts deployments, drains nodes: whichever the cursor is on.
    pub(super) fn ask_restart_or_drain(&mut self) -> Vec<Act> {
        let subjects = self.subjects();
        let deployments: Vec<_> = subjects.iter().filter_map(deployment_of).collect();
        if deployments.is_empty() {
            return self.ask_drain();
        }
        if !self.may_change() {
            return Vec::new();
        }
        let (mut question, mut acts) = (Vec::new(), Vec::new());
        for (endpoint, name) in deployments {
            let replicas = self.board.replicas_of(&endpoint, &name).len() as u64;
            let replicas = berth_core::units::Count(replicas, "replica");
            question.push(format!(
                "{endpoint}/{name} starts anew: {replicas} replaced as by a rollout, none before its successor serves."
            ));
            acts.push(Act::Restart { endpoint, name });
        }
        self.ask(shortened(question), Act::all(acts));
        Vec::new()
    }

    /// Asks what going back would change before asking whether it shall be.
    pub(super) fn ask_undo(&mut self) -> Vec<Act> {
        let Some((endpoint, name)) = self.subject().as_ref().and_then(deployment_of) else {
            return self.hint("choose a deployment first");
        };
        if !self.may_change() {
            return Vec::new();
        }
        self.say(format!("asking what it means to take {endpoint}/{name} back …"), Ink::Grey);
        vec![Act::AskUndo { endpoint, name }]
    }

    /// Ends replicas; others come in their place.
    pub(super) fn ask_replace(&mut self, now: bool) {
        let subjects = self.subjects();
        let replicas: Vec<_> = subjects
            .into_iter()
            .filter_map(|it| if let Subject::Replica { id, .. } = it { Some(id) } else { None })
            .collect();
        if replicas.is_empty() {
            return self.say("choose a replica first", Ink::Yellow);
        }
        if !self.may_change() {
            return;
        }
        let (mut question, mut acts) = (Vec::new(), Vec::new());
        for replica in replicas {
            let known = self.board.replicas.iter().find(|it| it.replica == replica);
            let (of, node, busy) = known.map_or_else(Default::default, |it| {
                (format!("{}/{}", it.endpoint, it.deployment), it.node.clone(), it.in_flight)
            });
            let busy = berth_core::units::Count(busy, "request");
            let fate = if now { "cut" } else { "finished first" };
            let id = crate::view::short_id(&replica);
            question.push(format!(
                "Replica {id} of {of} on {node} ends, {busy} under way {fate}; another comes in its place."
            ));
            acts.push(Act::Replace { replica, now });
        }
        self.ask(shortened(question), Act::all(acts));
    }

    /// Asks what a drain would do before asking whether it shall be.
    pub(super) fn ask_drain(&mut self) -> Vec<Act> {
        let nodes: Vec<_> = self.subjects().into_iter().filter_map(|it| node_of(&it)).collect();
        if nodes.is_empty() {
            return self.hint("choose a node to drain it, or a deployment to restart it");
        }
        if !self.may_change() {
            return Vec::new();
        }
        let draining = |node: &String| self.board.node(node).is_some_and(|node| node.drain.is_some());
        if nodes.iter().all(draining) {
            let question = nodes.iter().map(|node| match self.board.node(node) {
                Some(known) if known.cordoned => {
                    format!("{node} shall no longer be empty; cordoned it stays, until `u`.")
                }
                _ => format!("{node} shall no longer be empty: it takes replicas again."),
            });
            let question = shortened(question.collect());
            let acts = nodes.into_iter().map(|node| Act::Drain { node, cancel: true });
            let act = Act::all(acts.collect());
            self.ask(question, act);
            return Vec::new();
        }
        self.say(format!("asking what it means to drain {} …", nodes.join(", ")), Ink::Grey);
        vec![Act::AskDrain(nodes)]
    }

    /// Opens the editor on what is under the cursor; what it changes is planned and asked for afterwards.
    pub(super) fn edit(&mut self) -> Vec<Act> {
        match self.subject() {
            Some(of @ (Subject::Endpoint(_) | Subject::Deployment { .. })) => {
                if self.may_change() {
                    vec![Act::Edit(of)]
                } else {
                    Vec::new()
                }
            }
            _ => self.hint("endpoints and deployments can be edited; go to one first"),
        }
    }

    pub(super) fn ask_delete(&mut self) {
        let subjects = self.subjects();
        if subjects.iter().any(|it| matches!(it, Subject::Replica { .. })) {
            return self.ask_replace(false);
        }
        if subjects.is_empty() || !self.may_change() {
            return;
        }
        let (mut question, mut acts) = (Vec::new(), Vec::new());
        for subject in subjects {
            match subject {
                Subject::Endpoint(name) => {
                    question.push(format!("Endpoint {name} goes, and with it:"));
                    question.extend(
                        self.board.deployments_of(&name).iter().map(|it| format!("  {}/{}", it.endpoint, it.name)),
                    );
                    acts.push(Act::DeleteEndpoint(name));
                }
                Subject::Deployment { endpoint, name } => {
                    let replicas = self.board.replicas_of(&endpoint, &name).len() as u64;
                    let replicas = berth_core::units::Count(replicas, "replica");
                    question.push(format!("Deployment {endpoint}/{name} goes with {replicas}."));
                    acts.push(Act::DeleteDeployment { endpoint, name });
                }
                Subject::Node(node) => match self.forgotten(&node) {
                    Ok(text) => {
                        question.extend(text);
                        acts.push(Act::Forget(node));
                    }
                    Err(why) => return self.say(why, Ink::Yellow),
                },
                _ => {
                    let what = "endpoints, deployments and replicas can be deleted here, and lost nodes forgotten";
                    return self.say(what, Ink::Yellow);
                }
            }
        }
        self.ask(shortened(question), Act::all(acts));
    }
}

impl App {
    /// Says what forgetting a node means, or why it cannot be: the same that `berth node forget` is told.
    fn forgotten(&self, name: &str) -> Result<Vec<String>, String> {
        let Some(node) = self.board.node(name) else { return Err(format!("there is no node {name} any more")) };
        if node.state != "lost" {
            let state = &node.state;
            return Err(format!("node {name} is {state}; only a lost node can be forgotten: stop its agent first"));
        }
        let replicas = self.board.replicas.iter().filter(|it| it.node == name).count() as u64;
        let slots = self.board.slots.iter().filter(|it| it.node == name).count() as u64;
        let count = berth_core::units::Count;
        Ok(vec![
            format!("Node {name} is forgotten, lost {} ago:", crate::view::age(node.since_ms, self.now_ms)),
            format!("  with {} and {} that were on it;", count(replicas, "replica"), count(slots, "reserve slot")),
            "  should it come back, it registers anew.".to_owned(),
        ])
    }
}

fn deployment_of(subject: &Subject) -> Option<(String, String)> {
    match subject {
        Subject::Deployment { endpoint, name } => Some((endpoint.clone(), name.clone())),
        _ => None,
    }
}

fn node_of(subject: &Subject) -> Option<String> {
    if let Subject::Node(node) = subject { Some(node.clone()) } else { None }
}

/// Keeps a question about many things on the screen.
fn shortened(mut question: Vec<String>) -> Vec<String> {
    let beyond = question.len().saturating_sub(NAMED_MAX);
    if beyond > 1 {
        question.truncate(NAMED_MAX);
        question.push(format!("… and {beyond} more"));
    }
    question
}
