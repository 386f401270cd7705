"""Files and folders as the bytes their digest is of; the same bytes as every other client of Berth makes.

A folder is a tar archive in order of its names, without times and owners, so that equal folders have equal digests.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


from .errors import error_of
from .store.v1 import model_pb2 as store

# What tools leave behind and no replica needs.
_LEFT_OUT = {"__pycache__", ".git", ".DS_Store", ".ipynb_checkpoints"}
# How a file begins a line that describes an endpoint or a deployment: it says how the code beside it is to run.
_DESCRIBES = (b"endpoint_name:", b"$schema: https://azuremlschemas.azureedge.net/")
_DESCRIPTION_BYTES_MAX = 256 << 10
_ENTRIES_MAX = 100_000
_DEPTH_MAX = 64
_CHUNK_BYTES = 256 << 10
_BLOCK = 512


@dataclass(frozen=True)
class Packed:
    """A file or folder whose digest is known."""

    path: Path
    asset: store.AssetRef

    def pieces(self) -> Iterator[bytes]:
        """Reads the stored bytes again."""
        return _pieces(self.path)


def pack(path: Path) -> Packed:
    """Reads a file or folder and finds its digest."""
    path = path if path.name and path.name != ".." else path.resolve()
    try:
        is_folder = path.is_dir()
        digest, size = hashlib.sha256(), 0
        for piece in _pieces(path):
            digest.update(piece)
            size += len(piece)
    except FileNotFoundError as error:
        raise error_of("E_PATH_MISSING", f"`{path}` cannot be packed", str(error)) from None
    except OSError as error:
        raise error_of("E_INVALID", f"`{path}` cannot be packed", str(error)) from None
    kind = store.ASSET_KIND_FOLDER if is_folder else store.ASSET_KIND_FILE
    return Packed(path, store.AssetRef(digest=digest.digest(), kind=kind, name=path.name, size_bytes=size))


def _pieces(path: Path) -> Iterator[bytes]:
    if not path.is_dir():
        with path.open("rb") as file:
            while True:
                piece = file.read(_CHUNK_BYTES)
                if not piece:
                    return
                yield piece
    left = b""
    for part in _archive(path):
        left += part
        while len(left) >= _CHUNK_BYTES:
            yield left[:_CHUNK_BYTES]
            left = left[_CHUNK_BYTES:]
    if left:
        yield left


def _archive(folder: Path) -> Iterator[bytes]:
    entries = 0
    for inside, path, meta in _walk(folder, "", 0):
        entries += 1
        if entries > _ENTRIES_MAX:
            raise OSError(f"more than {_ENTRIES_MAX} entries")
        if stat.S_ISDIR(meta.st_mode):
            yield _header(inside, tarfile.DIRTYPE, 0o755, 0)
            continue
        mode = 0o755 if meta.st_mode & 0o111 else 0o644
        yield _header(inside, tarfile.REGTYPE, mode, meta.st_size)
        left = meta.st_size
        with path.open("rb") as file:
            while left:
                piece = file.read(min(left, _CHUNK_BYTES))
                if not piece:
                    raise OSError(f"{path} became shorter while it was read")
                left -= len(piece)
                yield piece
        yield bytes(-meta.st_size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _walk(folder: Path, inside: str, depth: int) -> Iterator[tuple[str, Path, os.stat_result]]:
    if depth > _DEPTH_MAX:
        raise OSError(f"{folder} is nested too deeply; does a link lead back?")
    for name in sorted(os.listdir(folder), key=os.fsencode):
        if name in _LEFT_OUT:
            continue
        path, below = folder / name, f"{inside}/{name}" if inside else name
        # Links are followed: a replica elsewhere does not have what they point to.
        meta = path.stat()
        if depth == 0 and _describes(path, meta):
            continue
        if stat.S_ISDIR(meta.st_mode):
            yield below, path, meta
            yield from _walk(path, below, depth + 1)
        elif stat.S_ISREG(meta.st_mode):
            yield below, path, meta
        else:
            raise OSError(f"{path} is neither a file nor a folder")


def _describes(path: Path, meta: os.stat_result) -> bool:
    """Says whether a file beside the code describes what is to be deployed, and is no part of the code."""
    is_yaml = path.suffix in (".yml", ".yaml")
    if not is_yaml or not stat.S_ISREG(meta.st_mode) or meta.st_size > _DESCRIPTION_BYTES_MAX:
        return False
    return any(line.startswith(_DESCRIBES) for line in path.read_bytes().split(b"\n"))


def _header(name: str, kind: bytes, mode: int, size: int) -> bytes:
    """Writes GNU's header; a name beyond 100 bytes comes before it as an entry of its own."""
    raw = os.fsencode(name)
    if len(raw) <= 100:
        return _block(raw, kind, mode, size)
    long = raw + b"\0"
    link = _block(b"././@LongLink", b"L", 0o644, len(long))
    cut = raw[:100].decode("utf-8", "ignore").encode()
    return link + long + bytes(-len(long) % _BLOCK) + _block(cut, kind, mode, size)


def _block(name: bytes, kind: bytes, mode: int, size: int) -> bytes:
    size_field = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    head = b"".join([
        name.ljust(100, b"\0"), b"%07o\0" % mode, b"%07o\0" % 0, b"%07o\0" % 0, size_field, b"%011o\0" % 0,
        b" " * 8, kind, bytes(100), b"ustar  \0", bytes(64), bytes(16),
    ]).ljust(_BLOCK, b"\0")  # fmt: skip
    return head[:148] + b"%07o\0" % sum(head) + head[156:]
