//! Resolution: which endpoint a request is for, and whether it names a deployment itself.
//!
//! Nothing is decoded that is not needed for routing, and nothing is changed but the prefixes that name an endpoint.

use std::borrow::Cow;

use super::{
    status::is_open_ai,
    table::{EndpointRoute, RouteTable},
};
use crate::model::EndpointName;

/// The gRPC service whose requests name their model.
const INFERENCE: &str = "/inference.GRPCInferenceService/";

/// How much of a first message is looked at: the name and version are its first fields in every known client, and a
/// tensor must not be buffered to learn that there is no version.
pub const PEEK_MAX_BYTES: usize = 4_096;

/// Bytes in front of a gRPC message: a flag and a length.
const GRPC_PREFIX: usize = 5;

/// What a request says about where it wants to go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// The path without its query.
    pub path: &'a str,
    /// The host it was sent to, with or without port.
    pub host: Option<&'a str>,
    /// `x-berth-endpoint`, or the name other meshes' clients use.
    pub endpoint: Option<&'a str>,
    /// `azureml-model-deployment`, or else `x-berth-deployment` or SageMaker's target variant.
    pub deployment: Option<&'a str>,
    /// Model name in the first message of an inference call, or in an OpenAI body.
    pub model: Option<&'a str>,
    /// Model version in the same message.
    pub version: Option<&'a str>,
}

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The endpoint, in lower case; it may not exist.
    pub endpoint: Cow<'a, str>,
    /// The path the replica sees, behind `under`.
    pub path: &'a str,
    /// What Azure's clients of OpenAI leave out of it.
    pub under: &'static str,
    /// A deployment named outright; it must exist.
    pub pin: Option<&'a str>,
    /// A version; it pins when it is the name of a deployment and means nothing to the mesh otherwise.
    pub version: Option<&'a str>,
    /// The path is SageMaker's for scoring: the replica sees its own scoring path instead.
    pub scores: bool,
    /// No name of an endpoint led there, but a model's.
    pub by_model: bool,
}

/// A list of the models there are, or one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catalogue<'a> {
    /// All of them.
    All,
    /// The one of this name.
    One(&'a str),
    /// All of them and where they stand, as Triton's clients ask over HTTP.
    Index,
    /// The same over gRPC.
    GrpcIndex,
}

/// Whether a request names a deployment itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// It does not: the split decides.
    None,
    /// To the deployment at this position of the endpoint's routes.
    To(usize),
    /// To one that is not there.
    Missing,
}

/// What is known of the model after looking at the beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek<'a> {
    /// More bytes are needed.
    More,
    /// All there is to know.
    Done {
        /// The model's name.
        model: Option<&'a str>,
        /// The model's version.
        version: Option<&'a str>,
    },
}

// === impl Hints ===

impl Hints<'_> {
    /// Returns whether path, header or host name the endpoint, so that no model has to.
    pub fn is_named(&self, domain: &str) -> bool {
        split_prefix(self.path).or_else(|| sagemaker_path(self.path)).is_some()
            || self.endpoint.is_some_and(|name| !name.is_empty())
            || self.host.is_some_and(|host| endpoint_of_host(host, domain).is_some())
    }

    /// Returns whether the path names a model, so that the body does not have to.
    pub fn has_model_in_path(&self) -> bool {
        azure_open_ai(self.path).map_or_else(|| model_in_path(self.path).0, |(model, _)| model).is_some()
    }
}

// === impl Target ===

