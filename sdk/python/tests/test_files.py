"""Files are read as the program reads them: `files/expected.json` is what its own reader makes of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berth import BerthError, ManagedOnlineDeployment, ManagedOnlineEndpoint, Model
from berth._archive import pack
from berth._load import load_deployment, load_endpoint, load_file
from berth.entities import to_mapping
from berth.store.v1 import model_pb2 as store

FILES = Path(__file__).parent / "files"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())


def field(located: str) -> str:
    place, _, path = located.partition(" ")
    parts = place.split(":")
    line = parts[-2] if len(parts) >= 3 and parts[-2].isdigit() else "0"
    return f"{line} {path}".rstrip()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_file_means_what_the_program_reads(name: str) -> None:
    expected = EXPECTED[name]
    if "refused" in expected:
        with pytest.raises(BerthError) as refused:
            load_file(FILES / name)
        assert sorted(field(it.field) for it in refused.value.problems) == expected["refused"]
        assert refused.value.code == expected["code"]
        return
    loaded = load_file(FILES / name)
    endpoints = {it["endpoint"]: it for it in expected["documents"] if "deployment" not in it}
    deployments = {it["deployment"]: it for it in expected["documents"] if "deployment" in it}
    assert {it.name for it in loaded.endpoints} == set(endpoints)
    assert {it.name for it in loaded.deployments} == set(deployments)
    for endpoint in loaded.endpoints:
        want = endpoints[endpoint.name]
        assert endpoint.spec == store.EndpointSpec.FromString(bytes.fromhex(want["spec"]))
        assert (endpoint.project or None, endpoint.traffic, endpoint.mirror) == (
            want["project"],
            want["traffic"],
            want["mirror"],
        )
    for deployment in loaded.deployments:
        want = deployments[deployment.name]
        if deployment.model is not None:
            deployment.spec.model.asset.CopyFrom(pack(deployment.model).asset)
        if deployment.code is not None:
            deployment.spec.code.asset.CopyFrom(pack(deployment.code).asset)
        assert deployment.endpoint == want["endpoint"]
        assert deployment.spec == store.DeploymentSpec.FromString(bytes.fromhex(want["spec"]))
    assert sorted(field(it.field) for it in loaded.warnings) == sorted(expected["warned"])


def test_an_object_means_what_its_file_would() -> None:
    from_file = load_file(FILES / "share.yml").deployments[0]
    entity = ManagedOnlineDeployment(
        name="share",
        endpoint_name="chat",
        model=Model(path=FILES / "green" / "model.onnx"),
        resources={"cpu": 2, "gpu_memory": "H100:6GiB"},
    )
    from_object, warnings = load_deployment(to_mapping(entity), Path("."))
    assert from_object.spec == from_file.spec and not warnings
    endpoint, _ = load_endpoint(to_mapping(ManagedOnlineEndpoint("chat", auth_mode="none")))
    assert endpoint.spec == load_file(FILES / "several.yml").endpoints[0].spec


def test_what_is_silent_stays_as_it_is() -> None:
    base = load_file(FILES / "share.yml").deployments[0].spec
    changed, _ = load_deployment({"name": "share", "endpoint_name": "chat", "instance_count": 7}, Path("."), base)
    want = store.DeploymentSpec()
    want.CopyFrom(base)
    want.instance_count = 7
    assert changed.spec == want


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: &a [*a]", "? [x]\n: 1", "- a\n- b", "", "\t", "a: {b: " * 100 + "1" + "}" * 100, "a: !!python/object:os.x {}"],
)  # fmt: skip
def test_text_that_is_no_description_is_refused_with_problems(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yml"
    path.write_text(text)
    with pytest.raises(BerthError) as refused:
        load_file(path)
    assert refused.value.problems


def test_merged_mappings_lie_under_what_is_written_out(tmp_path: Path) -> None:
    path = tmp_path / "file.yml"
    path.write_text("name: e-1\ntags: {<<: {a: under, b: under}, a: over}\n")
    assert dict(load_file(path).endpoints[0].spec.tags) == {"a": "over", "b": "under"}


def test_packing_follows_links_and_leaves_caches_out(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "m", tmp_path / "two" / "m"
    for folder in (one, two):
        (folder / "b").mkdir(parents=True)
        (folder / "b" / "c.txt").write_text("c")
    (one / "a.txt").write_text("a")
    (tmp_path / "elsewhere").write_text("a")
    (two / "a.txt").symlink_to(tmp_path / "elsewhere")
    (two / "__pycache__").mkdir()
    (two / "__pycache__" / "x.pyc").write_text("x")
    (two / "blue.yml").write_text("name: blue\nendpoint_name: fraud\n")
    assert pack(one).asset == pack(two).asset
    (two / "again").symlink_to(two)
    with pytest.raises(BerthError) as refused:
        pack(two)
    assert refused.value.code == "E_INVALID"
    with pytest.raises(BerthError) as missing:
        pack(tmp_path / "gone")
    assert missing.value.code == "E_PATH_MISSING"
