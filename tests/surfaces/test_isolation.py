"""Two principals on one server: neither can read, list, guess, cancel or spend what is the other's, whichever way they come in."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_image_server.models import Generated, ImageRequest, Size
from mcp_image_server.providers import Context
from tests.easel import Easel, draw, png
from tests.web import Web, token_of, tokens_in, web

pytestmark = pytest.mark.anyio

ALICE, BOB, CAROL, BOSS = (token_of(name) for name in ("alice", "bob", "carol", "boss"))

SECRET = "alices secret garden"

TASKS: dict[str, Any] = {"_meta": {"io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}}


class House(Web):
    """The server with something of Alice's on it: a picture, a job under way, and a batch."""

    image: str
    file: str
    link: str
    job: str
    waiting: str
    batch: str
    hold: anyio.Event
    upload: dict[str, Any]
    bobs: str
    """The key of an upload of Bob's."""


@asynccontextmanager
async def house(tmp_path: Path, environment: dict[str, str] | None = None) -> AsyncIterator[House]:
    hold = anyio.Event()

    async def work(request: ImageRequest, context: Context) -> Generated:
        if "waits" in request.prompt:
            await hold.wait()
        return draw(request)

    people: dict[str, dict[str, object]] = {
        "alice": {"team": "design"},
        "bob": {"team": "sales"},
        "carol": {"team": "design"},
        "boss": {"roles": ["admin"]},
    }
    settings = {"MCP_TOKENS_FILE": tokens_in(tmp_path, **people), "MCP_TOOLSET": "full", **(environment or {})}
    async with web(tmp_path, settings, Easel(work=work)) as site:
        found = House(site.studio, site.url, site.client)
        made = await found.call("generate_image", token=ALICE, prompt=SECRET)
        image = made["images"][0]
        found.image, found.file, found.link, found.job = image["id"], image["file_name"], image["url"], made["job"]["id"]
        found.waiting = (await found.call("generate_image", token=ALICE, prompt="waits", wait_seconds=0))["job"]["id"]
        found.batch = (await found.call("generate_batch", token=ALICE, prompts=["one", "two"]))["batch"]["id"]
        found.hold = hold
        try:
            yield found
        finally:
            hold.set()


def code_of(answer: Any) -> str:
    """The kind of refusal; the whole answer where it is none."""
    return str(answer["error"]["code"]) if isinstance(answer, dict) and answer.get("error") else str(answer)


PICTURE = f"data:image/png;base64,{b64encode(png(Size(width=64, height=64), (1, 2, 3))).decode()}"

TOOLS: dict[str, tuple[str, Callable[[House], dict[str, Any]], str]] = {
    "look at a job": ("get_job", lambda site: {"job_id": site.job}, "job_not_found"),
    "wait for a job": ("get_job", lambda site: {"job_id": site.waiting, "wait_seconds": 0}, "job_not_found"),
    "cancel a job": ("cancel_job", lambda site: {"job_id": site.waiting}, "job_not_found"),
    "read a picture": ("get_image_data", lambda site: {"image_id": site.image}, "image_not_found"),
    "edit a picture": ("edit_image", lambda site: {"prompt": "more", "images": [site.image]}, "image_not_found"),
    "edit by its address": ("edit_image", lambda site: {"prompt": "more", "images": [f"image://{site.image}"]}, "image_not_found"),
    "draw in its style": ("edit_image", lambda site: {"prompt": "x", "images": [PICTURE], "style_image": site.image}, "image_not_found"),
    "draw it again": ("generate_image", lambda site: {"prompt": "", "rerun_of": site.image}, "image_not_found"),
    "transform it": ("transform_image", lambda site: {"images": [site.image], "rotate": 90}, "image_not_found"),
    "tag it": ("manage_images", lambda site: {"image_ids": [site.image], "action": "tag", "tags": ["mine"]}, "image_not_found"),
    "share it": ("manage_images", lambda site: {"image_ids": [site.image], "action": "share"}, "image_not_found"),
    "delete it": ("manage_images", lambda site: {"image_ids": [site.image], "action": "delete"}, "image_not_found"),
    "look at a batch": ("generate_batch", lambda site: {"batch_id": site.batch}, "batch_not_found"),
    "cancel a batch": ("generate_batch", lambda site: {"batch_id": site.batch, "cancel": True}, "batch_not_found"),
    "repeat a batch": ("generate_batch", lambda site: {"batch_id": site.batch, "retry": "failed"}, "batch_not_found"),
    "reload the settings": ("reload_config", lambda site: {}, "forbidden"),
}


