//! Quotas: set, lend, return, and the one gate that everything which grows goes through.
//!
//! The gate compares what a change takes with what it took before, family by family. What does not grow passes, however
//! far over its limit a project is: lowering a limit stops growth and touches nothing that runs.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClusterState, Context, EventSubject, Reply, Severity, check_revision, cluster::stale_term};
use crate::{
    error::{Code, Error, Problem},
    id::{LoanId, LogIndex, Term},
    model::{
        DeploymentKey, DeploymentSpec, EndpointName, Family, LOAN_MAX, LOAN_MIN, LOANS_MAX, Loan, PROJECTS_MAX,
        ProjectName, QUOTA_MILLI_MAX, check_amounts, reserve_of,
    },
    state::usage::{Taken, places, taken_by},
    time::Millis,
    units::Cores,
};

/// One family that a change has no room in.
struct Shortage {
    family: Family,
    /// How the whole came about, such as `ceil(1.2 × 3) = 4 instances × 8 cores`.
    sum: String,
    /// What the change takes in all, and what of it is there already.
    total: u64,
    before: u64,
    /// What one instance takes; nothing where it is not about instances.
    each: Option<u64>,
    free: u64,
    limit: u64,
    lent: u64,
}

impl ClusterState {
    // --- the gate ---

    /// Refuses a spec that takes more of a family than its project has room for, with every family it is short of.
    pub(super) fn admit(&self, key: &DeploymentKey, spec: &DeploymentSpec) -> Result<(), Error> {
        let Some(project) = self.endpoints.get(&key.endpoint).map(|endpoint| &endpoint.project) else {
            return Ok(());
        };
        let (instances, reserve) = places(spec);
        let each: BTreeMap<Family, u64> = spec.families().into_iter().map(|each| (each.family, each.milli)).collect();
        let count = match reserve {
            0 => instances.to_string(),
            _ => format!("ceil(1.2 × {instances}) = {}", instances + reserve),
        };
        let noun = if instances + reserve == 1 { "instance" } else { "instances" };
        let short = taken_by(spec).into_iter().filter_map(|(family, taken)| {
            let each = each.get(&family).copied().unwrap_or_default();
            let sum = format!("{count} {noun} × {}", family.unit().show(each));
            self.shortage(project, family, self.index.usage().charged(key, family), taken, sum, Some(each))
        });
        let short: Vec<_> = short.collect();
        let running = self.deployments.get(key).map_or(0, |it| u64::from(it.spec.instance_count));
        refuse(&format!("deployment `{key}`"), project, &short, spec.reserve, running)
    }

    /// Refuses to hand an endpoint to a project that has no room for what its deployments take.
    pub(super) fn admit_move(&self, name: &EndpointName, project: &ProjectName) -> Result<(), Error> {
        let mut sums: BTreeMap<Family, Taken> = BTreeMap::new();
        for deployment in self.deployments_of(name).filter(|deployment| !deployment.deleting) {
            for (family, taken) in taken_by(&deployment.spec) {
                let sum = sums.entry(family).or_default();
                sum.milli = sum.milli.saturating_add(taken.milli);
            }
        }
        let short = sums.into_iter().filter_map(|(family, taken)| {
            self.shortage(project, family, 0, taken, "all its deployments".to_owned(), None)
        });
        let short: Vec<_> = short.collect();
        refuse(&format!("endpoint `{name}`"), project, &short, true, 0)
    }

    fn shortage(
        &self,
        project: &ProjectName,
        family: Family,
        before: u64,
        taken: Taken,
        sum: String,
        each: Option<u64>,
    ) -> Option<Shortage> {
        let limit = self.quotas.allowed(project, family)?;
        let lent = self.quotas.lent_to(project, family);
        let free = limit.saturating_sub(self.index.usage().taken(project, family).milli);
        let growth = taken.milli.saturating_sub(before);
        let total = taken.milli;
        (growth > free).then_some(Shortage { family, sum, total, before, each, free, limit, lent })
    }

