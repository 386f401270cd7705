//! Keeps the screen told: the board and the events, both followed, across members that go away.

use std::time::Duration;

use berth_client::Client;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::Msg;

/// The board says something every second. After this much silence nothing new comes in, and the screen says so.
const SILENCE: Duration = Duration::from_secs(3);

/// Pause before a stream that ended is opened again: it ends when no member answered for a whole deadline.
const AGAIN: Duration = Duration::from_millis(500);

/// Events that are handed over together.
const TOGETHER_MAX: usize = 256;

/// Follows the board until the screen is gone.
pub(super) async fn board(client: Client, screen: mpsc::Sender<Msg>) {
    loop {
        let mut stream = client.follow_board();
        let why = loop {
            let msg = match timeout(SILENCE, stream.next()).await {
                Ok(Ok(Some(update))) => Msg::Board(Box::new(update)),
                Ok(Ok(None)) => break "the coordinators ended the stream".to_owned(),
                Ok(Err(error)) => break error.what,
                // The stream goes on looking for a member; the screen says what it shows meanwhile.
                Err(_) => Msg::Frozen("no coordinator answers".to_owned()),
            };
            if screen.send(msg).await.is_err() {
                return;
            }
        };
        if screen.send(Msg::Frozen(why)).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// Follows the events until the screen is gone. Whoever falls behind what is kept begins anew; the board notices what is
/// missing between.
pub(super) async fn events(client: Client, screen: mpsc::Sender<Msg>) {
    loop {
        let mut stream = client.watch_events(None);
        let mut anew = true;
        while let Ok(Some(first)) = stream.next().await {
            let mut events = vec![first];
            // What came with it, without waiting: the first look brings all that is kept.
            while events.len() < TOGETHER_MAX {
                match timeout(Duration::ZERO, stream.next()).await {
                    Ok(Ok(Some(event))) => events.push(event),
                    _ => break,
                }
            }
            if screen.send(Msg::Events(events, anew)).await.is_err() {
                return;
            }
            anew = false;
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = screen.closed() => return,
        }
    }
}
