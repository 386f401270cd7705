"""An HTTP server that answers with the sum of what it is sent. It needs nothing but Python."""

import http.server
import json
import os


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        # Probes ask here: it is ready as soon as it listens.
        self.answer(200, "ok")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            self.answer(200, {"sum": sum(json.loads(body)["data"])})
        except (KeyError, TypeError, ValueError) as error:
            self.answer(400, {"error": str(error)})

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
