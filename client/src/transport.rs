//! Connections to the members of a cluster, and the one loop every call goes through.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use berth_core::error::{Code, Error};
use berth_proto::tls;
use tokio::time::{Instant, timeout};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tracing::debug;

use crate::{
    options::{Address, ClientOptions},
    retry::{Patience, request_id},
};

/// The largest answer: a list of a hundred thousand replicas.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Silence after which a connection is asked whether it lives, and how long it has to say so. A partition drops packets
/// without a word.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));

/// A client of a Berth cluster. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    options: ClientOptions,
    members: Vec<Member>,
    /// The member that answered last.
    current: AtomicUsize,
}

struct Member {
    address: Address,
    channel: OnceLock<Channel>,
}

/// A request that carries the name of a mutation.
pub(crate) trait Named {
    /// Gives it a name unless it has one.
    fn name(&mut self);
}

// === impl Client ===

impl Client {
    /// Connects to a cluster through any of `addresses` (`HOST:PORT`), and returns once one has answered. Where coordinators
    /// speak TLS, [`ClientOptions`] name whom to believe.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), berth_client::Error> {
    /// let client = berth_client::Client::connect(["10.0.0.1:7400", "10.0.0.2:7400"]).await?;
    /// println!("{}", client.cluster_info().await?.cluster_id);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, Error> {
        let client = Self::new(ClientOptions::new(addresses)?);
        client.cluster_info().await?;
        Ok(client)
    }

    /// Creates a client that connects when it is first used.
    pub fn new(options: ClientOptions) -> Self {
        let members = options.addresses.iter().map(|address| Member::new(address.clone())).collect();
        Self { inner: Arc::new(Inner { options, members, current: AtomicUsize::new(0) }) }
    }

    /// Returns the options it was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Returns a client of the same connections whose calls may take as long as `deadline`.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let options = ClientOptions { deadline, ..self.inner.options.clone() };
        let member = |member: &Member| Member { address: member.address.clone(), channel: member.channel.clone() };
        let members = self.inner.members.iter().map(member).collect();
        let current = AtomicUsize::new(self.inner.current.load(Ordering::Relaxed));
        Self { inner: Arc::new(Inner { options, members, current }) }
    }

    /// Sends a request until it is answered, refused, or out of patience. `send` is called once per attempt.
    pub(crate) async fn call<Q, A, F>(&self, request: Q, send: impl Fn(Channel, Request<Q>) -> F) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call_within(self.inner.options.deadline, self.inner.options.attempt_timeout, || request.clone(), send)
            .await
    }

    /// As [`Self::call`], with a request made anew for each attempt and its own times.
    pub(crate) async fn call_within<Q, A, F>(
        &self,
        deadline: Duration,
        attempt_timeout: Duration,
        request: impl Fn() -> Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut patience = Patience::new(deadline, self.inner.options.attempts_max);
        let (started, mut reached, mut last) = (Instant::now(), false, None);
        while let Some(within) = patience.attempt(attempt_timeout) {
            let (at, member) = self.member();
            let mut request = Request::new(request());
            // The member gives up when the caller does.
            request.set_timeout(within);
            let answer = match member.channel(&self.inner.options) {
                Ok(channel) => timeout(within, send(channel, request)).await,
                Err(error) => return Err(error),
            };
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => {
                    reached |= std::error::Error::source(&status).is_none();
                    member.explain(&status)
                }
                Err(_) => Error::new(Code::Timeout, format!("{} did not answer in time", member.address)),
            };
            if !patience.allows(&error, self.members()) {
                return Err(error);
            }
            debug!(member = %member.address, code = %error.code, "attempt failed");
            self.leave(at);
            last = Some(error);
            if !reached && started.elapsed() >= self.inner.options.unreachable {
                break;
            }
            patience.pause().await;
        }
        Err(self.give_up(last))
    }

    /// As [`Self::call`], for a mutation: every attempt carries the same request id.
    pub(crate) async fn mutate<Q, A, F>(
        &self,
        mut request: Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        Q: Clone + Named,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        request.name();
        self.call(request, send).await
    }

    /// Returns the member to ask now.
    fn member(&self) -> (usize, &Member) {
        let at = self.inner.current.load(Ordering::Relaxed) % self.inner.members.len();
        (at, &self.inner.members[at])
    }

    /// Turns to the next member, unless another call already did.
    fn leave(&self, at: usize) {
        let next = (at + 1) % self.inner.members.len();
        let _ = self.inner.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn give_up(&self, last: Option<Error>) -> Error {
        let Some(last) = last else {
            return Error::new(Code::Timeout, "the deadline passed before the call was sent");
        };
        // What a member said about itself is worth more than that it said so in vain.
        if last.code != Code::Unavailable {
            return last;
        }
        let addresses: Vec<_> = self.inner.members.iter().map(|member| member.address.to_string()).collect();
        let why = if last.why.is_empty() { last.what } else { last.why };
        Error::new(Code::Unavailable, format!("no coordinator answered at {}", addresses.join(", ")))
            .why(why)
            .try_("start one with `berth dev`, or name another with --api or BERTH_API")
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("addresses", &self.inner.options.addresses).finish_non_exhaustive()
    }
}

// === impl Member ===

impl Member {
    fn new(address: Address) -> Self {
        Self { address, channel: OnceLock::new() }
    }

    /// Returns the connection, which is opened when it is first used and again whenever it broke.
    fn channel(&self, options: &ClientOptions) -> Result<Channel, Error> {
        if let Some(channel) = self.channel.get() {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(self.address.url()).map_err(|error| {
            Error::new(Code::Invalid, format!("`{}` is not an address", self.address)).why(error.to_string())
        })?;
        let endpoint = endpoint
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true);
        Ok(self.channel.get_or_init(|| tls::channel(&endpoint, options.trust.as_ref())).clone())
    }

    /// Turns a status into an error, with the transport's own words when no member was reached.
    fn explain(&self, status: &Status) -> Error {
        explain(&self.address, status)
    }
}

/// Turns a status into an error.
pub(crate) fn explain(address: &Address, status: &Status) -> Error {
    if let Some(error) = tls::fault(status) {
        // Who called in clear is not told by whom.
        let what =
            if error.what.contains(address.as_str()) { error.what } else { format!("{address}: {}", error.what) };
        return Error { what, ..error };
    }
    if let Some(source) = std::error::Error::source(status) {
        let mut why = source.to_string();
        let mut next = source.source();
        while let Some(cause) = next {
            why = cause.to_string();
            next = cause.source();
        }
        return Error::new(Code::Unavailable, format!("{address} cannot be reached")).why(why);
    }
    berth_proto::status::from_status(status)
}

/// Gives a request id to a message that has none.
pub(crate) fn fill_name(request_id_field: &mut String) {
    if request_id_field.is_empty() {
        *request_id_field = request_id();
    }
}

/// Access for streams, which choose members themselves.
impl Client {
    pub(crate) fn pick(&self) -> Result<(usize, Address, Channel), Error> {
        let (at, member) = self.member();
        Ok((at, member.address.clone(), member.channel(&self.inner.options)?))
    }

    /// Returns how many there are to ask.
    pub(crate) fn members(&self) -> usize {
        self.inner.members.len()
    }

    pub(crate) fn turn_away(&self, at: usize) {
        self.leave(at);
    }
}
