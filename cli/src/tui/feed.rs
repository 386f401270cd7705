//! Keeps the board fresh: events say that something changed, a slow pulse brings what no event tells.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use berth_client::{Client, Error, api::Event};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Msg,
    board::{Board, EVENTS_MAX},
};

/// Events that come together lead to one look; with the look itself well below a tenth of a second.
const SETTLE: Duration = Duration::from_millis(30);

/// How often the figures that no event tells are read: usage, requests in flight.
const PULSE: Duration = Duration::from_secs(2);

/// How long a look may take before the screen says that nothing comes in.
const LOOK: Duration = Duration::from_secs(3);

/// Runs until the screen is gone. `again` asks for a look at once.
pub(super) async fn run(client: Client, again: Arc<Notify>, screen: mpsc::Sender<Msg>) {
    let (news, mut fresh) = mpsc::channel(256);
    let watcher = tokio::spawn(watch(client.clone(), news));
    let mut events = VecDeque::new();
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(event) = fresh.recv() => {
                keep(&mut events, event);
                let settled = Instant::now() + SETTLE;
                while let Ok(Some(event)) = tokio::time::timeout_at(settled, fresh.recv()).await {
                    keep(&mut events, event);
                }
            }
            _ = pulse.tick() => {}
            () = again.notified() => {}
            () = screen.closed() => break,
        }
        let msg = match timeout(LOOK, look(&client, &events)).await {
            Ok(Ok(board)) => Msg::Board(Arc::new(board)),
            Ok(Err(error)) => Msg::Frozen(error.what.clone()),
            Err(_) => Msg::Frozen("no coordinator answers in time".to_owned()),
        };
        if screen.send(msg).await.is_err() {
            break;
        }
    }
    watcher.abort();
}

fn keep(events: &mut VecDeque<Event>, event: Event) {
    if events.len() == EVENTS_MAX {
        events.pop_front();
    }
    events.push_back(event);
}

/// Follows the events for as long as somebody wants them, across broken watches.
async fn watch(client: Client, news: mpsc::Sender<Event>) {
    let mut next = None;
    loop {
        let mut stream = client.watch_events(next);
        while let Ok(Some(event)) = stream.next().await {
            next = Some(event.seq + 1);
            if news.send(event).await.is_err() {
                return;
            }
        }
        // It fell behind what is kept, or nobody answered for a whole deadline: begin with what is kept now.
        tokio::select! {
            () = sleep_until(Instant::now() + PULSE) => {}
            () = news.closed() => return,
        }
    }
}

/// Reads everything once.
pub(super) async fn look(client: &Client, events: &VecDeque<Event>) -> Result<Board, Error> {
    let (info, members, endpoints, deployments, replicas, nodes) = tokio::try_join!(
        client.cluster_info(),
        client.list_members(),
        client.list_endpoints(),
        client.list_deployments(""),
        client.list_replicas("", ""),
        client.list_nodes(),
    )?;
    let members = members.members;
    Ok(Board { info, members, endpoints, deployments, replicas, nodes, events: events.clone() })
}
