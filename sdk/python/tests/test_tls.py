"""TLS towards an ingress: who is believed, by both drivers."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from concurrent import futures
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Optional

import grpc
import pytest

from berth import AsyncClient, BerthError, Client
from berth._async import Driver as AsyncDriver
from berth._call import believing
from berth._ops import connect
from berth._steps import Http, NotSent, Reply, Step
from berth._sync import Driver
from berth.api.v1 import api_pb2 as api

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


@pytest.fixture(params=[False, True], ids=["server", "mutual"])
def coordinator(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """A coordinator that speaks TLS, and whether it asks for a certificate."""
    key, cert = (FILES / "node.key").read_bytes(), (FILES / "node.pem").read_bytes()
    info = grpc.unary_unary_rpc_method_handler(
        lambda _request, _context: api.ClusterInfo(cluster_id="c-1"),
        request_deserializer=api.ClusterInfoRequest.FromString,
        response_serializer=api.ClusterInfo.SerializeToString,
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("berth.api.v1.Cluster", {"Info": info}),))
    secured = grpc.ssl_server_credentials([(key, cert)], cert if request.param else None, request.param)
    port = server.add_secure_port("127.0.0.1:0", secured)
    server.start()
    yield f"https://127.0.0.1:{port}", request.param
    server.stop(None)


def info(address: str, **files: Any) -> str:
    with Client(address, timeout=WITHIN_S, **files) as client:
        return client.cluster.info().cluster_id


def info_without_blocking(address: str, **files: Any) -> str:
    async def run() -> str:
        async with AsyncClient(address, timeout=WITHIN_S, **files) as client:
            return (await client.cluster.info()).cluster_id

    return asyncio.run(run())


@pytest.mark.parametrize("way", [info, info_without_blocking])
def test_a_coordinator_is_called_by_who_believes_its_certificate(
    way: Callable[..., str], coordinator: tuple[str, bool]
) -> None:
    address, mutual = coordinator
    own = {"client_cert": FILES / "node.pem", "client_key": FILES / "node.key"} if mutual else {}
    assert way(address, ca=FILES / "node.pem", **own) == "c-1"
    with pytest.raises(BerthError) as refused:
        way(address, ca=FILES / "other.pem", **own)
    assert refused.value.code == "E_TLS" and "not believed" in refused.value.what


@pytest.fixture
def strict() -> Iterator[str]:
    """A listener that says why it refuses who shows no certificate, as a coordinator's does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "node.pem", FILES / "node.key")
    context.load_verify_locations(FILES / "node.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    server = Node(("127.0.0.1", 0), Echo)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(WITHIN_S)


@pytest.mark.parametrize("way", [info, info_without_blocking])
def test_who_shows_no_certificate_where_one_is_wanted_is_told_what_to_show(
    way: Callable[..., str], strict: str
) -> None:
    with pytest.raises(BerthError) as refused:
        way(strict, ca=FILES / "node.pem")
    assert refused.value.code == "E_TLS", refused.value
    assert strict.removeprefix("https://") in refused.value.what, refused.value
    assert "`client_cert` and `client_key`" in refused.value.try_, refused.value


@pytest.mark.parametrize("coordinator", [True], indirect=True, ids=["mutual"])
def test_who_is_hung_up_on_without_a_word_is_told_what_may_be_missing(coordinator: tuple[str, bool]) -> None:
    address, _ = coordinator
    with Client(address, timeout=10.0, ca=FILES / "node.pem") as client, pytest.raises(BerthError) as refused:
        client.cluster.info()
    assert refused.value.code == "E_UNAVAILABLE", "one that is about to end hangs up as well"
    assert "`client_cert` and `client_key`" in refused.value.try_, refused.value


def test_what_is_missing_for_tls_is_named(tmp_path: Path) -> None:
    good = FILES / "node.pem"
    for address, files, code, part in [
        ("https://c1:7400", {}, "E_TLS", "`ca`"),
        ("c1:7400", {"ca": good}, "E_INVALID", "https://"),
        ("https://c1:7400", {"ca": tmp_path / "absent.pem"}, "E_CERTIFICATE", "PEM"),
        ("https://c1:7400", {"ca": good, "client_cert": good}, "E_INVALID", "client_key"),
        ("https://c1:7400", {"ca": good, "client_cert": good, "client_key": good}, "E_CERTIFICATE", "key"),
    ]:
        with pytest.raises(BerthError) as refused:
            Client(address, **files)  # type: ignore[arg-type]
        assert (refused.value.code, part in refused.value.try_) == (code, True), str(refused.value)
