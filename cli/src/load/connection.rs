//! Connections of the load driver: a bounded pool of keep-alive HTTP/1.1 connections per target.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{REQUEST_ID, report::Answer};

/// Idle connections kept per target; more are closed after their answer.
const IDLE_MAX: usize = 256;
/// A host that does not accept within this time is treated as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections to one target.
pub(super) struct Pool {
    target: SocketAddr,
    idle: Mutex<Vec<http1::SendRequest<Full<Bytes>>>>,
}

/// Why there is no answer.
pub(super) enum SendError {
    /// Not a byte of the request left this host, so sending it elsewhere is always safe.
    NotSent(String),
    /// The connection broke after the request was sent.
    Broken(String),
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(target: SocketAddr) -> Self {
        Self { target, idle: Mutex::new(Vec::new()) }
    }

    pub(super) fn target(&self) -> SocketAddr {
        self.target
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Answer, SendError> {
        let mut sender = match self.idle_connection() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        if sender.ready().await.is_err() {
            sender = self.connect().await?;
        }
        let broken = |error: hyper::Error| SendError::Broken(format!("{}: {error}", self.target));
        let response = sender.send_request(request.map(Full::new)).await.map_err(broken)?;
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let mut answer = Answer {
            status: response.status().as_u16(),
            deployment: header("azureml-model-deployment"),
            replica: header("x-berth-replica"),
            request_id: header(REQUEST_ID.as_str()),
            body: Bytes::new(),
        };
        answer.body = response.into_body().collect().await.map_err(broken)?.to_bytes();
        self.give_back(sender);
        Ok(answer)
    }

    fn idle_connection(&self) -> Option<http1::SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn give_back(&self, sender: http1::SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, SendError> {
        let not_sent = |why: String| SendError::NotSent(format!("{}: {why}", self.target));
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(self.target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(not_sent(error.to_string())),
            Err(_) => return Err(not_sent("no connection in time".to_owned())),
        };
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| not_sent(error.to_string()))?;
        // Ends with its connection: when the sender is dropped or the peer closes.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}
