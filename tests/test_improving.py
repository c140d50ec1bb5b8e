"""A chat model writes prompts anew, where the operator names one; without it, or when it fails, they stay as they are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mcp import Client

from mcp_image_server import improving
from mcp_image_server.errors import ConfigError, LimitError
from mcp_image_server.models import Caller, ImageRequest, Job, Operation, Picture, Size
from mcp_image_server.pictures import read_provenance
from mcp_image_server.settings import Settings, parse
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with
from tests.easel import MODEL, Easel, Gate
from tests.fakes.chat import FakeChat, Trouble

pytestmark = pytest.mark.anyio

ME = Caller()
FOX = ImageRequest(prompt="a red fox")
BETTER = "a red fox, seen from far away in the last light"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeChat]:
    with FakeChat() as fake:
        yield fake


@pytest.fixture
def chat(server: FakeChat) -> FakeChat:
    server.seen.clear()
    server.trouble.clear()
    return server


@asynccontextmanager
async def opened(easel: Easel, folder: Path, **settings: str) -> AsyncIterator[Studio]:
    folders = {"MCP_DATA_DIR": str(folder / "data"), "MCP_IMAGE_SAVE_DIR": str(folder / "pictures")}
    async with studio_with({"easel": easel}, {**folders, **settings}) as studio:
        yield studio


def words(job: Job, field: str) -> list[str]:
    return [adjustment.message for adjustment in job.adjustments if adjustment.field == field]


async def test_the_better_prompt_is_drawn_and_the_original_is_kept(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    async with opened(easel, tmp_path, **chat.settings) as studio:
        job = await studio.generate(ME, FOX, improve=True)
        [kept] = await studio.jobs(ME)
        data = await studio.images.read(job.images[0])
    assert (easel.asked[0].prompt, easel.asked[0].original_prompt) == (BETTER, "a red fox")
    assert (kept.request.prompt, kept.request.original_prompt) == (BETTER, "a red fox")
    assert words(job, "prompt") == [f"The chat model wordsmith-1 wrote the prompt anew: {BETTER}"]
    found = read_provenance(data)
    assert (found["prompt"], found["original_prompt"]) == (BETTER, "a red fox")
    [seen] = chat.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", "/v1/chat/completions", f"Bearer {chat.key}")
    system, user = seen.json()["messages"]
    assert (seen.json()["model"], system["role"], user) == ("wordsmith-1", "system", {"role": "user", "content": "a red fox"})
    assert "at most 2000 characters" in system["content"]


async def test_the_style_is_written_behind_the_better_prompt(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    async with opened(easel, tmp_path, **chat.settings) as studio:
        await studio.generate(ME, ImageRequest(prompt="a red fox", style="ink"), improve=True)
    assert easel.asked[0].prompt == f"{BETTER}, ink wash"
    assert easel.asked[0].original_prompt == "a red fox"


async def test_nobody_is_asked_unless_a_call_or_the_operator_wants_it(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    async with opened(easel, tmp_path, **chat.settings) as studio:
        await studio.generate(ME, FOX)
    async with opened(easel, tmp_path, **chat.settings, MCP_IMPROVE="always") as studio:
        await studio.generate(ME, FOX, improve=False)
        assert chat.seen == []
        await studio.generate(ME, FOX)
    assert [request.prompt for request in easel.asked] == ["a red fox", "a red fox", BETTER]


async def test_only_a_prompt_that_a_picture_is_drawn_from_is_improved_and_only_once(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    async with opened(easel, tmp_path, **chat.settings, MCP_IMPROVE="always") as studio:
        job = await studio.generate(ME, FOX)
        await studio.generate(ME, await studio.again(ME, job.images[0].id))
        assert len(chat.seen) == 1
        assert (easel.asked[1].prompt, easel.asked[1].original_prompt) == (BETTER, "a red fox")
        await studio.generate(ME, await studio.again(ME, job.images[0].id, prompt="a grey wolf"))
    assert easel.asked[2].original_prompt == "a grey wolf"


async def test_what_is_to_be_changed_about_a_picture_stays_in_the_callers_words(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    edits = replace(MODEL, operations=frozenset({Operation.EDIT}), max_images=1)
    easel.catalogue = replace(easel.catalogue, models=(edits,))
    picture = Picture(data=b"", media_type="image/png", size=Size(width=8, height=8))
    async with opened(easel, tmp_path, **chat.settings, MCP_IMPROVE="always") as studio:
        plan = (await studio.estimate(ME, replace(FOX, images=(picture,)), improve=True)).plan
    assert (plan.adjustments, chat.seen) == ((), [])


async def test_without_a_chat_model_a_call_that_wants_one_is_told_so(studio: Studio, easel: Easel) -> None:
    job = await studio.generate(ME, FOX, improve=True)
    assert words(job, "improve") == ["No chat model is there to improve prompts (the operator sets MCP_IMPROVE_URL)."]
    assert easel.asked[0].prompt == "a red fox"


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Trouble.NO_WORDS, "answered without words"),
        (Trouble.NO_CHOICES, "answered without words"),
        (Trouble.CUT_OFF, "ended in the middle (length)"),
        (Trouble.TOO_LONG, "wrote 4999 characters, and there is room for 2000"),
        (Trouble.KEY_ECHO, "failed: The chat model answered 400: Bad header Bearer ***"),
        (Trouble.BROKEN, "failed: The chat model answered 500: The server had an error. Try again later, or use another provider"),
    ],
)
async def test_when_it_fails_the_prompt_is_drawn_as_it_was_written(
    easel: Easel, chat: FakeChat, tmp_path: Path, trouble: Trouble, reason: str
) -> None:
    chat.trouble.append(trouble)
    async with opened(easel, tmp_path, **chat.settings) as studio:
        job = await studio.generate(ME, FOX, improve=True)
    assert words(job, "prompt") == [f"The prompt stayed as it was: the chat model wordsmith-1 {reason}."]
    assert (easel.asked[0].prompt, easel.asked[0].original_prompt) == ("a red fox", None)


async def test_it_is_not_waited_for_longer_than_a_picture_can_bear(
    easel: Easel, chat: FakeChat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(improving, "PATIENCE", 0.2)
    chat.trouble.append(Trouble.SILENT)
    async with opened(easel, tmp_path, **chat.settings) as studio:
        job = await studio.generate(ME, FOX, improve=True)
    assert words(job, "prompt") == ["The prompt stayed as it was: the chat model wordsmith-1 did not answer within 0.2 seconds."]
    assert len(job.images) == 1


@pytest.mark.parametrize("answer", ['"{prompt}!"', "“{prompt}!”", "<think>a fox, hm {prompt}</think>\n\n{prompt}!\n", " {prompt}! "])
async def test_only_the_prompt_itself_is_taken_from_the_answer(easel: Easel, tmp_path: Path, answer: str) -> None:
    with FakeChat(says=answer) as chat:
        async with opened(easel, tmp_path, **chat.settings) as studio:
            await studio.generate(ME, FOX, improve=True)
    assert easel.asked[0].prompt == "a red fox!"


async def test_a_dry_run_says_what_would_be_done_and_asks_nobody(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    async with opened(easel, tmp_path, **chat.settings) as studio:
        plan = (await studio.estimate(ME, FOX, improve=True)).plan
    assert plan.adjustments[0].message == "The chat model wordsmith-1 would write the prompt anew."
    assert (plan.request.prompt, chat.seen) == ("a red fox", [])


async def test_a_request_that_cannot_be_done_costs_no_words(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    async with opened(easel, tmp_path, **chat.settings) as studio:
        with pytest.raises(Exception, match="Style 'nonsense' is not known"):
            await studio.generate(ME, ImageRequest(prompt="a red fox", style="nonsense"), improve=True)
    assert chat.seen == []


@pytest.mark.parametrize(
    "limit", [{"MCP_BUDGET_PRINCIPAL_DAY": "0.01"}, {"MCP_CONFIRM_ABOVE": "0.01"}], ids=["no money is left", "nobody can be asked"]
)
async def test_what_would_be_refused_costs_no_words_either(easel: Easel, chat: FakeChat, tmp_path: Path, limit: dict[str, str]) -> None:
    async with opened(easel, tmp_path, **chat.settings, **limit, MCP_PRICES='{"easel": 0.05}') as studio:
        with pytest.raises(LimitError):
            await studio.generate(ME, FOX, improve=True)
    assert (easel.asked, chat.seen) == ([], [])


async def test_what_is_under_way_or_done_already_costs_no_words_again(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    """The second call is the first one, although there would be no money for a second picture."""
    money = {"MCP_BUDGET_PRINCIPAL_DAY": "0.06", "MCP_PRICES": '{"easel": 0.05}'}
    async with opened(easel, tmp_path, **chat.settings, **money) as studio:
        first = await studio.generate(ME, FOX, improve=True, idempotency_key="one")
        again = await studio.generate(ME, FOX, improve=True, idempotency_key="one")
    assert (again, len(chat.seen)) == (first, 1)


async def test_the_same_request_joins_the_job_under_way_although_its_words_came_out_differently(
    easel: Easel, chat: FakeChat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    easel.work = gate = Gate()
    async with opened(easel, tmp_path, **chat.settings, MCP_JOIN_AFTER="0") as studio:
        first = await studio.generate(ME, FOX, improve=True, wait_seconds=0)
        monkeypatch.setattr(chat, "says", "{prompt}, told in other words")
        second = await studio.generate(ME, FOX, improve=True, wait_seconds=0)
        plain = await studio.generate(ME, FOX, wait_seconds=0)
        gate.opened.set()
    assert second.id == first.id
    assert plain.id != first.id


async def test_the_tool_takes_the_wish(easel: Easel, chat: FakeChat, tmp_path: Path) -> None:
    async with opened(easel, tmp_path, **chat.settings) as studio, Client(build_server(studio)) as client:
        result = await client.call_tool("generate_image", {"prompt": "a red fox", "improve": True})
        assert not result.is_error
    assert easel.asked[0].prompt == BETTER
    assert BETTER in json.dumps(result.content[0].model_dump())


@pytest.mark.parametrize(("key", "ok"), [("", True), ("wrong-key-123", False)])
async def test_the_doctor_looks_whether_the_chat_model_is_there(easel: Easel, chat: FakeChat, tmp_path: Path, key: str, ok: bool) -> None:
    async with opened(easel, tmp_path, **{**chat.settings, "MCP_IMPROVE_KEY": key or chat.key}) as studio:
        found = {check.name: check async for check in studio.upkeep.doctor(ME)}["improve"]
    assert found.ok is ok
    assert ("MCP_IMPROVE_KEY" in found.words) is not ok


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MCP_IMPROVE_URL": "https://x.example/v1"}, "MCP_IMPROVE_URL and MCP_IMPROVE_MODEL belong together"),
        ({"MCP_IMPROVE_MODEL": "m"}, "MCP_IMPROVE_URL and MCP_IMPROVE_MODEL belong together"),
        ({"MCP_IMPROVE": "always"}, "mean nothing without MCP_IMPROVE_URL"),
        ({"MCP_IMPROVE_KEY": "sk-1234567"}, "mean nothing without MCP_IMPROVE_URL"),
        ({"MCP_IMPROVE": "sometimes"}, "MCP_IMPROVE"),
    ],
)
def test_half_a_setting_is_said(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(Settings, settings)
    assert "sk-1234567" not in str(caught.value)
