//! The protocols that callers speak: HTTP/1.1, HTTP/2 without TLS and gRPC, as a load carries its requests.
//!
//! A caller of HTTP/2 opens another connection where the one it has was told to go away before it opened a stream, as every
//! client does. A stream that was open when its connection went away, or that was refused, is *sent again* and counted as
//! that, though gRPC's own libraries and reqwest would repeat it without a word: hyper's and tonic's do not.
//!
//! `h2` itself tells the two apart. hyper gives a request that came between the news and the next look at it the error of
//! a stream that was sent, though nothing of it was.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use berth_cli::load::{Carrier, NotAnswered, over_http1};
use berth_proto::inference::v2::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor,
    model_infer_response::InferOutputTensor,
};
use futures::future::BoxFuture;
use h2::client::SendRequest;
use hyper::{
    HeaderMap, Request, Response, Uri, Version,
    body::{Buf as _, Bytes},
    header::{CONTENT_TYPE, HeaderName, HeaderValue, TE},
    http::uri::PathAndQuery,
};
use prost::Message as _;
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use crate::cluster::ENDPOINT;

/// Where a model of the Open Inference Protocol is asked over gRPC.
pub(crate) const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Connections to one target: each has several requests at work at any moment.
const CONNECTIONS: usize = 2;

/// How many connections a request may find on their way out before it is given up.
const CONNECTIONS_MAX: usize = 4;

/// A host that does not accept within this time is passed over.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time on a connection.
    Http1,
    /// HTTP/2 without TLS, several requests on a connection.
    Http2,
    /// `ModelInfer` of the Open Inference Protocol, a gRPC call with one message.
    Grpc,
}

/// The connections to one target.
struct Http2 {
    target: SocketAddr,
    turn: AtomicUsize,
    connections: [Mutex<Option<SendRequest<Bytes>>>; CONNECTIONS],
}

/// Calls over them.
struct Grpc(Http2);

// === impl Protocol ===

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Grpc];

    /// Returns its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
        }
    }

    /// Returns its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
        }
    }

    /// Reads its word.
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == word)
    }

    /// Returns what carries its requests to these targets.
    pub fn carriers(self, targets: &[SocketAddr]) -> Vec<Box<dyn Carrier>> {
        let http2 = targets.iter().map(|target| Http2::new(*target));
        match self {
            Self::Http1 => over_http1(targets),
            Self::Http2 => http2.map(|carrier| Box::new(carrier) as Box<dyn Carrier>).collect(),
            Self::Grpc => http2.map(|carrier| Box::new(Grpc(carrier)) as Box<dyn Carrier>).collect(),
        }
    }
}

// === impl Http2 ===

impl Http2 {
    fn new(target: SocketAddr) -> Self {
        Self { target, turn: AtomicUsize::new(0), connections: Default::default() }
    }

    /// Sends a request and reads the whole answer; trailers are added to its headers.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, NotAnswered> {
        let (head, mut body) = self.over_http2(request).into_parts();
        for _ in 0..CONNECTIONS_MAX {
            let mut sender = self.connection().await?;
            // A connection that goes away opens no stream, and nothing was sent.
            let Ok((answer, mut upload)) = sender.send_request(Request::from_parts(head.clone(), ()), false) else {
                continue;
            };
            // What became of a stream that takes no body is what its answer says.
            let _ = upload.send_data(std::mem::take(&mut body), true);
            return whole(answer).await.map_err(|error| self.not_answered(&error));
        }
        Err(NotAnswered::NotSent(format!("{}: connections go away as soon as they are open", self.target)))
    }

    /// Returns a connection that takes requests, the next one in turn.
    async fn connection(&self) -> Result<SendRequest<Bytes>, NotAnswered> {
        let slot = &self.connections[self.turn.fetch_add(1, Relaxed) % CONNECTIONS];
        // Whoever comes first opens it, and the others wait: as a client library does.
        let mut slot = slot.lock().await;
        if let Some(sender) = &*slot
            && let Ok(ready) = sender.clone().ready().await
        {
            return Ok(ready);
        }
        let opened = async {
            let stream = TcpStream::connect(self.target).await?;
            let _ = stream.set_nodelay(true);
            h2::client::handshake(stream).await.map_err(std::io::Error::other)
        };
        let not_sent = |why: String| NotAnswered::NotSent(format!("{}: {why}", self.target));
        let (sender, connection) = match timeout(CONNECT_WITHIN, opened).await {
            Ok(opened) => opened.map_err(|error| not_sent(error.to_string()))?,
            Err(_) => return Err(not_sent("no connection in time".to_owned())),
        };
        // Ends with its connection: when the senders are dropped or the peer closes.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let ready = sender.ready().await.map_err(|error| not_sent(error.to_string()))?;
        *slot = Some(ready.clone());
        Ok(ready)
    }

    fn over_http2(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme("http").authority(self.target.to_string()).path_and_query(path);
        *request.uri_mut() = uri.build().unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        request
    }

    /// Says whether a request that has no answer may be sent again: a stream that was refused, or was too late for a
    /// connection that goes away, was never looked at.
    fn not_answered(&self, error: &h2::Error) -> NotAnswered {
        let away = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let why = format!("{}: {error}", self.target);
        match error.is_remote() && (away || refused) {
            true => NotAnswered::NotSent(why),
            false => NotAnswered::Broken(why),
        }
    }
}

