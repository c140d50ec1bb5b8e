"""OpenAI's own library draws through the server, with services that are not OpenAI as with OpenAI itself."""

from __future__ import annotations

import json
import random
import socket
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import anyio
import httpx2
import openai
import pytest
from PIL import Image as Pillow

from mcp_image_server.errors import AuthError, ProviderError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.models import Drawn, Generated, ImageRequest, Size
from mcp_image_server.providers import Context
from mcp_image_server.studio import open_studio
from mcp_image_server.surfaces.http.events import EVENT_LIMIT
from mcp_image_server.surfaces.serve import web_server
from tests.easel import Easel, at_once, draw, png_of
from tests.easel import Gate as HeldBack
from tests.fakes.doubao import FakeDoubao
from tests.fakes.modelscope import FakeModelScope
from tests.fakes.multipart import parts_of
from tests.fakes.openai import FakeOpenAI, Trouble
from tests.fakes.server import picture
from tests.web import CALLER, Web, token_of, tokens_in, web

pytestmark = pytest.mark.anyio


class Services:
    """A server with three services behind it, and OpenAI's library in front."""

    def __init__(self, fakes: Mapping[str, Any], client: openai.AsyncOpenAI) -> None:
        self.fakes, self.client = fakes, client


@pytest.fixture(scope="module")
async def site(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    """One for all tests: each looks at what came last."""
    folder = tmp_path_factory.mktemp("services")
    with FakeOpenAI() as first, FakeDoubao() as second, FakeModelScope(looks=1) as third, socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = {
            "MCP_DATA_DIR": str(folder / "data"),
            "MCP_IMAGE_SAVE_DIR": str(folder / "pictures"),
            "OPENAI_API_KEY": first.key or "",
            "OPENAI_BASE_URL": first.base_url,
            "DOUBAO_API_KEY": second.key or "",
            "DOUBAO_ENDPOINT": second.url,
            "MODELSCOPE_SDK_TOKEN": third.token or "",
            "MODELSCOPE_BASE_URL": third.url,
            "MODELSCOPE_POLL_INTERVAL_SECONDS": "0.05",
            "MODELSCOPE_MAX_POLL_ATTEMPTS": "10000",
            "MCP_DEFAULT_PROVIDER": "openai",
            "MCP_RETRIES": "0",
        }
        async with open_studio(variables, base_url=lambda _: url) as studio, anyio.create_task_group() as tasks:
            server = web_server(studio)
            tasks.start_soon(lambda: server.serve(sockets=[listener]))
            with anyio.fail_after(60):
                while not server.started:
                    await anyio.sleep(0.01)
            async with library(url) as client:
                yield Services({"openai": first, "doubao": second, "modelscope": third}, client)
            server.should_exit = True


@pytest.fixture(scope="module")
async def open_easel(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Web, Easel]]:
    """A server for Ann, Bob and Carl, of whom Carl may spend nothing."""
    folder, easel = tmp_path_factory.mktemp("easel"), Easel()
    tokens = tokens_in(folder, ann={}, bob={}, carl={"budget_day": 0.01})
    async with web(folder, {"MCP_TOKENS_FILE": tokens, "MCP_RETRIES": "0", "MCP_PRICES": '{"easel": 1}'}, easel) as opened:
        yield opened, easel


@pytest.fixture
def easel(open_easel: tuple[Web, Easel]) -> Easel:
    """What draws, as it comes."""
    easel = open_easel[1]
    easel.work, easel.started = at_once, anyio.Event()
    return easel


@pytest.fixture
async def ann(open_easel: tuple[Web, Easel], easel: Easel) -> AsyncIterator[openai.AsyncOpenAI]:
    """The library in Ann's hands."""
    async with library(open_easel[0].url, token_of("ann")) as client:
        yield client


@asynccontextmanager
async def library(url: str, key: str = "any", *, retries: int = 0) -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx2.AsyncClient(trust_env=False)
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{url}/v1", max_retries=retries, timeout=30, http_client=transport) as client:
        yield client


