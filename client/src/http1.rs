//! Keep-alive HTTP/1.1 connections to one host, for calls whose caller must know whether a request may be sent again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use berth_proto::tls::{Inside, Trust, fault};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::options::Address;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct PoolPolicy {
    /// A host that does not accept within this time is treated as gone.
    pub connect_timeout: Duration,
    /// Idle connections kept; more are closed after their answer.
    pub idle_max: usize,
    /// The largest answer that is kept in memory.
    pub body_bytes_max: usize,
}

/// The connections to one host.
#[derive(Debug)]
pub struct Pool {
    address: Address,
    policy: PoolPolicy,
    /// Whose certificates are believed; plain HTTP when absent.
    trust: Option<Trust>,
    idle: Mutex<Vec<http1::SendRequest<Full<Bytes>>>>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum NotAnswered {
    /// Not a byte of the request was taken, so sending it elsewhere is always safe.
    NotSent(String),
    /// The connection broke after the request was sent.
    Broken(String),
}

// === impl PoolPolicy ===

impl Default for PoolPolicy {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(2), idle_max: 64, body_bytes_max: 1 << 30 }
    }
}

// === impl Pool ===

impl Pool {
    /// Keeps connections to `address`; none is opened before it is needed.
    pub fn new(address: Address, policy: PoolPolicy) -> Self {
        Self { address, policy, trust: None, idle: Mutex::new(Vec::new()) }
    }

    /// Speaks TLS from now on.
    #[must_use]
    pub fn over_tls(mut self, trust: &Trust) -> Self {
        self.trust = Some(trust.clone());
        self
    }

    /// Returns the host.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request and reads the whole answer. Needs a runtime; a caller that stops waiting closes the connection.
    ///
    /// ```no_run
    /// # async fn example(request: http::Request<bytes::Bytes>) -> Result<(), Box<dyn std::error::Error>> {
    /// use berth_client::http1::{NotAnswered, Pool, PoolPolicy};
    ///
    /// let pool = Pool::new("127.0.0.1:7480".parse()?, PoolPolicy::default());
    /// match pool.send(request).await {
    ///     Ok(answer) => println!("{}", answer.status()),
    ///     Err(NotAnswered::NotSent(why)) => println!("safe to send elsewhere: {why}"),
    ///     Err(NotAnswered::Broken(why)) => println!("it may have been worked on: {why}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, NotAnswered> {
        let mut sender = match self.idle_connection().await {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        if let Ok(host) = HeaderValue::from_str(self.address.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        let response = sender.try_send_request(request.map(Full::new)).await.map_err(|mut error| {
            // A keep-alive connection the host closed meanwhile hands the request back untouched.
            let why = format!("{}: {}", self.address, error.error());
            if error.take_message().is_some() { NotAnswered::NotSent(why) } else { NotAnswered::Broken(why) }
        })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, self.policy.body_bytes_max).collect().await;
        let body = body.map_err(|error| NotAnswered::Broken(format!("{}: {error}", self.address)))?.to_bytes();
        self.give_back(sender);
        Ok(Response::from_parts(parts, body))
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
        if idle.len() < self.policy.idle_max && !sender.is_closed() {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, NotAnswered> {
        let not_sent = |why: String| NotAnswered::NotSent(format!("{}: {why}", self.address));
        let opened = async {
            let stream = TcpStream::connect(self.address.as_str()).await?;
            let _ = stream.set_nodelay(true);
            match &self.trust {
                None => begin(stream).await,
                Some(trust) => begin(trust.connect(self.address.as_str(), stream, Inside::Http1).await?).await,
            }
        };
        match timeout(self.policy.connect_timeout, opened).await {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(error)) => Err(match fault(&error) {
                Some(fault) => NotAnswered::NotSent(format!("{}: {}", fault.what, fault.why)),
                None => not_sent(error.to_string()),
            }),
            Err(_) => Err(not_sent("no connection in time".to_owned())),
        }
    }
}

/// Speaks HTTP/1.1 from here on.
async fn begin<S>(stream: S) -> std::io::Result<http1::SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    // Ends with its connection: when the sender is dropped or the peer closes.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