@pytest.mark.parametrize("way", TOOLS)
async def test_no_tool_reaches_what_is_somebody_elses(tmp_path: Path, way: str) -> None:
    tool, arguments, code = TOOLS[way]
    async with house(tmp_path) as site:
        answer = await site.call(tool, token=BOB, **arguments(site))
        assert code_of(answer) == code
        assert SECRET not in json.dumps(answer)
        assert (await site.call("get_job", token=ALICE, job_id=site.waiting, wait_seconds=0))["job"]["state"] == "running"
        assert [image["id"] for image in (await site.call("search_images", token=ALICE, query="secret"))["images"]] == [site.image]


async def test_a_wrong_id_and_a_foreign_one_are_answered_alike(tmp_path: Path) -> None:
    async with house(tmp_path) as site:
        foreign = await site.call("get_job", token=BOB, job_id=site.job)
        wrong = await site.call("get_job", token=BOB, job_id="job_0000")
        assert json.dumps(foreign).replace(site.job, "X") == json.dumps(wrong).replace("job_0000", "X")
        foreign, wrong = [await site.call("get_image_data", token=BOB, image_id=each) for each in (site.image, "nothing")]
        assert json.dumps(foreign).replace(site.image, "X") == json.dumps(wrong).replace("nothing", "X")


async def test_lists_and_searches_show_ones_own(tmp_path: Path) -> None:
    async with house(tmp_path) as site:
        for query in ("secret", "alices", "", site.image):
            assert (await site.call("search_images", token=BOB, query=query))["images"] == []
        assert (await site.call("search_images", token=BOB, tags=["x"], query="garden"))["images"] == []
        listed = await site.rpc("resources/list", {}, token=BOB)
        assert site.image not in json.dumps(listed)
        models = await site.call("list_models", token=BOB)
        assert SECRET not in json.dumps(models)


async def test_no_resource_is_read_by_another(tmp_path: Path) -> None:
    async with house(tmp_path) as site:
        own = await site.rpc("resources/read", {"uri": f"image://{site.image}"}, token=ALICE)
        assert own["contents"][0]["blob"]
        foreign = await site.rpc("resources/read", {"uri": f"image://{site.image}"}, token=BOB)
        assert foreign["code"] == -32602
        assert "blob" not in json.dumps(foreign)


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update"])
async def test_no_task_is_anothers(tmp_path: Path, method: str) -> None:
    async with house(tmp_path) as site:
        assert "code" not in await site.rpc("tasks/get", {"taskId": site.waiting, **TASKS}, token=ALICE)
        foreign = await site.rpc(method, {"taskId": site.waiting, **TASKS}, token=BOB)
        assert foreign == {"code": -32602, "message": f"Unknown task: {site.waiting}"}
        assert (await site.rpc("tasks/get", {"taskId": site.waiting, **TASKS}, token=ALICE))["status"] == "working"