impl<'a> Target<'a> {
    /// Resolves a request, in this order: `/e/{endpoint}/…`, `x-berth-endpoint`, a host under `domain`, the model name,
    /// which Azure's clients of OpenAI call a deployment.
    pub fn of(hints: &Hints<'a>, domain: &str, table: &RouteTable) -> Option<Self> {
        let sagemaker = sagemaker_path(hints.path);
        let (by_path, path) = match split_prefix(hints.path).or(sagemaker) {
            Some((endpoint, rest)) => (Some(endpoint), rest),
            None => (None, hints.path),
        };
        let named = by_path.or(hints.endpoint.filter(|name| !name.is_empty()));
        let named = named.or_else(|| endpoint_of_host(hints.host?, domain));
        // A server that is named may be Azure's own.
        let azure = if named.is_none() { azure_open_ai(path) } else { None };
        let (path_model, path_version) = azure.map_or_else(|| model_in_path(path), |(model, _)| (model, None));
        let (under, path) = azure.map_or(("", path), |(_, rest)| ("/v1", rest));
        let version = path_version.or(hints.version);
        let by_model = || path_model.or(hints.model).filter(|name| table.endpoints.contains_key(lower(name).as_ref()));
        let endpoint = lower(named.or_else(by_model)?);
        let pin = hints.deployment.filter(|name| !name.is_empty());
        Some(Self { endpoint, by_model: named.is_none(), path, under, pin, version, scores: sagemaker.is_some() })
    }

    /// Returns whether the request names a deployment of `endpoint`.
    pub fn pin(&self, endpoint: &EndpointRoute) -> Pin {
        let position = |name: &str| {
            endpoint.deployments.iter().position(|deployment| deployment.name.as_str().eq_ignore_ascii_case(name))
        };
        match (self.pin, self.version) {
            (Some(name), _) => position(name).map_or(Pin::Missing, Pin::To),
            (None, Some(version)) => position(version).map_or(Pin::None, Pin::To),
            (None, None) => Pin::None,
        }
    }
}

/// Splits `/e/{endpoint}/rest` into the endpoint and `/rest`.
fn split_prefix(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/e/")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (endpoint, rest) = rest.split_at(end);
    Some((endpoint, if rest.is_empty() { "/" } else { rest }))
}

/// Splits `/endpoints/{endpoint}/invocations[-response-stream]`, as SageMaker's clients ask.
fn sagemaker_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/endpoints/")?;
    let (endpoint, rest) = rest.split_at(rest.find('/')?);
    matches!(rest, "/invocations" | "/invocations-response-stream").then_some((endpoint, rest))
}

/// Splits `/openai/deployments/{model}/rest`, and `/openai/rest` of a call that names its model in its body, as Azure's
/// clients of OpenAI ask, into the model and `/rest`.
fn azure_open_ai(path: &str) -> Option<(Option<&str>, &str)> {
    let rest = path.strip_prefix("/openai")?;
    match rest.strip_prefix("/deployments/") {
        Some(rest) => {
            let (model, call) = rest.split_at(rest.find('/')?);
            (!model.is_empty() && call.len() > 1).then_some((Some(model), call))
        }
        None => is_open_ai(rest).then_some((None, rest)),
    }
}

impl<'a> Catalogue<'a> {
    /// Tells whether a request asks which models there are. One that names its endpoint otherwise is for its server.
    pub fn of(method: &str, path: &'a str) -> Option<Self> {
        match method {
            "GET" => Self::list(path),
            "POST" if is_index(path) => Some(Self::Index),
            "POST" if path == "/inference.GRPCInferenceService/RepositoryIndex" => Some(Self::GrpcIndex),
            _ => None,
        }
    }

    fn list(path: &'a str) -> Option<Self> {
        let open_ai = path.strip_prefix("/openai");
        let rest = open_ai.unwrap_or(path).strip_prefix("/v1/models").or_else(|| open_ai?.strip_prefix("/models"));
        let rest = rest.or_else(|| (path == "/v2/models").then_some(""))?;
        let name = rest.strip_prefix('/').unwrap_or(rest);
        match (rest.is_empty() || rest == "/", name.contains(['/', ':'])) {
            (true, _) => Some(Self::All),
            (false, false) if rest.starts_with('/') => Some(Self::One(name)),
            _ => None,
        }
    }
}

