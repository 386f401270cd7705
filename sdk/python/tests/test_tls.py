"""TLS towards an ingress: who is believed, by both drivers."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from berth import BerthError, Client
from berth._async import Driver as AsyncDriver
from berth._call import believing
from berth._ops import connect
from berth._steps import Http, NotSent, Reply, Step
from berth._sync import Driver

WITHIN_S = 30.0


# Certificates for the own host that signed themselves, good for a hundred years, and the key of one: made with
# `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=node
# -addext subjectAltName=IP:127.0.0.1,DNS:localhost`.
FILES = Path(__file__).parent / "tls"


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers a body with itself."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Node(http.server.ThreadingHTTPServer):
    """A server that callers may hang up on."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture
def node() -> Iterator[tuple[int, Path]]:
    """A node that speaks TLS: its port, and the certificate to believe."""
    cert = FILES / "node.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, FILES / "node.key")
    server = Node(("127.0.0.1", 0), Echo)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1], cert
    server.shutdown()
    server.server_close()
    thread.join(WITHIN_S)


def asked(step: Http) -> Generator[Step, Any, Reply]:
    reply: Reply = yield step
    return reply


def ask(url: str, ca: Optional[Path]) -> Reply:
    driver = Driver(believing(ca))
    try:
        return driver.run(asked(Http(url, {}, b"digits", WITHIN_S)))
    finally:
        driver.close()


def ask_without_blocking(url: str, ca: Optional[Path]) -> Reply:
    async def run() -> Reply:
        driver = AsyncDriver(believing(ca))
        try:
            return await driver.run(asked(Http(url, {}, b"digits", WITHIN_S)))
        finally:
            await driver.close()

    return asyncio.run(run())


def unhurried(way: Callable[[str, Optional[Path]], Reply], url: str, ca: Optional[Path]) -> Reply:
    """Connects again where a busy machine took longer than a connection may; another refusal is raised."""
    for turn in range(10):
        try:
            return way(url, ca)
        except NotSent as error:
            if turn == 9 or "CERTIFICATE" in str(error):
                raise
    raise AssertionError


@pytest.mark.parametrize("way", [ask, ask_without_blocking])
def test_a_node_is_called_by_who_believes_its_certificate(
    way: Callable[[str, Optional[Path]], Reply], node: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    port, cert = node
    for host in ("127.0.0.1", "localhost"):
        reply = unhurried(way, f"https://{host}:{port}/e/digits/score", cert)
        assert (reply.status, reply.body) == (200, b"digits")
    for nobody in (FILES / "other.pem", None):
        with pytest.raises(NotSent) as refused:
            unhurried(way, f"https://127.0.0.1:{port}/e/digits/score", nobody)
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value)


def test_a_file_without_certificates_is_refused_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (tmp_path / "absent.pem", empty):
        with pytest.raises(BerthError) as refused:
            Client("127.0.0.1:7400", ingress_ca=path)
        assert refused.value.code == "E_CERTIFICATE"


def test_nodes_are_called_by_https_where_their_certificates_are_named() -> None:
    assert connect("127.0.0.1:7400", 1.0).scheme == "http"
    assert connect("127.0.0.1:7400", 1.0, "ca.pem").scheme == "https"
