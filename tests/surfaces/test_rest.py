"""The server's own interface over HTTP, on a real port, in the hands of people who must not see each other's things."""

from __future__ import annotations

import json
import random
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_image_server.errors import ImageServerError, ProviderError
from mcp_image_server.models import Generated, ImageRequest, Size
from mcp_image_server.providers import Context
from mcp_image_server.surfaces.http.problems import refusal, trouble_of
from mcp_image_server.surfaces.http.rest import table
from tests.easel import Easel, at_once, draw, png_of
from tests.easel import Gate as HeldBack
from tests.fakes.server import picture
from tests.web import Web, token_of, tokens_in, web

pytestmark = pytest.mark.anyio

PNG = picture(64, 48)
TUS = {"tus-resumable": "1.0.0"}


class Person:
    """Somebody with a token."""

    def __init__(self, site: Web, name: str) -> None:
        self.site, self.name = site, name

    async def __call__(self, method: str, path: str, status: int, **more: Any) -> Any:
        """The answer, whose status is as expected: its JSON, or the response where it has none."""
        headers = {"authorization": f"Bearer {token_of(self.name)}", **more.pop("headers", {})}
        answer = await self.site.client.request(method, path, headers=headers, timeout=20, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer

    async def draws(self, prompt: str = "a cat") -> str:
        """The id of a new picture."""
        answer = await self("POST", "/api/v1/jobs?wait=10", 201, json={"prompt": prompt})
        return str(answer["images"][0]["id"])


@pytest.fixture(scope="module")
async def opened(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Web, Easel]]:
    """One server for all tests."""
    folder, easel = tmp_path_factory.mktemp("rest"), Easel()
    tokens = tokens_in(folder, ann={}, bob={}, eve={"roles": ["viewer"]})
    async with web(folder, {"MCP_TOKENS_FILE": tokens, "MCP_PRICES": '{"easel": 1}', "MCP_MAX_BODY_BYTES": "200000"}, easel) as site:
        yield site, easel


@pytest.fixture
def easel(opened: tuple[Web, Easel]) -> Easel:
    """What draws, as it comes."""
    easel = opened[1]
    easel.work, easel.started = at_once, anyio.Event()
    return easel


@pytest.fixture
def ann(opened: tuple[Web, Easel], easel: Easel) -> Person:
    return Person(opened[0], "ann")


@pytest.fixture
def bob(opened: tuple[Web, Easel]) -> Person:
    return Person(opened[0], "bob")


# Jobs -----------------------------------------------------------------------------------------------------------------------------------------


async def test_a_job_is_waited_for_as_long_as_the_caller_says(ann: Person, easel: Easel) -> None:
    easel.work = gate = HeldBack()
    begun = await ann("POST", "/api/v1/jobs", 202, json={"prompt": "slow"})
    path = f"/api/v1/jobs/{begun['job']['id']}"
    assert begun["ok"] is True
    assert begun["job"]["state"] in ("queued", "running")
    assert (await ann("GET", f"{path}?wait=0.1", 200))["images"] == []
    gate.opened.set()
    ended = await ann("GET", path, 200, headers={"prefer": "respond-async, wait=10"})
    image = ended["images"][0]
    assert ended == {
        "version": "1.0",
        "ok": True,
        "images": [
            {
                "id": image["id"],
                "provider": "easel",
                "mime_type": "image/png",
                "file_name": f"img_easel_{image['id']}.png",
                "url": image["url"],
                "size_bytes": image["size_bytes"],
                "revised_prompt": None,
                "model": "easel-1",
                "width": 64,
                "height": 64,
                "seed": image["seed"],
            }
        ],
        "error": None,
        "job": {"id": begun["job"]["id"], "state": "succeeded", "provider": "easel", "model": "easel-1"},
        "cost": {"amount": 1.0, "currency": "USD", "source": "list_price"},
    }
    assert (await ann.site.client.get(image["url"])).headers["content-type"] == "image/png"


async def test_a_job_that_failed_says_why_and_its_making_was_no_failure(ann: Person, easel: Easel) -> None:
    async def work(request: ImageRequest, context: Context) -> Generated:
        raise ProviderError("Out of paint.", provider="easel")

    easel.work = work
    answer = await ann("POST", "/api/v1/jobs", 201, json={"prompt": "x"}, headers={"prefer": "wait=10"})
    assert (answer["ok"], answer["job"]["state"], answer["error"]["code"]) == (False, "failed", "provider_error")
    assert answer["error"]["message"] == "Out of paint."


