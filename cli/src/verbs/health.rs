//! `berth operator autopilot health`: whether the coordinators answer, and how many of them may be lost.

use std::time::Duration;

use berth_client::{Client, ClientOptions, Trust, api::Member};
use futures::future::join_all;
use serde::Serialize;

use super::Context;
use crate::output::{Cell, Fault, Ink, Table};

/// A coordinator that has not answered by then would not be asked by anybody.
const WITHIN: Duration = Duration::from_secs(2);

/// How well the coordinators are, for programs.
#[derive(Serialize)]
struct Health {
    /// Whether the voters that answer are a majority.
    healthy: bool,
    /// How many more voters may be lost before changes wait.
    failure_tolerance: u64,
    servers: Vec<Server>,
}

/// One coordinator.
#[derive(Serialize)]
struct Server {
    id: String,
    address: String,
    voter: bool,
    leader: bool,
    answers: bool,
    /// The term it is in; absent when it does not answer.
    term: Option<u64>,
    /// Why it does not answer.
    why: String,
}

pub(super) async fn run(context: &Context) -> Result<(), Fault> {
    let members = context.client.list_members().await?.members;
    let trust = &context.client.options().trust;
    let servers = join_all(members.into_iter().map(|member| ask(member, trust.clone()))).await;
    let voters = servers.iter().filter(|server| server.voter).count() as u64;
    let answering = servers.iter().filter(|server| server.voter && server.answers).count() as u64;
    let majority = voters / 2 + 1;
    let health =
        Health { healthy: answering >= majority, failure_tolerance: answering.saturating_sub(majority), servers };
    let out = &context.out;
    out.value(&health, if health.healthy { "healthy" } else { "unhealthy" }, || {
        let mut table = Table::new(&["COORDINATOR", "ADDRESS", "ROLE", "ANSWERS", "TERM", "WHY"]);
        for server in &health.servers {
            let role = match (server.leader, server.voter) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "learner",
            };
            let (answers, ink) = if server.answers { ("yes", Ink::Green) } else { ("no", Ink::Red) };
            table.push(vec![
                crate::view::short_id(&server.id).into(),
                server.address.as_str().into(),
                role.into(),
                Cell::inked(answers, ink),
                server.term.map(|term| term.to_string()).unwrap_or_default().into(),
                server.why.as_str().into(),
            ]);
        }
        out.line(out.rendered(&table));
        let more = health.failure_tolerance;
        out.line(match (health.healthy, more) {
            (false, _) => {
                format!("{answering} of {voters} voters answer, {majority} are needed: changes wait, traffic goes on")
            }
            (true, 0) => format!("{answering} of {voters} voters answer; the loss of one more would make changes wait"),
            (true, _) => format!("{answering} of {voters} voters answer; {more} more may be lost"),
        });
    })?;
    if health.healthy { Ok(()) } else { Err(Fault::answered(1)) }
}

async fn ask(member: Member, trust: Option<Trust>) -> Server {
    let asked = async {
        let mut options = ClientOptions::new([member.address.as_str()])?;
        options.unreachable = WITHIN;
        options.trust = trust;
        Client::new(options).with_deadline(WITHIN).list_members().await
    };
    let (term, why) = match asked.await {
        Ok(told) => (Some(told.term), String::new()),
        Err(error) => (None, error.what),
    };
    Server {
        id: member.id,
        address: member.address,
        voter: member.voter,
        leader: member.leader,
        answers: term.is_some(),
        term,
        why,
    }
}
