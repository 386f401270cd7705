"""Azure ML's files as Berth's requests: the rules of `berth apply`, held to the same files as the program's own reader.

Defaults and instance sizes are not written here: `_tables.json` is made from the program's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from . import _amounts, _conda
from ._amounts import Wrong
from ._tree import Field, Fields, Findings, Node, clip, nearest, of_python, parse
from .errors import Problem, error_of
from .store.v1 import model_pb2 as store

_TABLES: Any = json.loads(Path(__file__).with_name("_tables.json").read_text())
_COUNT_MAX = int(_TABLES["instance_count_max"])
_TEXT_BYTES_MAX = 1 << 20
_U32_MAX = 2**32 - 1

_NO_AUTOSCALING = "autoscaling is not done yet"
_DEPLOYMENT_FIELDS = {
    "endpoint_name", "model", "code_configuration", "environment", "instance_type", "instance_count",
    "replicas", "request_settings", "command", "resources", "environment_variables", "liveness_probe", "readiness_probe",
    "constraints", "reserve", "disconnect",
}  # fmt: skip
_ENDPOINT_SCHEMAS = {"managedonlineendpoint", "kubernetesonlineendpoint"}
_DEPLOYMENT_SCHEMAS = {"managedonlinedeployment", "kubernetesonlinedeployment"}
_OTHER_SCHEMAS = {
    "batchendpoint", "batchdeployment", "modelbatchdeployment", "pipelinecomponentbatchdeployment",
    "serverlessendpoint", "amlcompute", "model", "environment", "data", "commandjob", "pipelinejob",
}  # fmt: skip


@dataclass
class EndpointFile:
    """What an endpoint file says."""

    name: str
    spec: store.EndpointSpec
    project: str = ""
    traffic: Optional[dict[str, int]] = None
    mirror: Optional[dict[str, int]] = None


@dataclass
class DeploymentFile:
    """What a deployment file says; `model` and `code` are to be uploaded and have no digest yet."""

    endpoint: str
    name: str
    spec: store.DeploymentSpec
    model: Optional[Path] = None
    code: Optional[Path] = None


@dataclass
class Loaded:
    """What was read, and what of it is not done."""

    endpoints: list[EndpointFile] = field(default_factory=list)
    deployments: list[DeploymentFile] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def load_file(path: Union[str, os.PathLike[str]]) -> Loaded:
    """Loads every document of a file."""
    path = Path(path)
    try:
        text = _read_bounded(path)
    except (OSError, UnicodeDecodeError) as error:
        raise error_of("E_PATH_MISSING", f"`{path}` cannot be read", str(error), "give the path of a YAML file") from None
    findings = Findings(str(path))
    documents = [node for node in parse(text, findings) if node.value is not None]
    if not documents and not findings.errors:
        findings.error("E_YAML", None, "", "holds no document")
    loaded = Loaded()
    for node in documents:
        root = Field("", node, findings)
        if not isinstance(node.value, dict):
            findings.error("E_YAML", node, "", f"expected a mapping, found {node.noun()}")
            continue
        kind = _kind(node.value, findings)
        if kind == "endpoint":
            endpoint = _endpoint(root, None)
            loaded.endpoints += [endpoint] if endpoint else []
        elif kind == "deployment":
            deployment = _deployment(root, path.parent, None)
            loaded.deployments += [deployment] if deployment else []
    loaded.warnings = findings.check()
    return loaded


def load_endpoint(
    value: Mapping[str, object], base: Optional[store.EndpointSpec] = None
) -> tuple[EndpointFile, list[Problem]]:
    """Reads an endpoint that is described by Python's own values; what they are silent about stays as in `base`."""
    findings = Findings("endpoint")
    found = _endpoint(Field("", of_python(value), findings), base)
    warnings = findings.check()
    assert found is not None
    return found, warnings


def load_deployment(
    value: Mapping[str, object], folder: Path, base: Optional[store.DeploymentSpec] = None
) -> tuple[DeploymentFile, list[Problem]]:
    """Reads a deployment that is described by Python's own values; relative paths start at `folder`."""
    findings = Findings("deployment")
    found = _deployment(Field("", of_python(value), findings), folder, base)
    warnings = findings.check()
    assert found is not None
    return found, warnings