    /// Counts a deployment as it is now and notes whether its project is over.
    pub(super) fn recharge(&mut self, cx: &Context, key: &DeploymentKey) {
        let before = self.index.usage_mut().discharge(key);
        let owner = self.endpoints.get(&key.endpoint).map(|endpoint| endpoint.project.clone());
        if let (Some(project), Some(deployment)) = (&owner, self.deployments.get(key)) {
            self.index.usage_mut().charge(project, deployment);
        }
        let was = before
            .into_iter()
            .flat_map(|(project, families)| families.into_iter().map(move |it| (project.clone(), it)));
        let is = owner.into_iter().flat_map(|project| {
            let families = self.deployments.get(key).map(|deployment| deployment.spec.families()).unwrap_or_default();
            families.into_iter().map(move |each| (project.clone(), each.family)).collect::<Vec<_>>()
        });
        let touched: BTreeSet<_> = was.chain(is).collect();
        for (project, family) in touched {
            self.note_over(cx, &project, family);
        }
    }

    /// Notes since when a project takes more than it may, or that it no longer does.
    fn note_over(&mut self, cx: &Context, project: &ProjectName, family: Family) {
        let used = self.index.usage().taken(project, family).milli;
        let is_over = self.quotas.allowed(project, family).is_some_and(|allowed| used > allowed);
        let Some(quota) = self.quotas.projects.get_mut(project) else { return };
        match is_over {
            true => {
                quota.over_since.entry(family).or_insert(cx.now);
            }
            false => {
                quota.over_since.remove(&family);
            }
        }
    }

    // --- commands ---

    pub(super) fn quota_set(
        &mut self,
        cx: &mut Context,
        project: &ProjectName,
        limits: &BTreeMap<Family, Option<u64>>,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        let old = self.quotas.projects.get(project);
        let at = old.map_or(LogIndex(0), |quota| quota.revision);
        check_revision(&format!("the quota of project `{project}`"), at, if_revision)?;
        check_amounts(limits.iter().filter_map(|(family, milli)| Some((*family, (*milli)?))), 0)?;
        if old.is_none() && self.quotas.projects.len() >= PROJECTS_MAX {
            return Err(Error::new(Code::Limit, format!("{PROJECTS_MAX} projects have a quota"))
                .try_("take the limits of one away with `berth quota set PROJECT --unlimited FAMILY`"));
        }
        let mut quota = old.cloned().unwrap_or_default();
        for (family, milli) in limits {
            match milli {
                Some(milli) => quota.limits.insert(*family, *milli),
                None => quota.limits.remove(family),
            };
        }
        if old.is_none_or(|old| old.limits == quota.limits) && (old.is_some() || quota.limits.is_empty()) {
            return Ok(Reply::Done { revision: at });
        }
        quota.revision = cx.index;
        let told: Vec<_> = limits.iter().map(|(family, milli)| told(*family, *milli)).collect();
        match quota.limits.is_empty() {
            true => self.quotas.projects.remove(project),
            false => self.quotas.projects.insert(project.clone(), quota),
        };
        let mut text = format!("project {project} may take {}", told.join(", "));
        let mut severity = Severity::Info;
        for family in limits.keys() {
            self.note_over(cx, project, *family);
            if let Some(over) = self.over(project, *family) {
                severity = Severity::Warning;
                text.push_str(&format!(
                    "; it takes {} more of {family}, which stay: nothing more is admitted",
                    family.unit().show(over)
                ));
            }
        }
        cx.event(severity, "quota.set", EventSubject::default(), text);
        cx.done()
    }

    pub(super) fn pool_set(
        &mut self,
        cx: &mut Context,
        amounts: &BTreeMap<Family, Option<u64>>,
        if_revision: Option<LogIndex>,
    ) -> Result<Reply, Error> {
        check_revision("the pool", self.quotas.pool_revision, if_revision)?;
        check_amounts(amounts.iter().filter_map(|(family, milli)| Some((*family, (*milli)?))), 0)?;
        let mut problems = crate::error::Problems::default();
        for (family, milli) in amounts {
            let (lent, milli) = (self.quotas.lent(*family), milli.unwrap_or(0));
            if lent > milli {
                problems.add_try(
                    family.name(),
                    format!("{} are lent and not back yet", family.unit().show(lent)),
                    format!("use {} or more, or `berth quota return` a loan first", Cores(lent)),
                );
            }
        }
        problems.into_result(Code::Quota, "the pool")?;
        let mut pool = self.quotas.pool.clone();
        for (family, milli) in amounts {
            match milli.unwrap_or(0) {
                0 => pool.remove(family),
                milli => pool.insert(*family, milli),
            };
        }
        if pool == self.quotas.pool {
            return Ok(Reply::Done { revision: self.quotas.pool_revision });
        }
        self.quotas.pool = pool;
        self.quotas.pool_revision = cx.index;
        let told: Vec<_> = amounts.iter().map(|(family, milli)| told(*family, Some(milli.unwrap_or(0)))).collect();
        cx.event(Severity::Info, "quota.pool", EventSubject::default(), format!("the pool lends {}", told.join(", ")));
        cx.done()
    }

