//! The exporter against a collector that speaks OTLP over gRPC on a port of its own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use berth_core::traffic::trace::{Entered, TraceContext};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    trace::v1::Span as Wire,
};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::*;
use crate::mesh::AttemptSpan;

#[derive(Clone)]
struct Collector {
    spans: Arc<Mutex<Vec<Wire>>>,
    metrics: Arc<Mutex<Vec<String>>>,
    taken: watch::Sender<u64>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let spans = resources.into_iter().flat_map(|it| it.scope_spans).flat_map(|it| it.spans);
        self.spans.lock().unwrap().extend(spans);
        self.taken.send_modify(|count| *count += 1);
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics;
        let metrics = resources.into_iter().flat_map(|it| it.scope_metrics).flat_map(|it| it.metrics);
        self.metrics.lock().unwrap().extend(metrics.map(|metric| metric.name));
        self.taken.send_modify(|count| *count += 1);
        Ok(Response::new(Default::default()))
    }
}

fn span(status: u16) -> Span {
    let context = TraceContext { trace_id: 7, span_id: 9, sampled: true };
    let attempt = AttemptSpan {
        replica: "aa".into(),
        after: Duration::from_millis(1),
        took: Duration::from_millis(2),
        queued_ms: 1,
        status: Some(status),
        failure: String::new(),
    };
    Span {
        entered: Entered { context, parent: Some(8) },
        begun: UNIX_EPOCH + Duration::from_secs(5),
        took: Duration::from_millis(4),
        request_id: "r".into(),
        method: "POST".into(),
        path: "/score".into(),
        protocol: "HTTP/1.1",
        endpoint: "fraud".into(),
        deployment: "blue".into(),
        status,
        model_status: None,
        grpc_status: None,
        refusal: "",
        end: "whole",
        request_bytes: 1,
        response_bytes: 2,
        attempts: vec![attempt],
    }
}

#[tokio::test]
async fn a_collector_gets_spans_and_numbers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let collector = Collector { spans: Arc::default(), metrics: Arc::default(), taken: watch::Sender::new(0) };
    let mut taken = collector.taken.subscribe();
    let serving = Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(serving);

    let (send, receive) = mpsc::channel(SPANS_WAITING_MAX);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let speaker = Speaker { service: "berth-node", instance: "n1".into() };
    let text = || "# TYPE berth_level gauge\nberth_level 1\n".to_owned();
    let exporter = start(&endpoint, speaker, text, receive);
    send.send(span(200)).await.unwrap();
    send.send(span(503)).await.unwrap();
    let both = || !collector.spans.lock().unwrap().is_empty() && !collector.metrics.lock().unwrap().is_empty();
    let arrived = async {
        while !both() {
            taken.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrived).await.expect("both arrive");
    exporter.abort();
    server.abort();

    assert_eq!(collector.metrics.lock().unwrap()[0], "berth_level");
    let spans = collector.spans.lock().unwrap();
    let [good, asked, bad, _] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((good.name.as_str(), good.trace_id.len(), good.span_id.len()), ("POST fraud", 16, 8));
    assert_eq!((good.trace_id[15], good.span_id[7], good.parent_span_id[7]), (7, 9, 8));
    assert_eq!((&asked.trace_id, &asked.parent_span_id), (&good.trace_id, &good.span_id));
    assert_eq!(good.end_time_unix_nano - good.start_time_unix_nano, 4_000_000);
    assert_eq!(asked.start_time_unix_nano - good.start_time_unix_nano, 1_000_000);
    assert!(good.status.is_none() && bad.status.is_some(), "{spans:?}");
    assert!(good.attributes.contains(&attribute("berth.deployment", "blue")));
}
