"""A model that speaks OpenAI's API and KServe's v1, on nothing but the standard library."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Model(BaseHTTPRequestHandler):
    """Says the words of the last message back, one token a word."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = json.loads(body)
        path = urlsplit(self.path).path.removeprefix("/openai")
        if path == "/v1/chat/completions":
            words = asked["messages"][-1]["content"].split()
            self.stream(asked, words) if asked.get("stream") else self.chat(asked, words)
        elif path == "/v1/embeddings":
            texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
            data = [{"object": "embedding", "index": n, "embedding": [float(len(t))]} for n, t in enumerate(texts)]
            usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
            self.answer({"object": "list", "model": asked["model"], "data": data, "usage": usage})
        elif path.endswith(":predict"):
            self.answer({"predictions": [sum(row) for row in asked["instances"]]})
        else:
            self.answer({"error": {"message": f"no route {path}"}}, 404)

    def chat(self, asked, words):
        message = {"role": "assistant", "content": " ".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(words), "completion_tokens": len(words), "total_tokens": 2 * len(words)}
        kind = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
        self.answer({**kind, "choices": [choice], "usage": usage})

    def stream(self, asked, words):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        kind = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        for word in words:
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            self.chunk("data: " + json.dumps({**kind, "choices": [choice]}) + "\n\n")
        self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def chunk(self, text):
        bytes_ = text.encode()
        self.wfile.write(f"{len(bytes_):x}\r\n".encode() + bytes_ + b"\r\n")
        self.wfile.flush()

    def answer(self, value, status=200):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Model).serve_forever()
