//! The coordinators a node knows, and its connections to them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use berth_core::{
    address,
    error::{Code, Error},
    join::JoinToken,
};
use berth_proto::{
    node::v1::node_client::NodeClient,
    status::from_status,
    tls::{self, Trust, TrustFiles, Watch},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::options::Secret;

/// Metadata under which a node shows its token.
const TOKEN: &str = "berth-node-token";
/// How long a connection may take: well below the time after which a node counts as lost.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Pace of HTTP/2 pings: a partition drops packets silently, and only a ping that stays unanswered shows it.
const PING_INTERVAL: Duration = Duration::from_millis(500);
/// How long a ping may stay unanswered. With the pace, half the time after which a node counts as lost: a leader that
/// froze may be asked once more, for its host still accepts connections, and is left for good before the next leader has
/// counted that long.
const PING_DEADLINE: Duration = Duration::from_secs(1);
/// Largest message from a coordinator: a full route table or a full set of orders.
const MESSAGE_MAX_BYTES: usize = 64 << 20;
/// Members that are remembered; a cluster has five at most, and a few old addresses do no harm.
const MEMBERS_MAX: usize = 32;

/// Every coordinator a node knows.
#[derive(Debug)]
pub(crate) struct Members {
    /// Whom this node may be taken for: a join token until it was exchanged.
    shown: Mutex<Secret>,
    /// Who is believed at addresses with TLS.
    trust: Option<Trust>,
    /// Whether nobody is called without TLS, whatever a welcome says.
    only_tls: bool,
    _watch: Option<Watch>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// From the configuration: never forgotten.
    configured: Vec<String>,
    /// From the last welcome.
    told: Vec<String>,
    channels: BTreeMap<String, Channel>,
    /// The member that led last: asked first.
    leader: Option<String>,
}

/// Shows the node's token with every call.
#[derive(Clone)]
pub(crate) struct ShowToken(MetadataValue<Ascii>);

/// A client of one coordinator.
pub(crate) type Client = NodeClient<InterceptedService<Channel, ShowToken>>;

// === impl Members ===

impl Members {
    pub(crate) fn new(configured: Vec<String>, token: &Secret, files: Option<&TrustFiles>) -> Result<Arc<Self>, Error> {
        let (trust, watch) = files.map(|files| Trust::watch(files, "to coordinators")).transpose()?.unzip();
        metadata(token)?;
        let shown = Mutex::new(token.clone());
        let only_tls = !configured.is_empty() && configured.iter().all(|address| address::is_tls(address));
        let known = Mutex::new(Known { configured, ..Known::default() });
        Ok(Arc::new(Self { shown, trust, only_tls, _watch: watch, known }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of the join token that is shown, while one is.
    pub(crate) fn joins_with(&self) -> Option<String> {
        JoinToken::parse(self.shown().expose()).map(|token| token.nonce)
    }

    /// Shows another token from here on.
    pub(crate) fn show(&self, token: Secret) -> Result<(), Error> {
        metadata(&token)?;
        *self.shown() = token;
        Ok(())
    }

    fn shown(&self) -> MutexGuard<'_, Secret> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists every member, the one that led last first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let known = self.known();
        let mut all: Vec<String> = Vec::new();
        for address in known.leader.iter().chain(&known.told).chain(&known.configured) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// Takes what a leader says about the members.
    pub(crate) fn learn(&self, told: Vec<String>) {
        let mut known = self.known();
        known.told = told.into_iter().take(MEMBERS_MAX).collect();
        let keep: Vec<String> = known.told.iter().chain(&known.configured).chain(&known.leader).cloned().collect();
        known.channels.retain(|address, _| keep.contains(address));
    }

    /// Takes who leads, or that it is not known.
    pub(crate) fn leads(&self, leader: Option<&str>) {
        self.known().leader = leader.map(str::to_owned);
    }

    /// Returns a client of the member at `address`; it connects when it is first used.
    pub(crate) fn client(&self, address: &str) -> Result<Client, Error> {
        let mut known = self.known();
        let channel = match known.channels.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.channel(address)?;
                known.channels.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        let shown = metadata(&self.shown())?;
        Ok(NodeClient::with_interceptor(channel, ShowToken(shown))
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES))
    }

    fn channel(&self, address: &str) -> Result<Channel, Error> {
        if self.only_tls && !address::is_tls(address) {
            return Err(Error::new(Code::Tls, format!("{address} is not called: no TLS is spoken there"))
                .why("every coordinator in this node's settings speaks it")
                .try_("give that coordinator `tls_cert` and `tls_key`"));
        }
        let endpoint = Endpoint::from_shared(address::url(address)).map_err(|error| {
            Error::new(Code::Invalid, format!("`{address}` is not an address of a coordinator")).why(error.to_string())
        })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_DEADLINE)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        Ok(tls::channel(&endpoint, self.trust.as_ref()))
    }
}

/// Turns a status into an error; one that Berth did not make is a connection that broke.
pub(crate) fn transport_error(status: &Status) -> Error {
    from_status(status)
}

// === impl ShowToken ===

impl Interceptor for ShowToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(TOKEN, self.0.clone());
        Ok(request)
    }
}

fn metadata(token: &Secret) -> Result<MetadataValue<Ascii>, Error> {
    let mut shown: MetadataValue<Ascii> = token.expose().parse().map_err(|_| {
        Error::new(Code::Unauthenticated, "the node's token is no token")
            .why("it holds characters that cannot be sent")
            .try_("copy the coordinators' `node.token` file again")
    })?;
    shown.set_sensitive(true);
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_asked_first_and_nobody_twice() {
        let members = Members::new(vec!["a:1".into(), "b:1".into()], &Secret::new("t"), None).unwrap();
        members.learn(vec!["b:1".into(), "c:1".into()]);
        assert_eq!(members.addresses(), ["b:1", "c:1", "a:1"]);
        members.leads(Some("c:1"));
        assert_eq!(members.addresses(), ["c:1", "b:1", "a:1"]);
        members.learn(Vec::new());
        members.leads(None);
        assert_eq!(members.addresses(), ["a:1", "b:1"]);
    }

    #[tokio::test]
    async fn a_node_whose_coordinators_speak_tls_calls_none_without() {
        for (configured, told, called) in [
            ("https://a:1", "https://b:1", true),
            ("https://a:1", "b:1", false),
            ("a:1", "b:1", true),
            // A cluster that changes over.
            ("a:1", "https://b:1", true),
        ] {
            let members = Members::new(vec![configured.into()], &Secret::new("t"), None).unwrap();
            let refused = members.client(told).err().map(|error| error.code);
            assert_eq!(refused, (!called).then_some(Code::Tls), "{configured} {told}");
        }
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_refused_in_words() {
        assert_eq!(Members::new(vec![], &Secret::new("a\nb"), None).unwrap_err().code, Code::Unauthenticated);
    }
}