/// Reads an answer to its end.
async fn whole(answer: h2::client::ResponseFuture) -> Result<Response<Bytes>, h2::Error> {
    let (mut head, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend_from_slice(&part);
    }
    head.headers.extend(body.trailers().await?.unwrap_or_default());
    Ok(Response::from_parts(head, Bytes::from(bytes)))
}

impl Carrier for Http2 {
    fn carry(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, NotAnswered>> {
        Box::pin(self.send(request))
    }
}

// === impl Grpc ===

impl Carrier for Grpc {
    /// Carries the body as the only element of the only input, and brings that of the only output back.
    fn carry(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, NotAnswered>> {
        Box::pin(async move {
            let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
            let answer = self.0.send(call(request, &id)).await?;
            let (mut head, body) = answer.into_parts();
            let said = answered(&head.headers, body, &id);
            // A call that failed is no answer, whatever HTTP says of it.
            let body = said.unwrap_or_else(|why| {
                head.status = hyper::StatusCode::BAD_GATEWAY;
                Bytes::from(why)
            });
            Ok(Response::from_parts(head, body))
        })
    }
}

/// Makes a call of a request: its path gives way to the method's, its headers stay.
pub(crate) fn call(request: Request<Bytes>, id: &str) -> Request<Bytes> {
    let (mut head, body) = request.into_parts();
    head.uri = Uri::from_static(MODEL_INFER);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers.insert(TE, HeaderValue::from_static("trailers"));
    let input = InferInputTensor {
        name: "text".to_owned(),
        datatype: "BYTES".to_owned(),
        shape: vec![1],
        contents: Some(InferTensorContents { bytes_contents: vec![body], ..Default::default() }),
        ..Default::default()
    };
    let message = ModelInferRequest {
        model_name: ENDPOINT.to_owned(),
        id: id.to_owned(),
        inputs: vec![input],
        ..Default::default()
    };
    Request::from_parts(head, framed(&message.encode_to_vec()))
}

/// Reads the answer to a call: the bytes of the only output.
fn answered(headers: &HeaderMap, body: Bytes, id: &str) -> Result<Bytes, String> {
    let word = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if word(GRPC_STATUS) != "0" {
        return Err(format!("grpc-status `{}`: {}", word(GRPC_STATUS), word(GRPC_MESSAGE)));
    }
    let message = unframed(body).and_then(|message| ModelInferResponse::decode(message).ok());
    let message = message.ok_or("no message of the Open Inference Protocol")?;
    if message.id != id {
        return Err(format!("the answer to `{id}` carries the id `{}`", message.id));
    }
    let output =
        message.outputs.into_iter().next().and_then(|output| output.contents?.bytes_contents.into_iter().next());
    output.ok_or_else(|| "an answer without an output".to_owned())
}

/// Answers a call as the echo model does: with the id and the bytes that were asked. Nothing when it is no call.
pub(crate) fn echo_of(call: Bytes) -> Option<(Bytes, Bytes)> {
    let asked = ModelInferRequest::decode(unframed(call)?).ok()?;
    let text = asked.inputs.into_iter().next()?.contents?.bytes_contents.into_iter().next()?;
    let contents = InferTensorContents { bytes_contents: vec![text.clone()], ..Default::default() };
    let output = InferOutputTensor {
        name: "text".to_owned(),
        datatype: "BYTES".to_owned(),
        shape: vec![1],
        contents: Some(contents),
        ..Default::default()
    };
    let said =
        ModelInferResponse { model_name: asked.model_name, id: asked.id, outputs: vec![output], ..Default::default() };
    Some((text, framed(&said.encode_to_vec())))
}

/// Puts gRPC's five bytes before a message: not compressed, and its length.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    Bytes::from([&[0][..], &length.to_be_bytes(), message].concat())
}

/// Takes the only message out of a body.
fn unframed(mut body: Bytes) -> Option<Bytes> {
    let packed = body.try_get_u8().ok()?;
    let length = body.try_get_u32().ok()? as usize;
    (packed == 0 && body.len() == length).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(word: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static(word))])
    }

    #[test]
    fn a_call_is_echoed_with_its_id_and_an_answer_of_another_is_none() {
        let asked = call(Request::new(Bytes::from("request 7")), "run-7");
        assert_eq!(asked.uri().path(), MODEL_INFER);
        let (text, said) = echo_of(asked.into_body()).expect("it is a call");
        assert_eq!(text, "request 7");
        assert_eq!(answered(&status("0"), said.clone(), "run-7"), Ok(text));
        for (headers, body, id, what) in [
            (status("0"), said.clone(), "run-8", "the answer of another call"),
            (status("14"), said.clone(), "run-7", "a status that is not OK"),
            (HeaderMap::new(), said.clone(), "run-7", "no status"),
            (status("0"), said.slice(..said.len() - 1), "run-7", "half a message"),
            (status("0"), Bytes::new(), "run-7", "no message"),
        ] {
            assert!(answered(&headers, body, id).is_err(), "{what}");
        }
    }
}