def _kind(entries: dict[str, Node], findings: Findings) -> Optional[str]:
    schema = entries.get("$schema")
    if schema is not None and isinstance(schema.value, str):
        word = schema.value.rpartition("/")[2].split(".")[0]
        if word.lower() in _ENDPOINT_SCHEMAS:
            return "endpoint"
        if word.lower() in _DEPLOYMENT_SCHEMAS:
            return "deployment"
        if word.lower() in _OTHER_SCHEMAS:
            findings.error("E_INVALID", schema, "$schema", f"`{word}` is not served yet", "online endpoints and deployments are")
            return None
        near = nearest(word, ["managedOnlineEndpoint", "managedOnlineDeployment"])
        if near:
            findings.warn(schema, "$schema", f"unknown schema `{word}`", near)
    return "deployment" if _DEPLOYMENT_FIELDS & set(entries) else "endpoint"


# === endpoints ===


def _endpoint(root: Field, base: Optional[store.EndpointSpec]) -> Optional[EndpointFile]:
    fields = Fields(root)
    spec = store.EndpointSpec.FromString(bytes.fromhex(_TABLES["endpoint_spec"]))
    if base is not None:
        spec.CopyFrom(base)
    fields.take("$schema")
    name = _name(fields, "name", root)
    found = fields.take("description")
    if found:
        spec.description = found.text() or ""
    found = fields.take("tags")
    if found:
        _replace(spec.tags, found.text_map())
    project = fields.take("project")
    project_name = project.text() if project else None
    _auth(fields, spec)
    found = fields.take("max_body_mib")
    if found:
        spec.max_body_bytes = (found.number(1, 2_048) or 1) << 20
    found = fields.take("idempotent")
    if found:
        flag = found.flag()
        if flag is not None:
            spec.idempotent = flag
    found = fields.take("hedging")
    if found:
        _hedging(found, spec)
    found = fields.take("mirror_settings")
    if found:
        _mirror_settings(found, spec.mirror_rules)
    found = fields.take("alerts")
    if found:
        _alerts(found, spec)
    split = fields.take("traffic")
    traffic = _traffic(split, True) if split else None
    mirrors = fields.take("mirror_traffic")
    mirror = _traffic(mirrors, False) if mirrors else None
    _endpoint_unsupported(fields)
    fields.finish()
    return EndpointFile(name, spec, project_name or "", traffic, mirror) if name else None


def _mirror_settings(found: Field, rules: store.MirrorRules) -> None:
    """Reads how mirrors are judged; what is not said stays."""
    fields = Fields(found)
    for name in ("compare", "redact", "pinned"):
        one = fields.take(name)
        flag = one.flag() if one else None
        if flag is not None and name == "compare":
            rules.skip_compare = not flag
        elif flag is not None:
            setattr(rules, name, flag)
    for name in ("rtol", "atol"):
        one = fields.take(name)
        parts = _tolerance(one) if one else None
        if parts is not None:
            setattr(rules, f"{name}_ppb", parts)
    one = fields.take("ignore")
    if one:
        rules.ignore[:] = one.texts()
    fields.finish()


def _hedging(found: Field, spec: store.EndpointSpec) -> None:
    """Reads when a second replica is asked: a flag, or when and how often."""
    said = store.Hedging(percentile_permille=950, budget_percent=5)
    if spec.HasField("hedging"):
        said.CopyFrom(spec.hedging)
    if isinstance(found.node.value, str):
        flag = found.flag()
        if flag is True:
            spec.hedging.CopyFrom(said)
        elif flag is False:
            spec.ClearField("hedging")
        return
    fields = Fields(found)
    delay, percentile = fields.take("after_ms"), fields.take("percentile")
    if delay and percentile:
        percentile.refuse("a request is hedged after a time or after a percentile", "keep one of the two")
    after_ms = delay.number(0, 2**64 - 1) if delay else None
    permille = _permille(percentile) if percentile and after_ms is None else None
    if after_ms is not None:
        said.delay_ms = after_ms
    elif permille is not None:
        said.percentile_permille = permille
    budget = fields.take("budget_percent")
    percent = budget.number(1, 20) if budget else None
    if percent is not None:
        said.budget_percent = percent
    fields.finish()
    spec.hedging.CopyFrom(said)


def _permille(found: Field) -> Optional[int]:
    """Reads `95` or `99.9` in thousandths."""
    text = found.text()
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]))?", text)
    if not match:
        found.refuse(f"`{clip(text)}` is no percentile", "use 50 to 99.9, such as 95")
        return None
    return int(match[1] + (match[2] or "0"))


