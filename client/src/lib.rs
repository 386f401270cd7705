//! Berth's Rust SDK: manage a cluster through any of its coordinators, and call its endpoints through any of its nodes.
//!
//! A [`Client`] speaks the public API. It is given the addresses of some coordinators, uses one that answers, and falls
//! back to the others; whichever it reaches forwards to the leader, so there is nothing to follow. Every call has a
//! deadline. A call that could not be delivered, or whose outcome is not known, is sent again under the *same* request
//! id, which the cluster applies once; nothing else is retried.
//!
//! ```no_run
//! # async fn example() -> Result<(), berth_client::Error> {
//! use berth_client::Client;
//!
//! let client = Client::connect(["127.0.0.1:7400"]).await?;
//! let endpoint = client.set_traffic("fraud", Some([("green".to_owned(), 100)].into()), None).await?;
//! println!("{} is at {:?}", endpoint.name, endpoint.scoring_uris);
//! # Ok(())
//! # }
//! ```
//!
//! An [`InferClient`] calls an endpoint over HTTP/1.1 or gRPC. It is given the ingress addresses of some nodes; every
//! node answers for every endpoint.
//!
//! ```no_run
//! # async fn example() -> Result<(), berth_client::Error> {
//! use berth_client::InferClient;
//!
//! let digits = InferClient::new(["127.0.0.1:7480"], "digits")?.with_key("…");
//! let answer = digits.score(r#"{"data": [[0, 1, 2]]}"#).await?;
//! println!("{} by {:?}: {:?}", answer.status, answer.deployment(), answer.body);
//! # Ok(())
//! # }
//! ```
//!
//! A model behind the Open Inference Protocol takes typed tensors over gRPC:
//!
//! ```no_run
//! # async fn example(digits: berth_client::InferClient) -> Result<(), Box<dyn std::error::Error>> {
//! use berth_client::Tensor;
//!
//! let image = Tensor::new("input", [1, 64], vec![0.0_f32; 64])?;
//! println!("{:?}", digits.infer_tensors("digits", &[image]).await?.outputs);
//! # Ok(())
//! # }
//! ```
//!
//! `client/examples` has whole programs: `deploy` serves a model, `shift` moves traffic, `call` asks an endpoint, `watch`
//! follows what happens.
//!
//! What is to be deployed is written with [`spec`], which fills in every default. Messages are those of the wire, re-exported as [`api`] (the calls) and [`store`] (the specs inside them), so that
//! nothing is lost or renamed on the way.

mod archive;
mod assets;
mod board;
mod calls;
mod codec;
mod follow;
pub mod http1;
mod infer;
mod oip;
mod options;
mod retry;
pub mod spec;
mod stream;
mod transport;

pub use archive::Packed;
pub use assets::Sent;
pub use berth_core::{
    error::{Code, Error, ErrorKind},
    model::AssetRef,
};
pub use berth_proto::inference::v2 as inference;
pub use berth_proto::{
    api::v1 as api,
    store::v1 as store,
    tls::{TlsFiles, Trust, TrustFiles},
};
pub use board::BoardStream;
pub use infer::{Answer, GrpcAnswer, InferClient};
pub use oip::{Inference, Tensor, TensorData};
pub use options::{Address, ClientOptions};
pub use stream::{EventStream, LogStream};
pub use transport::Client;