def size_of(b64: str | None) -> tuple[int, int]:
    assert b64 is not None
    with Pillow.open(BytesIO(b64decode(b64))) as opened:
        return opened.size


WHERE = [("openai/gpt-image-2", (1024, 1024)), ("doubao", (2048, 2048)), ("modelscope/Qwen/Qwen-Image", (1328, 1328))]


async def test_three_services_draw_edit_and_stream_for_the_same_library(site: Services) -> None:
    for model, size in WHERE:
        words = f"{size[0]}x{size[1]}"
        drawn = await site.client.images.generate(model=model, prompt="a lighthouse", size=words)
        assert drawn.data is not None
        assert [size_of(each.b64_json) for each in drawn.data] == [size]
        extra = drawn.model_extra or {}
        assert extra["job"]["provider"] == model.partition("/")[0]
        assert extra["job"]["state"] == "succeeded"
        events = [event async for event in await site.client.images.generate(model=model, prompt="a boat", size=words, stream=True)]
        assert [event.type for event in events] == ["image_generation.completed"]
        assert events[0].size == words
    model_of = {"openai": "openai/gpt-image-2", "doubao": "doubao/doubao-seedream-4-5-251128", "modelscope": "modelscope/Qwen/Qwen-Image-Edit"}
    png = picture(64, 64)
    for name, model in model_of.items():
        edited = await site.client.images.edit(model=model, image=("cat.png", png, "image/png"), prompt="at night")
        assert edited.data is not None
        assert len(edited.data) == 1
        assert site.fakes[name].seen


async def test_several_pictures_and_a_mask_reach_the_service_as_a_form(site: Services) -> None:
    mask = BytesIO()
    Pillow.new("RGBA", (64, 64), (0, 0, 0, 0)).save(mask, "PNG")
    first, second = picture(64, 64), picture(32, 32)
    answer = await site.client.images.edit(
        model="openai/gpt-image-2", image=[("a.png", first), ("b.png", second)], mask=("m.png", mask.getvalue()), prompt="put b into a", n=2
    )
    parts = parts_of(site.fakes["openai"].seen[-1])
    names = [name for name, value in parts if not isinstance(value, str)]
    assert names == ["image[]", "image[]", "mask"]
    assert [value.data for name, value in parts if name == "image[]" and not isinstance(value, str)] == [first, second]
    assert answer.data is not None
    assert len(answer.data) == 2
    stored = (answer.data[0].model_extra or {})["id"]
    for reference in ({"file_id": stored}, {"image_url": f"data:image/png;base64,{b64encode(first).decode()}"}, stored):
        body = {"model": "openai", "prompt": "again", "images": [reference]}
        again = await site.client.post("/images/edits", body=body, cast_to=httpx2.Response)
        assert again.status_code == 200
    wrong = {"model": "openai", "prompt": "again", "images": [{"file_id": stored, "image_url": "https://example.org"}]}
    with pytest.raises(openai.BadRequestError, match="give image_url or file_id"):
        await site.client.post("/images/edits", body=wrong, cast_to=httpx2.Response)


async def test_pictures_come_as_openai_has_it_unless_something_else_is_asked_for(site: Services) -> None:
    linked = await site.client.images.generate(model="doubao", prompt="x", response_format="url")
    assert linked.data is not None
    assert linked.data[0].b64_json is None
    async with httpx2.AsyncClient(trust_env=False) as plain:
        assert linked.data[0].url is not None
        assert (await plain.get(linked.data[0].url)).headers["content-type"].startswith("image/")
    assert (await site.client.images.generate(prompt="x")).data[0].b64_json  # type: ignore[index]


async def test_what_only_the_service_knows_goes_through_where_the_service_is_named(site: Services) -> None:
    await site.client.images.generate(model="doubao", prompt="x", extra_body={"watermark": False, "seed": 7})
    assert site.fakes["doubao"].seen[-1].json()["watermark"] is False
    await site.client.images.generate(prompt="x", user="somebody", extra_body={"options": {"safety_identifier": "s"}})
    sent = site.fakes["openai"].seen[-1].json()
    assert sent["safety_identifier"] == "s"
    assert "user" not in sent
    with pytest.raises(openai.BadRequestError) as caught:
        await site.client.images.generate(prompt="x", extra_body={"watermark": False})
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "watermark")