def _alerts(found: Field, spec: store.EndpointSpec) -> None:
    """Reads rules; whether their words are understood is for the coordinators to say."""
    del spec.alerts[:]
    for item in found.items():
        rule = store.AlertRule(severity=store.ALERT_SEVERITY_CRITICAL, min_requests=1)
        if not isinstance(item.node.value, dict):
            rule.when = item.text() or ""
            spec.alerts.append(rule)
            continue
        fields = Fields(item)
        when = fields.take("when")
        if when:
            rule.when = when.text() or ""
        else:
            item.refuse("has no `when`", "when: error rate > 1 % for 5m")
        for name in ("name", "deployment"):
            one = fields.take(name)
            if one:
                setattr(rule, name, one.text() or "")
        one = fields.take("severity")
        if one and one.word("critical", "warning") == "warning":
            rule.severity = store.ALERT_SEVERITY_WARNING
        one = fields.take("notify")
        if one:
            rule.notify[:] = one.texts()
        one = fields.take("min_requests")
        if one:
            rule.min_requests = one.number(1, 1_000_000_000) or 1
        fields.finish()
        spec.alerts.append(rule)


def _tolerance(found: Field) -> Optional[int]:
    """Reads a tolerance in billionths."""
    text = found.text()
    if text is None:
        return None
    try:
        said = float(text)
    except ValueError:
        said = -1.0
    if not 0.0 <= said <= 1e6:
        found.refuse(f"`{clip(text)}` is no tolerance", "a number from 0 on, such as 1e-5")
        return None
    parts = said * 1e9
    if 0.0 < parts < 0.5:
        found.warn("is less than a billionth and counts as zero")
    return int(parts + 0.5)


def _auth(fields: Fields, spec: store.EndpointSpec) -> None:
    found = fields.take("auth_mode")
    if not found:
        return
    word = found.word("key", "none", "aml_token", "aad_token")
    if word == "none":
        spec.auth_mode = store.AUTH_MODE_NONE
    elif word is not None:
        spec.auth_mode = store.AUTH_MODE_KEY
        if word != "key":
            found.warn("tokens are not issued yet; the endpoint takes keys", "auth_mode: key")


def _traffic(found: Field, is_split: bool) -> dict[str, int]:
    shares = {}
    for name, share in found.pairs():
        percent = share.number(0, 100)
        if percent:
            shares[name.lower()] = percent
    total = sum(shares.values())
    if is_split and total not in (0, 100):
        found.refuse(f"the shares total {total}", "make them total 0 or 100", "E_TRAFFIC")
    return shares


def _endpoint_unsupported(fields: Fields) -> None:
    found = fields.take("public_network_access")
    if found and found.word("enabled", "disabled") == "disabled":
        found.warn("private access is not done yet; who reaches the ingress port reaches the endpoint")
    found = fields.take("identity")
    if found:
        found.warn("identities are not done yet; replicas run as the node's user")
    found = fields.take("compute")
    if found:
        found.warn(f"`{clip(found.text() or '')}` is not used; Berth's own nodes serve the endpoint")
    _properties(fields)
    read_only = ["id", "kind", "location", "provisioning_state", "scoring_uri", "openapi_uri"]
    fields.skip(read_only, "is read-only and ignored")


def _properties(fields: Fields) -> None:
    found = fields.take("properties")
    if found:
        found.text_map()
        found.warn("properties are not kept", "use tags")


# === deployments ===


def _deployment(root: Field, folder: Path, base: Optional[store.DeploymentSpec]) -> Optional[DeploymentFile]:
    fields = Fields(root)
    fields.take("$schema")
    name = _name(fields, "name", root)
    endpoint = _name(fields, "endpoint_name", root)
    spec = store.DeploymentSpec.FromString(bytes.fromhex(_TABLES["deployment_spec"]))
    if base is not None:
        spec.CopyFrom(base)
    found = fields.take("description")
    if found:
        spec.description = found.text() or ""
    found = fields.take("tags")
    if found:
        _replace(spec.tags, found.text_map())
    found = fields.take("model")
    model = _model(found, folder, spec) if found else None
    found = fields.take("model_mount_path")
    if found:
        _mount(found, spec)
    found = fields.take("code_configuration")
    code = _code(found, folder, spec) if found else None
    found = fields.take("environment")
    if found:
        spec.environment.CopyFrom(_environment(found, folder))
    found = fields.take("environment_variables")
    if found:
        _variables(found, spec)
    _size(fields, spec)
    _serving(fields, spec)
    found = fields.take("command")
    command = _command(found) if found else None
    _runtime(root, spec, command, base is None, model)
    _deployment_unsupported(fields)
    fields.finish()
    return DeploymentFile(endpoint, name, spec, model, code) if name and endpoint else None


