//! Serves an ONNX model: an endpoint, a deployment, and all of its traffic.
//!
//! `cargo run -p berth-client --example deploy -- 127.0.0.1:7400 hello examples/digits/green/model.onnx`
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::{path::Path, time::Duration};

use berth_client::{
    Client, Error,
    spec::{Deployment, Endpoint},
};

/// How long the instance may take until it serves: the model is fetched first.
const WITHIN: Duration = Duration::from_secs(120);

/// Deploys the model and returns where it is called.
pub(crate) async fn run(coordinator: &str, endpoint: &str, model: &Path) -> Result<String, Error> {
    let client = Client::connect([coordinator]).await?;
    client.apply_endpoint(&Endpoint::new(endpoint)).await?;
    let blue = Deployment::onnx(endpoint, "blue", model).resources(500, 512);
    let applied = client.apply_deployment(&blue).await?;
    client.await_serving(&applied, WITHIN).await?;
    let served = client.set_traffic(endpoint, Some([("blue".to_owned(), 100)].into()), None).await?;
    client.await_routers(endpoint, WITHIN).await?;
    Ok(served.scoring_uris.first().cloned().unwrap_or_default())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [coordinator, endpoint, model] = args.as_slice() else {
        println!("deploy COORDINATOR ENDPOINT MODEL.onnx");
        return Ok(());
    };
    println!("{endpoint} answers at {}", run(coordinator, endpoint, Path::new(model)).await?);
    Ok(())
}
