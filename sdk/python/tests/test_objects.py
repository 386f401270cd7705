"""azure-ai-ml's loaders: an object that was read from a file is applied as the file is."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from berth import BerthError, ManagedOnlineDeployment, Model, load_online_deployment, load_online_endpoint
from berth._load import load_deployment, load_endpoint, load_file
from berth.entities import to_mapping

FILES = Path(__file__).parent / "files"
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ENDPOINTS = [FILES / "endpoint.yml", EXAMPLES / "digits" / "endpoint.yml"]
DEPLOYMENTS = [
    *(FILES / name for name in ("blue.yml", "share.yml", "slices.yml")),
    *(EXAMPLES / "digits" / f"{color}-deployment.yml" for color in ("blue", "green")),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", ENDPOINTS, ids=str)
def test_an_endpoint_is_what_its_file_says(path: Path) -> None:
    (said,) = load_file(path).endpoints
    read, _ = load_endpoint(to_mapping(load_online_endpoint(path)))
    assert (read.name, read.spec, read.project, read.traffic, read.mirror) == (
        said.name,
        said.spec,
        said.project,
        said.traffic,
        said.mirror,
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", DEPLOYMENTS, ids=str)
def test_a_deployment_is_what_its_file_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = load_file(path).deployments
    monkeypatch.chdir(tmp_path)
    found = load_online_deployment(path)
    # From where the program runs, which is not where the file lies.
    read, _ = load_deployment(to_mapping(found), Path("."))
    assert (read.endpoint, read.name, read.spec) == (said.endpoint, said.name, said.spec)
    for one, other in ((read.model, said.model), (read.code, said.code)):
        assert (one is None) == (other is None)
        assert one is None or other is None or os.path.samefile(one, other)
    with path.open() as file:
        assert load_online_deployment(file) == found
    text = io.StringIO(path.read_text())
    assert load_online_deployment(text, relative_origin=str(path)) == found


def test_fields_are_typed_and_overridden(tmp_path: Path) -> None:
    (tmp_path / "model-1").write_text("one")
    (tmp_path / "model-2").write_text("two")
    (tmp_path / "blue.yml").write_text(
        "name: Blue\nendpoint_name: fraud\nmodel: {path: model-1, version: 1.10}\ncommand: [serve]\n"
        "resources: {cpu: 1, memory: 1GiB}\ninstance_count: 2\nreserve: no\n"
        "request_settings: {request_timeout_ms: 500}\n"
    )
    override = [{"instance_count": 3}, {"model.path": "model-2", "request_settings.max_concurrent_requests_per_instance": 7}]
    blue = load_online_deployment(tmp_path / "blue.yml", params_override=override)
    assert blue.name == "blue" and blue.instance_count == 3 and blue.reserve is False
    assert blue.model == Model(path=str(tmp_path / "model-2"), version="1.10")
    assert blue.request_settings is not None
    assert blue.request_settings.request_timeout_ms == 500
    assert blue.request_settings.max_concurrent_requests_per_instance == 7
    assert isinstance(blue, ManagedOnlineDeployment)
    with pytest.raises(BerthError, match="cannot be overridden"):
        load_online_deployment(tmp_path / "blue.yml", params_override=[{"name.first": "x"}])

    endpoint = io.StringIO("name: fraud\ntraffic: {blue: 100}\nalerts: [error rate > 1 % for 5m]\n")
    fraud = load_online_endpoint(endpoint, params_override=[{"traffic.blue": 90, "traffic.green": 10}])
    assert fraud.traffic == {"blue": 90, "green": 10} and fraud.alerts == ["error rate > 1 % for 5m"]


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("name: fraud\ntrafic: {}\n", "E_UNKNOWN_FIELD", "trafic"),
        ("name: fraud\ntraffic: {blue: 50}\n", "E_TRAFFIC", "traffic"),
        ("name: fraud\n---\nname: other\n", "E_YAML", ""),
        ("- fraud\n", "E_YAML", ""),
    ],
)
def test_what_apply_would_refuse_is_refused_here(text: str, code: str, field: str) -> None:
    with pytest.raises(BerthError) as refused:
        load_online_endpoint(io.BytesIO(text.encode()))
    assert refused.value.code == code
    assert field in str(refused.value.problems)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BerthError) as refused:
        load_online_endpoint(tmp_path / "none.yml")
    assert refused.value.code == "E_PATH_MISSING" and "none.yml" in refused.value.what