def _name(fields: Fields, which: str, root: Field) -> Optional[str]:
    found = fields.take(which)
    if not found:
        root.findings.error("E_INVALID", root.node, which, "is missing", "give it")
        return None
    text = found.text()
    return text.lower() if text else None


def _model(found: Field, folder: Path, spec: store.DeploymentSpec) -> Optional[Path]:
    name = version = None
    kind = store.MODEL_TYPE_CUSTOM_MODEL
    if isinstance(found.node.value, str):
        path = _find(found, folder)
    else:
        fields = Fields(found)
        fields.take("$schema")
        name, version = _text(fields, "name"), _text(fields, "version")
        kinds = {
            "custom_model": store.MODEL_TYPE_CUSTOM_MODEL,
            "mlflow_model": store.MODEL_TYPE_MLFLOW_MODEL,
            "triton_model": store.MODEL_TYPE_TRITON_MODEL,
        }
        which = fields.take("type")
        if which:
            kind = kinds.get(which.word(*kinds) or "", kind)
        at = fields.take("path")
        for ignored in ("description", "stage", "flavors", "tags", "properties", "datastore"):
            fields.take(ignored)
        fields.skip(["id", "creation_context", "job_name"], "is read-only and ignored")
        fields.finish()
        if not at:
            found.refuse("has no path", "give `path`: a file or folder relative to this file")
        path = _find(at, folder) if at else None
    if path is None:
        return None
    spec.model.Clear()
    asset = _pending(path)
    spec.model.CopyFrom(
        store.Model(name=asset.name if name is None else name, version=version or "1", model_type=kind, asset=asset)
    )
    return path


def _mount(found: Field, spec: store.DeploymentSpec) -> None:
    text = found.text()
    if text is None:
        return
    if not text.startswith("/") or ".." in text.split("/"):
        found.refuse(f"`{clip(text)}` is not an absolute path", "start it with a slash, without `..`")
    spec.model_mount_path = text


def _code(found: Field, folder: Path, spec: store.DeploymentSpec) -> Optional[Path]:
    fields = Fields(found)
    code, script = fields.take("code"), fields.take("scoring_script")
    fields.finish()
    if not code:
        found.refuse("has no code", "give `code`: the folder that holds the scoring script")
        return None
    path = _find(code, folder)
    if path is None:
        return None
    if path.is_file():
        code.refuse(f"`{path}` is a file", "name the folder that holds it")
        return None
    name = script.text() if script else None
    if script and name is not None and not (path / name).is_file():
        script.refuse(f"`{path / name}` does not exist", "it is relative to `code`", "E_PATH_MISSING")
    spec.code.CopyFrom(store.Code(asset=_pending(path), scoring_script=name or ""))
    return path


def _variables(found: Field, spec: store.DeploymentSpec) -> None:
    variables = found.text_map()
    for name, item in found.pairs():
        if "${{" in variables.get(name, ""):
            item.warn("secrets are not looked up; the process gets this text as it is")
    _replace(spec.environment_variables, variables)


def _size(fields: Fields, spec: store.DeploymentSpec) -> None:
    size, resources = fields.take("instance_type"), fields.take("resources")
    if size:
        _instance_type(size, spec)
    if resources:
        if not size:
            spec.instance_type = ""
        inner = Fields(resources)
        _amounts_of(inner, spec)
        limits, requests = inner.take("limits"), inner.take("requests")
        for part in (limits, requests):
            if part:
                of_part = Fields(part)
                _amounts_of(of_part, spec)
                of_part.finish()
        inner.finish()
    counted, replicas = fields.take("instance_count"), fields.take("replicas")
    number = counted.number(0, _COUNT_MAX) if counted else None
    if number is not None:
        spec.instance_count = number
    if replicas and counted:
        replicas.refuse("`instance_count` is given, too", "give one of them")
    elif replicas:
        _replicas(replicas, spec)
    for name, high in (("min_instances", _COUNT_MAX), ("priority", 100)):
        found = fields.take(name)
        number = found.number(0, high) if found else None
        if number is not None:
            setattr(spec, name, number)
    found = fields.take("constraints")
    if found:
        _label_rules(found, spec)
    found = fields.take("spread")
    if found:
        _spread(found, spec)
    found = fields.take("reserve")
    flag = found.flag() if found else None
    if flag is not None:
        spec.reserve = flag


