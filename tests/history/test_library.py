"""Pictures found again by their words, sorted, thrown away and got back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import NotFoundError
from mcp_image_server.history import History, open_history
from mcp_image_server.history.migrations import scripts
from mcp_image_server.history.words import Query, query_of, words_of
from mcp_image_server.models import AspectRatio, Cost, Image, ImageFilter, JobState, Size, Tally

from .values import NOW, a_job, an_image

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(days=31)
TEXTS = st.text(max_size=30) | st.text(alphabet="aÉ 红狐狸雪ガㄅ각ไทย🦊_-3%\"'*", max_size=30)


# ---------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A red Fox, a RED fox!", ["a", "red", "fox"]),
        ("红狐狸", ["红", "狐", "狸", "红狐", "狐狸"]),
        ("画SD模型3.5", ["画", "sd", "模", "型", "模型", "3", "5"]),
        ("Über café ＡＢＣ ﬁn", ["uber", "cafe", "abc", "fin"]),
        ("ガラス 각", ["ガ", "ラ", "ス", "ガラ", "ラス", "각"]),
        ("🦊❤️🦊", ["🦊", "❤"]),
        ("हिन्दी", ["हिन्दी"]),
        ("snake_case-word", ["snake", "case", "word"]),
        ("\0 \ud800 % _ / \"'*", []),
        ("x" * 100, ["x" * 64]),
    ],
)
def test_a_text_has_its_words_in_any_script(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("red fo", Query(words=("red",), prefix="fo")),
        ("fo 狐狸", Query(words=("狐狸",), prefix="fo")),
        ("红狐狸", Query(words=("红狐", "狐狸"))),
        ("狐", Query(words=("狐",))),
        ("fox fox", Query(prefix="fox")),
        ("%", Query()),
    ],
)
def test_what_is_typed_asks_for_words_and_one_beginning(text: str, query: Query) -> None:
    assert query_of(text) == query
    assert bool(query) == (text != "%")


@given(TEXTS)
def test_words_are_words_of_themselves_and_safe_in_every_database(text: str) -> None:
    words = words_of(text)
    assert len(words) == len(set(words))
    assert set(words_of(" ".join(words))) == set(words)
    assert all(word and all(ord(character) > 127 or character.isalnum() for character in word) for word in words)


@given(TEXTS, TEXTS)
def test_more_text_has_no_fewer_words(text: str, more: str) -> None:
    assert set(words_of(f"{text} {more}")) == set(words_of(text)) | set(words_of(more))


@given(TEXTS)
def test_a_text_holds_all_that_a_search_for_it_asks_for(text: str) -> None:
    query = query_of(text)
    assert {*query.words, *filter(None, [query.prefix])} <= set(words_of(text))
    assert bool(query) == bool(words_of(text))


# ---------------------------------------------------------------------- searching


async def drawn(history: History, *images: Image, cost: Cost | None = None) -> None:
    """A finished job with these images."""
    first = images[0]
    await history.enter(a_job(first.job_id, principal=first.principal, provider=first.provider, model=first.model))
    assert await history.finish(first.job_id, "here", JobState.SUCCEEDED, images=images, cost=cost, now=first.created_at)


async def ids(history: History, text: str = "", principal: str | None = None, **only: Any) -> list[str]:
    return [image.id for image in await history.library.search(principal, text, only=ImageFilter(**only))]


PROMPTS = ("A red fox in the snow", "雪地里的红狐狸", "Ein Fuchs über den Wolken", "a foxglove, watercolour")


async def four(history: History) -> None:
    for number, prompt in enumerate(PROMPTS):
        made = NOW + timedelta(days=number)
        await drawn(history, an_image(f"j{number}-1", prompt=prompt, revised_prompt=None, parents=(), created_at=made))


async def test_a_search_finds_what_holds_all_its_words(history: History) -> None:
    await four(history)
    expected = {
        "fox": ["j3-1", "j0-1"],
        "fox red": ["j0-1"],
        "RED sno": ["j0-1"],
        "sno red": [],
        "red fox": ["j0-1"],
        "狐狸": ["j1-1"],
        "狐": ["j1-1"],
        "红狐狸 雪地": ["j1-1"],
        "狸狐": [],
        "uber": ["j2-1"],
        "ÜBER": ["j2-1"],
        "ox": [],
        'fox" OR "uber': [],
        "fox*": ["j3-1", "j0-1"],
        "%": [],
        "NOT NEAR(fox)": [],
        "f" * 100_000: [],
        " ": ["j3-1", "j2-1", "j1-1", "j0-1"],
    }
    assert {text: await ids(history, text) for text in expected} == expected


async def test_what_the_service_made_of_the_prompt_is_searched_too(history: History) -> None:
    await drawn(history, an_image(prompt="狐狸", revised_prompt="a majestic vixen"))
    assert await ids(history, "vixen 狐狸") == ["j1-1"]


async def test_pages_of_a_search_leave_nothing_out(history: History) -> None:
    for number in range(3):
        await drawn(history, *(an_image(f"j{number}-{index}", prompt="fox") for index in range(3)))
    seen: list[str] = []
    while page := await history.library.search(None, "fo", limit=2, before=seen[-1] if seen else None):
        seen += [image.id for image in page]
    assert seen == [f"j{number}-{index}" for number in (2, 1, 0) for index in (2, 1, 0)]
    assert await history.library.search(None, "fox", before="unknown") == []


async def test_nobody_goes_on_from_what_is_somebody_elses(history: History) -> None:
    """What is older than it would tell when it was made."""
    await drawn(history, an_image("j1-1", principal="ann", prompt="fox"))
    await drawn(history, an_image("j2-1", principal="bob", prompt="fox"))
    search = history.library.search
    for text in ("", "fox"):
        assert await search("ann", text, before="j2-1") == []
        assert [image.id for image in await search(None, text, before="j2-1")] == ["j1-1"]
    await history.library.manage("bob", ["j2-1"], "share", team="both", now=NOW)
    assert [image.id for image in await search("ann", "fox", team="both", before="j2-1")] == ["j1-1"]


async def test_nobody_finds_what_is_somebody_elses(history: History) -> None:
    await drawn(history, an_image("j1-1", principal="ann", prompt="fox"))
    await drawn(history, an_image("j2-1", principal="bob", prompt="fox"))
    assert await ids(history, "fox", "ann") == ["j1-1"]
    assert await ids(history, "fox") == ["j2-1", "j1-1"]
    with pytest.raises(NotFoundError, match="'j2-1' not found"):
        await history.library.manage("ann", ["j1-1", "j2-1"], "favourite", now=NOW)
    assert await ids(history, favourite=True) == []


async def test_a_search_reads_the_index_newest_first_and_no_further(file_history: History) -> None:
    history = file_history
    await four(history)
    statements: list[str] = []
    sa.event.listen(history._transactions.engine.sync_engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
    assert await ids(history, "fox", "local") == ["j3-1", "j0-1"]
    statement = next(each for each in statements if "MATCH" in each)
    async with history._read() as connection:
        plan = [row.detail for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("local", '"fox"*', 20, 0))]
    assert plan[0].startswith("SCAN image_index VIRTUAL TABLE")
    assert all("USING" in step for step in plan[1:])
    assert not any("B-TREE" in step for step in plan)


async def test_filters_leave_what_fits_with_words_and_without(history: History) -> None:
    wishes: list[tuple[str, Size, int | None, tuple[str, ...]]] = [
        ("sketch", Size(width=512, height=512), None, ()),
        ("hunyuan", Size(width=768, height=1024), 10_000, ("j0-1",)),
        ("openai", Size(width=1824, height=1024), 40_000, ("j0-1", "j1-1")),
        ("openai", Size(width=1024, height=1024), 90_000, ("j2-1",)),
    ]
    for number, (provider, size, micros, parents) in enumerate(wishes):
        image = an_image(f"j{number}-1", prompt="a fox", provider=provider, model=f"{provider}-1", size=size, parents=parents)
        cost = Cost(micros=micros, currency="USD", source="reported") if micros is not None else None
        await drawn(history, replace(image, created_at=NOW + timedelta(days=number)), cost=cost)
    await history.library.manage(None, ["j1-1", "j2-1"], "tag", tags=["sky"], now=NOW)
    await history.library.manage(None, ["j2-1"], "tag", tags=["night"], now=NOW)
    await history.library.manage(None, ["j3-1"], "favourite", now=NOW)
    expected: list[tuple[dict[str, Any], list[str]]] = [
        ({"provider": "openai"}, ["j3-1", "j2-1"]),
        ({"model": "hunyuan-1"}, ["j1-1"]),
        ({"since": NOW + timedelta(days=1), "until": NOW + timedelta(days=3)}, ["j2-1", "j1-1"]),
        ({"min_edge": 1024}, ["j3-1", "j2-1"]),
        ({"ratio": AspectRatio(width=16, height=9)}, ["j2-1"]),
        ({"ratio": AspectRatio(width=1, height=1), "provider": "sketch"}, ["j0-1"]),
        ({"ratio": AspectRatio(width=99_999_999, height=1)}, []),
        ({"cost_from": 40_000}, ["j3-1", "j2-1"]),
        ({"cost_from": 10_000, "cost_to": 40_000}, ["j2-1", "j1-1"]),
        ({"cost_to": 10_000}, ["j1-1"]),
        ({"tags": ("sky",)}, ["j2-1", "j1-1"]),
        ({"tags": ("sky", "night")}, ["j2-1"]),
        ({"tags": ("nowhere",)}, []),
        ({"favourite": True}, ["j3-1"]),
        ({"made_from": "j0-1"}, ["j2-1", "j1-1"]),
    ]
    for text in ("", "fox"):
        assert [(only, await ids(history, text, **only)) for only, _ in expected] == expected


# ---------------------------------------------------------------------- managing


async def test_titles_and_tags_are_kept_found_and_taken_away(history: History) -> None:
    await drawn(history, an_image("j1-1"), an_image("j1-2"))
    manage = history.library.manage
    tagged = await manage(None, ["j1-2", "j1-1"], "tag", tags=["winter", "动物", "winter"], now=NOW)
    assert tagged == [an_image("j1-1", tags=("winter", "动物")), an_image("j1-2", tags=("winter", "动物"))]
    assert await manage(None, ["j1-2"], "tag", tags=["winter"], now=NOW) == tagged[1:]
    assert await manage(None, ["j1-1"], "rename", title="The Vixen", now=NOW) == [replace(tagged[0], title="The Vixen")]
    assert await ids(history, "vixen 动物") == ["j1-1"]
    assert await ids(history, "wint") == ["j1-2", "j1-1"]
    assert await manage(None, ["j1-1"], "untag", tags=["winter", "nothing"], now=NOW) == [an_image("j1-1", title="The Vixen", tags=("动物",))]
    await manage(None, ["j1-1"], "rename", title="", now=NOW)
    assert await ids(history, "vixen") == []
    assert await ids(history, "wint") == ["j1-2"]
    await manage(None, ["j1-1"], "favourite", now=NOW)
    assert await manage(None, ["j1-1"], "unfavourite", now=NOW) == [an_image("j1-1", tags=("动物",))]
    job = await history.job("j1")
    assert job is not None
    assert job.images == (an_image("j1-1", tags=("动物",)), tagged[1])


async def test_what_is_deleted_vanishes_everywhere_and_comes_back(history: History) -> None:
    await drawn(history, an_image("j1-1", parents=()), an_image("j1-2", parents=("j1-1",)))
    image, child = an_image("j1-1", parents=()), an_image("j1-2", parents=("j1-1",))
    gone = replace(image, deleted_at=NOW)
    assert await history.library.manage(None, ["j1-1"], "delete", now=NOW) == [gone]
    assert await history.library.manage(None, ["j1-1"], "delete", now=LATER) == [gone]
    job = await history.job("j1")
    assert job is not None
    assert job.images == (child,)
    assert await history.image("j1-1") is None
    assert await ids(history) == await ids(history, "fox") == ["j1-2"]
    assert (await history.library.lineage(None, child)).ancestors == ()
    assert await ids(history, deleted=True) == await ids(history, "fox", deleted=True) == ["j1-1"]
    assert sorted([each.id async for each in history.all_images()]) == ["j1-1", "j1-2"]
    for action in ("tag", "favourite", "rename"):
        with pytest.raises(NotFoundError) as caught:
            await history.library.manage(None, ["j1-2", "j1-1"], action, tags=["x"], now=NOW)
        assert (caught.value.code, caught.value.details) == ("image_not_found", {"image_id": "j1-1"})
    assert await history.library.manage(None, ["j1-1"], "undelete", now=NOW) == [image]
    assert await history.library.manage(None, ["j1-1"], "undelete", now=NOW) == [image]
    assert await ids(history, "fox") == ["j1-2", "j1-1"]


async def test_only_what_was_deleted_long_ago_is_forgotten_and_its_cost_and_children_stay(history: History) -> None:
    cost = Cost(micros=7, currency="USD", source="reported")
    old, new, child = an_image("j1-1", parents=()), an_image("j2-1", parents=()), an_image("j3-1", parents=("j1-1",))
    for image in (old, new, child):
        await drawn(history, image, cost=cost)
    library = history.library
    await library.manage(None, ["j1-1"], "tag", tags=["x"], now=NOW)
    await library.manage(None, ["j1-1"], "delete", now=NOW)
    await library.manage(None, ["j2-1"], "delete", now=LATER)
    condemned = await library.condemn(deleted_before=LATER)
    assert [image.id for image in condemned] == ["j1-1"]
    with pytest.raises(NotFoundError):
        await library.manage(None, ["j1-1"], "undelete", now=LATER)
    assert await ids(history, deleted=True) == ["j2-1"]
    assert await library.condemn(deleted_before=NOW) == condemned  # as after a crash
    await library.forget(["j1-1", "j2-1", "j3-1"])
    assert sorted([each.id async for each in history.all_images()]) == ["j2-1", "j3-1"]
    assert await history.image("j3-1") == child
    assert await history.spent(None, since=NOW) == {"USD": 21}
    assert await library.manage(None, ["j2-1"], "undelete", now=LATER) == [new]
    async with history._read() as connection:
        for table in ("image_words", "image_tags"):
            assert await connection.scalar(sa.text(f"SELECT count(*) FROM {table} WHERE image_id = 'j1-1'")) == 0
    assert len(await library.search(None, "fox")) == 2


async def test_the_index_agrees_with_the_words_whatever_was_done(file_history: History) -> None:
    history = file_history
    await drawn(history, *(an_image(f"j1-{number}", prompt=f"fox {number} 狐狸") for number in range(20)))
    some = [f"j1-{number}" for number in range(0, 20, 3)]
    await history.library.manage(None, some, "tag", tags=["x"], now=NOW)
    await history.library.manage(None, some, "untag", tags=["x"], now=NOW)
    await history.library.manage(None, some[:3], "rename", title="Füchse", now=NOW)
    await history.library.manage(None, some[1:], "delete", now=NOW)
    await history.library.condemn(deleted_before=LATER)
    await history.library.forget(some)
    async with history._write() as connection:
        await connection.execute(sa.text("INSERT INTO image_index (image_index, rank) VALUES ('integrity-check', 1)"))


# ---------------------------------------------------------------------- lineage and statistics


async def test_a_lineage_goes_both_ways_over_all_generations_nearest_first(history: History) -> None:
    family: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c", "purged"), "e": ("d",), "f": ("c",), "g": ()}
    images = {name: an_image(name, principal="ann", parents=parents) for name, parents in family.items()}
    for image in images.values():
        await drawn(history, image)

    async def relatives(name: str, principal: str | None = "ann") -> tuple[str, str]:
        lineage = await history.library.lineage(principal, images[name])
        assert lineage.image == images[name]
        return "".join(each.id for each in lineage.ancestors), "".join(each.id for each in lineage.descendants)

    assert {name: await relatives(name) for name in family} == {
        "a": ("", "bcdfe"),
        "b": ("a", "de"),
        "c": ("a", "dfe"),
        "d": ("bca", "e"),
        "e": ("dbca", ""),
        "f": ("ca", ""),
        "g": ("", ""),
    }
    assert await relatives("d", "bob") == ("", "")


async def test_pictures_and_money_are_counted_by_what_they_are_due_to(history: History) -> None:
    usd, cny = Cost(micros=40, currency="USD", source="reported"), Cost(micros=300, currency="CNY", source="reported")
    await drawn(history, an_image("j1-1", size_bytes=10), an_image("j1-2", size_bytes=20), cost=usd)
    await drawn(history, an_image("j2-1", size_bytes=5, provider="doubao", model="seedream", created_at=LATER), cost=cny)
    await drawn(history, an_image("j3-1", principal="ann", size_bytes=1, created_at=LATER))
    await history.library.manage(None, ["j1-2"], "delete", now=LATER)
    await history.library.manage(None, ["j3-1"], "favourite", now=LATER)
    found = await history.library.statistics(None)
    assert found.total == Tally(pictures=3, size_bytes=16, spent={"USD": 40, "CNY": 300})
    assert found.providers == {
        "doubao": Tally(pictures=1, size_bytes=5, spent={"CNY": 300}),
        "openai": Tally(pictures=2, size_bytes=11, spent={"USD": 40}),
    }
    assert list(found.models) == ["doubao/seedream", "openai/gpt-image-2"]
    assert list(found.days.items()) == [
        (date(2026, 12, 23), Tally(pictures=2, size_bytes=6, spent={"CNY": 300})),
        (date(2026, 11, 22), Tally(pictures=1, size_bytes=10, spent={"USD": 40})),
    ]
    assert (found.favourites, found.deleted) == (1, 1)
    anns = await history.library.statistics("ann")
    assert (anns.total, anns.favourites, anns.deleted) == (Tally(pictures=1, size_bytes=1), 1, 0)
    assert (await history.library.statistics(None, since=LATER)).total == Tally(pictures=2, size_bytes=6, spent={"CNY": 300})
    assert (await history.library.statistics("nobody")).total == Tally()


# ---------------------------------------------------------------------- what was there before


def old_database(file: Path) -> None:
    """One as the step before this made it, with three pictures."""
    steps = scripts()
    engine = sa.create_engine(f"sqlite:///{file}")
    with (
        engine.connect() as connection,
        EnvironmentContext(Config(), steps, fn=lambda revision, _: steps._upgrade_revs("0002", revision)) as environment,
    ):
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
        connection.commit()
    engine.dispose()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "INSERT INTO jobs (id, principal, state, provider, model, store_url, request, adjustments, progress, message, events, attempts, "
            "cancel_requested, created_at) VALUES ('j1', 'ann', 'succeeded', 'p', 'm', 'memory://', '{}', '[]', 1, '', 0, 1, 0, 1)"
        )
        for number, (prompt, parents) in enumerate((("雪地里的红狐狸", '["x"]'), ("Red FOX", "[]"), ("dog", '["j1-0", "j1-0"]'))):
            database.execute(
                "INSERT INTO images (id, job_id, position, principal, provider, model, prompt, prompt_folded, store_url, key, media_type, width, height, "
                "size_bytes, sha256, thumbhash, revised_prompt, parents, created_at) VALUES "
                "(?, 'j1', ?, 'ann', 'p', 'm', ?, '', 'memory://', 'k', 'image/png', 1, 1, 1, '', '', 'ünique', ?, ?)",
                (f"j1-{number}", number, prompt, parents, 10 - number),
            )


async def test_pictures_from_before_are_found_by_their_words_and_their_children(tmp_path: Path) -> None:
    old_database(tmp_path / "history.sqlite3")
    history = await open_history(tmp_path)
    try:
        assert await ids(history, "狐狸") == ["j1-0"]
        assert await ids(history, "unique") == await ids(history) == ["j1-0", "j1-1", "j1-2"]
        assert await ids(history, made_from="j1-0") == ["j1-2"]
        image = await history.image("j1-1")
        assert image is not None
        assert (image.title, image.tags, image.favourite, image.deleted_at) == ("", (), False, None)
        assert image.created_at == datetime.fromtimestamp(0, NOW.tzinfo) + timedelta(microseconds=9)
    finally:
        await history.close()
