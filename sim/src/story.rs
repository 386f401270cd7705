//! Stories: a script of what happens and what must then be so, and its retelling.
//!
//! One line is one thing. `members N`, `nodes N`, `gpus N` (cards per host) and `slices` (the last of them is cut) set the stage; `at TIME …` says what is done, what goes wrong, or with
//! `expect` what must be so by then; `end TIME` mends everything and lets the world come to rest. `#` begins a remark.

use berth_core::{
    model::{
        DeploymentKey, DeviceState, Disconnect, DrainBy, EndpointName, GpuAsk, NodeName, NodeState, Reconcile, Replica,
        ReserveSlot, Traffic,
    },
    state::{ClusterState, Command, DrainWish},
    time::Millis,
};

use crate::{
    Options, Tally,
    action::{Action, Behaviour},
    event::Event,
    gpu::Layout,
    invariants::STORY,
    net::Addr,
    quota,
    workload::{deployment_put, endpoint_put},
    world::World,
};

/// Lines of the trace that a story retells: what changed for people, not every replica's every step.
const RETOLD: [&str; 10] = [
    "fault",
    "GPU ",
    "coordinator c",
    "node ",
    "endpoint ",
    "deployment ",
    "the ",
    "every ",
    "expected",
    "nothing of deployment",
];

/// Why a story cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct StoryError {
    /// The line, from one.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// What must be so at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    text: String,
    what: Expected,
    count: u64,
}

#[derive(Clone, Debug)]
enum Expected {
    Serving(DeploymentKey),
    Generation(DeploymentKey),
    NodesOf(DeploymentKey),
    ServingOn(NodeName, DeploymentKey),
    ProcessesOn(usize),
    Yielded(DeploymentKey),
    GpusOut,
    Slots(DeploymentKey),
    Short(DeploymentKey),
    SlotsOn(NodeName),
    NodesLost,
    NodesSuspect,
    Drained,
    Cut,
    Endpoints,
    Replicas,
    Terms,
    Lost,
    Failed,
    Lent,
    Instances(DeploymentKey),
}

/// The words of one line.
struct Line<'a> {
    number: usize,
    words: std::str::SplitWhitespace<'a>,
}

/// Tells a story with a seed: every line that matters, what was expected, and what became of the requests.
pub fn story(script: &str, seed: u64) -> Result<String, StoryError> {
    let mut layout = Layout::default();
    let mut options = Options { seed, members: 3, nodes: 3, ..Options::default() };
    let mut acts = Vec::new();
    let mut expectations = Vec::new();
    for (at, text) in script.lines().enumerate() {
        let text = text.split('#').next().unwrap_or_default();
        let mut line = Line { number: at + 1, words: text.split_whitespace() };
        match line.words.next() {
            None => {}
            Some("members") => options.members = line.number("a number of coordinators")? as usize,
            Some("nodes") => options.nodes = line.number("a number of nodes")? as usize,
            Some("gpus") => layout.cards = line.number("a number of cards per host")? as usize,
            Some("slices") => layout.sliced = true,
            Some("end") => acts.push((line.millis()?, Action::Settle)),
            Some("at") => {
                let at = line.millis()?;
                let action = line.action(at, &mut expectations)?;
                acts.push((at, action));
            }
            Some(word) => return Err(line.error(format!("`{word}` begins no line"))),
        }
    }
    options.whole_trace = true;
    let mut world = World::new(&options);
    world.expectations = expectations;
    if layout.cards > 0 {
        world.nodes.iter_mut().for_each(|node| node.fit_gpus(layout, false));
    }
    for (at, action) in acts {
        world.at(at, Event::Do(action));
    }
    world.run();
    Ok(retell(world))
}

fn retell(world: World) -> String {
    let report = world.into_report();
    let tells = |line: &&String| {
        let what = line.get(11..).unwrap_or_default();
        let is_of_people = RETOLD.iter().any(|start| what.starts_with(start)) && !what.starts_with("coordinator 0");
        is_of_people || what.contains("gives up its place") || what.contains("has back what it gave up")
    };
    let mut told: Vec<String> = report.trace.iter().filter(tells).cloned().collect();
    let Tally { accepted, answered, shed, failed_by_fault, lost, mirrored } = report.requests;
    told.push(format!(
        "requests: {accepted} accepted, {answered} answered, {shed} shed, {failed_by_fault} hit by a fault, {lost} lost, {mirrored} mirrored"
    ));
    told.extend(report.violations.iter().map(|finding| format!("broken {}: {}", finding.id, finding.what)));
    if report.violations.is_empty() {
        told.push("every invariant held".to_owned());
    }
    told.join("\n") + "\n"
}

