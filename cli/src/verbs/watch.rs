//! Screens that are shown again: when something happens, or after a while.
//!
//! A terminal is redrawn from its top; a pipe gets one screen after the other, an empty line between them.

use std::time::Duration;

use tokio::time::timeout;

use super::Context;
use crate::output::Fault;

/// Events that come together lead to one look.
const SETTLE: Duration = Duration::from_millis(100);
/// A screen is drawn again after this time although nothing happened: ages go on, and heartbeats are no events.
const QUIET: Duration = Duration::from_secs(5);

/// Shows a screen, and again after every change of the cluster.
pub(super) async fn on_events(context: &Context, show: impl AsyncFn() -> Result<(), Fault>) -> Result<(), Fault> {
    let next = context.client.events().await?.last().map_or(0, |event| event.seq + 1);
    let mut events = context.client.watch_events(Some(next));
    loop {
        context.out.fresh_screen();
        show().await?;
        // The first event wakes; those right behind it are part of the same change.
        if let Ok(event) = timeout(QUIET, events.next()).await {
            if event?.is_none() {
                return Ok(());
            }
            while let Ok(event) = timeout(SETTLE, events.next()).await {
                event?;
            }
        }
    }
}

/// Shows a screen, and again after a pause.
pub(super) async fn every(
    context: &Context,
    pause: Duration,
    show: impl AsyncFn() -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        context.out.fresh_screen();
        show().await?;
        tokio::time::sleep(pause).await;
    }
}