async def test_the_models_are_listed_under_the_names_that_can_be_asked(site: Services) -> None:
    names = [model.id async for model in site.client.models.list()]
    assert {"openai/gpt-image-2", "modelscope/Qwen/Qwen-Image"} <= set(names)
    assert (await site.client.models.retrieve("modelscope/Qwen/Qwen-Image")).owned_by == "modelscope"
    with pytest.raises(openai.NotFoundError) as caught:
        await site.client.models.retrieve("openai/nothing")
    assert caught.value.code == "model_not_found"


# Failures -------------------------------------------------------------------------------------------------------------------------------------


def failing(error: Exception) -> Any:
    async def work(request: ImageRequest, context: Context) -> Generated:
        raise error

    return work


FAILURES: list[tuple[Exception, type[openai.APIStatusError], int, str]] = [
    (RefusedError("No.", provider="easel"), openai.BadRequestError, 400, "moderation_blocked"),
    (AuthError("The key is wrong.", provider="easel"), openai.InternalServerError, 502, "auth"),
    (RateLimitedError("Slowly.", provider="easel", retry_after=7200, not_accepted=True), openai.RateLimitError, 429, "rate_limit_exceeded"),
    (UnavailableError("Down.", provider="easel", may_have_been_billed=True), openai.InternalServerError, 503, "unavailable"),
    (ProviderError("Odd.", provider="easel"), openai.InternalServerError, 502, "provider_error"),
]


async def test_a_failure_of_the_service_is_the_error_that_the_library_has_for_it(open_easel: tuple[Web, Easel], easel: Easel) -> None:
    site = open_easel[0]
    async with library(site.url, token_of("ann"), retries=2) as client:
        for error, kind, status, code in FAILURES:
            easel.work = failing(error)
            before = len(await site.studio.jobs(CALLER, limit=100))
            with pytest.raises(kind) as caught:
                await client.images.generate(prompt=code)
            jobs = await site.studio.jobs(CALLER, limit=100)
            assert len(jobs) == before + 1  # it was not tried again by itself
            assert (caught.value.status_code, caught.value.code) == (status, code)
            assert caught.value.response.headers["x-job-id"] == jobs[0].id
            assert caught.value.response.headers.get("retry-after") == ("7200" if status == 429 else None)
            easel.work = at_once
            await client.images.generate(prompt="so that nobody thinks that it is broken")


async def test_a_wrong_call_says_what_is_wrong_with_it(open_easel: tuple[Web, Easel], ann: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="prompt") as caught:
        await ann.images.generate(prompt="")
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", "prompt")
    with pytest.raises(openai.NotFoundError) as missing:
        await ann.images.generate(prompt="x", model="openai/gpt-image-2")
    assert (missing.value.code, missing.value.param) == ("provider_unavailable", "model")
    with pytest.raises(openai.BadRequestError, match="'huge' is no size") as shapeless:
        await ann.images.generate(prompt="x", size="huge")
    assert shapeless.value.param == "size"
    with pytest.raises(openai.NotFoundError, match="nothing at /v1/videos"):
        await ann.post("/videos", body={}, cast_to=httpx2.Response)
    async with library(open_easel[0].url, token_of("carl")) as carl:
        with pytest.raises(openai.PermissionDeniedError) as poor:
            await carl.images.generate(prompt="x")
    assert poor.value.code == "budget_exceeded"


async def test_a_key_that_came_before_brings_the_same_job_and_another_wish_a_conflict(ann: openai.AsyncOpenAI) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await ann.images.generate(prompt="x", extra_headers=headers)
    second = await ann.images.generate(prompt="x", extra_headers=headers)
    assert first.data is not None
    assert second.data is not None
    assert first.data[0].model_extra == second.data[0].model_extra
    with pytest.raises(openai.ConflictError) as caught:
        await ann.images.generate(prompt="y", extra_headers=headers)
    assert caught.value.code == "idempotency_conflict"
    with pytest.raises(openai.BadRequestError, match="at most 200"):
        await ann.images.generate(prompt="x", extra_headers={"Idempotency-Key": "k" * 201})