// === impl Line ===

impl Line<'_> {
    fn error(&self, what: impl Into<String>) -> StoryError {
        StoryError { line: self.number, what: what.into() }
    }

    fn word(&mut self, wanted: &str) -> Result<String, StoryError> {
        self.words.next().map(str::to_owned).ok_or_else(|| self.error(format!("{wanted} is missing")))
    }

    fn parse<T: std::str::FromStr>(&mut self, wanted: &str) -> Result<T, StoryError> {
        let word = self.word(wanted)?;
        word.parse().map_err(|_| self.error(format!("`{word}` is not {wanted}")))
    }

    fn number(&mut self, wanted: &str) -> Result<u64, StoryError> {
        self.parse(wanted)
    }

    /// Reads `2s` or `250ms`.
    fn millis(&mut self) -> Result<u64, StoryError> {
        let word = self.word("a time")?;
        let (digits, scale) = match word.strip_suffix("ms") {
            Some(digits) => (digits, 1),
            None => (word.strip_suffix('s').unwrap_or(&word), 1_000),
        };
        digits
            .parse::<u64>()
            .map(|time| time * scale)
            .map_err(|_| self.error(format!("`{word}` is no time such as `2s`")))
    }

    /// Reads `n2` or `c1`.
    fn addr(&mut self) -> Result<Addr, StoryError> {
        let word = self.word("a node or a coordinator")?;
        let at = word.get(1..).and_then(|digits| digits.parse::<usize>().ok()).and_then(|at| at.checked_sub(1));
        match (word.chars().next(), at) {
            (Some('n'), Some(at)) => Ok(Addr::Node(at)),
            (Some('c'), Some(at)) => Ok(Addr::Member(at)),
            _ => Err(self.error(format!("`{word}` is neither a node such as `n1` nor a coordinator such as `c1`"))),
        }
    }

    /// Reads `blue=90 green=10` to the end of the line.
    fn shares(&mut self) -> Result<Traffic, StoryError> {
        let mut shares = Vec::new();
        while let Some(word) = self.words.next() {
            let pair =
                word.split_once('=').and_then(|(name, percent)| Some((name.parse().ok()?, percent.parse().ok()?)));
            shares.push(pair.ok_or_else(|| self.error(format!("`{word}` is no share such as `blue=90`")))?);
        }
        Ok(Traffic::from_iter(shares))
    }

    /// Reads `n2` or `n2/1`: a node, and which card of it, from zero.
    fn card(&mut self) -> Result<(usize, usize), StoryError> {
        let word = self.word("a card such as `n1/0`")?;
        let (node, card) = word.split_once('/').unwrap_or((&word, "0"));
        let node = node.strip_prefix('n').and_then(|digits| digits.parse::<usize>().ok()?.checked_sub(1));
        match (node, card.parse()) {
            (Some(node), Ok(card)) => Ok((node, card)),
            _ => Err(self.error(format!("`{word}` is no card such as `n1/0`"))),
        }
    }

    /// Reads `1` for whole cards, `24GiB` for a share of one, `mig:3g.40gb` for a slice.
    fn gpu(&mut self) -> Result<GpuAsk, StoryError> {
        let word = self.word("what of a GPU")?;
        let share = word.strip_suffix("GiB").and_then(|digits| digits.parse::<u64>().ok());
        match (word.parse(), share, word.strip_prefix("mig:")) {
            (Ok(count), _, _) => Ok(GpuAsk::Whole { count, model: None, memory_mib_min: 0 }),
            (_, Some(gib), _) => Ok(GpuAsk::Memory { mib: gib << 10, model: None }),
            (_, _, Some(profile)) => Ok(GpuAsk::Mig { profile: profile.to_owned(), count: 1 }),
            _ => Err(self.error(format!("`{word}` is none of `1`, `24GiB` and `mig:3g.40gb`"))),
        }
    }

    fn action(&mut self, at: u64, expectations: &mut Vec<Expectation>) -> Result<Action, StoryError> {
        let verb = self.word("what happens")?;
        Ok(match verb.as_str() {
            "endpoint" => Action::Change(Box::new(endpoint_put(&self.parse("an endpoint")?))),
            "deploy" | "break" => Action::Deploy {
                key: self.parse("a deployment such as `llm/blue`")?,
                count: self.number("a count")? as u32,
                version: self.number("a version")? as u32,
                behaviour: if verb == "break" { Behaviour::ExitsAtStart } else { Behaviour::Good },
            },
            "deploy-gpu" => Action::DeployOnGpu {
                key: self.parse("a deployment such as `llm/blue`")?,
                count: self.number("a count")? as u32,
                version: self.number("a version")? as u32,
                gpu: self.gpu()?,
            },
            "rank" => {
                let key = self.parse("a deployment such as `llm/blue`")?;
                let (count, version) = (self.number("a count")? as u32, self.number("a version")? as u32);
                let (priority, minimum) = (self.number("a priority")? as u32, self.number("a minimum")? as u32);
                let mut command = deployment_put(&key, count, version, Behaviour::Good);
                if let Command::DeploymentPut { spec, .. } = &mut command {
                    (spec.priority, spec.min_instances) = (priority, Some(minimum));
                }
                Action::Change(Box::new(command))
            }
            "policy" => {
                Action::Policy { key: self.parse("a deployment such as `llm/blue`")?, disconnect: self.policy()? }
            }
            "xid" => {
                let (node, card) = self.card()?;
                Action::Xid(node, card, self.number("an XID")? as u32)
            }
            "mend-card" => {
                let (node, card) = self.card()?;
                Action::MendCard(node, card)
            }
            "resize-card" => {
                let (node, card) = self.card()?;
                Action::ResizeCard(node, card, self.number("GiB")?)
            }
            "hang-driver" => Action::HangDriver(self.card()?.0, true),
            "wake-driver" => Action::HangDriver(self.card()?.0, false),
            "scale" => {
                let key = self.parse("a deployment such as `llm/blue`")?;
                let instance_count = self.number("a count")? as u32;
                Action::Change(Box::new(Command::DeploymentScale { key, instance_count, if_revision: None }))
            }
            "quota" => Action::Change(Box::new(quota::limit(Some(self.number("a number of cores")?)))),
            "pool" => Action::Change(Box::new(quota::pool(self.number("a number of cores")?))),
            "lend" => {
                let cores = self.number("a number of cores")?;
                Action::Change(Box::new(quota::lend(at, cores, Millis(self.millis()?))))
            }
            "split" => Action::Split { endpoint: self.parse("an endpoint")?, split: self.shares()? },
            "mirror" => Action::Mirror { endpoint: self.parse("an endpoint")?, mirror: self.shares()? },
            "delete" => {
                let word = self.word("an endpoint or a deployment")?;
                let command = match (word.parse::<DeploymentKey>(), word.parse::<EndpointName>()) {
                    (Ok(key), _) => Command::DeploymentDelete { key, if_revision: None },
                    (_, Ok(name)) => Command::EndpointDelete { name, if_revision: None },
                    _ => return Err(self.error(format!("`{word}` names nothing"))),
                };
                Action::Change(Box::new(command))
            }
            "cordon" => self.cordon(true)?,
            "uncordon" => self.cordon(false)?,
            "drain" => self.drain(false)?,
            "force-drain" => self.drain(true)?,
            "cancel-drain" => {
                let name = self.node_name()?;
                Action::Change(Box::new(Command::NodeDrain { name, wish: None }))
            }
            "load" => {
                let endpoint = self.parse("an endpoint")?;
                let per_second = self.number("requests per second")?.clamp(1, 1_000);
                Action::Load { endpoint, gap_ms: 1_000 / per_second, until_ms: at + self.millis()? }
            }
            "kill" => match self.addr()? {
                Addr::Node(node) => Action::KillNode(node),
                Addr::Member(member) => Action::KillMember(member),
            },
            "kill-leader" => Action::KillLeader(self.millis()?),
            "crash-agent" => match self.addr()? {
                Addr::Node(node) => Action::KillAgent(node),
                Addr::Member(_) => return Err(self.error("a coordinator has no agent")),
            },
            "crash-process" => match self.addr()? {
                Addr::Node(node) => Action::CrashProcess(node),
                Addr::Member(_) => return Err(self.error("a coordinator runs no replicas")),
            },
            "start" => match self.addr()? {
                Addr::Node(node) => Action::StartNode(node),
                Addr::Member(member) => Action::StartMember(member),
            },
            "flap" => Action::Flap {
                node: match self.addr()? {
                    Addr::Node(node) => node,
                    Addr::Member(_) => return Err(self.error("only nodes flap")),
                },
                half_ms: self.millis()?,
                until_ms: at + self.millis()?,
            },
            "shrink" => match self.addr()? {
                Addr::Node(node) => Action::Shrink(node, self.number("a number of cores")?),
                Addr::Member(_) => return Err(self.error("a coordinator runs no replicas")),
            },
            "resize" => match self.addr()? {
                Addr::Node(node) => Action::Resize(node, self.number("a number of cores")?),
                Addr::Member(_) => return Err(self.error("a coordinator runs no replicas")),
            },
            "upgrade" => Action::Upgrade(self.word("who upgrades")?),
            "forget" => Action::Change(Box::new(Command::NodeForget { name: self.node_name()? })),
            "blackout" => Action::Blackout(self.number("percent of the hosts")?.min(100)),
            "isolate" => Action::Isolate(self.addr()?),
            "cut" => Action::Cut(self.addr()?, self.addr()?),
            "heal" => Action::Heal,
            "expect" => {
                expectations.push(self.expectation()?);
                Action::Expect(expectations.len() - 1)
            }
            _ => return Err(self.error(format!("nobody knows how to `{verb}`"))),
        })
    }

    /// Reads `lost-after=12s replace=no stop-alone=10s keep=original` to the end of the line.
    fn policy(&mut self) -> Result<Disconnect, StoryError> {
        let mut policy = Disconnect::default();
        while let Some(word) = self.words.next() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let seconds = value.strip_suffix('s').and_then(|digits| digits.parse().ok()).map(Millis::from_secs);
            let keep = Reconcile::ALL.into_iter().find(|choice| choice.word().strip_prefix("keep_") == Some(value));
            match (name, seconds, keep) {
                ("lost-after", Some(span), _) => policy.lost_after = Some(span),
                ("stop-alone", Some(span), _) => policy.stop_on_client_after = Some(span),
                ("replace", ..) if value == "no" => policy.replace = false,
                ("keep", _, Some(keep)) => policy.reconcile = keep,
                _ => return Err(self.error(format!("`{word}` is no policy such as `lost-after=12s`"))),
            }
        }
        Ok(policy)
    }

    fn node_name(&mut self) -> Result<NodeName, StoryError> {
        self.parse("a node such as `n1`")
    }

    fn cordon(&mut self, cordoned: bool) -> Result<Action, StoryError> {
        let name = self.node_name()?;
        Ok(Action::Change(Box::new(Command::NodeCordon { name, cordoned })))
    }

    fn drain(&mut self, force: bool) -> Result<Action, StoryError> {
        let (name, within) = (self.node_name()?, Millis(self.millis()?));
        let wish = DrainWish { within, reason: "the story".to_owned(), force, by: DrainBy::Operator };
        Ok(Action::Change(Box::new(Command::NodeDrain { name, wish: Some(wish) })))
    }

    fn expectation(&mut self) -> Result<Expectation, StoryError> {
        let noun = self.word("what is expected")?;
        let wanted = "a deployment such as `llm/blue`";
        let mut name = String::new();
        let mut keyed = |line: &mut Self| -> Result<DeploymentKey, StoryError> {
            let key: DeploymentKey = line.parse(wanted)?;
            name = format!(" {key}");
            Ok(key)
        };
        let what = match noun.as_str() {
            "serving" => Expected::Serving(keyed(self)?),
            "generation" => Expected::Generation(keyed(self)?),
            "slots" => Expected::Slots(keyed(self)?),
            "short" => Expected::Short(keyed(self)?),
            "slots-on" => {
                let node = self.node_name()?;
                name = format!(" {node}");
                Expected::SlotsOn(node)
            }
            "nodes-of" => Expected::NodesOf(keyed(self)?),
            "serving-on" => {
                let (node, key) = (self.node_name()?, self.parse::<DeploymentKey>(wanted)?);
                name = format!(" {node} {key}");
                Expected::ServingOn(node, key)
            }
            "processes-on" => {
                let Addr::Node(at) = self.addr()? else { return Err(self.error("a coordinator runs no replicas")) };
                name = format!(" n{}", at + 1);
                Expected::ProcessesOn(at)
            }
            "yielded" => Expected::Yielded(keyed(self)?),
            "gpus-out" => Expected::GpusOut,
            "nodes-lost" => Expected::NodesLost,
            "nodes-suspect" => Expected::NodesSuspect,
            "drained" => Expected::Drained,
            "cut" => Expected::Cut,
            "endpoints" => Expected::Endpoints,
            "replicas" => Expected::Replicas,
            "terms" => Expected::Terms,
            "lost" => Expected::Lost,
            "failed" => Expected::Failed,
            "lent" => Expected::Lent,
            "instances" => Expected::Instances(keyed(self)?),
            _ => return Err(self.error(format!("nobody can count `{noun}`"))),
        };
        let count = self.number("a count")?;
        Ok(Expectation { text: format!("{noun}{name} {count}"), what, count })
    }
}

