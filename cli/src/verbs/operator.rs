//! `berth operator …`

use std::{collections::BTreeSet, fs, io::Write as _, path::Path};

use berth_client::api::CheckReport;
use berth_core::{
    error::{Code, Error},
    units::Count,
};
use serde::Serialize;

use super::{Context, by_prefix, confirm};
use crate::{
    args::{AutopilotVerb, OperatorVerb, RaftVerb, SnapshotVerb},
    output::{Cell, Fault, Ink, Table},
};

/// A snapshot that was saved, for programs.
#[derive(Serialize)]
struct Saved {
    file: String,
    bytes: u64,
}

pub(super) async fn run(context: &Context, verb: OperatorVerb) -> Result<(), Fault> {
    match verb {
        OperatorVerb::Raft(verb) => raft(context, verb).await,
        OperatorVerb::Snapshot(SnapshotVerb::Save { file }) => save(context, &file).await,
        // Done without a cluster, before one is looked for.
        OperatorVerb::Snapshot(SnapshotVerb::Inspect { file }) => super::snapshot::inspect(&file, &context.out),
        OperatorVerb::Snapshot(SnapshotVerb::Restore(args)) => super::snapshot::restore(args, &context.out),
        OperatorVerb::Autopilot(AutopilotVerb::Health) => super::health::run(context).await,
        OperatorVerb::Check => check(context).await,
        OperatorVerb::Settings(verb) => super::settings::run(context, verb).await,
    }
}

async fn raft(context: &Context, verb: RaftVerb) -> Result<(), Fault> {
    let (client, out) = (&context.client, &context.out);
    let members = client.list_members().await?.members;
    let ids = || members.iter().map(|member| member.id.as_str());
    let changed = match verb {
        RaftVerb::ListPeers => members,
        RaftVerb::TransferLeadership { id } => {
            let id = match &id {
                Some(prefix) => by_prefix("coordinator", prefix, ids())?,
                None => {
                    let other = members.iter().find(|member| member.voter && !member.leader);
                    let other = other.ok_or_else(|| {
                        Error::new(Code::MemberNotFound, "there is no other voter")
                            .why("who leads can hand over only to a member that votes")
                            .try_("`berth operator raft list-peers` shows who does; `berth coordinator --join ADDRESS` adds one")
                    })?;
                    other.id.as_str()
                }
            };
            client.transfer_leadership(id).await?.members
        }
        RaftVerb::AddPeer { id, address } => client.add_member(&id, &address).await?.members,
        RaftVerb::RemovePeer { id, yes } => {
            let id = by_prefix("coordinator", &id, ids())?;
            confirm(&context.out, &format!("This removes the coordinator {id} for good."), yes)?;
            client.remove_member(id).await?.members
        }
    };
    Ok(out.list(&changed, "no coordinators")?)
}

/// Writes beside the file and renames, so that a snapshot is whole or not there.
async fn save(context: &Context, file: &Path) -> Result<(), Fault> {
    if file.exists() {
        let error = Error::new(Code::AlreadyExists, format!("`{}` exists", file.display())).try_("name a new file");
        return Err(Fault::misused(error));
    }
    let not_written = |error: std::io::Error| {
        Error::new(Code::Invalid, format!("`{}` cannot be written", file.display())).why(error.to_string())
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut partial = tempfile::NamedTempFile::new_in(folder).map_err(not_written)?;
    let bytes = context.client.save_snapshot(&mut partial).await?;
    partial.flush().and_then(|()| partial.as_file().sync_all()).map_err(not_written)?;
    partial.persist_noclobber(file).map_err(|error| not_written(error.error))?;
    // The name itself is durable only with its folder.
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(not_written)?;
    let file = file.display().to_string();
    let text = format!("{bytes} bytes of state are in {file}");
    Ok(context.out.did(&Saved { file: file.clone(), bytes }, &file, text)?)
}

/// Runs every invariant; a broken one is a failure.
pub(super) async fn check(context: &Context) -> Result<(), Fault> {
    let report = context.client.check().await?;
    let out = &context.out;
    out.value(&report, &report.index.to_string(), || {
        if report.violations.is_empty() {
            out.line(format!(
                "{} hold over {} at index {}: {}",
                Count(report.checked.len() as u64, "invariant"),
                Count(report.objects, "object"),
                report.index,
                report.checked.join(" ")
            ));
            return out.aside(unchecked(&report));
        }
        let mut table = Table::new(&["INVARIANT", "BROKEN BY"]);
        for violation in &report.violations {
            table.push(vec![Cell::inked(violation.invariant.as_str(), Ink::Red), violation.what.as_str().into()]);
        }
        out.line(out.rendered(&table));
        out.aside(unchecked(&report));
    })?;
    if report.violations.is_empty() {
        return Ok(());
    }
    let broken: BTreeSet<_> = report.violations.iter().map(|violation| violation.invariant.as_str()).collect();
    let what = format!("{} of {} invariants are broken", broken.len(), report.checked.len());
    Err(Error::new(Code::Internal, what).try_("keep `berth operator snapshot save FILE` and report it").into())
}

/// Says what a look at one state leaves open.
fn unchecked(report: &CheckReport) -> String {
    let (in_part, not): (Vec<_>, Vec<_>) =
        report.need_history.iter().map(String::as_str).partition(|id| report.checked.iter().any(|own| own == id));
    let part = if in_part.is_empty() { String::new() } else { format!("; in part: {}", in_part.join(" ")) };
    format!("not checked here, for they judge each change against the state before it: {}{part}", not.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_what_it_did_not_look_at() {
        let ids = |text: &str| text.split(' ').map(str::to_owned).collect();
        let report =
            CheckReport { checked: ids("PL01 NO01"), need_history: ids("LI01 NO01 WR01"), ..Default::default() };
        let said = unchecked(&report);
        assert!(said.ends_with(": LI01 WR01; in part: NO01"), "{said}");
    }
}
