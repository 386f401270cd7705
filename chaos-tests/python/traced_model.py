"""A model that reports its own span with OpenTelemetry's SDK, below whatever context it is told of."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider(resource=Resource.create({"service.name": "model"}))
# A span is sent before the request is answered, so that nothing is left to be waited for.
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(insecure=True)))
tracer = provider.get_tracer("traced_model")


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        told = {name.lower(): value for name, value in self.headers.items()}
        with tracer.start_as_current_span("score", context=extract(told), kind=trace.SpanKind.SERVER):
            pass
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Model).serve_forever()
