//! Streams: events that resume where they broke off, and logs.

use berth_core::error::{Code, Error};
use tonic::Streaming;

use crate::{
    api::{
        Event, EventBatch, LogLines, LogsRequest, WatchEventsRequest, deployments_client::DeploymentsClient,
        watch_client::WatchClient,
    },
    follow::Follow,
    retry::Patience,
    transport::{Client, explain},
};

/// Events in order, without gap or duplicate, across broken connections and members that went away.
pub struct EventStream {
    batches: Follow<EventBatch>,
    /// The number of the next event; `None` until the first batch told it.
    next_seq: Option<u64>,
    ready: std::collections::VecDeque<Event>,
}

/// Lines of replicas' logs as they come.
pub struct LogStream {
    lines: Streaming<LogLines>,
}

/// Streams.
impl Client {
    /// Watches events from number `from_seq` on; from the oldest that is kept when it is `None`.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let mut events = client.watch_events(None);
    /// while let Some(event) = events.next().await? {
    ///     println!("{} {}", event.kind, event.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_events(&self, from_seq: Option<u64>) -> EventStream {
        self.event_stream(from_seq, false)
    }

    /// Lists the events that are kept, oldest first.
    pub async fn events(&self) -> Result<Vec<Event>, Error> {
        let mut stream = self.event_stream(None, true);
        let mut events = Vec::new();
        while let Some(event) = stream.next().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// Reads logs. A stream that breaks ends with an error; lines are not numbered, so it cannot resume.
    pub async fn logs(&self, request: LogsRequest) -> Result<LogStream, Error> {
        // No deadline on the stream itself: `follow` has none, and the members' keep-alive notices a dead one.
        let mut patience = Patience::new(self.options().deadline, self.options().attempts_max);
        let mut last = Error::new(Code::Timeout, "the deadline passed before the call was sent");
        while let Some(within) = patience.attempt(self.options().attempt_timeout) {
            let (at, address, channel) = self.pick()?;
            let mut service = DeploymentsClient::new(channel);
            last = match tokio::time::timeout(within, service.logs(request.clone())).await {
                Ok(Ok(answer)) => return Ok(LogStream { lines: answer.into_inner() }),
                Ok(Err(status)) => explain(&address, &status),
                Err(_) => Error::new(Code::Timeout, format!("{address} did not answer in time")),
            };
            if !patience.allows(&last, self.members()) {
                break;
            }
            self.turn_away(at);
            patience.pause().await;
        }
        Err(last)
    }

    fn event_stream(&self, from_seq: Option<u64>, once: bool) -> EventStream {
        let batches = Follow::new(self, once, "no coordinator could be watched in time");
        EventStream { batches, next_seq: from_seq, ready: Default::default() }
    }
}

// === impl EventStream ===

impl EventStream {
    /// Returns the next event; `None` at the end of a listing. A watch that fell behind what is kept ends with an error
    /// and has to be started anew, because it would have a gap. So does one that reaches no member for a whole deadline.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let (from_seq, once) = (self.next_seq, self.batches.is_once());
            let watch =
                |channel| async move { WatchClient::new(channel).events(WatchEventsRequest { from_seq, once }).await };
            match self.batches.next(watch).await? {
                Some(batch) => self.take(batch),
                None => return Ok(None),
            }
        }
    }

    /// Returns the number of the event that comes next, to resume from in another process.
    pub fn next_seq(&self) -> Option<u64> {
        match self.ready.front() {
            Some(event) => Some(event.seq),
            None => self.next_seq,
        }
    }

    /// Takes a batch; what a resumed stream repeats is dropped.
    fn take(&mut self, batch: EventBatch) {
        let wanted = self.next_seq.unwrap_or(0);
        self.ready.extend(batch.events.into_iter().filter(|event| event.seq >= wanted));
        self.next_seq = Some(batch.next_seq.max(wanted));
    }
}

// === impl LogStream ===

impl LogStream {
    /// Returns the next lines; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<LogLines>, Error> {
        self.lines.message().await.map_err(|status| berth_proto::status::from_status(&status))
    }
}
