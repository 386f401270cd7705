//! Events, watched from any member without gap, duplicate or reorder.
//!
//! They are read from the replicated log of events, not from a channel: a watcher that is slow reads later, and one that
//! fell behind what is kept is told so. Watchers of different members see the same events under the same numbers.

use berth_core::{
    error::{Code, Error},
    id::LogIndex,
};
use berth_proto::{
    api::{
        event_message,
        v1::{EventBatch, WatchEventsRequest, watch_server::Watch},
    },
    status::to_status,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    Api,
    call::{Call, answer},
    deployments::Answers,
};
use crate::machine::Machine;

/// Events in one message.
const TOGETHER_MAX: usize = 256;

/// Messages on their way to one watcher.
const ON_THE_WAY: usize = 2;

#[tonic::async_trait]
impl Watch for Api {
    type EventsStream = Answers<EventBatch>;

    async fn events(&self, request: Request<WatchEventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let call = Call::of(request.metadata());
        let WatchEventsRequest { from_seq, once } = request.into_inner();
        answer(&self.context.metrics, "Watch/Events", async {
            if once {
                self.context.proposer.barrier(call.deadline).await?;
            }
            let machine = self.context.machine.clone();
            let applied = machine.watch();
            let seq = match from_seq {
                Some(seq) => seq,
                None => {
                    machine.read(|state| state.events.iter().next().map_or(state.events.next_seq(), |event| event.seq))
                }
            };
            let end = once.then(|| machine.read(|state| state.events.next_seq()));
            let (out, batches) = mpsc::channel(ON_THE_WAY);
            let stop = self.context.stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = follow(&machine, applied, seq, end, &out) => {}
                }
            });
            Ok(Box::pin(ReceiverStream::new(batches)) as Self::EventsStream)
        })
        .await
    }
}

async fn follow(
    machine: &Machine,
    mut applied: watch::Receiver<LogIndex>,
    mut seq: u64,
    end: Option<u64>,
    out: &mpsc::Sender<Result<EventBatch, Status>>,
) {
    loop {
        applied.mark_unchanged();
        let next = match batch(machine, seq) {
            Ok(next) => next,
            Err(error) => return drop(out.send(Err(out_of_range(&error))).await),
        };
        let (was, is_last) = (seq, end.is_some_and(|end| next.next_seq >= end));
        seq = next.next_seq;
        if (is_last || seq > was) && out.send(Ok(next)).await.is_err() {
            return;
        }
        if is_last {
            return;
        }
        if seq == was {
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = out.closed() => return,
            }
        }
    }
}

/// Returns the next events from number `seq` on.
fn batch(machine: &Machine, seq: u64) -> Result<EventBatch, Error> {
    machine.read(|state| {
        let first = state.events.iter().next().map_or(state.events.next_seq(), |event| event.seq);
        if seq < first {
            return Err(Error::new(Code::Limit, format!("events before number {first} are no longer kept"))
                .why(format!("number {seq} was asked for"))
                .try_("start anew without a number"));
        }
        let events: Vec<_> = state.events.from(seq).take(TOGETHER_MAX).collect();
        Ok(EventBatch {
            next_seq: events.last().map_or(seq, |event| event.seq + 1),
            events: events.into_iter().map(|event| event_message(state, event)).collect(),
        })
    })
}

/// gRPC has a code of its own for a place that is no longer there.
fn out_of_range(error: &Error) -> Status {
    let status = to_status(error);
    Status::with_details(tonic::Code::OutOfRange, status.message(), status.details().to_vec().into())
}
