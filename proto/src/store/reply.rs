//! What entries answered, to and from its stored form.

use berth_core::{
    error::Error,
    id::{LogIndex, NodeEpoch, RequestId},
    state::{Reply, ReplyRecord, StepOutcome},
};

use super::v1;
use crate::convert::{Wire, need};

impl Wire<Reply> for v1::Reply {
    fn wire(value: &Reply) -> Self {
        use v1::reply::Reply as R;
        let reply = match value {
            Reply::Done { revision } => R::Done(v1::Done { revision: revision.0 }),
            Reply::Registered { epoch } => R::Registered(v1::Registered { epoch: epoch.0 }),
            Reply::Planned { outcomes } => {
                let outcomes =
                    outcomes.iter().map(|outcome| v1::StepOutcome { refused: outcome.as_ref().err().map(Wire::wire) });
                R::Planned(v1::Planned { outcomes: outcomes.collect() })
            }
            Reply::Refused(error) => R::Refused(Wire::wire(error)),
        };
        Self { reply: Some(reply) }
    }

    fn core(self) -> Result<Reply, Error> {
        use v1::reply::Reply as R;
        Ok(match need(self.reply, "reply")? {
            R::Done(done) => Reply::Done { revision: LogIndex(done.revision) },
            R::Registered(registered) => Reply::Registered { epoch: NodeEpoch(registered.epoch) },
            R::Planned(planned) => {
                let outcome = |outcome: v1::StepOutcome| -> Result<StepOutcome, Error> {
                    Ok(match outcome.refused {
                        None => Ok(()),
                        Some(error) => Err(error.core()?),
                    })
                };
                Reply::Planned { outcomes: planned.outcomes.into_iter().map(outcome).collect::<Result<_, _>>()? }
            }
            R::Refused(error) => Reply::Refused(error.core()?),
        })
    }
}

impl Wire<ReplyRecord> for v1::ReplyRecord {
    fn wire(value: &ReplyRecord) -> Self {
        Self {
            request_id: value.request_id.0.clone(),
            fingerprint: value.fingerprint,
            index: value.index.0,
            reply: Some(Wire::wire(&value.reply)),
        }
    }

    fn core(self) -> Result<ReplyRecord, Error> {
        Ok(ReplyRecord {
            request_id: RequestId(self.request_id),
            fingerprint: self.fingerprint,
            index: LogIndex(self.index),
            reply: need(self.reply, "reply")?.core()?,
        })
    }
}