async def test_jobs_come_in_pages_and_can_be_told_by_their_state(ann: Person, easel: Easel) -> None:
    easel.work = gate = HeldBack()
    ids = [(await ann("POST", "/api/v1/jobs", 202, json={"prompt": f"number {number}"}))["job"]["id"] for number in range(3)]
    first = await ann("GET", "/api/v1/jobs?limit=2&state=queued&state=running", 200)
    assert [job["id"] for job in first["jobs"]] == [ids[2], ids[1]]
    assert first["next"] == ids[1]
    second = await ann("GET", f"/api/v1/jobs?limit=2&state=queued&state=running&before={first['next']}", 200)
    assert ([job["id"] for job in second["jobs"]], second["next"]) == ([ids[0]], None)
    assert (await ann("DELETE", f"/api/v1/jobs/{ids[0]}", 200))["job"]["state"] == "cancelled"
    assert (await ann("POST", f"/api/v1/jobs/{ids[1]}/cancel", 200))["job"]["state"] == "cancelled"
    gate.opened.set()
    assert (await ann("GET", f"/api/v1/jobs/{ids[2]}?wait=10", 200))["job"]["state"] == "succeeded"


async def test_a_job_is_followed_to_its_end(ann: Person, easel: Easel) -> None:
    go_on = anyio.Event()

    async def work(request: ImageRequest, context: Context) -> Generated:
        await context.preview(PNG)
        await go_on.wait()
        return draw(request)

    easel.work = work
    job = (await ann("POST", "/api/v1/jobs", 202, json={"prompt": "x"}))["job"]["id"]
    seen: list[tuple[str, Any]] = []
    with anyio.fail_after(10):
        headers = {"authorization": f"Bearer {token_of('ann')}"}
        async with ann.site.client.stream("GET", f"/api/v1/jobs/{job}/events", headers=headers) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            name = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    seen.append((name, json.loads(line.removeprefix("data: "))))
                    if name == "preview":
                        go_on.set()
    assert [name for name, _ in seen if name != "progress"] == ["preview", "ended"]
    assert seen[-1][1]["job"] == {"id": job, "state": "succeeded", "provider": "easel", "model": "easel-1"}


async def test_a_picture_is_drawn_of_others_under_a_mask_and_once_more(ann: Person, easel: Easel) -> None:
    stored = await ann.draws()
    data = f"data:image/png;base64,{b64encode(PNG).decode()}"
    problem = await ann("POST", "/api/v1/jobs", 400, json={"prompt": "x", "images": [stored, data], "mask_boxes": [[0, 0, 0.5, 0.5]]})
    assert problem["code"] == "unsupported"  # an easel draws of words only, and content is never dropped
    again = await ann("POST", "/api/v1/jobs?wait=10", 201, json={"rerun_of": stored})
    assert again["ok"]
    plan = await ann("POST", "/api/v1/estimates", 200, json={"prompt": "x", "n": 3})
    assert (plan["n"], plan["estimate"]) == (3, {"amount": 3.0, "currency": "USD", "source": "list_price"})


# Images ---------------------------------------------------------------------------------------------------------------------------------------


async def test_an_image_is_found_changed_thrown_away_and_got_back(ann: Person) -> None:
    stored = await ann.draws("a very particular walrus")
    path = f"/api/v1/images/{stored}"
    changed = await ann("PATCH", path, 200, json={"title": "Wally", "tags": ["sea", "fat"], "favourite": True})
    assert (changed["title"], changed["tags"], changed["favourite"]) == ("Wally", ["fat", "sea"], True)
    changed = await ann("PATCH", path, 200, json={"tags": ["sea", "old"], "favourite": False})
    assert (changed["title"], changed["tags"], changed.get("favourite")) == ("Wally", ["old", "sea"], None)
    for query in ("q=walrus", "tag=sea&tag=old", "q=wally&provider=easel&min_edge=64&ratio=1:1&min_cost=0.5&max_cost=1.5"):
        assert [image["id"] for image in (await ann("GET", f"/api/v1/images?{query}", 200))["images"]] == [stored]
    assert (await ann("GET", "/api/v1/images?q=walrus&min_cost=2", 200))["images"] == []
    content = await ann("GET", f"{path}/content?thumbnail=true", 302)
    assert (await ann.site.client.get(content.headers["location"])).headers["content-type"] == "image/webp"
    assert (await ann("GET", f"{path}/lineage", 200))["ancestors"] == []
    await ann("DELETE", path, 200)
    await ann("DELETE", path, 200)
    assert (await ann("GET", path, 404))["code"] == "image_not_found"
    assert [image["id"] for image in (await ann("GET", "/api/v1/images?deleted=true&q=walrus", 200))["images"]] == [stored]
    await ann("POST", f"{path}/undelete", 200)
    assert "deleted_at" not in await ann("GET", path, 200)