async def test_the_gallery_and_files_are_ones_own_and_a_signed_link_is_whosever_has_it(tmp_path: Path) -> None:
    async with house(tmp_path) as site:
        bobs, alices = {"authorization": f"Bearer {BOB}"}, {"authorization": f"Bearer {ALICE}"}
        assert SECRET in (await site.client.get("/", headers=alices)).text
        assert SECRET not in (await site.client.get("/", headers=bobs)).text
        assert SECRET not in (await site.client.get("/", params={"q": "secret"}, headers=bobs)).text
        assert (await site.client.get(f"/images/{site.file}", headers=alices)).status_code == 200
        assert (await site.client.get(f"/images/{site.file}", headers=bobs)).status_code == 404
        assert (await site.client.get(f"/images/{site.file}?thumbnail=1", headers=bobs)).status_code == 404
        assert (await site.client.get(f"/images/{site.file}")).status_code == 401
        assert (await site.client.get(site.link)).status_code == 200
        assert (await site.client.get(site.link.replace("signature=", "signature=A"))).status_code == 401


async def test_an_idempotency_key_and_a_twin_are_ones_own(tmp_path: Path) -> None:
    async with house(tmp_path, {"MCP_JOIN_AFTER": "0"}) as site:
        first = await site.call("generate_image", token=ALICE, prompt="waits here", idempotency_key="k", wait_seconds=0)
        again = await site.call("generate_image", token=ALICE, prompt="waits here", idempotency_key="k", wait_seconds=0)
        other = await site.call("generate_image", token=BOB, prompt="waits here", idempotency_key="k", wait_seconds=0)
        assert first["job"]["id"] == again["job"]["id"] != other["job"]["id"]


async def test_nobody_spends_anothers_allowance(tmp_path: Path) -> None:
    async with house(tmp_path, {"MCP_PRINCIPAL_IMAGES_DAY": "5", "MCP_PRINCIPAL_JOBS": "2"}) as site:
        assert code_of(await site.call("generate_image", token=ALICE, prompt="one more", n=2)) == "quota_exceeded"  # four are asked for already
        assert (await site.call("generate_image", token=BOB, prompt="a cat", n=5))["ok"]
        assert code_of(await site.call("generate_image", token=BOB, prompt="one more")) == "quota_exceeded"
        await site.call("generate_image", token=ALICE, prompt="waits, too", wait_seconds=0)
        assert code_of(await site.call("generate_image", token=ALICE, prompt="waits, three", wait_seconds=0)) == "quota_exceeded"


async def test_who_cancels_what_may_be_billed_has_asked_for_it(tmp_path: Path) -> None:
    async with house(tmp_path, {"MCP_PRINCIPAL_IMAGES_DAY": "5"}) as site:
        begun = await site.call("generate_image", token=BOB, prompt="waits", n=5, wait_seconds=0)
        while (await site.call("get_job", token=BOB, job_id=begun["job"]["id"], wait_seconds=0))["job"]["state"] != "running":
            await anyio.sleep(0.01)
        ended = await site.call("cancel_job", token=BOB, job_id=begun["job"]["id"])
        assert (ended["job"]["state"], ended["error"]["details"]["may_have_been_billed"]) == ("cancelled", True)
        assert code_of(await site.call("generate_image", token=BOB, prompt="a cat")) == "quota_exceeded"


async def test_a_session_belongs_to_who_opened_it(tmp_path: Path) -> None:
    async with house(tmp_path) as site:
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
        accept = {"accept": "application/json, text/event-stream"}
        opened = await site.client.post("/mcp", json=hello, headers={**accept, "authorization": f"Bearer {ALICE}"})
        session = opened.headers["mcp-session-id"]
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        statuses = []
        for token in (BOB, ALICE):
            headers = {**accept, "mcp-session-id": session, "mcp-protocol-version": "2025-11-25", "authorization": f"Bearer {token}"}
            statuses.append((await site.client.post("/mcp", json=listing, headers=headers)).status_code)
        assert statuses == [404, 200]


