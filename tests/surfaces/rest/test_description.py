"""The description in OpenAPI: it tells of everything, and everything is as it tells."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from mcp_image_server.surfaces.http.rest import table
from tests.web import Person, web

pytestmark = pytest.mark.anyio


async def test_the_description_tells_of_everything_that_can_be_called(ann: Person) -> None:
    described = await ann("GET", "/api/openapi.json", 200)
    assert described["openapi"] == "3.1.1"
    told = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    there = {(each.method, each.path.replace(":path}", "}")) for each in table(ann.site.studio)}
    assert told == there
    names = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    assert all({"403", "500"} <= operation["responses"].keys() for methods in described["paths"].values() for operation in methods.values())


@pytest.mark.long
async def test_whatever_is_sent_the_server_answers_as_it_is_described(tmp_path: Path) -> None:
    """A generator of calls that follow the description, and of others that nearly do (https://schemathesis.readthedocs.io)."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"
    async with web(tmp_path, {"MCP_MAX_BODY_BYTES": "1000000"}) as site:
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{site.url}/api/openapi.json", "--checks", checks, "--no-color"]
        # The type of tus' pieces is one that the generator cannot write.
        limits = ["--phases", "examples,fuzzing", "--max-examples", "10", "--seed", "1", "--exclude-operation-id", "patch_uploads_upload_id"]
        limits += ["--request-timeout", "60"]  # the first call opens the database, which takes a while where all cores are busy
        done = await anyio.run_process([*command, *limits, "--suppress-health-check", "all"], check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout.decode()