    pub(super) fn quota_lend(
        &mut self,
        cx: &mut Context,
        id: LoanId,
        project: &ProjectName,
        family: Family,
        milli: u64,
        within: Millis,
    ) -> Result<Reply, Error> {
        check_amounts([(family, milli)], 1)?;
        if !(LOAN_MIN..=LOAN_MAX).contains(&within) {
            return Err(Error::new(Code::Invalid, format!("a loan for {within} is out of range"))
                .why("a loan returns by itself, soon enough to be planned with")
                .try_("use `--for` with 1m to 7d"));
        }
        if self.quotas.limit(project, family).is_none() {
            return Err(Error::new(Code::Invalid, format!("project `{project}` needs no loan of {family}"))
                .why("it has no limit there, so it takes what it likes")
                .try_(format!("set one first: `berth quota set {project} {family}=AMOUNT`")));
        }
        if self.quotas.loans.len() >= LOANS_MAX {
            return Err(Error::new(Code::Limit, format!("{LOANS_MAX} loans are running"))
                .try_("return one with `berth quota return`"));
        }
        if self.quotas.loans.contains_key(&id) {
            return Err(Error::new(Code::AlreadyExists, format!("loan {id} already exists")));
        }
        let pool = self.quotas.pool.get(&family).copied().unwrap_or(0);
        let free = pool.saturating_sub(self.quotas.lent(family));
        if milli > free {
            let unit = family.unit();
            let set = format!("raise the pool with `berth quota set --pool {family}={}`", Cores(pool - free + milli));
            return Err(Error::new(Code::Quota, format!("the pool cannot lend {} of {family}", unit.show(milli)))
                .why(format!("it has {} of {} left to lend", Cores(free), unit.show(pool)))
                .try_(match free {
                    0 => set,
                    free => format!("lend {} or less, or {set}", unit.show(free)),
                }));
        }
        let (lent_at, expires_at) = (cx.now, cx.now + within);
        let loan = Loan { id, project: project.clone(), family, milli, lent_at, expires_at, revision: cx.index };
        self.quotas.loans.insert(id, loan);
        self.note_over(cx, project, family);
        let text = format!("project {project} is lent {} of {family} for {within}", family.unit().show(milli));
        cx.event(Severity::Info, "quota.lent", EventSubject::default(), text);
        cx.done()
    }

    pub(super) fn quota_return(&mut self, cx: &mut Context, id: LoanId) -> Result<Reply, Error> {
        self.quotas.loan(&id.to_string())?;
        self.take_back(cx, id, "early");
        cx.done()
    }

    /// Takes back every named loan whose time is over.
    pub(super) fn loans_expire(&mut self, cx: &mut Context, term: Term, ids: &[LoanId]) -> Result<Reply, Error> {
        if term != self.term {
            return Err(stale_term(term, self.term));
        }
        let is_due = |id: &&LoanId| self.quotas.loans.get(*id).is_some_and(|loan| loan.expires_at <= cx.now);
        let due: Vec<_> = ids.iter().filter(is_due).copied().collect();
        if due.is_empty() {
            return Err(Error::new(Code::Stale, "none of these loans is due").why("they were returned, or run on"));
        }
        due.into_iter().for_each(|id| self.take_back(cx, id, "at its time"));
        cx.done()
    }

    fn take_back(&mut self, cx: &mut Context, id: LoanId, when: &str) {
        let Some(loan) = self.quotas.loans.remove(&id) else { return };
        let (project, family) = (&loan.project, loan.family);
        self.note_over(cx, project, family);
        let amount = family.unit().show(loan.milli);
        let text = format!("project {project} returned {amount} of {family} {when}");
        match self.over(project, family) {
            None => cx.event(Severity::Info, "quota.returned", EventSubject::default(), text),
            Some(over) => {
                let over = family.unit().show(over);
                let text =
                    format!("{text} and takes {over} more than it may; what runs stays, nothing more is admitted");
                cx.event(Severity::Warning, "quota.returned", EventSubject::default(), text);
            }
        }
    }