async def test_a_team_sees_what_is_shared_and_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as site:

        async def seen(token: str) -> list[str]:
            return [image["id"] for image in (await site.call("search_images", token=token, query="secret"))["images"]]

        assert (await seen(CAROL), await seen(BOB)) == ([], [])
        await site.call("manage_images", token=ALICE, image_ids=[site.image], action="share")
        assert (await seen(CAROL), await seen(BOB)) == ([site.image], [])
        assert (await site.client.get(f"/images/{site.file}", headers={"authorization": f"Bearer {CAROL}"})).status_code == 200
        for action in ({"action": "delete"}, {"action": "unshare"}, {"action": "tag", "tags": ["mine"]}):
            assert code_of(await site.call("manage_images", token=CAROL, image_ids=[site.image], **action)) == "image_not_found"
        assert code_of(await site.call("get_job", token=CAROL, job_id=site.job)) == "job_not_found"
        await site.call("manage_images", token=ALICE, image_ids=[site.image], action="unshare")
        assert await seen(CAROL) == []


async def test_an_administrator_sees_and_manages_everything(tmp_path: Path) -> None:
    async with house(tmp_path) as site:
        assert (await site.call("search_images", token=BOSS, query="secret"))["images"][0]["id"] == site.image
        assert (await site.call("cancel_job", token=BOSS, job_id=site.waiting))["job"]["state"] == "cancelled"
        assert code_of(await site.call("reload_config", token=BOSS)) != "forbidden"


LOOKING: dict[str, dict[str, Any]] = {
    "generate_image": {"prompt": "x"},
    "edit_image": {"prompt": "x", "images": ["IMAGE"]},
    "generate_batch": {"prompts": ["x"]},
    "transform_image": {"images": ["IMAGE"], "rotate": 90},
    "manage_images": {"image_ids": ["IMAGE"], "action": "favourite"},
    "cancel_job": {"job_id": "job_1"},
}


async def test_who_only_looks_changes_nothing(tmp_path: Path) -> None:
    path = tokens_in(tmp_path, eve={"roles": ["viewer"]})
    async with web(tmp_path, {"MCP_TOKENS_FILE": path, "MCP_TOOLSET": "full"}) as site:
        for tool, arguments in LOOKING.items():
            assert code_of(await site.call(tool, token=token_of("eve"), **arguments)) == "forbidden", tool
        assert (await site.call("search_images", token=token_of("eve"), query=""))["images"] == []


# Over REST ------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def standing(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One house for all who are turned away: they change nothing in it."""
    async with house(tmp_path_factory.mktemp("house")) as site:
        site.upload = (await rest(site, ALICE, "POST", "/api/v1/uploads", json={"length": 100, "name": SECRET})).json()
        site.bobs = (await rest(site, BOB, "POST", "/api/v1/uploads", json={"length": 100})).json()["url"].partition("key=")[2]
        kept = await rest(site, ALICE, "PUT", "/api/v1/templates/moonlit", json={"prompt": f"{SECRET} {{thing}}", "variables": CHOICE})
        assert kept.status_code == 201, kept.text
        await rest(site, ALICE, "PUT", "/api/v1/styles/moonlit", json={"phrase": SECRET})
        yield site


async def rest(site: House, token: str, method: str, path: str, **more: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token}", **more.pop("headers", {})}
    return await site.client.request(method, path, headers=headers, timeout=20, **more)


CHOICE = {"thing": {"choices": ["moonlit", "sunlit"]}}

NOBODYS = {"image": "0" * 16 + "-1", "job": "0" * 16, "waiting": "0" * 16, "batch": "batch-" + "0" * 16, "upload": "0" * 32, "key": "nobodys"}

TUS = {"tus-resumable": "1.0.0", "content-type": "application/offset+octet-stream", "upload-offset": "0"}

