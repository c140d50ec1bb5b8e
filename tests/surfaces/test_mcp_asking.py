"""The person behind a client is asked in the middle of a call, in both eras of the protocol."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import anyio
import pytest
from mcp import Client, types
from mcp.shared.exceptions import MCPError

from mcp_image_server.errors import RequestError
from mcp_image_server.models import Caller, ImageRequest, Job
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.mcp import build_server
from mcp_image_server.surfaces.serve import web_server
from tests.conftest import studio_with
from tests.easel import Easel
from tests.surfaces.test_mcp import body

pytestmark = pytest.mark.anyio

Mode = Literal["legacy", "auto"]
both_eras = pytest.mark.parametrize("mode", ["legacy", "auto"])

QUESTIONS = ("This costs 0.40 USD. Draw it?", "It shows a person. Draw it all the same?")


class Careful:
    """A studio that asks before it begins."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def __getattr__(self, name: str) -> Any:
        return getattr(self._studio, name)

    async def generate(self, caller: Caller, request: ImageRequest, **options: Any) -> Job:
        if caller.ask is None:
            raise RequestError("Nobody can be asked.", code="nobody_to_ask")
        for question in QUESTIONS:
            if not await caller.ask(question):
                raise RequestError(f"The answer was no: {question}", code="declined")
        return await self._studio.generate(caller, request, **options)


@dataclass
class Person:
    """Who answers, and what they were asked."""

    answers: list[types.ElicitResult | types.ErrorData]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult | types.ErrorData:
        assert isinstance(params, types.ElicitRequestFormParams)
        assert params.requested_schema["required"] == ["yes"]
        self.asked.append(params.message)
        return self.answers.pop(0)


YES = types.ElicitResult(action="accept", content={"yes": True})
NO = types.ElicitResult(action="accept", content={"yes": False})


@pytest.fixture
def careful(studio: Studio) -> Studio:
    return cast("Studio", Careful(studio))


@both_eras
async def test_every_question_is_asked_once_and_then_the_picture_is_drawn(careful: Studio, easel: Easel, mode: Mode) -> None:
    person = Person([YES, YES])
    async with Client(build_server(careful), mode=mode, elicitation_callback=person) as client:
        answer = await client.call_tool("generate_image", {"prompt": "a cat"})
    assert not answer.is_error
    assert len(body(answer)["images"]) == 1
    assert person.asked == list(QUESTIONS)
    assert len(easel.asked) == 1


@both_eras
@pytest.mark.parametrize(
    "answer",
    [
        NO,
        types.ElicitResult(action="accept", content={}),
        types.ElicitResult(action="accept", content={"yes": "true"}),
        types.ElicitResult(action="decline"),
        types.ElicitResult(action="cancel"),
    ],
    ids=["no", "nothing", "not a yes", "declined", "cancelled"],
)
async def test_anything_but_a_yes_is_a_no(careful: Studio, easel: Easel, mode: Mode, answer: types.ElicitResult) -> None:
    person = Person([YES, answer])
    async with Client(build_server(careful), mode=mode, elicitation_callback=person) as client:
        refused = await client.call_tool("generate_image", {"prompt": "a cat"})
    assert refused.is_error
    assert body(refused)["error"]["code"] == "declined"
    assert person.asked == list(QUESTIONS)
    assert easel.asked == []


async def test_a_client_that_cannot_put_the_question_after_all_has_said_no(careful: Studio, easel: Easel) -> None:
    person = Person([types.ErrorData(code=types.INTERNAL_ERROR, message="no window")])
    async with Client(build_server(careful), mode="legacy", elicitation_callback=person) as client:
        assert body(await client.call_tool("generate_image", {"prompt": "a cat"}))["error"]["code"] == "declined"
    assert easel.asked == []


@both_eras
async def test_who_has_no_way_to_ask_is_not_asked(careful: Studio, mode: Mode) -> None:
    async with Client(build_server(careful), mode=mode) as client:
        assert body(await client.call_tool("generate_image", {"prompt": "a cat"}))["error"]["code"] == "nobody_to_ask"


async def test_a_yes_holds_for_the_call_it_was_given_for(careful: Studio, easel: Easel) -> None:
    """And an answer to a question that was not asked is none."""
    yes = {"answer": YES}
    async with Client(build_server(careful), elicitation_callback=Person([])) as client:

        async def call(prompt: str, **more: Any) -> types.CallToolResult | types.InputRequiredResult:
            result = await client.session.call_tool("generate_image", {"prompt": prompt}, allow_input_required=True, **more)
            assert isinstance(result, types.CallToolResult | types.InputRequiredResult)
            return result

        first = await call("a cat", input_responses=yes)
        assert isinstance(first, types.InputRequiredResult)
        state = first.request_state
        assert state is not None
        assert QUESTIONS[0] not in state
        for prompt, seal in (("a tiger", state), ("a cat", state[:-4] + "AAAA")):
            with pytest.raises(MCPError, match="Invalid or expired requestState"):
                await call(prompt, input_responses=yes, request_state=seal)
        again = await call("a cat", request_state=state)
        assert isinstance(again, types.InputRequiredResult)
        second = await call("a cat", input_responses=yes, request_state=state)
        assert isinstance(second, types.InputRequiredResult)
        done = await call("a cat", input_responses=yes, request_state=second.request_state)
        assert isinstance(done, types.CallToolResult)
        assert len(body(done)["images"]) == 1
    assert len(easel.asked) == 1


@pytest.mark.parametrize(
    ("mode", "sessions", "asked"),
    [("legacy", "true", list(QUESTIONS)), ("auto", "true", list(QUESTIONS)), ("auto", "false", list(QUESTIONS)), ("legacy", "false", [])],
)
async def test_over_http_a_question_needs_a_session_or_the_newer_protocol(tmp_path: Path, mode: Mode, sessions: str, asked: list[str]) -> None:
    person = Person([YES, YES])
    settings = {"MCP_ENABLE_SESSIONS": sessions, "MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with studio_with({"easel": Easel()}, settings) as studio, anyio.create_task_group() as tasks:
            server = web_server(cast("Studio", Careful(studio)))
            tasks.start_soon(lambda: server.serve(sockets=[listener]))
            with anyio.fail_after(60):
                while not server.started:
                    await anyio.sleep(0.01)
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
                async with Client(url, mode=mode, elicitation_callback=person) as client:
                    answer = await client.call_tool("generate_image", {"prompt": "a cat"})
            server.should_exit = True
    assert person.asked == asked
    assert (body(answer)["error"] or {}).get("code") == (None if asked else "nobody_to_ask")