    /// Returns how much more a project takes of a family than it may; nothing when it does not.
    fn over(&self, project: &ProjectName, family: Family) -> Option<u64> {
        let used = self.index.usage().taken(project, family).milli;
        Some(used.saturating_sub(self.quotas.allowed(project, family)?)).filter(|over| *over > 0)
    }
}

// === impl Shortage ===

impl Shortage {
    /// Says the arithmetic.
    fn why(&self, project: &ProjectName) -> String {
        let Self { family, sum, total, before, free, limit, lent, .. } = self;
        let unit = family.unit();
        let mut text = match self.each {
            Some(_) => format!("{sum} = {} of {family}", unit.show(*total)),
            None => format!("{sum} take {} of {family}", unit.show(*total)),
        };
        if *before > 0 {
            text.push_str(&format!(", {} more than now", Cores(total - before)));
        }
        text.push_str(&format!(", project {project} has {} of {} free", Cores(*free), Cores(*limit)));
        if *lent > 0 {
            text.push_str(&format!(" ({} of them on loan)", Cores(*lent)));
        }
        text
    }

    /// Says what would let it in. `fits` is the number of instances that has room in every family, `running` that which
    /// there is.
    fn try_(&self, project: &ProjectName, fits: Option<u64>, running: u64) -> String {
        let needed = self.total - self.before - self.free;
        let (own, family) = (self.limit - self.lent, self.family);
        let raised = (own + needed).min(QUOTA_MILLI_MAX);
        let lower = match fits {
            Some(fits) if fits > 0 && fits == running => {
                format!("stay at {}, or ", crate::units::Count(fits, "instance"))
            }
            Some(fits) if fits > 0 => format!("lower to {}, or ", crate::units::Count(fits, "instance")),
            _ => String::new(),
        };
        format!(
            "{lower}`berth quota set {project} {family}={}`, or `berth quota lend {project} {family}={} --for 24h`",
            Cores(raised),
            Cores(needed)
        )
    }
}

/// Makes one refusal of all shortages; nothing is short when there are none.
fn refuse(what: &str, project: &ProjectName, short: &[Shortage], reserve: bool, running: u64) -> Result<(), Error> {
    // The number of instances that fits has room in every family at once.
    let fits = short.iter().filter_map(|it| Some(instances_within(it.free + it.before, it.each?, reserve))).min();
    match short {
        [] => Ok(()),
        [one] => Err(Error::new(Code::Quota, format!("{what} takes more than its project may"))
            .why(one.why(project))
            .try_(one.try_(project, fits, running))),
        all => {
            let problem = |it: &Shortage| Problem {
                field: it.family.name().to_owned(),
                what: it.why(project),
                try_: it.try_(project, fits, running),
            };
            let error =
                Error::new(Code::Quota, format!("{what} takes more than its project may, in {} families", all.len()));
            Err(Error { problems: all.iter().map(problem).collect(), ..error })
        }
    }
}

/// Returns the most instances whose places take no more than `milli`.
fn instances_within(milli: u64, each: u64, reserve: bool) -> u64 {
    let places = milli.checked_div(each).unwrap_or(0);
    // ceil(1.2 n) ≤ places, solved for n and then stepped down where rounding went the other way.
    let most = if reserve { places.saturating_mul(5) / 6 } else { places };
    (0..=most).rev().find(|n| !reserve || n + reserve_of(*n) <= places).unwrap_or(0)
}

fn told(family: Family, milli: Option<u64>) -> String {
    match milli {
        Some(milli) => format!("{} of {family}", family.unit().show(milli)),
        None => format!("any amount of {family}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: places there is room for, whether a reserve is held, the instances that fit.
    #[test]
    fn what_fits_is_the_most_that_fits() {
        for (places, reserve, fits) in [
            (0, true, 0),
            (1, true, 0),
            (2, true, 1),
            (3, true, 2),
            (5, true, 4),
            (6, true, 5),
            (7, true, 5),
            (12, true, 10),
            (3, false, 3),
        ] {
            assert_eq!(instances_within(places * 4_000 + 3_999, 4_000, reserve), fits, "{places}");
            let next = fits + 1 + if reserve { reserve_of(fits + 1) } else { 0 };
            assert!(next > places, "{places}: one more would fit too");
        }
    }
}
