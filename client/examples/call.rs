//! Calls an endpoint, and says who answered.
//!
//! `cargo run -p berth-client --example call -- 127.0.0.1:7400 hello '{"data": [[0, 1]]}'`
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use berth_client::{Client, Error};

/// Calls an endpoint and returns its answer, and the deployment that gave it.
pub(crate) async fn run(coordinator: &str, endpoint: &str, json: &str) -> Result<(String, String), Error> {
    let client = Client::connect([coordinator]).await?;
    // Any node answers; its address and the endpoint's key come from the cluster.
    let infer = client.infer(endpoint).await?;
    let answer = infer.score(json.to_owned()).await?.into_success()?;
    let who = answer.deployment().unwrap_or("nobody who says so").to_owned();
    Ok((String::from_utf8_lossy(&answer.body).into_owned(), who))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [coordinator, endpoint, json] = args.as_slice() else {
        println!("call COORDINATOR ENDPOINT JSON");
        return Ok(());
    };
    let (answer, who) = run(coordinator, endpoint, json).await?;
    println!("{answer}\nby {who}");
    Ok(())
}
