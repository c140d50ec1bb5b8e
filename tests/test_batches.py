"""Many pictures at once: lists of rows, jobs entered together, what becomes of them, and the surfaces that ask for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, types
from PIL import Image as Pillow
from typer.testing import CliRunner

from mcp_image_server.batches import Batch, Item, Row, Written, batch_id, expand, is_batch_id, read_rows
from mcp_image_server.errors import LimitError, NotFoundError, ProviderError, RefusedError, RequestError
from mcp_image_server.models import Caller, Generated, Headway, ImageRequest, JobState, Limits, Waiting
from mcp_image_server.policy.line import turns
from mcp_image_server.providers import Context
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.cli import app
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with
from tests.easel import Easel, Gate, draw

pytestmark = pytest.mark.anyio

ME = Caller()
SOON = 60.0


# Rows -----------------------------------------------------------------------------------------------------------------------------------------


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


FOX = {"prompt": "a fox, red", "seed": 3, "resolution": "16:9", "options": {"steps": 30}}
CAT = {"prompt": "两只猫", "resolution": "64x64", "poll_backoff": False}
LISTS = {
    "list.csv": '\ufeffPrompt,seed,resolution,options,poll_backoff\n"a fox, red",3,16:9,"{""steps"": 30}",\n,,,,\n两只猫,,64x64,,no\n',
    "semicolons.csv": 'prompt;seed;resolution;options;poll_backoff\na fox, red;3;16:9;"{""steps"": 30}";\n;;;;\n两只猫;;64x64;;false\n',
    "list.jsonl": f"{json.dumps({**FOX, 'style': None})}\n\n\n{json.dumps(CAT)}\n",
    "list.yaml": "- {prompt: 'a fox, red', seed: 3, resolution: 16:9, options: {steps: 30}}\n# more\n\n- prompt: 两只猫\n  resolution: 64x64\n  poll_backoff: false\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_every_kind_of_list_says_the_same(tmp_path: Path, name: str) -> None:
    items = expand(read_rows(written(tmp_path, name, LISTS[name])))
    assert items == [Item(arguments=FOX, place="line 1" if name.endswith(("yaml", "jsonl")) else "line 2"), Item(arguments=CAT, place="line 4")]


def test_a_prompt_alone_is_a_row_and_a_cell_may_have_lines(tmp_path: Path) -> None:
    for name, text in (("a.txt", "a fox\n\na cat\n"), ("a.jsonl", '"a fox"\n\n"a cat"'), ("a.yaml", "- a fox\n\n- a cat")):
        assert expand(read_rows(written(tmp_path, name, text))) == [
            Item(arguments={"prompt": "a fox"}, place="line 1"),
            Item(arguments={"prompt": "a cat"}, place="line 3"),
        ]
    table = 'prompt,seed\n"a fox\nin the snow",1\na cat,2\n'
    assert [(item.place, item.arguments["prompt"]) for item in expand(read_rows(written(tmp_path, "a.csv", table)))] == [
        ("line 2", "a fox\nin the snow"),
        ("line 4", "a cat"),
    ]


def test_names_in_yaml_are_text_however_deep(tmp_path: Path) -> None:
    (item,) = expand(read_rows(written(tmp_path, "a.yaml", "- {prompt: a, options: {b: {1: c, d: 2}}}")))
    assert item.arguments["options"] == {"b": {"1": "c", "d": 2}}
    assert batch_id("me", [item]) == batch_id("me", [item])


def test_plain_values_of_yaml_are_what_they_look_like(tmp_path: Path) -> None:
    text = "- {prompt: no, style: 2024-01-31, quality: on, seed: 7, resolution: 10:16, model: 1e3, options: {a: 0.5, b: true, c: 007}}"
    (item,) = expand(read_rows(written(tmp_path, "a.yml", text)))
    assert item.arguments == {
        "prompt": "no",
        "style": "2024-01-31",
        "quality": "on",
        "seed": 7,
        "resolution": "10:16",
        "model": "1000.0",
        "options": {"a": 0.5, "b": True, "c": "007"},
    }


def test_rows_times_models_times_n_with_seeds_that_count_on() -> None:
    rows = [Written(place="line 1", value={"prompt": "a", "seed": 5}), Written(place="line 2", value={"prompt": "b", "model": "own/one", "n": 1})]
    items = expand(rows, models=["openai/gpt-image-2", "modelscope/Qwen/Qwen-Image"], n=2)
    assert [item.arguments for item in items] == [
        {"prompt": "a", "seed": 5, "model": "openai/gpt-image-2"},
        {"prompt": "a", "seed": 6, "model": "openai/gpt-image-2"},
        {"prompt": "a", "seed": 5, "model": "modelscope/Qwen/Qwen-Image"},
        {"prompt": "a", "seed": 6, "model": "modelscope/Qwen/Qwen-Image"},
        {"prompt": "b", "model": "own/one"},
    ]


def test_each_copy_has_a_name_of_its_own() -> None:
    rows = [
        Written(place="line 1", value={"prompt": "a", "output_filename": "a.webp", "n": 2}),
        Written(place="line 2", value={"prompt": "b", "output_dir": "x"}),
    ]
    assert [item.arguments["output_filename"] for item in expand(rows)] == ["a.webp", "a-2.webp", "0003.png"]
    same = [Written(place=f"line {number}", value={"prompt": "a", "output_filename": "a.png"}) for number in (1, 2)]
    with pytest.raises(RequestError, match="line 2: output_filename: its copy would overwrite that of line 1"):
        expand(same)


def test_a_batch_has_an_end() -> None:
    rows = [Written(place=f"line {number}", value={"prompt": "a", "n": 100}) for number in range(1, 52)]
    assert len(expand(rows[:50])) == 5000
    with pytest.raises(RequestError, match="These are 5,100 pictures; divide the list"):
        expand(rows)


def test_all_that_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    text = "prompt,seed,n,colour\na,-1,1,\n,7,,\nc,x,1000,red\nd,,,,beyond\ne,1,1,\n"
    with pytest.raises(RequestError) as caught:
        expand(read_rows(written(tmp_path, "a.csv", text)))
    assert caught.value.code == "invalid_rows"
    assert "4 rows cannot be drawn, and nothing was sent." in caught.value.message
    assert [(row["place"], row["message"].partition(" ")[0]) for row in caught.value.details["rows"]] == [
        ("line 2", "seed:"),
        ("line 3", "there"),
        ("line 4", "n:"),
        ("line 4", "seed:"),
        ("line 4", "colour"),
        ("line 5", "a"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": \n[1]\n', "line 2: this is no JSON"),
        ("b.jsonl", "[1]\n", "line 1: this is neither a prompt nor an object"),
        ("a.yaml", "- a\n- 'b\n", "line 3: this is no YAML"),
        ("c.yaml", "- prompt: a\n  seed: 1\n  prompt: b\n", "line 1: this is no YAML: prompt stands there twice"),
        ("d.yaml", "- a\n- {prompt: b, options: {c: !!timestamp 2030-01-01}}\n", "line 2: this holds something else"),
        ("e.yaml", "- {prompt: b, options: {[a]: c}}\n", "line 1: this"),
        ("c.jsonl", '{"prompt": "a", "prompt": "b"}\n', "line 1: prompt stands there twice"),
        ("b.yaml", "prompt: a\n", "begin each row with"),
        ("a.txt", "\n", "There is nothing to draw"),
        ("a.csv", "", "There is nothing to draw"),
        ("b.csv", 'prompt,seed\n"a fox,1\na cat,2\n', "line 2: this is no table"),
        ("c.csv", "prompt,seed,Prompt \na fox,1,a cat\n", "line 1: several columns are called prompt"),
        ("a.docx", "", "ends in one of .csv"),
    ],
)
def test_a_list_that_cannot_be_read_says_why(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        expand(read_rows(written(tmp_path, name, text)))


def test_a_file_that_is_not_there_or_not_in_utf_8_says_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "old.csv").write_bytes("prompt\nein Bär".encode("latin-1"))
    with pytest.raises(RequestError, match="not written in UTF-8"):
        read_rows(tmp_path / "old.csv")


async def test_a_row_takes_what_generate_image_takes(studio: Studio) -> None:
    async with Client(build_server(studio)) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    of_the_call = {"wait_seconds", "dry_run", "idempotency_key", "fresh", "rerun_of", "improve"}
    arguments = set(tools["generate_image"].input_schema["properties"])
    assert set(Row.model_fields) - {"economy"} == arguments - of_the_call


def test_a_batch_is_named_by_who_asks_for_what() -> None:
    items = expand([Written(place="line 1", value="a"), Written(place="line 2", value="b")])
    moved = expand([Written(place="line 1", value={"prompt": "a", "style": ""}), Written(place="line 7", value="b")])
    assert batch_id("me", items) == batch_id("me", moved)
    others = [batch_id("you", items), batch_id("me", items[::-1]), batch_id("me", items, new=True), batch_id("me", items, new=True)]
    assert len({batch_id("me", items), *others}) == 5
    assert all(map(is_batch_id, others))


# Jobs -----------------------------------------------------------------------------------------------------------------------------------------


def items_of(*prompts: str, **arguments: Any) -> list[Item]:
    return expand(Written(place=f"line {number}", value={"prompt": prompt, **arguments}) for number, prompt in enumerate(prompts, 1))


def settled(batch: Batch) -> list[tuple[str, str]]:
    """State of each item, and the code of its failure."""
    return [(str(piece.job.state), piece.job.failure.code if piece.job.failure else "") for piece in batch.pieces]


Opening = Callable[..., AbstractAsyncContextManager[Studio]]


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    """Opens studios on the same folders."""
    folders = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}

    def open_one(easel: Easel, settings: Mapping[str, str] | None = None) -> AbstractAsyncContextManager[Studio]:
        return studio_with({"easel": easel}, {**folders, **(settings or {})})

    return open_one


async def test_a_batch_draws_every_item_and_then_a_contact_sheet_for_nothing(studio: Studio, easel: Easel) -> None:
    seen: list[Headway] = []

    async def watch(headway: Headway) -> None:
        seen.append(headway)

    batch = await studio.batches.begin(ME, items_of("a", "b", "c"), wait_seconds=SOON, watch=watch)
    assert (batch.state, settled(batch)) == ("succeeded", [("succeeded", "")] * 3)
    assert [piece.job.request.prompt for piece in batch.pieces] == ["a", "b", "c"]
    assert seen[-1] == batch.headway == Headway(items=3, succeeded=3, progress=1.0)
    assert [headway.progress for headway in seen] == sorted(headway.progress for headway in seen)
    assert batch.sheet is not None
    assert batch.sheet.prompt == f"Contact sheet of {batch.id}: 3 pictures"
    assert batch.sheet.parents == tuple(image.id for image in batch.images)
    with Pillow.open(BytesIO(await studio.images.read(batch.sheet))) as sheet:
        assert (sheet.format, sheet.size) == ("JPEG", (batch.sheet.size.width, batch.sheet.size.height))
    assert await studio.spent(ME) == {}
    assert (await studio.upkeep.verify(ME)).ok


async def test_the_same_batch_again_finds_its_jobs_and_sends_nothing(studio: Studio, easel: Easel) -> None:
    items = items_of("a", "b")
    first = await studio.batches.begin(ME, items, wait_seconds=SOON)
    assert await studio.batches.begin(ME, items, wait_seconds=SOON) == first
    assert len(easel.asked) == 2
    anew = await studio.batches.begin(ME, items, new=True, wait_seconds=SOON)
    assert anew.id != first.id
    assert len(easel.asked) == 4


async def test_batches_are_begun_only_once_however_many_ask_at_the_same_moment(opening: Opening) -> None:
    easel = Easel()
    items = items_of(*"abcdef")
    found = []
    async with opening(easel) as one, opening(easel) as other, anyio.create_task_group() as tasks:

        async def begin(studio: Studio) -> None:
            found.append(await studio.batches.begin(ME, items, wait_seconds=SOON))

        for studio in (one, other, one, other):
            tasks.start_soon(begin, studio)
    assert len({(batch.id, batch.sheet and batch.sheet.id, batch.images) for batch in found}) == 1
    assert sorted(request.prompt for request in easel.asked) == list("abcdef")


async def test_what_cannot_be_drawn_is_named_before_anything_is_sent(studio: Studio, easel: Easel) -> None:
    items = [*items_of("a"), *items_of("b", model="easel/none"), *items_of("c", resolution="huge")]
    with pytest.raises(RequestError) as caught:
        await studio.batches.begin(ME, items)
    assert [row["message"].partition(".")[0] for row in caught.value.details["rows"]] == [
        "easel has no model 'none'",
        "'huge' is no size; write WIDTHxHEIGHT such as 1024x768, a ratio such as 16:9, or auto",
    ]
    assert (easel.asked, await studio.jobs(ME)) == ([], [])


async def test_a_template_makes_the_prompts_of_rows(studio: Studio, easel: Easel) -> None:
    key, template = next(iter((await studio.library.templates(ME)).items()))
    wanted = {variable.name: "red" for variable in template.variables if variable.kind == "string"}
    items = expand([Written(place="line 1", value={"template": key, "variables": wanted}), Written(place="line 2", value={"prompt": "b"})])
    batch = await studio.batches.begin(ME, items, wait_seconds=SOON)
    assert batch.state == "succeeded"
    assert [piece.prompt for piece in batch.pieces] == [template.filled(wanted).prompt, "b"]
    assert {request.prompt for request in easel.asked} == {piece.prompt for piece in batch.pieces}
    with pytest.raises(RequestError, match="line 1: "):
        await studio.batches.begin(ME, expand([Written(place="line 1", value={"template": "none of them"})]))


async def test_a_sheet_in_the_trash_is_not_made_again(studio: Studio) -> None:
    items = items_of("a", "b")
    sheet = (await studio.batches.begin(ME, items, wait_seconds=SOON)).sheet
    assert sheet is not None
    await studio.images.manage(ME, [sheet.id], "delete")
    assert (await studio.batches.begin(ME, items, wait_seconds=SOON)).sheet is None
    assert len(await studio.jobs(ME)) == 3


async def test_somebody_elses_batch_is_not_there(studio: Studio) -> None:
    batch = await studio.batches.begin(ME, items_of("a"), wait_seconds=SOON)
    stranger = Caller(principal="somebody", roles=frozenset())
    with pytest.raises(NotFoundError, match="There is no batch"):
        await studio.batches.status(stranger, batch.id)
    with pytest.raises(NotFoundError):
        await studio.batches.cancel(stranger, batch.id)
    assert (await studio.batches.begin(stranger, items_of("a"), wait_seconds=SOON)).id != batch.id


# Money ----------------------------------------------------------------------------------------------------------------------------------------

PRICED = {"MCP_PRICES": '{"easel": 0.01}'}


async def test_there_is_money_for_all_or_nothing_is_entered(opening: Opening) -> None:
    easel = Easel()
    async with opening(easel, {**PRICED, "MCP_BUDGET_DAY": "0.05"}) as studio:
        six = items_of(*"abcdef")
        assert (await studio.batches.estimate(ME, six)).objection is not None
        with pytest.raises(LimitError, match=r"about 0\.06 USD") as caught:
            await studio.batches.begin(ME, six)
        assert (caught.value.code, easel.asked, await studio.jobs(ME)) == ("budget_exceeded", [], [])
        batch = await studio.batches.begin(ME, six[:5], wait_seconds=SOON)
        assert (batch.state, batch.headway.spent) == ("succeeded", {"USD": 50_000})
        assert (await studio.batches.begin(ME, six[:5], wait_seconds=SOON)).state == "succeeded"  # nothing is entered, so nothing is asked for
    async with opening(easel, {"MCP_BUDGET_DAY": "0.05"}) as studio:
        with pytest.raises(LimitError, match="Nobody knows what easel/easel-1 costs"):
            await studio.batches.begin(ME, items_of("x", "y"))


async def test_a_person_is_asked_once_for_the_whole(opening: Opening) -> None:
    easel = Easel()
    asked: list[str] = []
    answers = [False, True]

    async def ask(question: str) -> bool:
        asked.append(question)
        return answers.pop(0)

    async with opening(easel, {**PRICED, "MCP_CONFIRM_ABOVE": "0.02"}) as studio:
        items = items_of("a", "b", "c")
        estimate = await studio.batches.estimate(ME, items)
        assert (estimate.bill.costs, estimate.bill.unknown) == ({"USD": 30_000}, ())
        assert (estimate.needs_confirmation, estimate.bill.worth, estimate.bill.by_model) == (True, 30_000, {"easel/easel-1": 3})
        with pytest.raises(LimitError, match="The person said no"):
            await studio.batches.begin(Caller(ask=ask), items)
        assert (easel.asked, await studio.jobs(ME)) == ([], [])
        await studio.batches.begin(Caller(ask=ask), items, wait_seconds=SOON)
        await studio.batches.begin(ME, items, wait_seconds=SOON)
        assert asked == ["Drawing 3 pictures with easel/easel-1 costs about 0.03 USD. Draw?"] * 2
        await studio.batches.begin(ME, items_of("d", "e"), wait_seconds=SOON)  # not above


# What goes wrong ------------------------------------------------------------------------------------------------------------------------------


class Moody:
    """Refuses `no`, loses `lost` on the way, both until it is in a better mood."""

    def __init__(self) -> None:
        self.good = False

    async def __call__(self, request: ImageRequest, context: Context) -> Generated:
        if not self.good and request.prompt == "no":
            raise RefusedError("easel says no.", provider="easel", not_accepted=True)
        if not self.good and request.prompt == "lost":
            raise ProviderError("easel has hung up.", provider="easel", may_have_been_billed=True)
        return draw(request)


async def test_what_failed_is_told_apart_and_entered_anew_as_wished(opening: Opening) -> None:
    mood = Moody()
    easel = Easel(work=mood)
    async with opening(easel, PRICED) as studio:
        items = items_of("yes", "no", "lost", "yes")
        batch = await studio.batches.begin(ME, items, wait_seconds=SOON)
        assert settled(batch) == [("succeeded", ""), ("failed", "refused"), ("failed", "provider_error"), ("succeeded", "")]
        assert (batch.state, batch.headway.spent, batch.headway.perhaps) == ("incomplete", {"USD": 30_000}, {"USD": 10_000})
        first_sheet = batch.sheet
        assert first_sheet is not None
        assert len(first_sheet.parents) == 2
        mood.good = True
        assert settled(await studio.batches.begin(ME, items, wait_seconds=SOON)) == settled(batch)
        batch = await studio.batches.retry(ME, batch.id, failed=True, wait_seconds=SOON)
        assert settled(batch) == [("succeeded", ""), ("succeeded", ""), ("failed", "provider_error"), ("succeeded", "")]
        batch = await studio.batches.retry(ME, batch.id, maybe_billed=True, wait_seconds=SOON)
        assert (batch.state, [piece.tries for piece in batch.pieces]) == ("succeeded", [1, 2, 2, 1])
        assert batch.sheet is not None
        assert len(batch.sheet.parents) == 4
        assert [request.prompt for request in easel.asked][4:] == ["no", "lost"]
        assert await studio.batches.retry(ME, batch.id, failed=True, maybe_billed=True, wait_seconds=SOON) == batch


async def test_a_batch_that_is_cancelled_ends_and_can_be_gone_on_with(opening: Opening) -> None:
    gate = Gate()
    easel = Easel(work=gate, limits=Limits(concurrent=2))
    async with opening(easel) as studio:
        batch = await studio.batches.begin(ME, items_of(*"abcdef"), wait_seconds=0)
        await easel.started.wait()
        assert batch.state == "running"
        batch = await studio.batches.cancel(ME, batch.id)
        assert [str(piece.job.state) for piece in batch.pieces] == ["cancelled"] * 6
        billed = sum(piece.may_have_been_billed for piece in batch.pieces)
        gate.opened.set()
        batch = await studio.batches.retry(ME, batch.id, failed=True, wait_seconds=SOON)
        assert (batch.headway.succeeded, batch.headway.failed) == (6 - billed, billed)
        assert (await studio.batches.retry(ME, batch.id, maybe_billed=True, wait_seconds=SOON)).state == "succeeded"


async def test_another_process_cancels_what_this_one_has_in_line(opening: Opening) -> None:
    easel = Easel(work=Gate(), limits=Limits(concurrent=1))
    async with opening(easel) as one, opening(Easel()) as other:
        batch = await one.batches.begin(ME, items_of("a", "b", "c"), wait_seconds=0)
        await easel.started.wait()
        await other.batches.cancel(ME, batch.id)
        assert (await one.batches.status(ME, batch.id, wait_seconds=SOON)).headway == Headway(items=3, failed=3, progress=1.0)
        assert [request.prompt for request in easel.asked] == ["a"]


async def test_a_long_line_is_no_reason_to_end_for_want_of_time(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mcp_image_server.jobs.jobs.monotonic", lambda: now)

    async def slow(request: ImageRequest, context: Context) -> Generated:
        nonlocal now
        now += 20
        return draw(request)

    async with opening(Easel(work=slow, limits=Limits(concurrent=1)), {"MCP_JOB_TIMEOUT": "60"}) as studio:
        batch = await studio.batches.begin(ME, items_of(*"abcdef"), wait_seconds=1000)
        assert batch.state == "succeeded", settled(batch)
    async with opening(Easel(work=Gate()), {"MCP_JOB_TIMEOUT": "0.3"}) as studio:
        batch = await studio.batches.begin(ME, items_of("g"), wait_seconds=SOON)
        assert settled(batch) == [("expired", "timeout")]


async def test_a_batch_that_a_server_left_behind_is_finished_by_the_next(opening: Opening) -> None:
    gate = Gate()
    easel = Easel(work=gate, repeatable=True, limits=Limits(concurrent=2))
    items = items_of(*"abcd")
    async with opening(easel) as studio:
        await studio.batches.begin(ME, items, wait_seconds=0)
        await easel.started.wait()
    gate.opened.set()
    async with opening(easel) as studio:
        batch = await studio.batches.begin(ME, items, wait_seconds=SOON)
        assert (batch.state, {piece.tries for piece in batch.pieces}) == ("succeeded", {1})


def test_what_was_asked_for_by_itself_goes_before_what_was_entered_together() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def waiting(name: str, minutes: int, *, principal: str = "me", batched: bool = False) -> Waiting:
        moment = noon + timedelta(minutes=minutes)
        return Waiting(job_id=name, principal=principal, owner="o", provider="p", model="m", pictures=1, created_at=moment, batched=batched)

    line = [waiting("b1", 0, batched=True), waiting("b2", 1, batched=True), waiting("single", 2), waiting("hers", 3, principal="she", batched=True)]
    assert [job.job_id for job in turns(line, {})] == ["single", "hers", "b1", "b2"]


async def test_a_single_picture_overtakes_a_batch_of_the_same_person(opening: Opening) -> None:
    gate = Gate()
    easel = Easel(work=gate, limits=Limits(concurrent=1))
    async with opening(easel, {"MCP_MAX_CONCURRENT_JOBS": "1"}) as studio:
        batch = await studio.batches.begin(ME, items_of(*(f"item {number}" for number in range(10))), wait_seconds=0)
        await easel.started.wait()
        job = await studio.generate(ME, ImageRequest(prompt="now"), wait_seconds=0)
        gate.opened.set()
        assert (await studio.job(ME, job.id, wait_seconds=SOON)).state is JobState.SUCCEEDED
        assert [request.prompt for request in easel.asked].index("now") <= 2
        assert (await studio.batches.status(ME, batch.id, wait_seconds=SOON)).state == "succeeded"


# Surfaces -------------------------------------------------------------------------------------------------------------------------------------


def body(result: types.CallToolResult) -> dict[str, Any]:
    first = result.content[0]
    assert isinstance(first, types.TextContent)
    value = json.loads(first.text)
    assert isinstance(value, dict)
    return value


async def test_the_tool_begins_waits_retries_and_cancels(opening: Opening) -> None:
    mood = Moody()
    async with opening(Easel(work=mood), {"MCP_TOOLSET": "full"}) as studio, Client(build_server(studio)) as client:

        async def call(**arguments: Any) -> types.CallToolResult:
            return await client.call_tool("generate_batch", {"wait_seconds": SOON, **arguments})

        plan = body(await call(prompts=["yes", "no"], n=2, dry_run=True))["plan"]
        assert (plan["pictures"], plan["by_model"]) == (4, {"easel/easel-1": 4})
        begun = body(await call(items=[{"prompt": "yes", "seed": 1}, {"prompt": "no"}, {"prompt": "yes"}], wait_seconds=0))
        assert (begun["batch"]["state"], begun["batch"]["total"]) == ("running", 3)
        assert begun["batch"]["id"] in begun["next"]
        result = await call(batch_id=begun["batch"]["id"])
        answer = body(result)
        assert (answer["ok"], answer["error"]["code"], answer["batch"]["state"], result.is_error) == (False, "incomplete", "incomplete", False)
        assert [(item["number"], item["place"], item["state"]) for item in answer["batch"]["items"]] == [
            (2, "item 2", "failed"),
            (1, "item 1", "succeeded"),
            (3, "item 3", "succeeded"),
        ]
        assert answer["batch"]["items"][0]["error"]["code"] == "refused"
        assert [block.type for block in result.content] == ["text", "image", "resource_link"]
        mood.good = True
        again = body(await call(batch_id=begun["batch"]["id"], retry="failed"))
        assert (again["ok"], again["batch"]["state"], again["images"][0]["provider"]) == (True, "succeeded", "transform")
        assert body(await call(batch_id=begun["batch"]["id"], cancel=True))["batch"]["state"] == "succeeded"
        assert body(await call(batch_id="batch-0123456789abcdef"))["error"]["code"] == "batch_not_found"
        assert "Name prompts or items" in body(await call())["error"]["message"]
        assert body(await call(items=[{"prompt": "a", "colour": 1}]))["error"]["details"]["rows"][0]["place"] == "item 1"


def cli(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ("batch", *words), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in words or "--estimate" in words else " ".join(result.output.split())


def test_the_command_draws_a_list_and_goes_on_where_it_was(tmp_path: Path) -> None:
    table = written(tmp_path, "list.csv", "prompt,resolution,seed\na boat,64x64,\na fox,64x64,5\n")
    assert cli(str(table), "-n", "2", "--estimate")["by_model"] == {"sketch/sketch-1": 4}
    drawn = cli(str(table), "-n", "2", "--json", "-o", str(tmp_path / "out"))
    assert (drawn["ok"], drawn["batch"]["succeeded"], [item["place"] for item in drawn["batch"]["items"]]) == (
        True,
        4,
        ["line 2", "line 2", "line 3", "line 3"],
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(Path(path).name for path in drawn["copies"])
    assert len(drawn["copies"]) == 5
    again = cli(str(table), "-n", "2", "--json")
    assert [item["job_id"] for item in again["batch"]["items"]] == [item["job_id"] for item in drawn["batch"]["items"]]
    words = cli(drawn["batch"]["id"])
    assert f"{drawn['batch']['id']}: 4 of 4 drawn." in words
    assert "Contact sheet: " in words


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    table = written(tmp_path, "list.csv", "prompt,resolution\na boat,nonsense\n,64x64\n")
    assert "line 3: there is no prompt." in cli(str(table), code=2)
    assert "There is no batch" in cli("batch-0123456789abcdef", code=2)
    assert "are for a list" in cli("batch-0123456789abcdef", "--new", code=2)
    assert "cannot be read" in cli(str(tmp_path / "none.csv"), "--cancel", code=2)
