"""Amounts as people write them: cores, memory, GPUs, times, command lines."""

from __future__ import annotations

import re
from typing import Optional

from .store.v1 import model_pb2 as store

_SCALE_KIB = {
    "k": 1, "kb": 1, "ki": 1, "kib": 1, "": 1 << 10, "m": 1 << 10, "mb": 1 << 10, "mi": 1 << 10, "mib": 1 << 10,
    "g": 1 << 20, "gb": 1 << 20, "gi": 1 << 20, "gib": 1 << 20, "t": 1 << 30, "tb": 1 << 30, "ti": 1 << 30, "tib": 1 << 30,
}  # fmt: skip
_PROFILE = re.compile(r"(\d{1,4}c\.)?\d{1,4}g\.\d{1,4}gb(\+.*)?", re.ASCII)
_MODEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_GPU_FORMS = "write `2`, `H100:4`, `24GiB..`, `A10:24GiB..:2` or `2x1g.10gb`"
_GPU_MIB_MAX = 4 << 20


class Wrong(Exception):
    """Why a text is no such amount, and what to write instead."""

    def __init__(self, what: str, try_: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.try_ = try_


def cpu_milli(text: str) -> int:
    """Reads `4`, `0.5` or `500m`."""
    if text.endswith("m") and text[:-1].isdigit():
        return int(text[:-1])
    found = _decimal(text, 1_000)
    if found is None:
        raise Wrong(f"`{text}` is not an amount: expected cores such as `4`, `0.5` or `500m`")
    return found


def mib(text: str) -> int:
    """Reads `8GiB`, `8Gi`, `8GB`, `512MiB` or plain MiB, rounding up."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    scale = _SCALE_KIB.get(text[len(digits) :].lower())
    kib = None if scale is None else _decimal(digits.rstrip(), scale)
    if kib is None:
        raise Wrong(f"`{text}` is not an amount: expected a size such as `8GiB`, `512MiB` or plain MiB")
    return -(-kib // 1024)


def _decimal(text: str, scale: int) -> Optional[int]:
    match = re.fullmatch(r"([0-9]+)(?:\.([0-9]{0,9}))?", text)
    if not match:
        return None
    whole, fraction = match.group(1), match.group(2) or ""
    part = int(fraction) * scale // 10 ** len(fraction) if fraction else 0
    return int(whole) * scale + part


def gpu(text: str) -> Optional[store.GpuAsk]:
    """Reads what stands under `gpu`; `None` for no GPU."""
    count: Optional[int] = None
    model: Optional[str] = None
    memory: Optional[int] = None
    profile: Optional[str] = None
    for part in (part.strip() for part in text.split(":")):
        slices, _, rest = part.partition("x")
        number, name = (int(slices), rest) if slices.isdigit() and rest else (None, part)
        twice = False
        if part.isdigit():
            twice, count = count is not None, int(part)
        elif _PROFILE.fullmatch(name):
            twice = profile is not None or (number is not None and count is not None)
            profile, count = name, number if number is not None else count
        elif part.endswith(".."):
            twice, memory = memory is not None, _device_memory(part[:-2])
        elif _is_mib(part):
            what = f"`{part}` could be a share of a device or the least a device must have"
            raise Wrong(what, f"`gpu_memory: {part}` for a share, `gpu: {part}..` for whole devices")
        elif number is not None or (part[:1].isdigit() and "g" in part):
            raise Wrong(f"`{part}` is not a MIG profile", "such as `1g.10gb`")
        elif _MODEL.fullmatch(part):
            twice, model = model is not None, part
        else:
            raise Wrong(f"`{part}` is not a GPU request", _GPU_FORMS)
        if twice:
            raise Wrong(f"`{part}` says again what another part said", _GPU_FORMS)
    if count == 0 and model is None and memory is None and profile is None:
        return None
    count = 1 if count is None else count
    if not 1 <= count <= 64:
        raise Wrong(f"{count} devices are out of range; one instance may have 1 to 64", _GPU_FORMS)
    if profile is not None:
        if model is not None or memory is not None:
            raise Wrong("a slice has neither a model nor a memory beside its profile", _GPU_FORMS)
        return store.GpuAsk(mig=store.MigSlices(profile=profile, count=count))
    return store.GpuAsk(whole=store.WholeGpus(count=count, model=model, memory_mib_min=memory or 0))


def gpu_share(text: str) -> store.GpuAsk:
    """Reads what stands under `gpu_memory`."""
    model, colon, amount = text.partition(":")
    if not colon:
        model, amount = "", text
    if colon and not _MODEL.fullmatch(model.strip()):
        raise Wrong(f"`{model.strip()}` is not the name of a model", "write for example `6GiB`, or `H100:6GiB`")
    share = _device_memory(amount.strip())
    return store.GpuAsk(memory=store.GpuMemory(mib=share, model=model.strip() if colon else None))


def _device_memory(text: str) -> int:
    found = mib(text)
    if not 0 < found <= _GPU_MIB_MAX:
        raise Wrong(f"`{text}` is no memory that a device has", "write for example `24GiB..`")
    return found


def _is_mib(text: str) -> bool:
    try:
        mib(text)
    except Wrong:
        return False
    return True


def span_ms(text: str) -> int:
    """Reads `90s`, `15m` or `2h`."""
    match = re.fullmatch(r"([0-9]+)(ms|s|m|h|d|)", text)
    if not match:
        raise Wrong(f"`{text}` is not a time", "write a time such as `90s`, `15m` or `2h`")
    scale = {"ms": 1, "": 1_000, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    found = int(match.group(1)) * scale[match.group(2)]
    if found > 7 * 86_400_000:
        raise Wrong(f"`{text}` is not a time", "longer than a week")
    return found


def argv(text: str) -> list[str]:
    """Splits a command line at white space; quotes and backslashes keep it, and nothing else means anything."""
    words: list[str] = []
    word: Optional[str] = None
    quote: Optional[str] = None
    chars = iter(text)
    for char in chars:
        if quote is not None and char == quote:
            quote = None
        elif char == "\\" and quote != "'":
            following = next(chars, None)
            if following is None:
                raise Wrong("ends in a backslash")
            word = (word or "") + following
        elif quote is None and char in "'\"":
            quote, word = char, word or ""
        elif quote is None and char.isspace():
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + char
    if quote is not None:
        raise Wrong("a quote is not closed")
    if word is not None:
        words.append(word)
    if not words:
        raise Wrong("is empty")
    return words
