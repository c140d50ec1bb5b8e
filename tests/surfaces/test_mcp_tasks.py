"""The tasks extension, over jobs and over tasks that ask."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest
from mcp import Client, types
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError
from mcp.types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from pydantic import ConfigDict

from mcp_image_server.errors import RefusedError
from mcp_image_server.models import Caller, Generated, ImageRequest
from mcp_image_server.providers import Context
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.mcp import build_server
from mcp_image_server.surfaces.mcp.tasks import TASKS
from tests.conformance.tasks import server as fixtures
from tests.easel import Easel, Gate
from tests.surfaces.test_mcp import body
from tests.surfaces.test_mcp_clients import INSPECTOR
from tests.web import web

pytestmark = pytest.mark.anyio

WISH: dict[str, Any] = {"prompt": "a cat", "wait_seconds": 0}


class Started(types.Result):
    """A task in place of a result."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class Looked(types.Result):
    """What tasks/get says; the other methods say nothing."""

    model_config = ConfigDict(extra="allow")
    status: str = ""


class Speaker(ClientExtension):
    """The client's half of the extension, without patience: tasks are handed to the test."""

    identifier = TASKS

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Started, resolve=self._never)]

    async def _never(self, started: Started, context: ClaimContext) -> types.CallToolResult:
        raise AssertionError("not called")


async def begin(client: Client, tool: str = "generate_image", **arguments: Any) -> Started:
    started = await client.session.call_tool(tool, arguments, allow_claimed=True)
    assert isinstance(started, Started), started
    return started


async def ask_about(client: Client, task_id: str, verb: str = "get", **params: Any) -> Looked:
    request = types.Request[dict[str, Any], str](method=f"tasks/{verb}", params={"taskId": task_id, **params})
    return await client.session.send_request(request, Looked)


def facts(looked: types.Result) -> dict[str, Any]:
    return looked.model_extra or {}


async def ended(client: Client, task_id: str) -> Looked:
    with anyio.fail_after(60):
        while (looked := await ask_about(client, task_id)).status in ("working", "input_required"):
            await anyio.sleep(0.01)
    return looked


def speaker(studio: Studio) -> Client:
    return Client(build_server(studio), extensions=[Speaker()], client_info=INSPECTOR)


async def test_a_job_that_takes_long_is_told_as_a_task_and_its_result_is_the_tools(studio: Studio, easel: Easel) -> None:
    easel.work = gate = Gate()
    async with speaker(studio) as client:
        started = await begin(client, **WISH)
        job = await studio.job(Caller(), started.task_id)
        assert started.status == "working"
        assert {name: value for name, value in facts(started).items() if name != "statusMessage"} == {
            "createdAt": job.created_at.isoformat(timespec="milliseconds"),
            "lastUpdatedAt": facts(started)["lastUpdatedAt"],
            "ttlMs": None,
            "pollIntervalMs": 2000,
        }
        await easel.started.wait()
        assert (await ask_about(client, job.id)).status == "working"
        gate.opened.set()
        done = await ended(client, job.id)
        result = types.CallToolResult.model_validate(facts(done)["result"])
        same = await client.call_tool("get_job", {"job_id": job.id})
    assert done.status == "completed"
    assert not result.is_error
    assert [block.type for block in result.content] == ["text", "image", "resource_link"]
    assert (result.content, result.structured_content) == (same.content, same.structured_content)
    assert result.structured_content == body(result)
    assert len(easel.asked) == 1


async def test_a_job_that_ends_in_time_is_answered_at_once(studio: Studio) -> None:
    async with speaker(studio) as client:
        result = await client.session.call_tool("generate_image", {"prompt": "a cat"}, allow_claimed=True)
    assert isinstance(result, types.CallToolResult)
    assert len(body(result)["images"]) == 1


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_who_does_not_speak_of_tasks_hears_of_none(studio: Studio, easel: Easel, mode: Literal["legacy", "auto"]) -> None:
    easel.work = Gate()
    async with Client(build_server(studio), mode=mode) as client:
        answer = await client.call_tool("generate_image", WISH)
        assert body(answer)["job"]["id"] in body(answer)["next"]
        with pytest.raises(MCPError) as caught:
            await ask_about(client, body(answer)["job"]["id"])
    assert caught.value.error.code == (types.METHOD_NOT_FOUND if mode == "legacy" else types.MISSING_REQUIRED_CLIENT_CAPABILITY)


