"""Every description of an API that Berth serves is OpenAPI to a reader that is not ours."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from berth import Client
from conftest import Dev


def read(uri: str, **headers: str) -> Any:
    answer = httpx.get(uri, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_api_is_described(dev: Dev) -> None:
    document = read(f"http://{dev.api}/openapi.json")
    assert document["openapi"] == "3.1.0" and len(document["paths"]) > 30
    validate(document)


def test_an_endpoint_is_described_by_a_coordinator_and_by_its_model(dev: Dev, client: Client, digits: str) -> None:
    general = read(f"http://{dev.api}/endpoints/{digits}/swagger.json")
    validate(general)
    endpoint = client.online_endpoints.get(digits)
    assert endpoint.scoring_uri == general["servers"][0]["url"] + "/score"
    assert endpoint.openapi_uri == general["servers"][0]["url"] + "/swagger.json"
    key = client.online_endpoints.get_keys(digits).primary_key
    for query, version in [("", "3.1.0"), ("?version=3", "3.0.3")]:
        own = read(endpoint.openapi_uri + query, authorization=f"Bearer {key}")
        assert own["openapi"] == version
        validate(own)
    assert httpx.get(endpoint.openapi_uri, timeout=30).status_code == 401


def test_the_reader_finds_what_is_wrong(dev: Dev) -> None:
    document = read(f"http://{dev.api}/openapi.json")
    next(iter(document["paths"].values())).update(get={"responses": "none"})
    with pytest.raises(OpenAPIValidationError):
        validate(document)
