"""Generates the message classes from the published protos: `python generate.py [OUT]`.

The result is committed, so that installing needs no compiler; `tests/test_generated.py` fails when it is not what the
protos say. Needs `grpcio-tools==1.66.2`, whose output works with protobuf 5.27 to 6.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTOS = HERE.parents[1] / "proto" / "proto"
FILES = sorted(str(path.relative_to(PROTOS)) for name in ("api", "node", "store") for path in PROTOS.glob(f"berth/{name}/v1/*.proto"))
# What only coordinators read, and nothing of the API mentions.
LEFT_OUT = {"berth/store/v1/command.proto", "berth/store/v1/snapshot.proto"}


def generate(out: Path) -> list[Path]:
    """Writes the modules below `out` and returns them."""
    from grpc_tools import protoc

    files = [name for name in FILES if name not in LEFT_OUT]
    code = protoc.main(["protoc", f"-I{PROTOS}", f"--python_out={out}", f"--pyi_out={out}", *files])
    if code != 0:
        raise SystemExit(code)
    made = [out / name.replace(".proto", end) for name in files for end in ("_pb2.py", "_pb2.pyi")]
    for folder in sorted({path.parent for path in made} | {path.parent.parent for path in made}):
        (folder / "__init__.py").write_text('"""Messages generated from the protos; see `generate.py`."""\n')
        made.append(folder / "__init__.py")
    return made


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "src")
