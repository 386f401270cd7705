//! `berth quota show|set|lend|return`.

use std::{collections::BTreeMap, time::Duration};

use berth_client::api::{LendQuotaRequest, Loan, Pool, Quota, QuotaReport, SetQuotaRequest};
use berth_core::{
    error::{Code, Error, Problem},
    time::Millis,
    units::{Cores, parse_cpu_milli},
};

use super::{Context, watch};
use crate::{
    args::{QuotaVerb, SetQuotaArgs},
    output::{Cell, Fault, Ink, Listed, Output, Table, now_ms},
    view,
};

pub(super) async fn run(context: &Context, verb: QuotaVerb) -> Result<(), Fault> {
    match verb {
        QuotaVerb::Show { project, watch } => {
            let show = async || show(context, project.as_deref().unwrap_or_default()).await;
            if watch { watch::on_events(context, show).await } else { show().await }
        }
        QuotaVerb::Set(args) => set(context, args).await,
        QuotaVerb::Lend { project, amount, within } => lend(context, project, &amount, within).await,
        QuotaVerb::Return { loan } => {
            let answer = context.client.return_loan(&loan).await?;
            Ok(context.out.value(&answer, &loan, || context.out.done(format!("loan {loan} is returned")))?)
        }
    }
}

async fn show(context: &Context, project: &str) -> Result<(), Fault> {
    let out = &context.out;
    let report = context.client.quota(project).await?;
    if out.is_lines() {
        return Ok(out.list(&report.quotas, "")?);
    }
    Ok(out.value(&report, &names(&report), || {
        if report.quotas.is_empty() {
            out.note("nothing is limited and nothing is used; `berth quota set PROJECT FAMILY=AMOUNT` sets a limit");
        } else {
            out.line(out.rendered(&out.table(&report.quotas)));
        }
        if !report.pool.is_empty() {
            out.line(format!("\n{}", out.rendered(&pool(&report.pool))));
        }
        if !report.loans.is_empty() {
            out.line(format!("\n{}", out.rendered(&loans(&report.loans))));
        }
        warn_over(out, &report);
    })?)
}

async fn set(context: &Context, args: SetQuotaArgs) -> Result<(), Fault> {
    let out = &context.out;
    let mut words = args.words;
    let project = if args.pool { String::new() } else { words.remove(0) };
    let is_amount = project.contains('=');
    if is_amount || (words.is_empty() && args.unlimited.is_empty()) {
        let what = if is_amount { format!("`{project}` is no project") } else { "no family is named".to_owned() };
        return Err(Error::new(Code::Invalid, what)
            .why("limits are those of a project")
            .try_("write `berth quota set PROJECT FAMILY=AMOUNT`, or --pool for what the cluster lends")
            .into());
    }
    let limits_milli = amounts(&words)?;
    let request =
        SetQuotaRequest { project: project.clone(), limits_milli, unlimited: args.unlimited, ..Default::default() };
    let report = context.client.set_quota(request).await?;
    Ok(out.value(&report, &project, || {
        if args.pool {
            out.done("this is what the cluster may lend");
            out.line(out.rendered(&pool(&report.pool)));
        } else if !report.quotas.is_empty() {
            out.done(format!("project {project} has new limits"));
            out.line(out.rendered(&out.table(&report.quotas)));
        } else {
            out.done(format!("project {project} takes what it likes"));
        }
        warn_over(out, &report);
    })?)
}

async fn lend(context: &Context, project: String, amount: &str, within: Duration) -> Result<(), Fault> {
    let out = &context.out;
    let Some((family, milli)) = amounts(&[amount.to_owned()])?.into_iter().next() else { return Ok(()) };
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let request = LendQuotaRequest { project, family, milli, within_ms, ..Default::default() };
    let loan = context.client.lend_quota(request).await?;
    Ok(out.value(&loan, &loan.loan, || {
        out.done(format!(
            "project {} has {} more of {} for {}; loan {} returns by itself",
            loan.project,
            amount_of(loan.milli, &loan.unit),
            loan.family,
            Millis(loan.expires_at_ms.saturating_sub(loan.lent_at_ms)),
            short(&loan.loan)
        ));
    })?)
}