def _replicas(found: Field, spec: store.DeploymentSpec) -> None:
    """Reads how many, or `1..4`, as others write it."""
    text = found.text()
    if text is None:
        return
    low, dots, high = (part.strip() for part in text.partition(".."))
    ends = [low, high if dots else low]
    counts = [int(end) for end in ends if end.isascii() and end.isdigit() and int(end) <= _COUNT_MAX]
    if len(counts) < 2 or counts[0] > counts[1]:
        what = f"`{clip(text)}` is no number from 0 to {_COUNT_MAX}, and no range of two"
        return found.refuse(what, "2, or 1..4")
    spec.instance_count = counts[0]
    if counts[0] < counts[1]:
        found.warn(f"{_NO_AUTOSCALING}; {counts[0]} run", "berth scale EP/DEP N")


def _instance_type(found: Field, spec: store.DeploymentSpec) -> None:
    text = found.text()
    if text is None:
        return
    sizes: dict[str, Any] = _TABLES["instance_types"]
    bare = text.lower()
    bare = bare[len("standard_") :] if bare.startswith("standard_") else bare
    known = {name.lower()[len("standard_") :]: name for name in sizes}
    if bare not in known:
        near = nearest(f"standard_{bare}", [name.lower() for name in sizes]).strip("`")
        right = known.get(near[len("standard_") :])
        try_ = f"`{right}`" if right else "name a size such as `Standard_DS3_v2`, or give `resources`"
        found.refuse(f"`{clip(text)}` is not a known size", try_)
        return
    row = store.DeploymentSpec.FromString(bytes.fromhex(sizes[known[bare]]))
    spec.instance_type = text
    spec.resources.CopyFrom(row.resources)
    spec.ClearField("gpu")
    if row.HasField("gpu"):
        spec.gpu.CopyFrom(row.gpu)
    spec.reserve = row.reserve


def _amounts_of(fields: Fields, spec: store.DeploymentSpec) -> None:
    for name, slot, read in (
        ("cpu", "cpu_milli", _amounts.cpu_milli),
        ("memory", "memory_mib", _amounts.mib),
        ("disk", "disk_mib", _amounts.mib),
    ):
        found = fields.take(name)
        text = found.text() if found else None
        if found and text is not None:
            while text.endswith(".."):
                text = text[:-2]
            try:
                setattr(spec.resources, slot, read(text.strip()))
            except Wrong as wrong:
                found.refuse(wrong.what, wrong.try_)
    asked = False
    for name in ("gpu", "nvidia.com/gpu", "gpu_memory"):
        found = fields.take(name)
        text = found.text() if found else None
        if not found or text is None:
            continue
        try:
            ask = _amounts.gpu_share(text) if name == "gpu_memory" else _amounts.gpu(text)
        except Wrong as wrong:
            found.refuse(wrong.what, wrong.try_)
            continue
        if name == "gpu_memory" and asked:
            try_ = "keep `gpu` for whole devices or slices, or `gpu_memory` for a share of one"
            found.refuse("an instance has either whole devices or a share of one", try_)
        asked = asked or ask is not None
        spec.ClearField("gpu")
        spec.resources.gpus = ask.whole.count if ask is not None and ask.HasField("whole") else 0
        if ask is not None:
            spec.gpu.CopyFrom(ask)


_SPREADS = {
    "node": store.SPREAD_BY_NODE,
    "rack": store.SPREAD_BY_RACK,
    "zone": store.SPREAD_BY_ZONE,
    "none": store.SPREAD_BY_NONE,
}


_RULE_FORMS = "`a`, `[a, b]`, `{not: a}`, `{not: [a, b]}` or `{exists: true}`"


def _label_rules(found: Field, spec: store.DeploymentSpec) -> None:
    """What labels of a node have to say: one value or several, none of some, or that there is one at all."""
    spec.label_rules.clear()
    for name, field in found.pairs():
        rule = _label_rule(field)
        if rule is not None:
            spec.label_rules[name].CopyFrom(rule)


def _label_rule(field: Field) -> Optional[store.LabelRule]:
    if not isinstance(field.node.value, dict):
        values = _label_values(field)
        return None if values is None else _rule(False, values)
    fields = Fields(field)
    none_of, exists = fields.take("not"), fields.take("exists")
    fields.finish()
    if none_of and not exists:
        values = _label_values(none_of)
        return None if values is None else _rule(True, values)
    if exists and not none_of:
        flag = exists.flag()
        # Of no values, any will do; and not any is that there is none.
        return None if flag is None else _rule(not flag, [])
    field.refuse("is no rule about a label", _RULE_FORMS)
    return None


