//! Gives a deployment all of an endpoint's traffic, and returns once every router does so.
//!
//! `cargo run -p berth-client --example shift -- 127.0.0.1:7400 hello green`
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Duration;

use berth_client::{Client, Error};

/// How long routers may take. They take milliseconds; one that falls silent is lost, and not waited for, within seconds.
const WITHIN: Duration = Duration::from_secs(10);

/// Moves the traffic and returns the nodes that do not route by it yet: none, unless one is slow.
pub(crate) async fn run(coordinator: &str, endpoint: &str, deployment: &str) -> Result<Vec<String>, Error> {
    let client = Client::connect([coordinator]).await?;
    client.set_traffic(endpoint, Some([(deployment.to_owned(), 100)].into()), None).await?;
    client.await_routers(endpoint, WITHIN).await
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [coordinator, endpoint, deployment] = args.as_slice() else {
        println!("shift COORDINATOR ENDPOINT DEPLOYMENT");
        return Ok(());
    };
    let behind = run(coordinator, endpoint, deployment).await?;
    println!("{deployment} gets all traffic of {endpoint}; behind: {}", behind.join(", "));
    Ok(())
}