WAYS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "look at a job": ("GET", "/api/v1/jobs/{job}", None),
    "wait for a job": ("GET", "/api/v1/jobs/{waiting}?wait=1", None),
    "follow a job": ("GET", "/api/v1/jobs/{waiting}/events", None),
    "end a job": ("DELETE", "/api/v1/jobs/{waiting}", None),
    "cancel a job": ("POST", "/api/v1/jobs/{waiting}/cancel", None),
    "list jobs after it": ("GET", "/api/v1/jobs?before={job}", None),
    "look at an image": ("GET", "/api/v1/images/{image}", None),
    "fetch an image": ("GET", "/api/v1/images/{image}/content", None),
    "fetch its thumbnail": ("GET", "/api/v1/images/{image}/content?thumbnail=true", None),
    "ask for its relatives": ("GET", "/api/v1/images/{image}/lineage", None),
    "ask what was made from it": ("GET", "/api/v1/images?made_from={image}", None),
    "list images after it": ("GET", "/api/v1/images?before={image}", None),
    "change an image": ("PATCH", "/api/v1/images/{image}", {"title": "mine", "tags": ["mine"], "favourite": True}),
    "change nothing about an image": ("PATCH", "/api/v1/images/{image}", {}),
    "unshare an image": ("PATCH", "/api/v1/images/{image}", {"shared": False}),
    "share an image": ("PATCH", "/api/v1/images/{image}", {"shared": True}),
    "delete an image": ("DELETE", "/api/v1/images/{image}", None),
    "get an image back": ("POST", "/api/v1/images/{image}/undelete", None),
    "edit an image": ("POST", "/api/v1/jobs", {"prompt": "x", "images": ["{image}"]}),
    "edit an image by its address": ("POST", "/api/v1/jobs", {"prompt": "x", "images": ["image://{image}"]}),
    "draw under an image": ("POST", "/api/v1/jobs", {"prompt": "x", "images": [PICTURE], "mask": "{image}"}),
    "draw in an image's style": ("POST", "/api/v1/jobs", {"prompt": "x", "images": [PICTURE], "style_image": "{image}"}),
    "draw an image again": ("POST", "/api/v1/jobs", {"rerun_of": "{image}"}),
    "draw of a template": ("POST", "/api/v1/jobs", {"template": "{key}", "variables": {"thing": "sunlit"}}),
    "draw of a template by its words": ("POST", "/api/v1/jobs", {"template": "{key}"}),
    "estimate an edit": ("POST", "/api/v1/estimates", {"prompt": "x", "images": ["{image}"]}),
    "estimate it again": ("POST", "/api/v1/estimates", {"rerun_of": "{image}"}),
    "estimate a template": ("POST", "/api/v1/estimates", {"template": "{key}", "variables": {"thing": "sunlit"}}),
    "estimate a style": ("POST", "/api/v1/estimates", {"prompt": "x", "style": "{key}"}),
    "transform an image": ("POST", "/api/v1/transformations", {"images": ["{image}"], "rotate": 90}),
    "mark with an image": ("POST", "/api/v1/transformations", {"images": [PICTURE], "watermark_image": "{image}"}),
    "look at a batch": ("GET", "/api/v1/batches/{batch}", None),
    "list batches after it": ("GET", "/api/v1/batches?before={batch}", None),
    "cancel a batch": ("POST", "/api/v1/batches/{batch}/cancel", None),
    "repeat a batch": ("POST", "/api/v1/batches/{batch}/retry", {"which": "failed"}),
    "draw a batch of a template": ("POST", "/api/v1/batches", {"items": [{"template": "{key}", "variables": {"thing": "sunlit"}}]}),
    "estimate a batch in a style": ("POST", "/api/v1/batches/estimates", {"items": [{"prompt": "x", "style": "{key}"}]}),
    "edit in OpenAI's words": ("POST", "/v1/images/edits", {"prompt": "x", "images": [{"file_id": "{image}"}]}),
    "edit in OpenAI's words by id": ("POST", "/v1/images/edits", {"prompt": "x", "images": ["{image}"]}),
    "mask in OpenAI's words": ("POST", "/v1/images/edits", {"prompt": "x", "images": [PICTURE], "mask": {"file_id": "{image}"}}),
    "draw in a style in OpenAI's words": ("POST", "/v1/images/generations", {"prompt": "x", "style": "{key}"}),
    "look at an upload": ("GET", "/api/v1/uploads/{upload}", None),
    "remove an upload": ("DELETE", "/api/v1/uploads/{upload}", None),
    "ask how far an upload is": ("HEAD", "/uploads/{upload}?key={bobs}", None),
    "send to an upload": ("PUT", "/uploads/{upload}?key={bobs}", None),
    "send to an upload without a key": ("PUT", "/uploads/{upload}", None),
    "send a piece to an upload": ("PATCH", "/uploads/{upload}?key={bobs}", None),
    "give an upload up": ("DELETE", "/uploads/{upload}?key={bobs}", None),
    "look at a template": ("GET", "/api/v1/templates/{key}", None),
    "remove a template": ("DELETE", "/api/v1/templates/{key}", None),
    "look at a style": ("GET", "/api/v1/styles/{key}", None),
    "remove a style": ("DELETE", "/api/v1/styles/{key}", None),
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_somebody_elses_is_answered_like_what_is_not_there(standing: House, way: str) -> None:
    method, path, body = WAYS[way]
    hers = {"image": standing.image, "job": standing.job, "waiting": standing.waiting, "batch": standing.batch, "upload": standing.upload["id"]}
    more: dict[str, Any] = {"headers": TUS, "content": b"x" * 100} if path.startswith("/uploads") else {}

    async def asked(names: dict[str, str]) -> tuple[int, str, str]:
        def named(text: str) -> str:
            for name, value in {**names, "bobs": standing.bobs}.items():
                text = text.replace(f"{{{name}}}", value)
            return text

        sent = {"json": json.loads(named(json.dumps(body)))} if body is not None else more
        answer = await rest(standing, BOB, method, named(path), **sent)
        text = answer.text
        for value in sorted(names.values(), key=len, reverse=True):
            text = text.replace(value, "<it>")
        return answer.status_code, answer.headers.get("content-type", ""), text

    foreign, unknown = await asked({**hers, "key": "moonlit"}), await asked(NOBODYS)
    assert foreign == unknown
    assert foreign[0] in (400, 404) or '"next":null' in foreign[2]
    assert SECRET not in foreign[2]


