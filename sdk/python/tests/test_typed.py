"""The package as it is installed carries its types to whoever checks a program of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from typing_extensions import assert_type

from berth import AsyncClient, Client, ManagedOnlineDeployment, Poller
from berth.api.v1 import api_pb2


def deploy(client: Client) -> int:
    made = client.online_deployments.begin_create_or_update("blue.yml")
    assert_type(made, Poller[ManagedOnlineDeployment])
    assert_type(made.result().ready, int)
    for event in client.events(follow=False):
        assert_type(event, api_pb2.Event)
        assert_type(event.text, str)
    return made.result().generation


async def answer(client: AsyncClient) -> str:
    await client.online_endpoints.invoke(7)
    return await client.online_endpoints.invoke("digits", request_file="sample.json")
"""


def test_a_program_is_checked_against_the_installed_package(tmp_path: Path) -> None:
    # Away from the sources and their settings: what mypy finds is what pip installed.
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=/dev/null", "program.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    errors = [line for line in said.splitlines() if ": error: " in line]
    assert len(errors) == 1 and 'has incompatible type "int"; expected "str"' in errors[0], said
