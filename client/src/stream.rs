//! Streams: events that resume where they broke off, and logs.

use berth_core::error::{Code, Error};
use tonic::{Request, Streaming};
use tracing::debug;

use crate::{
    api::{
        Event, EventBatch, LogLines, LogsRequest, WatchEventsRequest, deployments_client::DeploymentsClient,
        watch_client::WatchClient,
    },
    retry::{Patience, may_retry},
    transport::{Client, explain},
};

/// Events in order, without gap or duplicate, across broken connections and members that went away.
pub struct EventStream {
    client: Client,
    once: bool,
    /// The number of the next event; `None` until the first batch told it.
    next_seq: Option<u64>,
    open: Option<Streaming<EventBatch>>,
    ready: std::collections::VecDeque<Event>,
    patience: Patience,
    ended: bool,
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
            if !may_retry(&last) {
                break;
            }
            self.turn_away(at);
            patience.pause().await;
        }
        Err(last)
    }

    fn event_stream(&self, from_seq: Option<u64>, once: bool) -> EventStream {
        let patience = Patience::new(self.options().deadline, self.options().attempts_max);
        EventStream {
            client: self.clone(),
            once,
            next_seq: from_seq,
            open: None,
            ready: Default::default(),
            patience,
            ended: false,
        }
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
            if self.ended {
                return Ok(None);
            }
            if self.open.is_none() {
                self.open().await?;
            }
            let Some(open) = &mut self.open else { continue };
            match open.message().await {
                Ok(Some(batch)) => self.take(batch),
                Ok(None) if self.once => self.ended = true,
                Ok(None) => self.open = None,
                Err(status) => {
                    let (at, address, _) = self.client.pick()?;
                    let error = explain(&address, &status);
                    self.open = None;
                    if !may_retry(&error) {
                        self.ended = true;
                        return Err(error);
                    }
                    debug!(code = %error.code, "watch broke off");
                    self.client.turn_away(at);
                }
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
        self.patience.renew(self.client.options().deadline, self.client.options().attempts_max);
    }

    async fn open(&mut self) -> Result<(), Error> {
        let mut last = Error::new(Code::Unavailable, "no coordinator could be watched in time");
        while let Some(within) = self.patience.attempt(self.client.options().attempt_timeout) {
            let (at, address, channel) = self.client.pick()?;
            let mut service = WatchClient::new(channel);
            let request = Request::new(WatchEventsRequest { from_seq: self.next_seq, once: self.once });
            last = match tokio::time::timeout(within, service.events(request)).await {
                Ok(Ok(answer)) => {
                    self.open = Some(answer.into_inner());
                    return Ok(());
                }
                Ok(Err(status)) => explain(&address, &status),
                Err(_) => Error::new(Code::Timeout, format!("{address} did not answer in time")),
            };
            if !may_retry(&last) {
                break;
            }
            self.client.turn_away(at);
            self.patience.pause().await;
        }
        self.ended = true;
        Err(last)
    }
}

// === impl LogStream ===

impl LogStream {
    /// Returns the next lines; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<LogLines>, Error> {
        self.lines.message().await.map_err(|status| berth_proto::status::from_status(&status))
    }
}