async def test_images_come_in_pages_whose_links_keep_what_was_asked(ann: Person) -> None:
    drawn = [await ann.draws(f"pagination {number}") for number in range(3)]
    found: list[str] = []
    page: str | None = "/api/v1/images?q=pagination&limit=2"
    while page:
        answer = await ann.site.client.get(page, headers={"authorization": f"Bearer {token_of('ann')}"})
        found += [image["id"] for image in answer.json()["images"]]
        page = answer.links["next"]["url"] if "next" in answer.links else None
    assert found == drawn[::-1]


async def test_models_statistics_and_spending_are_told(ann: Person) -> None:
    await ann.draws()
    models = await ann("GET", "/api/v1/models?provider=easel", 200)
    assert [provider["default_model"] for provider in models["providers"]] == ["easel-1"]
    assert (await ann("GET", "/api/v1/models?provider=nobody", 404))["code"] == "provider_unavailable"
    statistics = await ann("GET", "/api/v1/statistics?days=1", 200)
    assert statistics["pictures"] == statistics["providers"]["easel"]["pictures"] >= 1
    assert (await ann("GET", "/api/v1/spending", 200))["spent"]["USD"] >= 1


# Many at once, and without a service ------------------------------------------------------------------------------------------------------------


async def test_a_batch_is_estimated_begun_waited_for_and_found_again(ann: Person) -> None:
    wanted = {"prompts": ["a fox", "a wolf"], "items": [{"prompt": "a hare", "seed": 7}], "n": 2}
    plan = await ann("POST", "/api/v1/batches/estimates", 200, json=wanted)
    assert (plan["pictures"], plan["by_model"], plan["estimate"]) == (6, {"easel/easel-1": 6}, {"USD": 6.0})
    begun = await ann("POST", "/api/v1/batches?wait=15&items=1", 201, json=wanted)
    batch = begun["batch"]
    assert (batch["state"], batch["total"], batch["succeeded"], batch["spent"], batch["items_left_out"]) == ("succeeded", 6, 6, {"USD": 6.0}, 5)
    [item] = batch["items"]
    assert (item["number"], item["place"], item["prompt"], item["state"]) == (1, "item 1", "a fox", "succeeded")
    [image] = item["images"]
    assert image.keys() == {"id", "url"}
    assert (await ann.site.client.get(image["url"])).headers["content-type"] == "image/png"
    [sheet] = begun["images"]
    assert "local_path" not in sheet
    assert (await ann.site.client.get(sheet["url"])).status_code == 200
    again = await ann("POST", "/api/v1/batches?items=1", 201, json=wanted)
    assert again == {**begun, "images": again["images"], "batch": {**batch, "items": again["batch"]["items"]}}
    assert len((await ann("GET", f"/api/v1/batches/{batch['id']}", 200))["batch"]["items"]) == 6
    wrong = await ann("POST", "/api/v1/batches", 400, json={"items": [{"prompt": "x", "colour": "red"}, {"prompt": ""}]})
    assert (wrong["code"], [row["place"] for row in wrong["details"]["rows"]]) == ("invalid_rows", ["item 1", "item 2"])
    for asked in ({"output_filename": "x.png"}, {"output_dir": "/tmp"}):
        assert (await ann("POST", "/api/v1/batches", 400, json={"items": [{"prompt": "x", **asked}]}))["code"] == "invalid_rows"
    assert (await ann("POST", "/api/v1/batches", 400, json={}))["code"] == "invalid_rows"