/// Returns whether a path is `/v2/repository[/{repository}]/index`. There is one repository, whatever it is called.
fn is_index(path: &str) -> bool {
    let rest = path.strip_prefix("/v2/repository/").unwrap_or_default();
    let repository = rest.strip_suffix("/index").unwrap_or_default();
    rest == "index" || (!repository.is_empty() && !repository.contains('/'))
}

/// Finds the name in `/v2/repository[/{repository}]/models/{name}/{load,unload}`.
fn model_in_repository(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v2/repository/")?;
    let named = rest.strip_prefix("models/").filter(|rest| rest.matches('/').count() == 1);
    let (name, verb) = named.or_else(|| rest.split_once('/')?.1.strip_prefix("models/"))?.split_once('/')?;
    (!name.is_empty() && matches!(verb, "load" | "unload")).then_some(name)
}

/// Finds name and version in `/v2/models/{name}[/versions/{version}]…`, and the name in `/v1/models/{name}[:verb]` and in
/// Triton's calls about its repository.
fn model_in_path(path: &str) -> (Option<&str>, Option<&str>) {
    if let Some(rest) = path.strip_prefix("/openai").unwrap_or(path).strip_prefix("/v1/models/") {
        let end = rest.find([':', '/']).unwrap_or(rest.len());
        return (Some(&rest[..end]).filter(|name| !name.is_empty()), None);
    }
    let Some(rest) = path.strip_prefix("/v2/models/") else { return (model_in_repository(path), None) };
    let mut segments = rest.split('/');
    let model = segments.next().filter(|name| !name.is_empty());
    let version = match segments.next() {
        Some("versions") => segments.next().filter(|version| !version.is_empty()),
        _ => None,
    };
    (model, version)
}

/// Finds the endpoint in `{endpoint}.{domain}[:port]`. An IP address is never under a domain.
fn endpoint_of_host<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    if domain.is_empty() {
        return None;
    }
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let at = host.len().checked_sub(domain.len() + 1)?;
    let (name, dot_domain) = (host.get(..at)?, host.get(at..)?);
    let under = dot_domain.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(domain));
    (under && EndpointName::new(name).is_ok()).then_some(name)
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Returns whether a request asks whether a model is ready, over HTTP or gRPC.
pub fn asks_whether_ready(method: &str, path: &str) -> bool {
    let http = || path.strip_prefix("/v2/models/").and_then(|rest| rest.strip_suffix("/ready"));
    match method {
        "GET" => http().is_some_and(|model| !model.is_empty()),
        "POST" => path.strip_prefix(INFERENCE) == Some("ModelReady"),
        _ => false,
    }
}

/// Returns whether the first message of a gRPC call names its model.
pub fn names_model(path: &str) -> bool {
    path.strip_prefix(INFERENCE).is_some_and(|call| {
        matches!(
            call,
            "ModelInfer"
                | "ModelStreamInfer"
                | "ModelReady"
                | "ModelMetadata"
                | "ModelConfig"
                | "ModelStatistics"
                | "RepositoryModelLoad"
                | "RepositoryModelUnload"
                | "TraceSetting"
        )
    })
}

