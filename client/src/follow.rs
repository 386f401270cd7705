//! Streams that are opened at whichever member answers, and followed across members that go away.

use std::future::Future;

use berth_core::error::{Code, Error};
use tonic::{Response, Status, Streaming, transport::Channel};
use tracing::debug;

use crate::{
    retry::Patience,
    transport::{Client, explain},
};

/// A stream that is opened anew when it breaks.
pub(crate) struct Follow<M> {
    client: Client,
    once: bool,
    open: Option<Streaming<M>>,
    patience: Patience,
    ended: bool,
    /// What is said when nobody could be asked.
    silence: &'static str,
}

// === impl Follow ===

impl<M> Follow<M> {
    pub(crate) fn new(client: &Client, once: bool, silence: &'static str) -> Self {
        let patience = Patience::new(client.options().deadline, client.options().attempts_max);
        Self { client: client.clone(), once, open: None, patience, ended: false, silence }
    }

    pub(crate) fn is_once(&self) -> bool {
        self.once
    }

    /// Returns the next message; `None` at the end of what is read once. `send` opens the stream, where the caller has
    /// come to. An error when it may not be asked again, or no member answers for a whole deadline; it has then ended.
    pub(crate) async fn next<F>(&mut self, send: impl Fn(Channel) -> F) -> Result<Option<M>, Error>
    where
        F: Future<Output = Result<Response<Streaming<M>>, Status>>,
    {
        loop {
            if self.ended {
                return Ok(None);
            }
            if self.open.is_none() {
                self.open(&send).await?;
            }
            let Some(open) = &mut self.open else { continue };
            match open.message().await {
                Ok(Some(message)) => {
                    self.patience.renew(self.client.options().deadline, self.client.options().attempts_max);
                    return Ok(Some(message));
                }
                Ok(None) if self.once => self.ended = true,
                Ok(None) => self.open = None,
                Err(status) => {
                    let (at, address, _) = self.client.pick()?;
                    let error = explain(&address, &status);
                    self.open = None;
                    if !self.patience.allows(&error, self.client.members()) {
                        self.ended = true;
                        return Err(error);
                    }
                    debug!(code = %error.code, "a stream broke off");
                    self.client.turn_away(at);
                }
            }
        }
    }
    async fn open<F>(&mut self, send: impl Fn(Channel) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<Response<Streaming<M>>, Status>>,
    {
        let mut last = Error::new(Code::Unavailable, self.silence);
        while let Some(within) = self.patience.attempt(self.client.options().attempt_timeout) {
            let (at, address, channel) = self.client.pick()?;
            last = match tokio::time::timeout(within, send(channel)).await {
                Ok(Ok(answer)) => {
                    self.open = Some(answer.into_inner());
                    return Ok(());
                }
                Ok(Err(status)) => explain(&address, &status),
                Err(_) => Error::new(Code::Timeout, format!("{address} did not answer in time")),
            };
            if !self.patience.allows(&last, self.client.members()) {
                break;
            }
            self.client.turn_away(at);
            self.patience.pause().await;
        }
        self.ended = true;
        Err(last)
    }
}