// === impl World ===

impl World {
    /// Checks an expectation and notes how it turned out; one that does not hold ends the story.
    pub(crate) fn expect(&mut self, at: usize) {
        let Expectation { text, what, count } = self.expectations[at].clone();
        let found = self.count(&what);
        self.note(&format!("expected {text}: {found}"));
        if found != count {
            self.judge.broken(STORY, format!("expected {text}, found {found}"), self.now);
        }
    }

    fn count(&self, what: &Expected) -> u64 {
        let truth: &ClusterState = self.truth();
        match what {
            Expected::Serving(key) => truth.replicas_of(key).filter(|replica| replica.is_ready()).count() as u64,
            Expected::Generation(key) => truth.deployments.get(key).map_or(0, |deployment| deployment.generation.0),
            Expected::NodesOf(key) => {
                let ready = truth.replicas_of(key).filter(|replica| replica.is_ready());
                ready.map(|replica| replica.node).collect::<std::collections::BTreeSet<_>>().len() as u64
            }
            Expected::ServingOn(node, key) => {
                let is_there = |it: &&Replica| truth.nodes.get(&it.node).is_some_and(|it| it.profile.name == *node);
                truth.replicas_of(key).filter(|replica| replica.is_ready()).filter(is_there).count() as u64
            }
            Expected::ProcessesOn(at) => self.nodes.get(*at).map_or(0, |node| node.processes.len() as u64),
            Expected::Yielded(key) => truth.deployments.get(key).map_or(0, berth_core::model::Deployment::yielded),
            Expected::GpusOut => {
                let conditions = truth.nodes.values().flat_map(|node| node.devices.values());
                conditions.filter(|condition| condition.state != DeviceState::Healthy).count() as u64
            }
            Expected::Slots(key) => truth.slots_of(key).count() as u64,
            Expected::SlotsOn(name) => {
                let is_there =
                    |slot: &&ReserveSlot| truth.nodes.get(&slot.node).is_some_and(|node| node.profile.name == *name);
                truth.slots.values().filter(is_there).count() as u64
            }
            Expected::Short(key) => {
                u64::from(truth.deployments.get(key).is_some_and(|it| it.reserve_short_since.is_some()))
            }
            Expected::NodesSuspect => {
                truth.nodes.values().filter(|node| node.state == NodeState::Suspect).count() as u64
            }
            Expected::NodesLost => truth.nodes.values().filter(|node| node.state == NodeState::Lost).count() as u64,
            Expected::Drained => truth.nodes.values().filter(|node| node.wish() == Some("drained")).count() as u64,
            Expected::Cut => {
                let drains = truth.nodes.values().filter_map(|node| node.drain.as_ref());
                drains.map(|drain| drain.cut_requests).sum()
            }
            Expected::Endpoints => truth.endpoints.len() as u64,
            Expected::Replicas => truth.replicas.len() as u64,
            Expected::Terms => self.log.term.0,
            Expected::Lost => self.tally.lost,
            Expected::Lent => truth.quotas.loans.values().map(|loan| loan.milli).sum::<u64>() / 1_000,
            Expected::Instances(key) => truth.deployments.get(key).map_or(0, |it| u64::from(it.spec.instance_count)),
            Expected::Failed => self.tally.lost + self.tally.failed_by_fault + self.tally.shed,
        }
    }
}