/// Looks for the model in the beginning of a gRPC message, without decoding it. Field 1 is the name and field 2 the
/// version in every model-scoped request of every dialect; in the two repository calls field 2, where it is there, is
/// the name (Triton) and field 1 the repository, else field 1 is the name (KServe). In that about tracing, field 2 is the
/// name, and field 1 the settings.
pub fn peek_model<'a>(path: &str, bytes: &'a [u8]) -> Peek<'a> {
    const NOTHING: Peek<'_> = Peek::Done { model: None, version: None };
    let Some(prefix) = bytes.get(..GRPC_PREFIX) else { return Peek::More };
    if prefix[0] != 0 {
        // Packed in a way that is not known: routing by header or host still works.
        return NOTHING;
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    let window = length.min(PEEK_MAX_BYTES);
    let here = &bytes[GRPC_PREFIX..bytes.len().min(GRPC_PREFIX + window)];
    let (repository, tracing) = (path.contains("/Repository"), path.ends_with("/TraceSetting"));
    let (mut first, mut second, mut rest) = (None, None, here);
    let ended = loop {
        if rest.is_empty() {
            break here.len() == window;
        }
        let Some((field, value, tail)) = next_field(rest) else { break here.len() == window };
        match (field, value) {
            (1, Some(text)) => first = Some(text),
            (2, Some(text)) => second = Some(text),
            _ => {}
        }
        // Writers emit fields in order: past field 2 there will be no version, so a tensor need not be waited for.
        let passed = field > 2 && first.is_some() && !repository;
        if (first.is_some() && second.is_some()) || passed {
            break true;
        }
        rest = tail;
    };
    if !ended {
        return Peek::More;
    }
    let text = |value: Option<&'a [u8]>| {
        value.and_then(|value| std::str::from_utf8(value).ok()).filter(|text| !text.is_empty())
    };
    let (first, second) = (text(first), text(second));
    if repository || tracing {
        return Peek::Done { model: second.or(first.filter(|_| repository)), version: None };
    }
    Peek::Done { model: first, version: second }
}

/// A field's number, its bytes if it is length-delimited, and what follows it.
type Field<'a> = (u64, Option<&'a [u8]>, &'a [u8]);