def _rule(none_of: bool, values: list[str]) -> store.LabelRule:
    rule = store.LabelRule(values=values)
    # The field's name is a word of the language.
    setattr(rule, "not", none_of)
    return rule


def _label_values(field: Field) -> Optional[list[str]]:
    value = field.node.value
    if isinstance(value, list):
        values = field.texts()
    elif value is None:
        values = [""]
    else:
        text = field.text()
        if text is None:
            return None
        values = [text]
    # What stands for an operator elsewhere would be a value that no node has.
    for one in values:
        if one.startswith(("!", "=", "in (")):
            field.refuse(f"`{one}` is no value of a label", _RULE_FORMS)
            return None
    if not values:
        field.refuse("names no value", _RULE_FORMS)
        return None
    return sorted(set(values))


def _spread(found: Field, spec: store.DeploymentSpec) -> None:
    if isinstance(found.node.value, str):
        word = found.word(*_SPREADS)
        if word:
            spec.spread.CopyFrom(store.Spread(by=_SPREADS[word]))
        return
    fields = Fields(found)
    by, most = fields.take("by"), fields.take("max_per_domain")
    word = by.word(*_SPREADS) if by else None
    if word:
        spec.spread.by = _SPREADS[word]
    number = most.number(1, _U32_MAX) if most else None
    if number is not None:
        spec.spread.max_per_domain = number
    fields.finish()


def _serving(fields: Fields, spec: store.DeploymentSpec) -> None:
    found = fields.take("request_settings")
    if found:
        inner = Fields(found)
        for name in ("request_timeout_ms", "max_concurrent_requests_per_instance"):
            one = inner.take(name)
            number = one.number(0, _U32_MAX) if one else None
            if number is not None:
                setattr(spec.request_settings, name, number)
        one = inner.take("max_queue_wait_ms")
        if one and one.number(0, _U32_MAX) is not None:
            one.warn("is ignored, as Azure does: a request waits while its deadline and twice the concurrency allow")
        inner.finish()
    for which, probe in (("liveness_probe", spec.liveness_probe), ("readiness_probe", spec.readiness_probe)):
        found = fields.take(which)
        if found:
            _probe(found, probe)
    found = fields.take("disconnect")
    if found:
        _disconnect(found, spec)


def _probe(found: Field, probe: store.Probe) -> None:
    """Azure counts a probe's times in whole seconds."""
    fields = Fields(found)
    for name, slot, scale in (
        ("initial_delay", "initial_delay_ms", 1_000),
        ("period", "period_ms", 1_000),
        ("timeout", "timeout_ms", 1_000),
        ("success_threshold", "success_threshold", 1),
        ("failure_threshold", "failure_threshold", 1),
    ):
        one = fields.take(name)
        number = one.number(1, 1_000_000) if one else None
        if number is not None:
            setattr(probe, slot, number * scale)
    fields.finish()


_RECONCILES = {
    "keep_serving": store.RECONCILE_KEEP_SERVING,
    "keep_original": store.RECONCILE_KEEP_ORIGINAL,
    "keep_replacement": store.RECONCILE_KEEP_REPLACEMENT,
}


def _disconnect(found: Field, spec: store.DeploymentSpec) -> None:
    if not spec.HasField("disconnect"):
        spec.disconnect.CopyFrom(store.Disconnect.FromString(bytes.fromhex(_TABLES["disconnect"])))
    fields = Fields(found)
    for name in ("lost_after", "stop_on_client_after"):
        one = fields.take(name)
        text = one.text() if one else None
        if one and text is not None:
            try:
                setattr(spec.disconnect, f"{name}_ms", _amounts.span_ms(text))
            except Wrong as wrong:
                one.refuse(wrong.what, wrong.try_)
    one = fields.take("replace")
    flag = one.flag() if one else None
    if flag is not None:
        spec.disconnect.replace = flag
    one = fields.take("reconcile")
    word = one.word(*_RECONCILES) if one else None
    if word:
        spec.disconnect.reconcile = _RECONCILES[word]
    fields.finish()


def _command(found: Field) -> list[str]:
    if not isinstance(found.node.value, str):
        return found.texts()
    try:
        return _amounts.argv(found.node.value)
    except Wrong as wrong:
        found.refuse(wrong.what, 'write it as a list: ["program", "argument"]')
        return []