async def test_a_batch_is_ended_and_what_brought_nothing_is_drawn_anew(ann: Person, easel: Easel) -> None:
    easel.work = gate = HeldBack()
    begun = await ann.site.client.post(
        "/api/v1/batches", json={"prompts": ["one", "two"]}, headers={"authorization": f"Bearer {token_of('ann')}", "prefer": "wait=0"}
    )
    assert begun.status_code == 202
    path = begun.headers["location"]
    assert begun.json()["batch"]["state"] == "running"
    ended = await ann("POST", f"{path}/cancel", 200)
    assert (ended["batch"]["state"], ended["batch"]["failed"], ended["error"]["code"]) == ("incomplete", 2, "incomplete")
    gate.opened.set()
    again = await ann("POST", f"{path}/retry?wait=15", 201, json={"which": "failed"})
    again = await ann("POST", f"{path}/retry?wait=15", 201, json={"which": "maybe_billed"}) if not again["ok"] else again
    assert (again["batch"]["state"], again["batch"]["succeeded"]) == ("succeeded", 2)


async def test_pictures_are_changed_without_a_service(ann: Person, easel: Easel) -> None:
    stored = await ann.draws()
    drawn = len(easel.asked)
    made = await ann("POST", "/api/v1/transformations", 201, json={"images": [stored], "rotate": 90, "crop": "2:1", "format": "webp"})
    [image] = made["images"]
    assert (made["ok"], image["width"], image["height"], image["mime_type"], "local_path" in image) == (True, 32, 64, "image/webp", False)
    assert (await ann.site.client.get(image["url"])).headers["content-type"] == "image/webp"
    assert (await ann("GET", f"/api/v1/images/{image['id']}", 200))["made_from"] == [stored]
    assert (await ann("GET", f"/api/v1/images/{stored}/lineage", 200))["descendants"][0]["id"] == image["id"]
    assert len(easel.asked) == drawn
    for more in ({}, {"rotate": "much"}, {"save_as": "/tmp/x.png"}, {"icons": "/tmp"}):
        await ann("POST", "/api/v1/transformations", 400, json={"images": [stored], **more})


# Styles and templates -------------------------------------------------------------------------------------------------------------------------


async def test_a_template_is_kept_used_read_and_thrown_away(ann: Person, easel: Easel) -> None:
    path = "/api/v1/templates/card"
    words = {
        "title": "Card",
        "prompt": "a {mood} card for {whom}",
        "variables": {"whom": {}, "mood": {"choices": ["calm", "gay"], "default": "calm"}},
    }
    await ann("GET", path, 404)
    kept = await ann("PUT", path, 201, json={**words, "variables": {**words["variables"], "whom": None}})  # type: ignore[dict-item]
    typed = {"whom": {"type": "string"}, "mood": {"type": "choice", "choices": ["calm", "gay"], "default": "calm"}}
    assert kept == {"key": "card", "origin": "own", "template": {**words, "variables": typed}}
    assert await ann("PUT", path, 200, json=kept["template"]) == kept == await ann("GET", path, 200)
    await ann("POST", "/api/v1/jobs?wait=10", 201, json={"template": "card", "variables": {"whom": "Li"}})
    assert easel.asked[-1].prompt == "a calm card for Li"
    listed = (await ann("GET", "/api/v1/templates", 200))["templates"]
    assert [each["origin"] for each in listed] == ["builtin"] * 12 + ["own"]
    assert "card" in (await ann("GET", "/api/v1/models", 200))["templates"]
    await ann("DELETE", path, 204)
    assert (await ann("DELETE", path, 404))["code"] == "template_not_found"