async def test_whoever_was_turned_away_has_changed_nothing(standing: House) -> None:
    for way in ("change an image", "delete an image", "cancel a job", "cancel a batch", "remove an upload", "remove a template", "remove a style"):
        await test_what_is_somebody_elses_is_answered_like_what_is_not_there(standing, way)
    image = (await rest(standing, ALICE, "GET", f"/api/v1/images/{standing.image}")).json()
    assert {name: image.get(name) for name in ("title", "tags", "favourite", "shared_with", "deleted_at")} == dict.fromkeys(
        ("title", "tags", "favourite", "shared_with", "deleted_at")
    )
    assert (await rest(standing, ALICE, "GET", f"/api/v1/jobs/{standing.waiting}")).json()["job"]["state"] == "running"
    assert (await rest(standing, ALICE, "GET", f"/api/v1/batches/{standing.batch}?wait=10")).json()["batch"]["succeeded"] == 2
    assert (await rest(standing, ALICE, "GET", f"/api/v1/uploads/{standing.upload['id']}")).json()["offset"] == 0
    assert (await rest(standing, ALICE, "GET", "/api/v1/templates/moonlit")).json()["origin"] == "own"
    assert (await rest(standing, ALICE, "GET", "/api/v1/styles/moonlit")).json()["origin"] == "own"


LISTS = (
    *("/api/v1/jobs", "/api/v1/images", "/api/v1/images?q=secret", "/api/v1/images?deleted=true", "/api/v1/images?shared=true", "/api/v1/models"),
    *("/api/v1/templates", "/api/v1/styles", "/api/v1/batches", "/api/v1/statistics", "/api/v1/spending", "/v1/models", "/api/openapi.json"),
)


@pytest.mark.parametrize("path", LISTS)
async def test_no_list_and_no_number_tells_of_somebody_else(standing: House, path: str) -> None:
    seen = (await rest(standing, BOB, "GET", path)).text
    for told in (SECRET, "moonlit", standing.image, standing.job, standing.waiting, standing.batch, standing.upload["id"], "alice"):
        assert told not in seen


