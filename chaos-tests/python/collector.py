"""A collector of OpenTelemetry's own messages: says the port it took, then a line of JSON for every span and number."""

import json
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

one_at_a_time = threading.Lock()


def say(**line):
    with one_at_a_time:
        print(json.dumps(line), flush=True)


def read(attributes):
    """Reads attributes; a value that is no plain one is a fault worth a loud end."""
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in attributes}


class Traces(trace_grpc.TraceServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_spans:
            service = read(resource.resource.attributes)
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                say(
                    span=span.name,
                    service=service["service.name"],
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    begin=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes=read(span.attributes),
                )
        return trace_service.ExportTraceServiceResponse()


class Metrics(metrics_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_metrics:
            service = read(resource.resource.attributes)
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points:
                    if kind == "histogram":
                        if len(point.explicit_bounds) + 1 != len(point.bucket_counts):
                            raise ValueError(f"{metric.name} has {point.explicit_bounds} and {point.bucket_counts}")
                        said = {"value": point.count, "sum": point.sum, "buckets": list(point.bucket_counts)}
                    else:
                        said = {"value": getattr(point, point.WhichOneof("value"))}
                    say(
                        metric=metric.name,
                        kind=kind,
                        service=service["service.name"],
                        instance=service["service.instance.id"],
                        attributes=read(point.attributes),
                        **said,
                    )
        return metrics_service.ExportMetricsServiceResponse()


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
trace_grpc.add_TraceServiceServicer_to_server(Traces(), server)
metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
say(port=port)
# Who started this one closes its input, or is gone.
sys.stdin.read()
server.stop(None)