/// Says of every family in which a project is over how far, since when, and what that means.
fn warn_over(out: &Output, report: &QuotaReport) {
    for quota in report.quotas.iter().filter(|quota| quota.over_milli > 0) {
        out.note(format!(
            "{} {} is over by {} of {} since {}: what runs stays, nothing more is admitted",
            out.paint("warning:", Ink::Yellow),
            quota.project,
            amount_of(quota.over_milli, &quota.unit),
            quota.family,
            view::age(quota.over_since_ms, now_ms())
        ));
    }
}

/// Reads `FAMILY=AMOUNT` words, and reports all that are none.
fn amounts(words: &[String]) -> Result<BTreeMap<String, u64>, Error> {
    let (mut amounts, mut problems) = (BTreeMap::new(), Vec::new());
    for word in words {
        let read = word.split_once('=').and_then(|(family, amount)| Some((family, parse_cpu_milli(amount).ok()?)));
        let what = match read {
            Some((family, milli)) if amounts.insert(family.to_owned(), milli).is_none() => continue,
            Some((family, _)) => format!("{family} is named twice"),
            None => "is no FAMILY=AMOUNT".to_owned(),
        };
        let try_ = "such as `cpu=40`, `H100=8` or `standardDSv2Family=40`".to_owned();
        problems.push(Problem { field: word.escape_debug().to_string(), what, try_ });
    }
    if problems.is_empty() {
        return Ok(amounts);
    }
    Err(Error { problems, ..Error::new(Code::Invalid, "the quota has a problem") })
}

fn names(report: &QuotaReport) -> String {
    let mut names: Vec<_> = report.quotas.iter().map(|quota| quota.project.as_str()).collect();
    names.dedup();
    names.join("\n")
}

fn pool(lines: &[Pool]) -> Table {
    let mut table = Table::new(&["POOL", "UNIT", "IN ALL", "LENT", "FREE"]);
    for line in lines {
        let free = line.milli.saturating_sub(line.lent_milli);
        let cells = [line.milli, line.lent_milli, free].map(|milli| Cell::from(Cores(milli).to_string()));
        table.push([line.family.as_str().into(), line.unit.as_str().into()].into_iter().chain(cells).collect());
    }
    table
}

fn loans(lines: &[Loan]) -> Table {
    let mut table = Table::new(&["LOAN", "PROJECT", "FAMILY", "AMOUNT", "RETURNS IN"]);
    for line in lines {
        table.push(vec![
            short(&line.loan).into(),
            line.project.as_str().into(),
            line.family.as_str().into(),
            amount_of(line.milli, &line.unit).into(),
            Millis(line.expires_at_ms.saturating_sub(now_ms())).to_string().into(),
        ]);
    }
    table
}

/// Shortens an id to what people see.
fn short(loan: &str) -> &str {
    loan.get(..8).unwrap_or(loan)
}

fn amount_of(milli: u64, unit: &str) -> String {
    let unit = if milli == 1_000 { unit.trim_end_matches('s') } else { unit };
    format!("{} {unit}", Cores(milli))
}

impl Listed for Quota {
    const COLUMNS: &'static [&'static str] =
        &["PROJECT", "FAMILY", "UNIT", "USED", "RESERVE", "LIMIT", "LOANS", "FREE", "OVER", "REVISION"];
    const NARROW: usize = 9;

    fn name(&self) -> String {
        format!("{}/{}", self.project, self.family)
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let plain = |milli: u64| Cell::from(Cores(milli).to_string());
        let some = |milli: u64| if milli == 0 { Cell::from("-") } else { plain(milli) };
        let bound = |milli: Option<u64>| milli.map_or(Cell::from("unlimited"), plain);
        let over = match self.over_milli {
            0 => Cell::from("-"),
            milli => Cell::inked(Cores(milli).to_string(), Ink::Red),
        };
        vec![
            self.project.as_str().into(),
            self.family.as_str().into(),
            self.unit.as_str().into(),
            plain(self.used_milli),
            some(self.reserve_milli),
            bound(self.limit_milli),
            some(self.lent_milli),
            bound(self.free_milli),
            over,
            self.revision.to_string().into(),
        ]
    }
}
