//! The upgrade lock: one walk over the fleet at a time.
//!
//! Two walks would each drain a node, and together take what the fleet can spare twice. Whoever walks holds a lock that
//! is renewed on the way and expires by itself, so that a walk whose terminal was closed blocks nobody for long.

use super::{ClusterState, Context, EventSubject, Reply, Severity};
use crate::{
    error::{Code, Error, Problems},
    model::UpgradeLock,
    time::Millis,
};

/// The longest a lock is held without being renewed: a drain, a reboot and some patience.
const WITHIN_MAX: Millis = Millis::from_secs(24 * 3_600);
/// Bytes of a holder's name.
const HOLDER_BYTES_MAX: usize = 256;

impl ClusterState {
    pub(super) fn upgrade_lock(
        &mut self,
        cx: &mut Context,
        holder: &str,
        within: Option<Millis>,
        steal: bool,
    ) -> Result<Reply, Error> {
        let Some(within) = within else {
            if self.upgrade.as_ref().is_some_and(|lock| lock.holder == holder) {
                self.upgrade = None;
                let text = format!("{holder} no longer upgrades the fleet");
                cx.event(Severity::Info, "cluster.upgrade_ended", EventSubject::default(), text);
            }
            return cx.done();
        };
        check(holder, within)?;
        let other = self.upgrade.as_ref().filter(|lock| lock.holder != holder && lock.expires_at > cx.now);
        if let Some(lock) = other
            && !steal
        {
            let (since, left) = (cx.now.since(lock.taken_at), lock.expires_at.since(cx.now));
            return Err(Error::new(Code::Transition, "another upgrade walks the fleet")
                .why(format!("{} began {since} ago and holds the lock for {left} more", lock.holder))
                .try_("wait for it, or add --steal if nobody runs it any more"));
        }
        let stolen = other.map(|lock| format!(", which {} held", lock.holder)).unwrap_or_default();
        let taken_at = match self.upgrade.as_ref().filter(|lock| lock.holder == holder && lock.expires_at > cx.now) {
            Some(lock) => lock.taken_at,
            None => {
                let severity = if stolen.is_empty() { Severity::Info } else { Severity::Warning };
                let text = format!("{holder} upgrades the fleet under a lock{stolen}");
                cx.event(severity, "cluster.upgrade_began", EventSubject::default(), text);
                cx.now
            }
        };
        self.upgrade = Some(UpgradeLock { holder: holder.to_owned(), taken_at, expires_at: cx.now + within });
        cx.done()
    }
}

fn check(holder: &str, within: Millis) -> Result<(), Error> {
    let mut problems = Problems::default();
    if holder.is_empty() || holder.len() > HOLDER_BYTES_MAX {
        problems.add_try("holder", "says nobody, or too much", format!("use 1 to {HOLDER_BYTES_MAX} bytes"));
    }
    if !(Millis::from_secs(1)..=WITHIN_MAX).contains(&within) {
        problems.add_try("within", format!("{within} is out of range"), format!("use 1s to {WITHIN_MAX}"));
    }
    problems.into_result(Code::Invalid, "the upgrade lock")
}