async def test_everybody_lists_batches_of_their_own_and_an_administrator_those_of_all(standing: House) -> None:
    his = (await rest(standing, BOB, "POST", "/api/v1/batches?wait=10", json={"prompts": ["his"]})).json()["batch"]["id"]

    async def listed(token: str, query: str = "") -> list[str]:
        return [batch["id"] for batch in (await rest(standing, token, "GET", f"/api/v1/batches{query}")).json()["batches"]]

    assert (await listed(ALICE), await listed(BOB), await listed(CAROL)) == ([standing.batch], [his], [])
    assert await listed(BOSS) == [his, standing.batch]
    assert (await listed(BOSS, f"?before={his}"), await listed(ALICE, f"?before={his}")) == ([standing.batch], [])


async def test_statistics_and_spending_count_ones_own(tmp_path: Path) -> None:
    async with house(tmp_path, {"MCP_PRICES": '{"easel": 1}'}) as site:
        assert (await rest(site, ALICE, "GET", "/api/v1/spending")).json()["spent"]["USD"] >= 1
        assert (await rest(site, BOB, "GET", "/api/v1/spending")).json()["spent"] == {}
        counted = (await rest(site, BOB, "GET", "/api/v1/statistics")).json()
        nothing = {"pictures": 0, "size_bytes": 0, "spent": {}, "favourites": 0, "deleted": 0}
        assert counted == {**nothing, "providers": {}, "models": {}, "days": {}}


async def test_an_idempotency_key_over_rest_is_ones_own(standing: House) -> None:
    async def drawn(token: str, path: str, key: str) -> str:
        answer = await rest(standing, token, "POST", path, json={"prompt": "a key"}, headers={"idempotency-key": key})
        return str(answer.json()["job"]["id"])

    for path in ("/api/v1/jobs?wait=10", "/v1/images/generations"):
        first, again, other = await drawn(ALICE, path, path), await drawn(ALICE, path, path), await drawn(BOB, path, path)
        assert first == again != other
        assert (await rest(standing, BOB, "GET", f"/api/v1/jobs/{first}")).status_code == 404


async def test_a_link_in_openais_answer_opens_that_picture_and_nothing_more(standing: House) -> None:
    drawn = await rest(standing, ALICE, "POST", "/v1/images/generations", json={"prompt": SECRET, "response_format": "url"})
    link = drawn.json()["data"][0]["url"]
    assert (await standing.client.get(link)).status_code == 200
    plain, _, proof = link.partition("?")
    assert (await standing.client.get(plain)).status_code == 401
    assert (await rest(standing, BOB, "GET", plain)).status_code == 404
    assert (await rest(standing, BOB, "GET", f"{standing.url}/images/{standing.file}?{proof}")).status_code == 404


# Styles and templates -------------------------------------------------------------------------------------------------------------------------


async def test_a_template_of_ones_own_is_met_by_its_owner_in_every_way_and_by_nobody_else(standing: House) -> None:
    def drawing(**arguments: Any) -> tuple[str, dict[str, Any]]:
        return "tools/call", {"name": "generate_image", "arguments": {"prompt": "", "dry_run": True, **arguments}}

    def completing(name: str, argument: str, value: str) -> tuple[str, dict[str, Any]]:
        return "completion/complete", {"ref": {"type": "ref/prompt", "name": name}, "argument": {"name": argument, "value": value}}

    async def met(key: str, token: str) -> dict[str, str]:
        asked: dict[str, tuple[str, dict[str, Any]]] = {
            "prompts": ("prompts/list", {}),
            "a prompt": ("prompts/get", {"name": key, "arguments": {"thing": "sunlit"}}),
            "the usual prompt": ("prompts/get", {"name": "image_generation_prompt", "arguments": {"description": "x"}}),
            "templates": ("resources/read", {"uri": "templates://list"}),
            "styles": ("resources/read", {"uri": "styles://library"}),
            "listed styles": ("resources/read", {"uri": "styles://list"}),
            "a provider's styles": ("resources/read", {"uri": "styles://provider/easel"}),
            "completed styles": completing("image_generation_prompt", "style", key[:3]),
            "completed choices": completing(key, "thing", "moon"),
            "models": ("tools/call", {"name": "list_models", "arguments": {}}),
            "a plan by template": drawing(template=key, variables={"thing": "moonlit"}),
            "a plan by style": drawing(prompt="x", style=key),
            "a plan of many": ("tools/call", {"name": "generate_batch", "arguments": {"items": [{"prompt": "x", "style": key}], "dry_run": True}}),
        }
        return {what: json.dumps(await standing.rpc(method, params, token=token)).replace(key, "<it>") for what, (method, params) in asked.items()}

    hers, foreign, unknown = await met("moonlit", ALICE), await met("moonlit", BOB), await met("nobodys", BOB)
    assert foreign == unknown
    assert [what for what, told in hers.items() if told == unknown[what]] == []
    assert SECRET not in json.dumps(foreign)