async def test_a_job_that_failed_is_a_completed_task_with_an_error_result(studio: Studio, easel: Easel) -> None:
    gate = Gate()

    async def refuse(request: ImageRequest, context: Context) -> Generated:
        await gate(request, context)
        raise RefusedError("Blocked. Change the prompt.", provider="easel")

    easel.work = refuse
    async with speaker(studio) as client:
        started = await begin(client, **WISH)
        gate.opened.set()
        done = await ended(client, started.task_id)
    result = types.CallToolResult.model_validate(facts(done)["result"])
    assert (done.status, result.is_error, body(result)["error"]["code"]) == ("completed", True, "refused")


async def test_a_task_can_be_cancelled_and_asked_for_afterwards(studio: Studio, easel: Easel) -> None:
    easel.work = Gate()
    async with speaker(studio) as client:
        started = await begin(client, **WISH)
        await ask_about(client, started.task_id, "update", inputResponses={"unasked": {"action": "accept"}})
        await ask_about(client, started.task_id, "cancel")
        looked = await ask_about(client, started.task_id)
        assert looked.status == "cancelled"
        assert "result" not in facts(looked)
        await ask_about(client, started.task_id, "cancel")
        for verb in ("get", "update", "cancel"):
            with pytest.raises(MCPError, match="Unknown task: nope") as caught:
                await ask_about(client, "nope", verb)
            assert caught.value.error.code == types.INVALID_PARAMS


async def test_over_http_the_header_names_the_task(tmp_path: Path) -> None:
    easel = Easel()
    easel.work = Gate()
    async with web(tmp_path, easel=easel) as site, httpx2.AsyncClient(trust_env=False) as raw:
        meta = {
            PROTOCOL_VERSION_META_KEY: "2026-07-28",
            CLIENT_CAPABILITIES_META_KEY: {"extensions": {TASKS: {}}},
            CLIENT_INFO_META_KEY: {"name": "a test", "version": "1"},
        }

        async def post(method: str, in_header: str, **params: Any) -> dict[str, Any]:
            headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": method}
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
            answer = await raw.post(site.url + "/mcp", json=message, headers={**headers, "mcp-name": in_header})
            events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith(("data: {", "{"))]
            reply = json.loads(events[-1])
            assert isinstance(reply, dict)
            return reply

        started = (await post("tools/call", "generate_image", name="generate_image", arguments=WISH))["result"]
        assert (started["resultType"], started["status"], started["ttlMs"]) == ("task", "working", None)
        task = started["taskId"]
        assert (await post("tasks/get", task, taskId=task))["result"]["status"] == "working"
        assert (await post("tasks/get", f"=?base64?{b64encode(task.encode()).decode()}?=", taskId=task))["result"]["status"] == "working"
        assert (await post("tasks/get", "another", taskId=task))["error"]["code"] == types.HEADER_MISMATCH
        assert (await post("tasks/cancel", task, taskId=task))["result"]["resultType"] == "complete"
        assert (await post("tasks/get", task, taskId=task))["result"]["status"] == "cancelled"


async def test_a_task_with_questions_waits_for_all_answers() -> None:
    async with Client(fixtures(), extensions=[Speaker()]) as client:
        started = await begin(client, "multi_input")
        with anyio.fail_after(60):
            while (looked := await ask_about(client, started.task_id)).status != "input_required":
                await anyio.sleep(0.01)
        assert facts(looked)["inputRequests"].keys() == {"first", "second"}
        answer = {"action": "accept", "content": {"first": "1"}}
        await ask_about(client, started.task_id, "update", inputResponses={"first": answer})
        looked = await ask_about(client, started.task_id)
        assert (looked.status, facts(looked)["inputRequests"].keys()) == ("input_required", {"second"})
        await ask_about(client, started.task_id, "update", inputResponses={"second": answer})
        done = await ended(client, started.task_id)
        assert facts(done)["result"]["content"][0]["text"] == "Both were answered."


async def test_a_task_that_ends_with_a_protocol_error_has_failed() -> None:
    async with Client(fixtures(), extensions=[Speaker()]) as client:
        done = await ended(client, (await begin(client, "protocol_error_job")).task_id)
    assert (done.status, facts(done)["error"]) == ("failed", {"code": types.INTERNAL_ERROR, "message": "It broke."})
