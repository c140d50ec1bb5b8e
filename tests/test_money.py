"""What pictures may cost, who is asked first, and who draws: as a caller of the studio, of the tool and of the command line meets it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, types
from typer.testing import CliRunner

from mcp_image_server.errors import AuthError, BadReplyError, LimitError, RefusedError
from mcp_image_server.models import Caller, Cost, Generated, ImageRequest, Job, JobState
from mcp_image_server.providers import Context
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.cli import app
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with
from tests.easel import CATALOGUE, MODEL, Easel, Gate, at_once
from tests.fakes.openai import FakeOpenAI

pytestmark = pytest.mark.anyio

ME = Caller()
PRICE = Cost(micros=40_000, currency="USD", source="list_price")
FOUR_CENTS = {"MCP_PRICES": '{"easel": 0.04, "board": 0.02}'}


@asynccontextmanager
async def shop(*easels: Easel, **settings: str) -> AsyncIterator[Studio]:
    """A studio whose easel takes four cents for a picture, and whose board takes two."""
    folders = {"MCP_DATA_DIR": str(Path.cwd() / "data"), "MCP_IMAGE_SAVE_DIR": str(Path.cwd() / "pictures")}
    async with studio_with({easel.name: easel for easel in easels}, {**folders, **FOUR_CENTS, **settings}) as studio:
        yield studio


def board() -> Easel:
    return Easel(name="board", account="board:account", catalogue=replace(CATALOGUE, provider="board", models=(replace(MODEL, provider="board"),)))


async def order(studio: Studio, prompt: str = "a cat", *, caller: Caller = ME, **wishes: Any) -> Job:
    return await studio.generate(caller, ImageRequest(prompt=prompt, **wishes), wait_seconds=20)


async def told(studio: Studio, **arguments: Any) -> dict[str, Any]:
    """The answer of the tool."""
    async with Client(build_server(studio)) as client:
        first = (await client.call_tool("generate_image", {"prompt": "a cat", **arguments})).content[0]
    assert isinstance(first, types.TextContent)
    answer = json.loads(first.text)
    assert isinstance(answer, dict)
    return answer


# ---------------------------------------------------------------------- budgets


async def test_a_budget_of_a_dollar_buys_exactly_25_pictures_however_many_ask_at_once() -> None:
    easel, ended, refused = Easel(), list[Job](), list[LimitError]()

    async def one(number: int) -> None:
        try:
            ended.append(await order(studio, f"cat {number}"))
        except LimitError as error:
            refused.append(error)

    async with shop(easel, MCP_BUDGET_DAY="1.00", MCP_MAX_CONCURRENT_JOBS="32") as studio:
        async with anyio.create_task_group() as tasks:
            for number in range(32):
                tasks.start_soon(one, number)
        assert [(job.state, job.cost) for job in ended] == [(JobState.SUCCEEDED, PRICE)] * 25
        assert len(easel.asked) == 25
        assert await studio.spent(ME) == {"USD": 1_000_000}
        with pytest.raises(LimitError) as caught:
            await order(studio, "one more")
    assert len(easel.asked) == 25
    assert {error.code for error in refused} == {"budget_exceeded"}
    assert caught.value.message == (
        "This costs about 0.04 USD, and of today's budget of 1.00 USD 0.00 USD is left. Nothing was sent. Try a cheaper model, or again tomorrow (UTC); "
        "the operator can raise MCP_BUDGET_DAY."
    )
    assert caught.value.details == {"limit": 1.0, "used": 1.0, "estimate": 0.04, "currency": "USD", "variable": "MCP_BUDGET_DAY"}


async def test_each_principal_has_a_budget_of_its_own() -> None:
    ann, bob = (Caller(principal=name, roles=frozenset()) for name in ("ann", "bob"))
    async with shop(Easel(), MCP_BUDGET_PRINCIPAL_DAY="0.08") as studio:
        for caller in (ann, bob, ann, bob):
            assert (await order(studio, caller=caller)).state is JobState.SUCCEEDED
        for caller in (ann, bob):
            with pytest.raises(LimitError, match=r"of your budget for today of 0\.08 USD 0\.00 USD is left.*MCP_BUDGET_PRINCIPAL_DAY"):
                await order(studio, caller=caller)
            assert await studio.spent(caller) == {"USD": 80_000}


@pytest.mark.parametrize("billed", [False, True])
async def test_a_job_that_failed_gives_its_money_back_unless_it_may_have_been_billed(billed: bool) -> None:
    async def fail(request: ImageRequest, context: Context) -> Generated:
        if billed:
            raise BadReplyError("Half a picture.", provider="easel", may_have_been_billed=True)
        raise RefusedError("No.", provider="easel", status=400)

    easel = Easel(work=fail)
    async with shop(easel, MCP_BUDGET_DAY="0.04") as studio:
        failed = await order(studio)
        assert (failed.state, failed.cost) == (JobState.FAILED, replace(PRICE, source="possible") if billed else None)
        easel.work = at_once
        if billed:
            with pytest.raises(LimitError, match="Nothing was sent"):
                await order(studio)
        else:
            assert (await order(studio)).state is JobState.SUCCEEDED


async def test_what_is_under_way_counts_as_spent_until_it_is_called_off() -> None:
    gate = Gate()
    easel = Easel(work=gate)
    async with shop(easel, MCP_BUDGET_DAY="0.20", MCP_LIMITS='{"easel": {"concurrent": 1}}') as studio:
        request = ImageRequest(prompt="four cats", count=4)
        await studio.generate(ME, request, wait_seconds=0)
        with anyio.fail_after(60):
            await easel.started.wait()
        waiting = await studio.generate(ME, ImageRequest(prompt="in line"), wait_seconds=0)
        with pytest.raises(LimitError, match="budget"):
            await order(studio)
        assert (await studio.cancel(ME, waiting.id)).state is JobState.CANCELLED
        gate.opened.set()
        assert (await order(studio)).state is JobState.SUCCEEDED
    assert len(easel.asked) == 2


# ---------------------------------------------------------------------- a person is asked


async def test_a_person_is_asked_before_what_costs_more_than_the_operator_says() -> None:
    questions: list[str] = []
    answers: list[bool] = []

    async def ask(question: str) -> bool:
        questions.append(question)
        return answers.pop(0)

    easel = Easel()
    careful = Caller(ask=ask)
    async with shop(easel, MCP_CONFIRM_ABOVE="0.05") as studio:
        assert (await order(studio, caller=careful)).state is JobState.SUCCEEDED
        assert questions == []
        answers[:] = [True, False]
        assert len((await order(studio, caller=careful, count=2)).images) == 2
        with pytest.raises(LimitError, match=r"The person said no\. Nothing was sent\.") as no:
            await order(studio, caller=careful, count=2)
        with pytest.raises(LimitError, match=r"this client cannot ask one.*MCP_CONFIRM_ABOVE") as nobody:
            await order(studio, count=2)
    assert questions == ["Drawing 2 pictures with easel/easel-1 costs about 0.08 USD. Draw?"] * 2
    assert (no.value.code, nobody.value.code) == ("declined", "confirmation_required")
    assert [request.count for request in easel.asked] == [1, 2]


async def test_a_price_that_nobody_knows_is_asked_about_and_takes_nothing_from_a_budget() -> None:
    easel = Easel()
    async with shop(easel, MCP_PRICES="{}", MCP_CONFIRM_ABOVE="5") as studio:
        with pytest.raises(LimitError, match="Drawing 1 picture with easel/easel-1 costs an amount that nobody here knows"):
            await order(studio)
    async with shop(easel, MCP_PRICES="{}", MCP_BUDGET_DAY="5") as studio:
        with pytest.raises(LimitError, match="MCP_PRICES") as caught:
            await order(studio)
    assert (caught.value.code, easel.asked) == ("price_unknown", [])


# ---------------------------------------------------------------------- what it would cost


async def test_a_dry_run_of_the_tool_says_what_it_would_cost_and_what_speaks_against_it() -> None:
    easel = Easel()
    plan = {"provider": "easel", "model": "easel-1", "prompt": "a cat", "adjustments": []}
    async with shop(easel, MCP_BUDGET_DAY="0.10", MCP_CONFIRM_ABOVE="0.05") as studio:
        cheap, dear = await told(studio, dry_run=True), await told(studio, dry_run=True, n=3)
    assert cheap["plan"] == {**plan, "n": 1, "estimate": {"amount": 0.04, "currency": "USD", "source": "list_price"}}
    refusal = dear["plan"].pop("would_be_refused")
    assert dear["plan"] == {**plan, "n": 3, "estimate": {"amount": 0.12, "currency": "USD", "source": "list_price"}, "needs_confirmation": True}
    assert refusal["code"] == "budget_exceeded"
    assert refusal["message"].startswith("This costs about 0.12 USD, and of today's budget of 0.10 USD 0.10 USD is left.")
    assert easel.asked == []


def test_the_command_line_says_the_same_and_who_fits_best(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["generate", "a cat", *words], catch_exceptions=False)

    with FakeOpenAI() as fake:
        for name, value in {
            "OPENAI_API_KEY": fake.key or "",
            "OPENAI_BASE_URL": fake.base_url,
            "MCP_PRICES": '{"openai": 0.04, "openai/gpt-image-1-mini": 0.01}',
            "MCP_BUDGET_DAY": "0.10",
        }.items():
            monkeypatch.setenv(name, value)
        cheap, dear = run("--estimate"), run("--estimate", "-n", "3")
        table, ranking = run("--explain"), json.loads(run("--explain", "--json").stdout)
        monkeypatch.setenv("MCP_CONFIRM_ABOVE", "0.03")
        nobody_there = run()
        assert fake.seen == []
    assert (nobody_there.exit_code, "error (confirmation_required)" in nobody_there.stderr) == (2, True)
    assert (cheap.exit_code, json.loads(cheap.stdout)["estimate"]) == (0, {"amount": 0.04, "currency": "USD", "source": "list_price"})
    assert (dear.exit_code, json.loads(dear.stdout)["would_be_refused"]["code"]) == (2, "budget_exceeded")
    assert "Who fits best" in table.stdout
    assert [each["points"] for each in ranking] == sorted((each["points"] for each in ranking), reverse=True)
    assert (ranking[-1]["provider"], ranking[-1]["reasons"][0]["words"]) == ("sketch", "it composes packaged artwork and is no AI model")
    mini = next(each for each in ranking if each["model"] == "gpt-image-1-mini")
    assert {"points": 1, "words": "nothing with a price is cheaper"} in mini["reasons"]
    first = next(each for each in ranking if each["model"] == "gpt-image-2")
    assert {"points": -1, "words": "it costs 4.0 times the cheapest"} in first["reasons"]


# ---------------------------------------------------------------------- who draws


async def test_the_best_is_looked_for_where_the_operator_wants_it_and_the_answer_says_why() -> None:
    easel, other = Easel(), board()
    async with shop(easel, other, MCP_ROUTING="auto") as studio:
        answer = await told(studio)
        named = await told(studio, provider="easel")
    assert (answer["job"]["provider"], answer["cost"]) == ("board", {"amount": 0.02, "currency": "USD", "source": "list_price"})
    assert answer["adjustments"] == [
        {"field": "provider", "message": "board/easel-1 was chosen: it is its provider's default; nothing with a price is cheaper."}
    ]
    assert (named["job"]["provider"], named.get("adjustments")) == ("easel", None)


@pytest.mark.parametrize(
    ("settings", "arguments", "drawn_by"),
    [
        ({}, {}, None),
        ({}, {"fallback": "board"}, "board"),
        ({"MCP_FALLBACK": '{"easel": ["board"]}'}, {}, "board"),
        ({"MCP_FALLBACK": '{"*": ["any"]}'}, {}, "board"),
        ({"MCP_FALLBACK": '{"easel": ["board"]}'}, {"fallback": "none"}, None),
    ],
    ids=["nobody", "the caller says", "the operator says", "anybody", "the caller says nobody"],
)
async def test_somebody_else_draws_what_nobody_took_where_that_is_allowed(
    settings: dict[str, str], arguments: dict[str, str], drawn_by: str | None
) -> None:
    async def no_key(request: ImageRequest, context: Context) -> Generated:
        raise AuthError("Wrong key.", provider="easel", status=401, not_accepted=True)

    easel, other = Easel(work=no_key), board()
    async with shop(easel, other, **settings) as studio:
        answer = await told(studio, provider="easel", **arguments)
    assert (len(easel.asked), len(other.asked)) == (1, 0 if drawn_by is None else 1)
    if drawn_by is None:
        assert (answer["error"]["code"], answer["images"], answer.get("cost")) == ("auth", [], None)
    else:
        assert (answer["ok"], answer["job"]["provider"], answer["images"][0]["provider"], answer["cost"]["amount"]) == (True, "board", "board", 0.02)
        assert answer["adjustments"] == [
            {"field": "provider", "message": "easel/easel-1 could not take it (auth: Wrong key.) and board/easel-1 draws instead, as allowed."}
        ]


async def test_the_dearest_who_may_draw_is_what_has_to_be_at_hand() -> None:
    easel, other = Easel(), board()
    async with shop(easel, other, MCP_BUDGET_DAY="0.03") as studio:
        assert (await told(studio, provider="board"))["ok"]
        refused = await told(studio, provider="board", fallback="easel")
    assert refused["error"]["code"] == "budget_exceeded"
    assert (len(easel.asked), len(other.asked)) == (0, 1)
