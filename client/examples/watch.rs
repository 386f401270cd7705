//! Follows what happens in a cluster, across coordinators that go away: a stream that breaks goes on where it was.
//!
//! `cargo run -p berth-client --example watch -- 127.0.0.1:7400 10`
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use berth_client::{Client, Error};

/// Returns the next events, the oldest that is kept first.
pub(crate) async fn run(coordinator: &str, count: usize) -> Result<Vec<String>, Error> {
    let client = Client::connect([coordinator]).await?;
    let mut events = client.watch_events(Some(0));
    let mut told = Vec::new();
    while told.len() < count {
        let Some(event) = events.next().await? else { break };
        told.push(format!("{} {} {}", event.seq, event.kind, event.text));
    }
    Ok(told)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(coordinator), count) = (args.first(), args.get(1).and_then(|text| text.parse().ok()).unwrap_or(10))
    else {
        println!("watch COORDINATOR [COUNT]");
        return Ok(());
    };
    run(coordinator, count).await?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
