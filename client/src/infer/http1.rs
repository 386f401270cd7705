//! Keep-alive HTTP/1.1 connections to one node.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::Answer;
use crate::options::Address;

/// A host that does not accept within this time is treated as gone.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections kept; more are closed after their answer.
const IDLE_MAX: usize = 64;
/// The largest answer that is kept in memory.
const BODY_BYTES_MAX: usize = 1 << 30;

/// The connections to one node.
pub(super) struct Pool {
    address: Address,
    idle: Mutex<Vec<http1::SendRequest<Full<Bytes>>>>,
}

/// Why there is no answer.
pub(super) enum NotAnswered {
    /// Not a byte of the request was taken, so sending it elsewhere is always safe.
    NotSent(String),
    /// The connection broke after the request was sent.
    Broken(String),
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(address: Address) -> Self {
        Self { address, idle: Mutex::new(Vec::new()) }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) async fn send(&self, mut request: Request<Bytes>) -> Result<Answer, NotAnswered> {
        let mut sender = match self.idle_connection().await {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        if let Ok(host) = http::HeaderValue::from_str(self.address.as_str()) {
            request.headers_mut().insert(http::header::HOST, host);
        }
        let response = sender.try_send_request(request.map(Full::new)).await.map_err(|mut error| {
            // A keep-alive connection the node closed meanwhile hands the request back untouched.
            match error.take_message() {
                Some(_) => NotAnswered::NotSent(error.error().to_string()),
                None => NotAnswered::Broken(error.error().to_string()),
            }
        })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| NotAnswered::Broken(error.to_string()))?.to_bytes();
        self.give_back(sender);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    async fn idle_connection(&self) -> Option<http1::SendRequest<Full<Bytes>>> {
        let take = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(mut sender) = take() {
            if sender.ready().await.is_ok() {
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

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, NotAnswered> {
        let not_sent = |why: String| NotAnswered::NotSent(format!("{}: {why}", self.address));
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address.as_str())).await {
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
