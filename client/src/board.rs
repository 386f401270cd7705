//! The board as a stream that survives the member it is read from.

use berth_core::error::{Code, Error};
use tonic::{Request, Streaming};
use tracing::debug;

use crate::{
    api::{BoardUpdate, FollowBoardRequest, boards_client::BoardsClient},
    retry::{Patience, may_retry},
    transport::{Client, MESSAGE_BYTES_MAX, explain},
};

/// Everything a screen shows: the whole first, then what changed. After a connection broke it begins with the whole
/// again, so whoever takes updates in order always knows all.
pub struct BoardStream {
    client: Client,
    once: bool,
    open: Option<Streaming<BoardUpdate>>,
    patience: Patience,
    ended: bool,
}

/// The board.
impl Client {
    /// Follows everything a screen shows.
    ///
    /// ```no_run
    /// # async fn example(client: berth_client::Client) -> Result<(), berth_client::Error> {
    /// let mut board = client.follow_board();
    /// while let Some(update) = board.next().await? {
    ///     println!("{} replicas are new or changed", update.replicas.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow_board(&self) -> BoardStream {
        self.board_stream(false)
    }

    /// Reads the whole board once, as its parts come.
    pub async fn board(&self) -> Result<Vec<BoardUpdate>, Error> {
        let mut stream = self.board_stream(true);
        let mut parts: Vec<BoardUpdate> = Vec::new();
        while let Some(update) = stream.next().await? {
            // A connection that broke on the way began anew.
            if update.whole {
                parts.clear();
            }
            parts.push(update);
        }
        Ok(parts)
    }

    fn board_stream(&self, once: bool) -> BoardStream {
        let patience = Patience::new(self.options().deadline, self.options().attempts_max);
        BoardStream { client: self.clone(), once, open: None, patience, ended: false }
    }
}

// === impl BoardStream ===

impl BoardStream {
    /// Returns the next update; `None` at the end of a board that is read once. An error when no member answers for a
    /// whole deadline; the stream has then ended, and another may be opened.
    pub async fn next(&mut self) -> Result<Option<BoardUpdate>, Error> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if self.open.is_none() {
                self.open().await?;
            }
            let Some(open) = &mut self.open else { continue };
            match open.message().await {
                Ok(Some(update)) => {
                    self.patience.renew(self.client.options().deadline, self.client.options().attempts_max);
                    return Ok(Some(update));
                }
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
                    debug!(code = %error.code, "the board broke off");
                    self.client.turn_away(at);
                }
            }
        }
    }

    async fn open(&mut self) -> Result<(), Error> {
        let mut last = Error::new(Code::Unavailable, "no coordinator could be asked in time");
        while let Some(within) = self.patience.attempt(self.client.options().attempt_timeout) {
            let (at, address, channel) = self.client.pick()?;
            let mut service = BoardsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            let request = Request::new(FollowBoardRequest { once: self.once });
            last = match tokio::time::timeout(within, service.follow(request)).await {
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