/// Takes one field off a message. Nothing when it is cut off or malformed.
fn next_field(bytes: &[u8]) -> Option<Field<'_>> {
    let (tag, rest) = varint(bytes)?;
    let field = tag >> 3;
    match tag & 7 {
        0 => varint(rest).map(|(_, rest)| (field, None, rest)),
        1 => rest.get(8..).map(|rest| (field, None, rest)),
        2 => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).ok()?;
            // A tensor that is cut off still tells that its field was reached.
            if length > rest.len() {
                return (field > 2).then_some((field, None, &[]));
            }
            let (value, rest) = rest.split_at(length);
            Some((field, Some(value), rest))
        }
        5 => rest.get(4..).map(|rest| (field, None, rest)),
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        id::{Generation, LogIndex},
        model::{AuthMode, DeploymentName, MirrorRules},
        time::LogTime,
        traffic::table::{DeploymentRoute, RouteRuntime},
    };

    fn endpoint(name: &str, deployments: &[&str]) -> EndpointRoute {
        let deployment = |name: &&str| DeploymentRoute {
            name: DeploymentName::new(name).expect("a valid name"),
            generation: Generation(1),
            runtime: RouteRuntime::Onnx,
            request_timeout_ms: 1,
            max_concurrent_requests_per_instance: 1,
            max_queue_wait_ms: 1,
            scoring_path: "/score".into(),
            replicas: Vec::new(),
        };
        EndpointRoute {
            name: EndpointName::new(name).expect("a valid name"),
            revision: LogIndex(1),
            auth_mode: AuthMode::None,
            key_hashes: Vec::new(),
            max_body_bytes: 1,
            idempotent: None,
            hedging: None,
            split: Vec::new(),
            mirror: Vec::new(),
            mirror_rules: MirrorRules::default(),
            created_at: LogTime::default(),
            deployments: deployments.iter().map(deployment).collect(),
        }
    }

    fn table() -> RouteTable {
        let routes = [endpoint("fraud", &["blue", "green"]), endpoint("llm", &["one"])];
        let endpoints: BTreeMap<_, _> = routes.into_iter().map(|route| (route.name.clone(), Arc::new(route))).collect();
        RouteTable { endpoints, ..RouteTable::default() }
    }

    #[test]
    fn the_endpoint_is_found_in_this_order() {
        let hints = Hints::default();
        for (hints, endpoint, path, why) in [
            (Hints { path: "/e/fraud/score", ..hints }, Some("fraud"), "/score", "prefix, stripped"),
            (Hints { path: "/e/Fraud", ..hints }, Some("fraud"), "/", "lower case; no rest"),
            (Hints { path: "/e/none/score", endpoint: Some("fraud"), ..hints }, Some("none"), "/score", "prefix wins"),
            (Hints { path: "/e//score", ..hints }, Some(""), "/score", "an empty name is no endpoint"),
            (Hints { path: "/score", endpoint: Some("fraud"), ..hints }, Some("fraud"), "/score", "header"),
            (Hints { path: "/score", host: Some("LLM.localhost:80"), ..hints }, Some("llm"), "/score", "host"),
            (
                Hints { path: "/v2/models/fraud/infer", host: Some("llm.localhost"), ..hints },
                Some("llm"),
                "/v2/models/fraud/infer",
                "host before model",
            ),
            (Hints { path: "/score", host: Some("localhost:80"), ..hints }, None, "", "the domain itself"),
            (Hints { path: "/score", host: Some("127.0.0.1:80"), ..hints }, None, "", "an address"),
            (Hints { path: "/score", host: Some("[::1]:80"), ..hints }, None, "", "an address"),
            (Hints { path: "/score", host: Some("a.b.localhost"), ..hints }, None, "", "not directly below"),
            (Hints { path: "/v2/models/fraud", ..hints }, Some("fraud"), "/v2/models/fraud", "model in the path"),
            (Hints { path: "/v2/models/other/infer", ..hints }, None, "", "no endpoint of that name"),
            (
                Hints { path: "/v1/models/fraud:predict", ..hints },
                Some("fraud"),
                "/v1/models/fraud:predict",
                "KServe v1",
            ),
            (Hints { path: "/endpoints/fraud/invocations", ..hints }, Some("fraud"), "/invocations", "SageMaker"),
            (Hints { path: "/endpoints/fraud/other", ..hints }, None, "", "not SageMaker's"),
            (
                Hints { path: "/v2/repository/models/fraud/load", ..hints },
                Some("fraud"),
                "/v2/repository/models/fraud/load",
                "Triton",
            ),
            (
                Hints { path: "/v2/repository/any/models/fraud/unload", ..hints },
                Some("fraud"),
                "/v2/repository/any/models/fraud/unload",
                "Triton, of a named repository",
            ),
            (
                Hints { path: "/v2/repository/models/models/fraud/load", ..hints },
                Some("fraud"),
                "/v2/repository/models/models/fraud/load",
                "which may be called as it likes",
            ),
            (Hints { path: "/v2/repository/models/fraud/other", ..hints }, None, "", "no call of Triton's"),
            (Hints { path: "/v2/repository/models/none/load", ..hints }, None, "", "no endpoint of that name"),
            (
                Hints { path: "/v2/models/fraud/trace/setting", ..hints },
                Some("fraud"),
                "/v2/models/fraud/trace/setting",
                "how one model is traced",
            ),
            (Hints { path: "/v2/trace/setting", ..hints }, None, "", "how a server traces"),
            (
                Hints { path: "/v1/chat/completions", model: Some("llm"), ..hints },
                Some("llm"),
                "/v1/chat/completions",
                "model in the body",
            ),
            (
                Hints { path: "/inference.GRPCInferenceService/ModelInfer", model: Some("fraud"), ..hints },
                Some("fraud"),
                "/inference.GRPCInferenceService/ModelInfer",
                "model in the message",
            ),
        ] {
            let target = Target::of(&hints, "localhost", &table());
            assert_eq!(target.as_ref().map(|target| target.endpoint.as_ref()), endpoint, "{why}");
            assert_eq!(target.map_or("", |target| target.path), path, "{why}");
        }
    }

    /// The path, the model in the body, the endpoint, and the path the replica sees.
    #[test]
    fn azures_clients_of_openai_find_their_model() {
        for (path, model, endpoint, seen, why) in [
            ("/openai/deployments/llm/chat/completions", None, Some("llm"), "/v1/chat/completions", "the deployment"),
            ("/openai/deployments/LLM/embeddings", Some("fraud"), Some("llm"), "/v1/embeddings", "before the body"),
            ("/openai/deployments/none/completions", Some("llm"), None, "", "no endpoint of that name"),
            ("/openai/deployments/llm", Some("llm"), Some("llm"), "/openai/deployments/llm", "no call"),
            (
                "/openai/deployments//completions",
                Some("llm"),
                Some("llm"),
                "/openai/deployments//completions",
                "no name",
            ),
            ("/openai/responses", Some("llm"), Some("llm"), "/v1/responses", "what is called without a deployment"),
            ("/openai/v1/responses", Some("llm"), Some("llm"), "/openai/v1/responses", "OpenAI's own clients"),
            (
                "/e/llm/openai/deployments/x/completions",
                None,
                Some("llm"),
                "/openai/deployments/x/completions",
                "named",
            ),
        ] {
            let hints = Hints { path, model, ..Hints::default() };
            let table = table();
            let target = Target::of(&hints, "localhost", &table);
            assert_eq!(target.as_ref().map(|target| target.endpoint.as_ref()), endpoint, "{why}");
            assert_eq!(target.map(|target| [target.under, target.path].concat()).unwrap_or_default(), seen, "{why}");
            let is_in_path = path.starts_with("/openai/deployments/") && !matches!(why, "no call" | "no name");
            assert_eq!(hints.has_model_in_path(), is_in_path, "{why}");
        }
    }

    #[test]
    fn models_are_listed_in_every_dialect() {
        for (path, catalogue) in [
            ("/v1/models", Some(Catalogue::All)),
            ("/v1/models/", Some(Catalogue::All)),
            ("/openai/v1/models", Some(Catalogue::All)),
            ("/v2/models", Some(Catalogue::All)),
            ("/v1/models/fraud", Some(Catalogue::One("fraud"))),
            ("/openai/v1/models/fraud", Some(Catalogue::One("fraud"))),
            ("/openai/models", Some(Catalogue::All)),
            ("/openai/models/fraud", Some(Catalogue::One("fraud"))),
            ("/models", None),
            ("/v1/models/fraud:predict", None),
            ("/v1/models/fraud/load", None),
            ("/v1/modelsx", None),
            ("/v2/models/fraud", None),
            ("/score", None),
        ] {
            assert_eq!(Catalogue::of("GET", path), catalogue, "{path}");
            assert_eq!(Catalogue::of("POST", path), None, "{path}");
        }
        let index = |path| Catalogue::of("POST", path);
        assert_eq!(index("/v2/repository/index"), Some(Catalogue::Index));
        assert_eq!(index("/v2/repository/any/index"), Some(Catalogue::Index));
        assert_eq!(index("/v2/repository//index"), None);
        assert_eq!(index("/v2/repository/a/b/index"), None);
        assert_eq!(index("/inference.GRPCInferenceService/RepositoryIndex"), Some(Catalogue::GrpcIndex));
        assert_eq!(Catalogue::of("GET", "/v2/repository/index"), None);
    }

    #[test]
    fn a_pin_is_a_header_or_a_version_that_is_a_deployment() {
        let hints = Hints { path: "/e/fraud/score", ..Hints::default() };
        for (hints, pin, why) in [
            (hints, Pin::None, "the split decides"),
            (Hints { deployment: Some("Green"), ..hints }, Pin::To(1), "names have no case"),
            (Hints { deployment: Some("red"), ..hints }, Pin::Missing, "named outright, it must exist"),
            (Hints { path: "/v2/models/fraud/versions/green/infer", ..hints }, Pin::To(1), "version in the path"),
            (Hints { path: "/v2/models/fraud/versions/3/infer", ..hints }, Pin::None, "the server's own version"),
            (Hints { version: Some("blue"), ..hints }, Pin::To(0), "version in the message"),
            (
                Hints { path: "/v2/models/fraud/versions/green/infer", deployment: Some("blue"), ..hints },
                Pin::To(0),
                "header before version",
            ),
        ] {
            let table = table();
            let target = Target::of(&hints, "localhost", &table).expect("an endpoint");
            assert_eq!(target.pin(&table.endpoints["fraud"]), pin, "{why}");
        }
    }

    /// A message of length-delimited fields behind its prefix.
    fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (number, value) in fields {
            body.push(number << 3 | 2);
            let mut length = value.len();
            while length >= 0x80 {
                body.push(length as u8 | 0x80);
                length >>= 7;
            }
            body.push(length as u8);
            body.extend_from_slice(value);
        }
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_model_is_read_from_the_first_bytes() {
        const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
        const LOAD: &str = "/inference.GRPCInferenceService/RepositoryModelLoad";
        const TRACE: &str = "/inference.GRPCInferenceService/TraceSetting";
        let tensor = vec![7; 100_000];
        let done = |model, version| Peek::Done { model, version };
        for (path, bytes, peek, why) in [
            (INFER, message(&[(1, b"fraud"), (2, b"green")]), done(Some("fraud"), Some("green")), "both"),
            (INFER, message(&[(1, b"fraud")]), done(Some("fraud"), None), "no version"),
            (INFER, message(&[(2, b"green"), (1, b"fraud")]), done(Some("fraud"), Some("green")), "any order"),
            (
                INFER,
                message(&[(1, b"fraud"), (5, b"t"), (7, &tensor)])[..40].to_vec(),
                done(Some("fraud"), None),
                "cut",
            ),
            (INFER, message(&[(7, &tensor), (1, b"fraud")]), done(None, None), "bounded, whatever comes later"),
            (INFER, message(&[(1, b"fraud")])[..7].to_vec(), Peek::More, "the name is not whole yet"),
            (INFER, Vec::new(), Peek::More, "nothing yet"),
            (INFER, vec![1, 0, 0, 0, 9], done(None, None), "compressed"),
            (INFER, message(&[]), done(None, None), "an empty message"),
            (LOAD, message(&[(1, b"repo"), (2, b"fraud")]), done(Some("fraud"), None), "Triton"),
            (LOAD, message(&[(1, b"fraud")]), done(Some("fraud"), None), "KServe"),
            (
                TRACE,
                message(&[(1, b"level"), (1, b"rate"), (2, b"fraud")]),
                done(Some("fraud"), None),
                "settings first",
            ),
            (TRACE, message(&[(1, b"level")]), done(None, None), "of the server"),
        ] {
            assert!(names_model(path));
            assert_eq!(peek_model(path, &bytes), peek, "{why}");
        }
        assert!(!names_model("/inference.GRPCInferenceService/ServerLive"));
        assert!(!names_model("/inference.GRPCInferenceService/LogSettings"), "those are a server's");
        assert!(!names_model("/echo.Echo/ModelInfer"));
    }

    #[test]
    fn who_asks_whether_a_model_is_ready_is_known() {
        for (method, path, asks) in [
            ("GET", "/v2/models/fraud/ready", true),
            ("GET", "/v2/models/fraud/versions/1/ready", true),
            ("GET", "/v2/models/ready", false),
            ("GET", "/v2/models/fraud", false),
            ("GET", "/v2/health/ready", false),
            ("POST", "/v2/models/fraud/ready", false),
            ("POST", "/inference.GRPCInferenceService/ModelReady", true),
            ("POST", "/inference.GRPCInferenceService/ModelInfer", false),
        ] {
            assert_eq!(asks_whether_ready(method, path), asks, "{method} {path}");
        }
    }

    proptest! {
        /// Garbage never panics and never asks for more than the bounded peek.
        #[test]
        fn garbage_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..6_000)) {
            if let Some(flag) = bytes.first_mut() {
                *flag = 0;
            }
            let peek = peek_model("/inference.GRPCInferenceService/ModelInfer", &bytes);
            prop_assert!(bytes.len() < PEEK_MAX_BYTES + GRPC_PREFIX || peek != Peek::More);
        }
    }
}