def _runtime(
    root: Field, spec: store.DeploymentSpec, command: Optional[list[str]], is_new: bool, model: Optional[Path]
) -> None:
    """Finds out what serves the model: a command that is written out, a scoring script, or a lone `.onnx` file."""
    entries = root.node.value if isinstance(root.node.value, dict) else {}
    if command is not None:
        spec.runtime.CopyFrom(store.Runtime(command=store.CommandRuntime(argv=command)))
        return
    if not is_new and "model" not in entries and "code_configuration" not in entries:
        return
    is_onnx = spec.model.asset.kind == store.ASSET_KIND_FILE and spec.model.asset.name.lower().endswith(".onnx")
    if spec.code.scoring_script:
        spec.runtime.CopyFrom(store.Runtime(python=store.PythonRuntime()))
    elif is_onnx:
        spec.runtime.CopyFrom(store.Runtime(onnx=store.OnnxRuntime()))
    elif not root.findings.errors:
        _refuse_runtime(root, spec, model)


def _refuse_runtime(root: Field, spec: store.DeploymentSpec, model: Optional[Path]) -> None:
    def refuse(path: str, what: str, try_: str) -> None:
        root.findings.error("E_INVALID", root.node, path, what, try_)

    if spec.HasField("code"):
        try_ = "name the file in the code folder that has `init` and `run`, or give `command`"
        refuse("code_configuration.scoring_script", "is missing", try_)
    elif spec.model.model_type == store.MODEL_TYPE_MLFLOW_MODEL:
        try_ = "add `code_configuration` with a scoring script that loads it"
        refuse("model.type", "MLflow models are not served without code yet", try_)
    elif spec.model.model_type == store.MODEL_TYPE_TRITON_MODEL:
        try_ = "start a Triton you have with `command`, or give one `.onnx` file as the model"
        refuse("model.type", "Triton repositories are not served without a command yet", try_)
    elif spec.environment.HasField("image"):
        try_ = "give `command`: what the image would run, listening on $PORT"
        refuse("environment.image", "an image alone cannot be served; replicas are processes", try_)
    else:
        inside = sorted(it.name for it in model.iterdir() if it.name.lower().endswith(".onnx")) if model and model.is_dir() else []
        try_ = "add `code_configuration`, a `command`, or a model that is one `.onnx` file"
        refuse("", "nothing here says what serves the model", f"point `model.path` at the file `{inside[0]}` itself" if inside else try_)


def _deployment_unsupported(fields: Fields) -> None:
    found = fields.take("type")
    if found:
        found.word("managed", "kubernetes")
    found = fields.take("scale_settings")
    if found:
        value = found.node.value
        kind = value.get("type") if isinstance(value, dict) else None
        if kind is not None and isinstance(kind.value, str) and kind.value.lower() != "default":
            found.warn(f"{_NO_AUTOSCALING}; instance_count stays what it is", "berth scale EP/DEP N")
    for name, what in (
        ("app_insights_enabled", "nothing is sent to Application Insights"),
        ("package_model", "packages are not built; the model is uploaded as it is"),
        ("with_package", "packages are not built; the model is uploaded as it is"),
        ("private_network_connection", "private networks are not done yet"),
    ):
        found = fields.take(name)
        if found and found.flag():
            found.warn(what)
    found = fields.take("egress_public_network_access")
    if found and found.word("enabled", "disabled") == "disabled":
        found.warn("a replica's way out is not closed yet")
    found = fields.take("data_collector")
    if found:
        if isinstance(found.node.value, dict):
            found.warn("requests and answers are not collected yet")
        else:
            found.refuse(f"expected a mapping, found {found.node.noun()}")
    _properties(fields)
    fields.skip(["id", "kind", "location", "provisioning_state"], "is read-only and ignored")


# === environments ===


def _environment(found: Field, folder: Path) -> store.Environment:
    text = found.node.value
    if not isinstance(text, str):
        return _inline(found, folder)
    if not (text.startswith("file:") or text.endswith((".yml", ".yaml"))):
        what = f"`{clip(text)}` names an environment of Azure's registry; there is none here"
        found.refuse(what, "write it inline: `environment: {conda_file: ./conda.yml}`")
        return store.Environment()
    opened = _open(found, folder)
    if opened is None:
        return store.Environment()
    path, root = opened
    environment = _inline(root, path.parent)
    found.findings.absorb(root.findings)
    return environment


