"""The library of pictures, from the tools, the gallery and the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, types

from mcp_image_server.errors import ConfigError, ImageServerError, NotFoundError, RequestError
from mcp_image_server.models import AspectRatio, Caller, Image, ImageFilter, ImageRequest
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.facts import image_filter
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with
from tests.easel import Easel
from tests.surfaces.test_cli import run, run_json
from tests.surfaces.test_mcp import body
from tests.web import web

pytestmark = pytest.mark.anyio

ME = Caller()
ANN, BOB = (Caller(principal=name, roles=frozenset()) for name in ("ann", "bob"))


async def draw(studio: Studio, prompt: str = "a red fox", caller: Caller = ME, **fields: Any) -> Image:
    job = await studio.generate(caller, ImageRequest(prompt=prompt, **fields), wait_seconds=10, fresh=True)
    assert job.failure is None
    return job.images[0]


# ---------------------------------------------------------------------- the studio


async def test_what_is_deleted_is_found_nowhere_until_it_is_got_back(studio: Studio) -> None:
    image = await draw(studio)
    path = studio.images.path(image)
    await studio.images.manage(ME, [image.id], "delete")
    assert await studio.images.search(ME) == []
    assert (await studio.job(ME, image.job_id)).images == ()
    for looking in (
        studio.images.get(ME, image.id),
        studio.images.of_file(ME, image.key),
        studio.images.lineage(ME, image.id),
        studio.again(ME, image.id),
    ):
        with pytest.raises(NotFoundError):
            await looking
    assert path is not None
    assert path.exists()
    assert (await studio.upkeep.verify(ME)).ok
    assert [each.id for each in await studio.images.search(ME, only=ImageFilter(deleted=True))] == [image.id]
    assert await studio.images.manage(ME, [image.id], "undelete") == [image]
    assert await studio.images.search(ME, "fox") == [image]


async def test_emptying_the_trash_removes_files_and_record_of_what_is_old_enough(studio: Studio) -> None:
    old, other = await draw(studio), await draw(studio, "a dog")
    await studio.images.manage(ME, [old.id], "delete")
    assert await studio.images.purge(ME) == []
    assert [each.id for each in await studio.images.purge(ME, everything=True)] == [old.id]
    store = studio._workshop.store(old.store_url)
    assert await store.keys() == sorted([other.key, other.thumbnail_key or ""])
    with pytest.raises(NotFoundError):
        await studio.images.manage(ME, [old.id], "undelete")
    assert (await studio.upkeep.verify(ME)).ok
    assert await studio.images.purge(ME, everything=True) == []
    with pytest.raises(RequestError) as caught:
        await studio.images.purge(ANN)
    assert caught.value.code == "forbidden"


async def test_the_trash_is_emptied_when_a_server_starts_and_trouble_with_files_keeps_it_from_nothing(easel: Easel, tmp_path: Path) -> None:
    environment = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}
    async with studio_with({"easel": easel}, environment) as studio:
        image, stuck = await draw(studio), await draw(studio, "a cat")
        await studio.images.manage(ME, [image.id, stuck.id], "delete")
        path, blocked = studio.images.path(image), studio.images.path(stuck)
        assert path is not None
        assert blocked is not None
        blocked.unlink()
        blocked.mkdir()
    async with studio_with({"easel": easel}, environment) as studio:
        assert len(await studio.images.search(ME, only=ImageFilter(deleted=True))) == 2
    async with studio_with({"easel": easel}, {**environment, "MCP_TRASH_DAYS": "0"}) as studio:
        assert await studio.images.search(ME, only=ImageFilter(deleted=True)) == []
        assert not path.exists()
        with pytest.raises(ImageServerError):
            await studio.images.purge(ME)
    blocked.rmdir()
    async with studio_with({"easel": easel}, {**environment, "MCP_TRASH_DAYS": "0"}) as studio:
        await studio.open()
        assert (await studio.upkeep.verify(ME)).images == 0


async def test_a_caller_manages_what_is_theirs_and_learns_nothing_of_the_rest(studio: Studio) -> None:
    anns, bobs = await draw(studio, caller=ANN), await draw(studio, caller=BOB)
    assert [each.favourite for each in await studio.images.manage(ANN, [anns.id], "favourite")] == [True]
    for looking in (studio.images.manage(ANN, [anns.id, bobs.id], "delete"), studio.images.lineage(ANN, bobs.id), studio.again(ANN, bobs.id)):
        with pytest.raises(NotFoundError, match=f"'{bobs.id}' not found"):
            await looking
    assert [each.id for each in await studio.images.search(ANN, "fox")] == [anns.id]
    assert (await studio.images.statistics(ANN)).total.pictures == 1
    assert (await studio.images.statistics(ME)).total.pictures == 2
    assert (await studio.images.statistics(ME, days=1)).total.pictures == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_ids": [], "action": "delete"}, "Name 1 to 500 pictures"),
        ({"image_ids": ["x"] * 501, "action": "delete"}, "Name 1 to 500 pictures"),
        ({"image_ids": ["x"], "action": "tag"}, "tag needs tags"),
        ({"image_ids": ["x"], "action": "delete", "tags": ["a"]}, "delete takes no tags"),
        ({"image_ids": ["x"], "action": "delete", "title": "a"}, "delete takes no title"),
        ({"image_ids": ["x"], "action": "tag", "tags": [" "]}, "'' is no tag; write 1 to 64 characters"),
        ({"image_ids": ["x"], "action": "tag", "tags": ["a" * 65]}, "is no tag"),
        ({"image_ids": ["x"], "action": "rename", "title": "a" * 201}, "at most 200 are kept"),
        ({"image_ids": ["x"], "action": "favourite"}, "'x' not found"),
    ],
)
async def test_what_cannot_be_done_is_said(studio: Studio, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        await studio.images.manage(ME, **arguments)


async def test_a_tag_is_the_same_however_it_is_typed(studio: Studio) -> None:
    image = await draw(studio)
    (tagged,) = await studio.images.manage(ME, [image.id], "tag", tags=["  Winter  Sun", "ＷＩＮＴＥＲ sun", "动物"])
    assert tagged.tags == ("winter sun", "动物")
    assert await studio.images.search(ME, only=ImageFilter(tags=("WINTER SUN",))) == [tagged]
    assert await studio.images.search(ME, "动物 win") == [tagged]


async def test_a_picture_drawn_again_is_the_same_but_for_what_is_said(studio: Studio, easel: Easel, tmp_path: Path) -> None:
    here = Caller(folders=(tmp_path,))
    job = await studio.generate(
        here,
        ImageRequest(prompt="a fox", style="ink", seed=7, count=3, file_prefix="fox", save_as=str(tmp_path / "fox.png")),
        wait_seconds=10,
    )
    third = job.images[2]
    request = await studio.again(ME, third.id)
    assert (request.provider, request.model, request.seed, request.count, request.save_as) == ("easel", "easel-1", 9, 1, None)
    assert request.file_prefix == "fox"
    assert request.prompt == job.request.prompt
    same = await draw(studio, **request.wishes)
    first, second = studio.images.path(third), studio.images.path(same)
    assert first is not None
    assert second is not None
    assert easel.asked[-1].seed == 9
    changed = await studio.again(ME, third.id, prompt="a wolf", count=2)
    assert (changed.prompt, changed.style, changed.seed, changed.count) == ("a wolf", "ink", 9, 2)
    assert (await studio.again(ME, third.id, style="plain")).prompt == "a fox"
    assert (await studio.again(ME, third.id, provider="other")).model is None


def test_filters_are_read_as_people_write_them() -> None:
    assert image_filter() == ImageFilter()
    assert image_filter(model="m", tags=("a",), min_edge=None, max_cost=0) == ImageFilter(model="m", tags=("a",), cost_to=0)
    assert image_filter(ratio="16:9").ratio == image_filter(ratio=" 16:9 ").ratio == AspectRatio(width=16, height=9)
    moment = datetime(2026, 12, 31, 18, tzinfo=UTC)
    assert image_filter(since="2026-12-31T18:00Z", until="2026-12-31T18:00:00+00:00") == ImageFilter(since=moment, until=moment)
    day = image_filter(since="2026-12-31", until="2026-12-31")
    assert day.since is not None
    assert day.until == day.since + timedelta(days=1)
    assert day.since == datetime(2026, 12, 31).astimezone()
    unreadable: tuple[dict[str, Any], ...] = ({"since": "yesterday"}, {"until": "9999-99-99"}, {"ratio": "wide"})
    for wrong in unreadable:
        with pytest.raises(RequestError, match=r"write 2026-12-31|a ratio such as 16:9"):
            image_filter(**wrong)


# ---------------------------------------------------------------------- tools


async def test_pictures_are_managed_searched_and_drawn_again_by_tools(easel: Easel, tmp_path: Path) -> None:
    environment = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures"), "MCP_TOOLSET": "FULL"}
    async with studio_with({"easel": easel}, environment) as studio, Client(build_server(studio)) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            return body(await client.call_tool(tool, arguments))

        (fox,) = (await call("generate_image", prompt="雪地里的红狐狸", seed=7, resolution="128x64"))["images"]
        await call("generate_image", prompt="a dog")
        (tagged,) = (await call("manage_images", image_ids=[fox["id"]], action="tag", tags=["Winter"]))["images"]
        assert tagged["tags"] == ["winter"]
        await call("manage_images", image_ids=[fox["id"]], action="favourite")
        await call("manage_images", image_ids=[fox["id"]], action="rename", title="Vixen")
        for only in ({"query": "狐狸"}, {"query": "vix"}, {"tags": ["winter"]}, {"favourite": True}, {"model": "easel-1", "query": "红"}):
            (found,) = (await call("search_images", **only))["images"]
            assert (found["id"], found["title"], found["tags"], found["favourite"]) == (fox["id"], "Vixen", ["winter"], True)
        assert len((await call("search_images", since="2020-01-01"))["images"]) == 2
        assert (await call("search_images", until="2020-01-01"))["images"] == []
        assert "write 2026-12-31" in (await call("search_images", since="soon"))["error"]["message"]

        (again,) = (await call("generate_image", prompt="", rerun_of=fox["id"], fresh=True))["images"]
        assert [again[name] for name in ("seed", "width", "height")] == [7, 128, 64]
        assert easel.asked[-1].prompt == "雪地里的红狐狸"
        (wolf,) = (await call("generate_image", prompt="a wolf", rerun_of=fox["id"], resolution="64x64"))["images"]
        assert (easel.asked[-1].prompt, wolf["seed"], wolf["width"]) == ("a wolf", 7, 64)
        assert (await call("generate_image", prompt="", rerun_of="nope"))["error"]["code"] == "image_not_found"

        deleted = await call("manage_images", image_ids=[fox["id"]], action="delete")
        assert deleted["images"][0]["deleted_at"]
        assert (await call("get_image_data", image_id=fox["id"]))["error"]["code"] == "image_not_found"
        assert len((await call("search_images"))["images"]) == 3
        assert len((await call("manage_images", image_ids=[fox["id"]], action="undelete"))["images"]) == 1
        refused = await client.call_tool("manage_images", {"image_ids": [], "action": "burn"})
        assert isinstance(refused, types.CallToolResult)
        assert refused.is_error


@pytest.mark.parametrize(
    ("environment", "there", "not_there"),
    [
        ({}, {"generate_image", "search_images"}, {"manage_images"}),
        ({"MCP_TOOLSET": "full"}, {"generate_image", "manage_images"}, set()),
        ({"MCP_TOOLS_ON": '["manage_images"]'}, {"generate_image", "manage_images"}, set()),
        ({"MCP_TOOLS_OFF": '["reload_config"]'}, {"generate_image"}, {"reload_config", "manage_images"}),
        ({"MCP_TOOLSET": "full", "MCP_TOOLS_OFF": '["manage_images"]'}, {"generate_image"}, {"manage_images"}),
        ({"MCP_TOOLS_ON": '["manage_images"]', "MCP_TOOLS_OFF": '["manage_images"]'}, {"generate_image"}, {"manage_images"}),
    ],
)
async def test_the_operator_chooses_the_tools(easel: Easel, environment: dict[str, str], there: set[str], not_there: set[str]) -> None:
    async with studio_with({"easel": easel}, environment) as studio, Client(build_server(studio)) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert there <= names
        assert not names & not_there
        for name in sorted(not_there):
            assert (await client.call_tool(name, {})).is_error


@pytest.mark.parametrize("variable", ["MCP_TOOLS_ON", "MCP_TOOLS_OFF"])
async def test_a_tool_that_is_not_there_cannot_be_chosen(easel: Easel, variable: str) -> None:
    async with studio_with({"easel": easel}, {variable: '["generate_imge"]'}) as studio:
        with pytest.raises(ConfigError, match=rf"{variable} names generate_imge, which no tool is called\. There are: generate_image"):
            build_server(studio)


# ---------------------------------------------------------------------- the gallery


async def test_the_gallery_shows_titles_tags_and_favourites_and_searches_for_them(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        fox = await site.studio.images.of_file(ME, await site.draw("雪地里的红狐狸"))
        await site.draw("a dog")
        await site.studio.images.manage(ME, [fox.id], "tag", tags=["<b>&", "winter"])
        await site.studio.images.manage(ME, [fox.id], "rename", title="The <i>Vixen</i>")
        await site.studio.images.manage(ME, [fox.id], "favourite")
        page = (await site.client.get("/")).text
        assert '<p class="title">The &lt;i&gt;Vixen&lt;/i&gt;</p>' in page
        assert '<a href="/?tag=%3Cb%3E%26">#&lt;b&gt;&amp;</a>' in page
        assert page.count('aria-label="Favourite"') == 1
        for query in ({"q": "狐狸"}, {"q": "vixen"}, {"tag": "WINTER"}, {"favourite": "1"}, {"tag": "<b>&", "favourite": "1", "q": "红"}):
            found = (await site.client.get("/", params=query)).text
            assert found.count("<li>") == 1
            assert "a dog" not in found
        kept = (await site.client.get("/", params={"tag": "winter", "favourite": "1"})).text
        assert '<input type="hidden" name="tag" value="winter">' in kept
        assert '<input type="hidden" name="favourite" value="1">' in kept
        assert "No such picture yet" in (await site.client.get("/", params={"tag": "nowhere"})).text
        assert "holds “wolf” here" in (await site.client.get("/", params={"q": "wolf", "favourite": "1"})).text
        await site.studio.images.manage(ME, [fox.id], "delete")
        assert (await site.client.get(f"/images/{fox.key}")).status_code == 404
        assert "Vixen" not in (await site.client.get("/")).text


async def test_pages_of_the_gallery_keep_what_was_asked_for(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        job = [await site.studio.generate(ME, ImageRequest(prompt=f"fox {number}", count=10), wait_seconds=10) for number in range(5)]
        await site.studio.images.manage(ME, [image.id for each in job for image in each.images], "tag", tags=["a&b"])
        first = (await site.client.get("/", params={"q": "fox", "tag": "a&b"})).text
        older = first.split('" rel="next"')[0].rpartition('href="')[2].replace("&amp;", "&")
        assert older.startswith("/?q=fox&tag=a%26b&before=")
        second = (await site.client.get(older)).text
        assert second.count("<li>") == 2
        assert '<a href="/?q=fox&amp;tag=a%26b">« Newest</a>' in second


# ---------------------------------------------------------------------- the command line


def test_pictures_are_managed_from_the_command_line(tmp_path: Path) -> None:
    fox = run_json("generate", "a red fox in the snow", "--size", "96x64", "--seed", "3")["images"][0]["id"]
    run("generate", "雪地里的灯塔", "--size", "64x64", "-q")
    path = tmp_path / "generated_images" / f"img_sketch_{fox}.png"

    def listed(*words: str) -> list[str]:
        return [image["prompt"] for image in run_json("history", "search", *words)]

    assert listed("灯塔") == ["雪地里的灯塔"]
    assert listed("FOX sno", "--min-edge", "64", "--ratio", "3:2", "--since", "2020-01-01") == ["a red fox in the snow"]
    assert listed("--until", "2020-01-01") == []
    assert run_json("history", "tag", fox, "-t", "Winter", "-t", "animals")[0]["tags"] == ["animals", "winter"]
    assert run_json("history", "untag", fox, "-t", "animals")[0]["tags"] == ["winter"]
    assert run_json("history", "favourite", fox)[0]["favourite"]
    assert run_json("history", "rename", fox, "Vixen")[0]["title"] == "Vixen"
    assert listed("--tag", "winter", "--favourite") == ["a red fox in the snow"]
    assert "★ · Vixen · #winter" in " ".join(run("history", "list", "vixen").stdout.split())
    assert "favourite" not in run_json("history", "favourite", fox, "--off")[0]

    again = run_json("generate", "--again", fox)["images"][0]
    assert (again["seed"], again["width"], again["height"]) == (3, 96, 64)
    plan = json.loads(run("generate", "a wolf", "--again", fox, "--size", "64x64", "--dry-run").stdout)
    assert (plan["prompt"], plan["resolution"]) == ("a wolf", "64x64")

    stats = run_json("history", "stats", "--days", "1")
    assert (stats["pictures"], stats["providers"]["sketch"]["pictures"], stats["spent"]) == (3, 3, {})
    assert "sketch/sketch-1" in run("history", "stats").stdout
    lineage = run_json("history", "lineage", fox)
    assert (lineage["image"]["id"], lineage["ancestors"], lineage["descendants"]) == (fox, [], [])

    assert run_json("history", "delete", fox)[0]["deleted_at"]
    assert "not found" in run("history", "show", fox, code=2).stderr
    assert listed("vixen", "--deleted") == ["a red fox in the snow"]
    assert run_json("history", "undelete", fox)[0]["title"] == "Vixen"
    run("history", "delete", fox)
    assert "0 pictures removed" in run("history", "purge").stdout
    run("history", "purge", "--all", code=1)  # nobody agrees
    assert path.exists()
    assert run_json("history", "purge", "--all", "--yes") == {"removed": [fox]}
    assert not path.exists()
    assert "agree" in run("history", "verify").stdout
