"""Whose styles and templates are whose, and how those of people without access to files are kept."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_image_server.batches import Written, expand
from mcp_image_server.bookshelf import folder_name
from mcp_image_server.errors import LimitError, NotFoundError, RefusedError, RequestError, StorageError
from mcp_image_server.library import FOLDER, Drawer, Library, StyleEntry, TemplateEntry
from mcp_image_server.models import Caller, ImageRequest
from mcp_image_server.studio import Studio
from tests.easel import Easel

from .test_styles import ME, write

pytestmark = pytest.mark.anyio

ANN, BOB = Caller(principal="ann", roles=frozenset()), Caller(principal="bob", roles=frozenset())
BOSS, EVE = Caller(principal="boss", roles=frozenset({"admin"})), Caller(principal="eve", roles=frozenset({"viewer"}))


def style(phrase: str) -> StyleEntry:
    return StyleEntry.model_validate({"phrase": phrase})


def template(prompt: str, **more: object) -> TemplateEntry:
    return TemplateEntry.model_validate({"prompt": prompt, **more})


CARD = template("a {mood} card", variables={"mood": {"choices": ["calm", "lively"], "default": "calm"}})

PRINCIPALS = (
    *("ann", "Ann", "ANN", "a.n", "a-n", "local", "con", "nul", "..", ".", "a" * 63, "oidc:ann", "oidc-ann", "oidc:../../../etc", "oidc:..\\..\\x"),
    *("oidc:" + "x" * 256, "oidc:" + "x" * 255 + "y", "oidc:王小明", "oidc:" + "🦊" * 64, "oidc:a/b", "oidc:a:b", "oidc:é", "oidc:e\u0301", "oidc: "),
)


def test_every_principal_has_a_folder_name_of_its_own_that_every_system_can_store() -> None:
    names = [folder_name(principal) for principal in PRINCIPALS]
    assert len({name.casefold() for name in names}) == len(PRINCIPALS)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{31,72}", name) for name in names)
    assert folder_name("oidc:ann").startswith("oidc-ann-")
    assert folder_name("ann") == folder_name("ann")


async def test_ones_own_outranks_the_operators_and_that_what_comes_along(studio: Studio, tmp_path: Path) -> None:
    library = studio.library

    async def seen(caller: Caller) -> tuple[str, str, str]:
        found = await library.style(caller, "watercolor")
        return found.phrase[:11], library.origin(caller, found), library.origin(caller, (await library.templates(caller))["logo"])

    assert await seen(ANN) == ("watercolour", "builtin", "builtin")
    write(tmp_path / "pictures", "styles", "shared.yaml", "watercolor:\n  phrase: the operator's\n")
    assert (await seen(ANN), await seen(ME)) == (("the operato", "shared", "builtin"), ("the operato", "own", "builtin"))
    assert await library.put_style(ANN, "watercolor", style("ann's own"))
    assert await library.put_template(ANN, "logo", CARD)
    assert (await seen(ANN), await seen(BOB)) == (("ann's own", "own", "own"), ("the operato", "shared", "builtin"))
    assert not await library.put_style(ANN, "watercolor", style("otherwise!!"))
    assert (await seen(ANN))[0] == "otherwise!!"
    await library.remove_style(ANN, "watercolor")
    assert (await seen(ANN))[1] == "shared"
    with pytest.raises(NotFoundError) as caught:
        await library.remove_style(ANN, "watercolor")
    assert caught.value.code == "invalid_style"
    lying = [path.relative_to(tmp_path / "pictures" / FOLDER).parts for path in (tmp_path / "pictures" / FOLDER).rglob("*.json")]
    assert lying == [("principals", folder_name("ann"), "templates", "logo.json")]


async def test_the_one_who_draws_draws_with_their_own(studio: Studio, easel: Easel) -> None:
    await studio.library.put_style(ANN, "mine", style("in ann's style"))
    await studio.library.put_template(ANN, "card", CARD)
    request = await studio.library.from_template(ANN, ImageRequest(prompt=""), "card", {"mood": "lively"})
    plan = await studio.estimate(ANN, replace(request, style="mine"))
    assert plan.plan.request.prompt == "a lively card, in ann's style"
    with pytest.raises(NotFoundError, match="no template 'card'"):
        await studio.library.from_template(BOB, ImageRequest(prompt=""), "card", {})
    with pytest.raises(RequestError, match="mine"):
        await studio.estimate(BOB, ImageRequest(prompt="x", style="mine"))
    items = expand([Written(place="line 1", value={"template": "card", "style": "mine"})])
    with pytest.raises(RequestError) as caught:
        await studio.batches.estimate(BOB, items)
    assert caught.value.code == "invalid_rows"
    batch = await studio.batches.begin(ANN, items, wait_seconds=10)
    assert [piece.prompt for piece in batch.pieces] == ["a calm card, in ann's style"]


async def test_an_administrator_repeats_a_batch_with_its_owners_templates(studio: Studio, easel: Easel) -> None:
    async def fails(*_: object) -> None:
        raise RefusedError("Not that.", provider="easel")

    draws = easel.work
    easel.work = fails  # type: ignore[assignment]  # it draws nothing
    await studio.library.put_template(ANN, "card", CARD)
    batch = await studio.batches.begin(ANN, expand([Written(place="line 1", value={"template": "card"})]), wait_seconds=10)
    assert batch.state == "incomplete"
    easel.work = draws
    again = await studio.batches.retry(BOSS, batch.id, failed=True, wait_seconds=10)
    assert (again.state, again.pieces[0].job.principal) == ("succeeded", "ann")


async def test_who_only_looks_keeps_nothing_and_only_administrators_change_what_is_everybodys(studio: Studio) -> None:
    library = studio.library
    for caller, shared in ((EVE, False), (ANN, True)):
        for work in (
            library.put_style(caller, "x", style("x"), shared=shared),
            library.put_template(caller, "x", CARD, shared=shared),
            library.remove_style(caller, "x", shared=shared),
            library.remove_template(caller, "x", shared=shared),
        ):
            with pytest.raises(RequestError) as caught:
                await work
            assert caught.value.code == "forbidden"
    assert await library.put_style(BOSS, "ours", style("for all"), shared=True)
    assert {library.origin(each, await library.style(each, "ours")) for each in (ANN, BOB, EVE, BOSS)} == {"shared"}
    assert library.origin(ME, await library.style(ME, "ours")) == "own"
    await library.remove_style(ME, "ours")
    assert "ours" not in await library.own_styles(ANN)


# One folder -----------------------------------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_read_back_as_it_was(tmp_path: Path) -> None:
    told = {
        "title": "贺卡",
        "prompt": "a {mood} card with {number} foxes for {whom} {why}",
        "variables": {
            "mood": {"choices": ["calm", "lively"], "default": "lively"},
            "number": {"min": 1, "max": 9, "default": 3},
            "whom": None,
            "why": {"default": ""},
        },
        "resolution": "3:4",
    }
    entry = TemplateEntry.model_validate_json(json.dumps(told), strict=True)
    assert Drawer(tmp_path).put_template("贺卡", entry)
    found = Library(lambda: [tmp_path]).template("贺卡")
    assert [(each.name, each.kind, each.default, each.choices, each.least, each.most) for each in found.variables] == [
        ("mood", "choice", "lively", ("calm", "lively"), None, None),
        ("number", "number", "3", (), 1, 9),
        ("whom", "string", None, (), None, None),
        ("why", "string", "", (), None, None),
    ]
    assert TemplateEntry.of(found).template("贺卡", found.source) == found


@pytest.mark.parametrize(
    ("key", "entry", "words"),
    [
        ("../x", CARD, "is no name"),
        ("a b", CARD, "is no name"),
        ("x" * 65, CARD, "is no name"),
        ("x", template("a {gap}"), "which variables does not name"),
        ("x", template("x", resolution="huge"), "is no size"),
    ],
)
def test_what_cannot_be_a_template_is_not_kept(tmp_path: Path, key: str, entry: TemplateEntry, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Drawer(tmp_path).put_template(key, entry)
    assert list(tmp_path.rglob("*")) == []


def test_a_drawer_has_its_bounds(tmp_path: Path) -> None:
    drawer = Drawer(tmp_path)
    with pytest.raises(LimitError) as caught:
        drawer.put_template("large", template("字" * 11_000))
    assert caught.value.code == "payload_too_large"
    (tmp_path / "styles").mkdir()
    for number in range(100):
        (tmp_path / "styles" / f"s{number}.json").write_text(f'{{"s{number}": {{"phrase": "x"}}}}')
    with pytest.raises(LimitError, match="100 styles already"):
        drawer.put_style("another", style("x"))
    assert not drawer.put_style("s7", style("anew"))
    drawer.remove_style("s7")
    assert drawer.put_style("another", style("x"))


def test_what_people_wrote_by_hand_is_left_to_them(tmp_path: Path) -> None:
    (tmp_path / "styles").mkdir()
    path = tmp_path / "styles" / "ours.yaml"
    path.write_text("house:\n  phrase: x\ngarden:\n  phrase: y\n")
    drawer = Drawer(tmp_path)
    for work in (lambda: drawer.put_style("house", style("z")), lambda: drawer.remove_style("house")):
        with pytest.raises(RequestError, match=r"into the file ours\.yaml"):
            work()
    assert [each.name for each in (tmp_path / "styles").iterdir()] == ["ours.yaml"]


def test_a_folder_that_cannot_be_written_is_told_without_its_place(tmp_path: Path) -> None:
    (tmp_path / "styles").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        Drawer(tmp_path).put_style("x", style("x"))
    assert str(tmp_path) not in caught.value.message
