//! The board as a stream that survives the member it is read from.

use berth_core::error::Error;

use crate::{
    api::{BoardUpdate, FollowBoardRequest, boards_client::BoardsClient},
    follow::Follow,
    transport::{Client, MESSAGE_BYTES_MAX},
};

/// Everything a screen shows: the whole first, then what changed. After a connection broke it begins with the whole
/// again, so whoever takes updates in order always knows all.
pub struct BoardStream(Follow<BoardUpdate>);

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
        BoardStream(Follow::new(self, once, "no coordinator could be asked in time"))
    }
}

// === impl BoardStream ===

impl BoardStream {
    /// Returns the next update; `None` at the end of a board that is read once. An error when no member answers for a
    /// whole deadline; the stream has then ended, and another may be opened.
    pub async fn next(&mut self) -> Result<Option<BoardUpdate>, Error> {
        let once = self.0.is_once();
        let follow = |channel| async move {
            let mut service = BoardsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            service.follow(FollowBoardRequest { once }).await
        };
        self.0.next(follow).await
    }
}