async def test_the_work_goes_on_when_the_client_has_gone(open_easel: tuple[Web, Easel], easel: Easel, ann: openai.AsyncOpenAI) -> None:
    easel.work = gate = HeldBack()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: ann.images.generate(prompt="left alone"))
        with anyio.fail_after(60):
            await easel.started.wait()
        tasks.cancel_scope.cancel()
    gate.opened.set()
    studio = open_easel[0].studio
    job = await studio.job(CALLER, (await studio.jobs(CALLER))[0].id, wait_seconds=60)
    assert (job.request.prompt, job.state, len(job.images)) == ("left alone", "succeeded", 1)


# Streams --------------------------------------------------------------------------------------------------------------------------------------


async def test_a_stream_shows_the_unfinished_picture_and_then_the_finished_ones(easel: Easel, ann: openai.AsyncOpenAI) -> None:
    seen = anyio.Event()

    async def work(request: ImageRequest, context: Context) -> Generated:
        await context.preview(picture(64, 64))
        with anyio.fail_after(60):
            await seen.wait()
        return draw(request)

    easel.work = work
    events: list[Any] = []
    async for event in await ann.images.generate(prompt="x", n=2, stream=True, partial_images=2):
        events.append(event)
        seen.set()
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed", "image_generation.completed"]
    assert [size_of(event.b64_json) for event in events] == [(64, 64)] * 3
    assert events[0].partial_image_index == 0
    assert events[1].job["state"] == "succeeded"


async def test_no_event_is_larger_than_a_reader_takes(open_easel: tuple[Web, Easel], easel: Easel) -> None:
    large = Size(width=640, height=640)
    noise = png_of(large, random.Random(1).randbytes(3 * large.pixels))

    async def work(request: ImageRequest, context: Context) -> Generated:
        return Generated(images=(Drawn(data=noise),))

    easel.work = work
    client, headers = open_easel[0].client, {"authorization": f"Bearer {token_of('ann')}"}
    answer = await client.post("/v1/images/generations", json={"prompt": "x", "stream": True}, headers=headers, timeout=30)
    events = [each for each in answer.text.split("\n\n") if each.startswith("event")]
    assert max(len(each.encode()) for each in events) < EVENT_LIMIT
    data = json.loads(events[-1].partition("data: ")[2])
    assert data["b64_json"] is None
    assert len((await client.get(data["url"])).content) > EVENT_LIMIT


async def test_a_stream_that_cannot_begin_is_an_ordinary_error_and_one_that_breaks_an_event(site: Services) -> None:
    with pytest.raises(openai.NotFoundError):
        await site.client.images.generate(model="bfl/flux", prompt="x", stream=True)
    site.fakes["openai"].trouble.append(Trouble.BLOCKED)
    with pytest.raises(openai.APIError, match="safety") as caught:
        async for _ in await site.client.images.generate(prompt="x", stream=True):
            pass
    assert caught.value.code == "moderation_blocked"


# Who may ------------------------------------------------------------------------------------------------------------------------------------


async def test_everybody_has_their_own_pictures_and_the_door_speaks_openais_words(open_easel: tuple[Web, Easel], ann: openai.AsyncOpenAI) -> None:
    drawn = await ann.images.generate(prompt="x")
    assert drawn.data is not None
    stored = (drawn.data[0].model_extra or {})["id"]
    async with library(open_easel[0].url, token_of("bob")) as bob:
        with pytest.raises(openai.NotFoundError) as caught:
            await bob.post("/images/edits", body={"prompt": "x", "images": [stored]}, cast_to=httpx2.Response)
    assert caught.value.code == "image_not_found"
    async with library(open_easel[0].url, "wrong") as nobody:
        with pytest.raises(openai.AuthenticationError) as refused:
            await nobody.models.list()
    assert refused.value.code == "invalid_api_key"