async def test_ones_own_goes_before_the_operators_and_that_before_what_comes_along(standing: House) -> None:
    async def prompt(token: str) -> str:
        return str((await rest(standing, token, "GET", "/api/v1/templates/logo")).json()["template"]["prompt"])

    built_in = await prompt(BOB)
    assert (await rest(standing, ALICE, "PUT", "/api/v1/templates/logo", json={"prompt": "her logo"})).status_code == 201
    assert (await prompt(ALICE), await prompt(BOB)) == ("her logo", built_in)
    shared = "/api/v1/templates/logo?shared=true"
    assert (await rest(standing, BOB, "PUT", shared, json={"prompt": "his"})).json()["code"] == "forbidden"
    assert (await rest(standing, BOB, "DELETE", shared)).json()["code"] == "forbidden"
    assert (await rest(standing, BOSS, "PUT", shared, json={"prompt": "ours"})).json() == {
        "key": "logo",
        "origin": "shared",
        "template": {"title": "logo", "prompt": "ours"},
    }
    assert (await prompt(ALICE), await prompt(BOB), await prompt(BOSS)) == ("her logo", "ours", "ours")
    assert (await rest(standing, BOB, "DELETE", "/api/v1/templates/logo")).status_code == 404  # it is not his
    assert (await rest(standing, BOSS, "DELETE", shared)).status_code == 204
    assert (await rest(standing, ALICE, "DELETE", "/api/v1/templates/logo")).status_code == 204
    assert (await prompt(ALICE), await prompt(BOB)) == (built_in, built_in)


async def test_the_gallery_shows_what_a_team_shares_to_those_who_have_one(tmp_path: Path) -> None:
    async with house(tmp_path) as site:
        await site.call("generate_image", token=ALICE, prompt="not shared")
        assert (await rest(site, ALICE, "PATCH", f"/api/v1/images/{site.image}", json={"shared": True})).json()["shared_with"] == "design"
        page = (await rest(site, CAROL, "GET", "/?shared=1&q=secret")).text
        assert page.count("<li>") == 1
        assert '<a href="/?q=secret" aria-current=true title="What is shared with the team design">Shared</a>' in page
        assert '<input type="hidden" name="shared" value="1">' in page
        assert (await rest(site, ALICE, "GET", "/?shared=1")).text.count("<li>") == 1
        assert "not shared" in (await rest(site, ALICE, "GET", "/")).text
        assert ">Shared</a>" not in (await rest(site, BOSS, "GET", "/")).text
        assert [image["id"] for image in (await rest(site, CAROL, "GET", "/api/v1/images?shared=true")).json()["images"]] == [site.image]
        assert "shared_with" not in (await rest(site, ALICE, "PATCH", f"/api/v1/images/{site.image}", json={"shared": False})).json()
        assert (await rest(site, CAROL, "GET", f"/api/v1/images/{site.image}")).status_code == 404