async def test_a_style_is_kept_used_read_and_thrown_away(ann: Person, easel: Easel) -> None:
    path = "/api/v1/styles/house"
    words = {"label": "自家 House", "phrase": "soft pastel", "phrase_zh": "柔和粉彩"}
    kept = await ann("PUT", path, 201, json=words)
    assert kept == {"key": "house", "origin": "own", "style": words} == await ann("GET", path, 200)
    await ann("POST", "/api/v1/jobs?wait=10", 201, json={"prompt": "a fox", "style": "house"})
    assert easel.asked[-1].prompt == "a fox, soft pastel"
    assert [each["key"] for each in (await ann("GET", "/api/v1/styles", 200))["styles"] if each["origin"] == "own"] == ["house"]
    await ann("DELETE", path, 204)
    assert (await ann("GET", path, 404))["code"] == "invalid_style"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("templates/a%20b", {"prompt": "x"}, 400, "invalid_parameters"),
        ("templates/..%2F..%2Fx", {"prompt": "x"}, 404, "not_found"),
        ("templates/..", {"prompt": "x"}, 404, "not_found"),
        ("templates/x", {"prompt": "a {gap}"}, 400, "invalid_parameters"),
        ("templates/x", {"prompt": "x", "colour": "red"}, 400, "invalid_arguments"),
        ("templates/x", {"prompt": ""}, 400, "invalid_arguments"),
        ("templates/x", {"prompt": "字" * 11_000}, 413, "payload_too_large"),
        ("templates/x", {"prompt": "x" * 70_000}, 413, "payload_too_large"),
        ("templates/x?shared=true", {"prompt": "x"}, 403, "forbidden"),
        ("styles/x", {"phrase": "x" * 1001}, 400, "invalid_arguments"),
        ("styles/x", {}, 400, "invalid_arguments"),
        ("styles/x?shared=true", {"phrase": "x"}, 403, "forbidden"),
    ],
)
async def test_what_cannot_be_kept_is_refused(ann: Person, path: str, body: dict[str, Any], status: int, code: str) -> None:
    assert (await ann("PUT", f"/api/v1/{path}", status, json=body))["code"] == code


# Who may --------------------------------------------------------------------------------------------------------------------------------------


async def test_what_belongs_to_somebody_else_is_not_there(ann: Person, bob: Person) -> None:
    stored = await ann.draws()
    job = stored.partition("-")[0]
    upload = (await ann("POST", "/api/v1/uploads", 201, json={}))["id"]
    for method, path, body in (
        ("GET", f"/api/v1/images/{stored}", None),
        ("GET", f"/api/v1/images/{stored}/content", None),
        ("GET", f"/api/v1/images/{stored}/lineage", None),
        ("PATCH", f"/api/v1/images/{stored}", {"title": "mine"}),
        ("DELETE", f"/api/v1/images/{stored}", None),
        ("POST", f"/api/v1/images/{stored}/undelete", None),
        ("GET", f"/api/v1/jobs/{job}", None),
        ("GET", f"/api/v1/jobs/{job}/events", None),
        ("DELETE", f"/api/v1/jobs/{job}", None),
        ("POST", "/api/v1/jobs", {"rerun_of": stored}),
        ("GET", f"/api/v1/uploads/{upload}", None),
        ("DELETE", f"/api/v1/uploads/{upload}", None),
    ):
        theirs = await bob(method, path, 404, json=body)
        unknown = await bob(method, path.replace(stored, "0" * 16 + "-1").replace(job, "0" * 16).replace(upload, "0" * 32), 404, json=body)
        assert theirs["code"] == unknown["code"]
    assert (await bob("GET", f"/api/v1/jobs?before={job}", 200))["jobs"] == []


async def test_who_only_looks_draws_changes_and_sends_nothing(opened: tuple[Web, Easel], ann: Person) -> None:
    eve = Person(opened[0], "eve")
    await eve("GET", "/api/v1/images", 200)
    await eve("GET", "/api/v1/templates", 200)
    for method, path, body in (
        ("POST", "/api/v1/jobs", {"prompt": "x"}),
        ("POST", "/api/v1/batches", {"prompts": ["x"]}),
        ("POST", "/api/v1/transformations", {"images": ["x"], "rotate": 90}),
        ("POST", "/api/v1/uploads", {}),
        ("POST", "/v1/images/generations", {"prompt": "x"}),
        ("PUT", "/api/v1/templates/x", {"prompt": "x"}),
        ("DELETE", "/api/v1/templates/x", None),
        ("PUT", "/api/v1/styles/x", {"phrase": "x"}),
        ("DELETE", "/api/v1/styles/x", None),
    ):
        answer = await eve(method, path, 403, json=body)
        assert (answer.get("code") or answer["error"]["code"]) == "forbidden"


