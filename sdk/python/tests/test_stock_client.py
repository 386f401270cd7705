"""A client that a stock generator makes of the coordinator's OpenAPI document, at work on a live cluster."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Dev

PACKAGE = "stock_berth"
CONFIG = {
    "package_name_override": PACKAGE,
    # How the code looks is of no interest here.
    "post_hooks": [],
    # It knows no streams of JSON lines, and gives their bytes instead.
    "content_type_overrides": {"application/x-ndjson": "application/octet-stream"},
}


@pytest.fixture(scope="module")
def made(dev: Dev, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The generated package, importable."""
    folder = tmp_path_factory.mktemp("stock")
    document, config = folder / "openapi.json", folder / "config.json"
    document.write_text(httpx.get(f"http://{dev.api}/openapi.json", timeout=30).text)
    config.write_text(json.dumps(CONFIG))
    out = folder / PACKAGE
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document)]
    command += ["--config", str(config), "--meta", "none", "--fail-on-warning", "--output-path", str(out)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert ended.returncode == 0, ended.stdout.decode()
    sys.path.insert(0, str(folder))
    try:
        yield out
    finally:
        sys.path.remove(str(folder))


class Stock:
    """The generated client, by the names of the document."""

    def __init__(self, dev: Dev) -> None:
        self.client = importlib.import_module(PACKAGE).Client(base_url=f"http://{dev.api}", timeout=30)

    def answer(self, noun: str, verb: str, **given: Any) -> Any:
        """Makes a call; returns what came and what it parsed of it."""
        module = importlib.import_module(f"{PACKAGE}.api.{noun}.{noun}_{verb}")
        return module.sync_detailed(client=self.client, **given)

    def call(self, noun: str, verb: str, **given: Any) -> Any:
        """Makes a call; returns an answer or the error, parsed."""
        return self.answer(noun, verb, **given).parsed

    def model(self, name: str, /, **fields: Any) -> Any:
        """Builds a message from plain values."""
        return getattr(importlib.import_module(f"{PACKAGE}.models"), name).from_dict(fields)


@pytest.fixture(scope="module")
def stock(dev: Dev, made: Path) -> Stock:
    return Stock(dev)


def test_an_endpoint_is_made_read_split_and_taken_away(stock: Stock) -> None:
    def names() -> list[str]:
        return [endpoint.name for endpoint in stock.call("endpoints", "list").endpoints or []]

    assert "stock" not in names()
    spec = {"auth_mode": "AUTH_MODE_KEY", "max_body_bytes": 1 << 20, "tags": {"team": "vision"}}
    asked = stock.model("BerthApiV1PutEndpointRequest", name="stock", spec=spec, mode="PUT_MODE_CREATE")
    created = stock.call("endpoints", "put", body=asked)
    assert type(created).__name__ == "BerthApiV1Endpoint", created
    assert created.name == "stock" and created.revision > 0
    assert "stock" in names()
    read = stock.call("endpoints", "get", name="stock")
    assert read.spec.tags["team"] == "vision" and read.provisioning_state == "Succeeded"
    assert read.scoring_uri.endswith("/e/stock/score")
    again = stock.call("endpoints", "put", body=asked)
    assert type(again).__name__ == "BerthApiV1ErrorDetail" and again.code == "E_ALREADY_EXISTS" and again.try_
    split = stock.model("BerthApiV1SetTrafficRequest", endpoint="stock", split={"percent": {"blue": 100}})
    refused = stock.call("endpoints", "set_traffic", body=split)
    assert refused.code == "E_TRAFFIC" and refused.problems[0].field == "traffic.blue"
    gone = stock.call("endpoints", "delete", body=stock.model("BerthApiV1DeleteEndpointRequest", name="stock"))
    assert gone.revision > created.revision and "stock" not in names()
    assert stock.call("endpoints", "get", name="stock").code == "E_ENDPOINT_NOT_FOUND"


def test_a_deployment_is_scaled_by_what_was_generated(stock: Stock, digits: str) -> None:
    read = stock.call("deployments", "get", endpoint=digits, name="green")
    assert read.endpoint == digits and read.desired >= 1
    asked = stock.model(
        "BerthApiV1ScaleDeploymentRequest", endpoint=digits, name="green", instance_count=read.desired, if_revision=1
    )
    assert stock.call("deployments", "scale", body=asked).code == "E_REVISION"
    planned = stock.model("BerthApiV1PlanRequest", lose=[stock.call("nodes", "list").nodes[0].node])
    assert stock.call("plans", "plan", body=planned).check_index > 0


@pytest.mark.parametrize(
    ("noun", "verb"),
    [
        ("alerts", "list"),
        ("cluster", "check"),
        ("cluster", "get_settings"),
        ("cluster", "info"),
        ("cluster", "members"),
        ("deployments", "list"),
        ("nodes", "list"),
        ("quotas", "show"),
        ("replicas", "list"),
        ("replicas", "list_slots"),
    ],
)
def test_what_can_be_read_is_read(stock: Stock, digits: str, noun: str, verb: str) -> None:
    answer = stock.answer(noun, verb)
    assert type(answer.parsed).__name__ != "BerthApiV1ErrorDetail", answer
    # Whatever the document does not name, or names otherwise, is lost on the way through the generated classes.
    assert answer.parsed.to_dict() == json.loads(answer.content)