def _inline(found: Field, folder: Path) -> store.Environment:
    fields = Fields(found)
    environment = store.Environment()
    fields.take("$schema")
    environment.name = _text(fields, "name") or ""
    for name in ("version", "description"):
        _text(fields, name)
    tags = fields.take("tags")
    if tags:
        tags.text_map()
    image = fields.take("image")
    text = image.text() if image else None
    if image and text is not None:
        image.warn("no container is started; the replica runs as a process of the node")
        environment.image = text
    build = fields.take("build")
    if build:
        build.warn("no image is built; the replica runs as a process of the node")
    conda = fields.take("conda_file")
    if conda:
        root: Optional[Field] = conda
        if not isinstance(conda.node.value, dict):
            opened = _open(conda, folder)
            root = opened[1] if opened else None
        if root is not None:
            python, requirements = _conda.read(root)
            if python:
                environment.python = python
            environment.pip.extend(requirements)
            if root is not conda:
                conda.findings.absorb(root.findings)
    version = fields.take("python")
    text = version.text() if version else None
    if text is not None:
        environment.python = text
    pip = fields.take("pip")
    if pip:
        environment.pip.extend(pip.texts())
    system = fields.take("os_type")
    if system and system.word("linux", "windows") == "windows":
        system.refuse("Windows is not served", "os_type: linux")
    config = fields.take("inference_config")
    if config:
        routes = Fields(config)
        for name in ("liveness_route", "readiness_route", "scoring_route"):
            route = routes.take(name)
            read = _route(route) if route else None
            if read is not None:
                getattr(environment, name).CopyFrom(read)
        routes.finish()
    fields.skip(["id", "creation_context", "datastore"], "is read-only and ignored")
    fields.finish()
    return environment


def _route(found: Field) -> Optional[store.HttpRoute]:
    fields = Fields(found)
    path, port = fields.take("path"), fields.take("port")
    text = path.text() if path else None
    if path and text is not None and not text.startswith("/"):
        path.refuse(f"`{clip(text)}` does not start with a slash")
    number = port.number(1, 65_535) if port else None
    fields.finish()
    if text is None:
        found.refuse("has no path", "give `path` and `port`")
        return None
    return store.HttpRoute(path=text, port=number or 0)


# === files ===


def _text(fields: Fields, name: str) -> Optional[str]:
    found = fields.take(name)
    return found.text() if found else None


def _replace(slot: Any, found: dict[str, str]) -> None:
    slot.clear()
    slot.update(found)


def _pending(path: Path) -> store.AssetRef:
    kind = store.ASSET_KIND_FOLDER if path.is_dir() else store.ASSET_KIND_FILE
    return store.AssetRef(kind=kind, name=path.name)


def _find(found: Field, folder: Path) -> Optional[Path]:
    """Finds the file or folder a field names."""
    text = found.text()
    if text is None:
        return None
    if not text:
        found.refuse("is empty", "give a path relative to this file")
        return None
    if text.startswith(("azureml:", "runs:", "wasbs:", "abfss:", "https:", "http:", "/subscriptions/")):
        what = f"`{clip(text)}` points into Azure; there is no registry here"
        found.refuse(what, "download it and give the path of the file or folder")
        return None
    for scheme in ("file://", "file:"):
        if text.startswith(scheme):
            text = text[len(scheme) :]
            break
    path = folder / text
    path = path if path.name and path.name != ".." else path.resolve()
    if path.is_dir() or path.is_file():
        return path
    why = "is neither a file nor a folder" if path.exists() else "does not exist"
    others = [it.name for it in path.parent.iterdir()] if path.parent.is_dir() else []
    near = nearest(path.name, others).strip("`")
    try_ = f"`{path.parent / near}`" if near else "paths are relative to the file that names them"
    found.refuse(f"`{path}` {why}", try_, "E_PATH_MISSING")
    return None


def _open(found: Field, folder: Path) -> Optional[tuple[Path, Field]]:
    """Reads a small YAML file a field names."""
    path = _find(found, folder)
    if path is None:
        return None
    inner = Findings(str(path))
    try:
        documents = parse(_read_bounded(path), inner)
    except (OSError, UnicodeDecodeError) as error:
        found.refuse(f"`{path}` cannot be read: {error}", "", "E_PATH_MISSING")
        return None
    if not documents:
        if not inner.errors:
            inner.error("E_YAML", None, "", "is empty")
        found.findings.absorb(inner)
        return None
    return path, Field("", documents[0], inner)


def _read_bounded(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(_TEXT_BYTES_MAX + 1)
    if len(raw) > _TEXT_BYTES_MAX:
        raise OSError("larger than 1 MiB")
    return raw.decode()