async def test_whoever_is_turned_away_is_told_so_in_the_shape_of_the_path(opened: tuple[Web, Easel]) -> None:
    client = opened[0].client
    problem = await client.get("/api/v1/images")
    assert (problem.status_code, problem.headers["content-type"]) == (401, "application/problem+json")
    assert problem.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "Unauthorized: Missing or invalid authentication",
        "code": "unauthorized",
        "who_can_fix_it": "the caller",
        "retryable": False,
        "details": {},
    }
    assert problem.headers["www-authenticate"] == "Bearer"
    assert (await client.get("/v1/models")).json()["error"]["code"] == "invalid_api_key"
    assert refusal("/mcp", 401, "no") is None


# Failures -------------------------------------------------------------------------------------------------------------------------------------


async def test_a_call_that_cannot_be_understood_is_a_problem_with_its_reason(ann: Person) -> None:
    wrong = await ann("POST", "/api/v1/jobs", 400, json={"prompt": "x", "n": 99, "colour": "red"})
    assert wrong["code"] == "invalid_arguments"
    assert [each["field"] for each in wrong["details"]["problems"]] == ["n", "colour"]
    assert (await ann("GET", "/api/v1/jobs?limit=many", 400))["code"] == "invalid_arguments"
    assert (await ann("GET", "/api/v1/images?since=yesterday", 400))["code"] == "invalid_arguments"
    assert (await ann("POST", "/api/v1/jobs", 400, content=b"{", headers={"content-type": "application/json"}))["code"] == "invalid_arguments"
    assert (await ann("POST", "/api/v1/jobs", 415, content=b"x", headers={"content-type": "text/plain"}))["code"] == "unsupported_media_type"
    assert (await ann("GET", "/api/v1/nothing", 404))["code"] == "not_found"
    refused = await ann.site.client.put("/api/v1/jobs", headers={"authorization": f"Bearer {token_of('ann')}"})
    assert (refused.status_code, refused.headers["allow"], refused.json()["code"]) == (405, "GET, HEAD, OPTIONS, POST", "method_not_allowed")


async def test_a_body_that_is_too_large_is_refused_however_it_comes(ann: Person) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(21):
            yield b"x" * 10_000

    form = {"content-type": "multipart/form-data; boundary=b"}
    begin = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'

    async def file() -> AsyncIterator[bytes]:
        yield begin
        async for piece in pieces():
            yield piece

    assert (await ann("POST", "/api/v1/jobs", 413, content=b"x" * 300_000, headers={"content-type": "application/json"}))[
        "code"
    ] == "payload_too_large"
    assert (await ann("POST", "/api/v1/jobs", 413, content=pieces(), headers={"content-type": "application/json"}))["code"] == "payload_too_large"
    assert (await ann("POST", "/v1/images/edits", 413, content=file(), headers=form))["error"]["code"] == "payload_too_large"
    for broken in (b"", b"--b\r\n", b"--b\r\nContent-Disposition: x\r\n\r\n\r\n--b--\r\n"):
        assert (await ann("POST", "/v1/images/edits", 400, content=broken, headers=form))["error"]["type"] == "invalid_request_error"


def kinds(parent: type[ImageServerError] = ImageServerError) -> list[type[ImageServerError]]:
    return [parent, *(kind for child in parent.__subclasses__() for kind in kinds(child))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_somebody_who_can_do_something(kind: type[ImageServerError]) -> None:
    trouble = trouble_of(kind("words"))
    assert 400 <= trouble.status < 600
    assert trouble.who in ("the caller", "the operator", "the service", "the person", "nobody", "the developers")


# Uploads --------------------------------------------------------------------------------------------------------------------------------------


def folder_of(person: Person) -> Path:
    """Where uploads lie."""
    return Path(str(person.site.studio.settings.data_dir)) / "uploads"


async def test_whoever_has_the_link_sends_a_picture_without_a_token(ann: Person, easel: Easel) -> None:
    begun = await ann("POST", "/api/v1/uploads", 201, json={"name": "my cat.png"})
    plain = ann.site.client
    answer = await plain.put(begun["url"], content=PNG)
    assert answer.status_code == 201
    stored = answer.json()
    assert (stored["provider"], stored["width"], stored["height"], stored["prompt"]) == ("upload", 64, 48, "my cat.png")
    assert (await ann("GET", f"/api/v1/uploads/{begun['id']}", 200))["image_id"] == stored["id"]
    assert (await ann("GET", f"/api/v1/images/{stored['id']}", 200))["size_bytes"] == stored["size_bytes"]
    assert (await plain.put(begun["url"], content=PNG)).json()["code"] == "upload_conflict"
    assert (await plain.put(begun["url"][:-1], content=PNG)).json()["code"] == "upload_not_found"
    assert (await plain.put(begun["url"].partition("?")[0], content=PNG)).json()["code"] == "upload_not_found"


async def test_what_is_no_picture_is_thrown_away_and_the_link_takes_another(ann: Person) -> None:
    begun = await ann("POST", "/api/v1/uploads", 201, json={})
    refused = await ann.site.client.put(begun["url"], content=b"MZ" * 500)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_image")
    assert (await ann("GET", f"/api/v1/uploads/{begun['id']}", 200))["offset"] == 0
    assert (await ann.site.client.put(begun["url"], content=PNG)).status_code == 201


async def test_a_large_picture_comes_in_pieces_and_goes_on_where_it_was_broken_off(ann: Person) -> None:
    large = png_of(Size(width=128, height=128), random.Random(1).randbytes(3 * 128 * 128))
    plain, half = ann.site.client, len(large) // 2
    name = b64encode(b"cat.png").decode()
    fields = {**TUS, "upload-length": str(len(large)), "upload-metadata": f"filename {name},filetype aW1hZ2UvcG5n"}
    begun = await ann("POST", "/api/v1/uploads", 201, headers=fields)
    link, pieces = begun["url"], {**TUS, "content-type": "application/offset+octet-stream"}
    here = folder_of(ann) / f"{begun['id']}.part"

    async def breaking_off() -> AsyncIterator[bytes]:
        yield large[:half]
        with anyio.fail_after(5):
            while not here.exists() or here.stat().st_size < half:
                await anyio.sleep(0.01)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await plain.patch(link, content=breaking_off(), headers={**pieces, "upload-offset": "0"})
    standing = await plain.head(link, headers=TUS)
    assert standing.headers["upload-offset"] == str(half)
    assert standing.headers["upload-length"] == str(len(large))
    assert standing.headers["cache-control"] == "no-store"
    with anyio.fail_after(5):
        while (astray := await plain.patch(link, content=b"x", headers={**pieces, "upload-offset": "3"})).json()["details"] == {}:
            await anyio.sleep(0.02)  # until it is known that the first sender has gone
    assert (astray.status_code, astray.json()["details"]) == (409, {"offset": half})
    done = await plain.patch(link, content=large[half:], headers={**pieces, "upload-offset": str(half)})
    assert (done.status_code, done.headers["upload-offset"]) == (204, str(len(large)))
    assert (await ann("GET", f"/api/v1/images/{done.headers['image-id']}", 200))["prompt"] == "cat.png"
    assert (await plain.head(link, headers=TUS)).headers["upload-offset"] == str(len(large))
    assert (await plain.patch(link, content=b"", headers={**pieces, "tus-resumable": "0.2"})).status_code == 412
    told = await ann("OPTIONS", "/api/v1/uploads", 204)
    assert told.headers["tus-extension"] == "creation,expiration,termination"


async def test_an_upload_ends_with_its_time_and_takes_no_more_than_was_said(ann: Person) -> None:
    begun = await ann("POST", "/api/v1/uploads", 201, json={"length": 10})
    assert (await ann.site.client.put(begun["url"], content=PNG)).json()["code"] == "payload_too_large"
    assert (await ann("POST", "/api/v1/uploads", 413, json={"length": 10**9}))["code"] == "payload_too_large"
    assert (await ann.site.client.delete(begun["url"])).status_code == 204
    assert (await ann("GET", f"/api/v1/uploads/{begun['id']}", 404))["code"] == "upload_not_found"
    begun = await ann("POST", "/api/v1/uploads", 201, json={})
    record = folder_of(ann) / f"{begun['id']}.json"
    record.write_text(record.read_text().replace(begun["expires_at"], "2026-01-01T00:00:00+00:00"))
    assert (await ann.site.client.put(begun["url"], content=PNG)).status_code == 404
    await ann("POST", "/api/v1/uploads", 201, json={})
    assert not record.exists()


# The description ------------------------------------------------------------------------------------------------------------------------------


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
