from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from io import BytesIO
from typing import Any

import anyio
import anyio.to_thread
import dashscope as sdk
import pytest
from PIL import Image as Pillow

from mcp_image_server.errors import AuthError, BadReplyError, ConfigError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.models import (
    Adjustment,
    AspectRatio,
    Cost,
    Drawn,
    Edges,
    Generated,
    ImageRequest,
    Model,
    Operation,
    Picture,
    Size,
    parse_shape,
)
from mcp_image_server.negotiate import fits, negotiate
from mcp_image_server.net import Fault, Net, Pace, Timeouts, Tries
from mcp_image_server.policy.budget import estimate
from mcp_image_server.providers import Resumable, Stoppable
from mcp_image_server.providers.dashscope import Config, DashScope, load, service
from mcp_image_server.providers.dashscope.models import AS_TASK, AT_ONCE, CALLS, CATALOGUE, DEFAULT_MODEL, FROM_TEXT, MAX_SEED, MODELS, call_for
from mcp_image_server.providers.dashscope.wire import Answer, Result, read_fault, suited, to_wire
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.dashscope import REQUEST_ID, FakeDashScope, Trouble
from ..fakes.server import picture
from .service import drawn_by, failure_of, known_in, left_alone_when_cancelled, served

pytestmark = pytest.mark.anyio

T = Trouble
CAT = ImageRequest(prompt="a cat")
PHOTO = Picture(data=picture(64, 32, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=32))
DRAWING = Picture(data=picture(32, 32), media_type="image/png", size=Size(width=32, height=32))
SQUARE = Size(width=1024, height=1024)

known = partial(known_in, MODELS)
QWEN, WAN, OLD, EDITOR = (known(name) for name in (DEFAULT_MODEL, "wan2.7-image", "wan2.2-t2i-flash", "wanx2.1-imageedit"))


def link(image: Picture) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def a_mask() -> Picture:
    """The left half is to be painted anew."""
    whole = Pillow.new("RGBA", (64, 32), (10, 20, 30, 255))
    whole.paste((0, 0, 0, 0), (0, 0, 32, 32))
    file = BytesIO()
    whole.save(file, "PNG")
    return Picture(data=file.getvalue(), media_type="image/png", size=PHOTO.size)


server, fake = served(FakeDashScope)


def provider_at(fake: FakeDashScope, *, timeouts: Timeouts | None = None, **variables: str) -> DashScope:
    config = parse(Config, {"DASHSCOPE_API_KEY": fake.key, "DASHSCOPE_HTTP_BASE_URL": fake.base_url, **variables})
    provider = DashScope(config, pace=Pace(first=0.001, longest=0.01, deadline=60))
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeDashScope, request: ImageRequest = CAT, model: Model = QWEN, ear: Ear | None = None, timeouts: Timeouts | None = None
) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, model, ear)


def calls(fake: FakeDashScope) -> list[str]:
    return [f"{seen.method} {seen.path.removeprefix('/api/v1')}" for seen in fake.seen]


# Settings and models ------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider_that_can_go_on_with_a_task() -> None:
    assert load({"DASHSCOPE_HTTP_BASE_URL": "http://localhost:9000"}) is None
    provider = load({"DASHSCOPE_API_KEY": "sk-1"})
    assert isinstance(provider, Resumable)
    assert (provider.name, provider.repeatable) == ("dashscope", False)


def test_the_service_is_reached_as_the_settings_say() -> None:
    variables = {"DASHSCOPE_API_KEY": "sk-1234", "DASHSCOPE_WORKSPACE_ID": "ws_1", "DASHSCOPE_HTTP_BASE_URL": "http://localhost:9000/api/v1/"}
    made = service(parse(Config, variables))
    assert made.headers == {"Authorization": "Bearer sk-1234", "X-DashScope-WorkSpace": "ws_1"}
    assert (made.base_url, made.secrets) == ("http://localhost:9000/api/v1", ("sk-1234",))
    assert "sk-1234" not in repr(made)
    with pytest.raises(ConfigError, match="DASHSCOPE_HTTP_BASE_URL"):
        load({"DASHSCOPE_API_KEY": "sk-1", "DASHSCOPE_HTTP_BASE_URL": "aliyuncs.com"})


def test_each_model_is_called_in_its_own_way_and_a_dated_edition_at_once() -> None:
    assert set(CALLS) <= {model.id for model in MODELS}
    assert [call_for(name) for name in ("qwen-image-2.0", "qwen-image-2.0-pro-2026-04-22", "qwen-image-max", "someone-new")] == [AT_ONCE] * 4
    assert call_for("wan2.7-image") is AS_TASK
    assert call_for("qwen-image-plus") is FROM_TEXT
    assert call_for("qwen-image-plus-2026-01-09") is AT_ONCE


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    assert all(fits(parse_shape(key), QWEN.sizes) for key in CATALOGUE.resolutions)
    assert all(fits(model.default_size, model.sizes) for model in MODELS)


@pytest.mark.parametrize(("name", "edge", "micros"), [("qwen-image-3.0-pro", 1024, 40_000), ("qwen-image-3.0-pro", 2048, 75_000)])
def test_the_estimate_goes_by_the_size_where_the_price_does(name: str, edge: int, micros: int) -> None:
    cost = estimate(replace(CAT, shape=Size(width=edge, height=edge)), known(name))
    assert cost == Cost(micros=micros, currency="USD", source="list_price")


def test_a_default_model_that_nobody_knows_is_offered() -> None:
    offered = DashScope(parse(Config, {"DASHSCOPE_API_KEY": "sk-1", "DASHSCOPE_MODEL": "qwen-image-9"})).catalogue
    assert (offered.default_model, offered.models[0].id, offered.models[1:]) == ("qwen-image-9", "qwen-image-9", MODELS)


@pytest.mark.parametrize(
    ("name", "wish", "size"),
    [
        (DEFAULT_MODEL, AspectRatio(width=16, height=9), "2720x1536"),
        (DEFAULT_MODEL, Size(width=1033, height=1032), "1040x1040"),
        ("qwen-image", Size(width=1920, height=1080), "1664x928"),
        ("wan2.6-t2i", SQUARE, "1280x1280"),
        ("wan2.7-image-pro", Size(width=3840, height=2160), "3840x2160"),
        ("z-image-turbo", SQUARE, "1024x1024"),
    ],
)
def test_a_wish_becomes_a_size_that_the_model_draws(name: str, wish: Any, size: str) -> None:
    model = known(name)
    fitted = negotiate(replace(CAT, shape=wish), model, styles={})
    assert str(fitted.request.shape) == size
    assert fits(fitted.request.shape, model.sizes)


# To wire ------------------------------------------------------------------------------------------------------------------------------------

FULL = replace(CAT, negative_prompt="dogs", shape=SQUARE, count=2, seed=7, options={"prompt_extend": False, "size": "1024*768"})


def test_newer_models_take_a_message() -> None:
    assert to_wire(FULL, QWEN) == {
        "model": "qwen-image-2.0",
        "input": {"messages": [{"role": "user", "content": [{"text": "a cat"}]}]},
        "parameters": {"size": "1024*768", "n": 2, "seed": 7, "negative_prompt": "dogs", "prompt_extend": False},
    }
    assert to_wire(replace(CAT, images=(PHOTO, DRAWING), shape=SQUARE), WAN) == {
        "model": "wan2.7-image",
        "input": {"messages": [{"role": "user", "content": [{"image": link(PHOTO)}, {"image": link(DRAWING)}, {"text": "a cat"}]}]},
        "parameters": {"size": "1024*1024", "n": 1},
    }


def test_older_models_take_a_prompt_and_their_negative_prompt_beside_it() -> None:
    assert to_wire(FULL, OLD) == {
        "model": "wan2.2-t2i-flash",
        "input": {"prompt": "a cat", "negative_prompt": "dogs"},
        "parameters": {"size": "1024*768", "n": 2, "seed": 7, "prompt_extend": False},
    }
    assert to_wire(CAT, known("qwen-image")) == {"model": "qwen-image", "input": {"prompt": "a cat"}, "parameters": {}}
    assert to_wire(replace(CAT, images=(PHOTO,), negative_prompt="dogs"), known("wan2.5-i2i-preview")) == {
        "model": "wan2.5-i2i-preview",
        "input": {"prompt": "a cat", "negative_prompt": "dogs", "images": [link(PHOTO)]},
        "parameters": {"n": 1},
    }


def test_the_editor_is_told_what_to_do() -> None:
    given = {"prompt": "a cat", "base_image_url": link(PHOTO)}
    edit = replace(CAT, images=(PHOTO,), strength=0.25, count=2)
    assert to_wire(edit, EDITOR) == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "description_edit", **given},
        "parameters": {"n": 2, "strength": 0.25},
    }
    assert to_wire(replace(edit, strength=None, options={"function": "stylization_all", "watermark": True}), EDITOR) == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "stylization_all", **given},
        "parameters": {"n": 2, "watermark": True},
    }
    extended = replace(CAT, prompt="", images=(PHOTO,), extend=Edges(left=16, bottom=16))
    assert to_wire(extended, EDITOR) == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "expand", **given, "prompt": "延伸画面"},
        "parameters": {"n": 1, "left_scale": 1.5, "bottom_scale": 2.0},
    }
    enlarged = replace(CAT, prompt="", images=(PHOTO,), action=Operation.UPSCALE)
    upscale = {"model": "wanx2.1-imageedit", "input": {"function": "super_resolution", **given, "prompt": "图像超分"}}
    assert to_wire(enlarged, EDITOR) == {**upscale, "parameters": {"n": 1, "upscale_factor": 2}}
    assert to_wire(replace(enlarged, shape=Size(width=256, height=128)), EDITOR) == {**upscale, "parameters": {"n": 1, "upscale_factor": 4}}


def test_a_mask_goes_out_with_white_where_we_have_transparency() -> None:
    body = to_wire(replace(CAT, images=(PHOTO,), mask=a_mask()), EDITOR)
    mask = body["input"].pop("mask_image_url")
    assert body == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "description_edit_with_mask", "prompt": "a cat", "base_image_url": link(PHOTO)},
        "parameters": {"n": 1},
    }
    with Pillow.open(BytesIO(base64.b64decode(mask.removeprefix("data:image/png;base64,")))) as sent:
        assert (sent.mode, sent.size, sent.getpixel((0, 0)), sent.getpixel((63, 31))) == ("L", (64, 32), 255, 0)


@pytest.mark.parametrize(
    ("wish", "model", "changes", "words"),
    [
        (FULL, QWEN, {}, []),
        (replace(CAT, seed=MAX_SEED + 6), QWEN, {"seed": 5}, [("seed", "DashScope takes seeds up to 2147483647; 2147483653 became 5.")]),
        (
            replace(CAT, images=(PHOTO,), shape=SQUARE),
            EDITOR,
            {"shape": None},
            [("resolution", "wanx2.1-imageedit goes by the size of the input picture.")],
        ),
        (
            replace(CAT, images=(PHOTO,), shape=Size(width=4096, height=4096)),
            known("wan2.7-image-pro"),
            {"shape": Size(width=2048, height=2048)},
            [("resolution", "wan2.7-image-pro draws edits with at most 4194304 pixels; 4096x4096 became 2048x2048.")],
        ),
        (
            replace(CAT, images=(PHOTO,), extend=Edges(left=100, top=8), strength=0.5),
            EDITOR,
            {"extend": Edges(left=32, top=8), "strength": None},
            [
                ("strength", "wanx2.1-imageedit takes it for edits alone."),
                ("extend", "wanx2.1-imageedit adds at most half of the picture's width or height at each edge."),
            ],
        ),
        (
            replace(CAT, images=(PHOTO,), action=Operation.UPSCALE, shape=Size(width=200, height=100)),
            EDITOR,
            {"shape": Size(width=192, height=96)},
            [("resolution", "wanx2.1-imageedit enlarges by whole numbers up to 4; 200x100 became 192x96.")],
        ),
    ],
)
def test_what_holds_for_one_operation_alone_is_kept_with_a_word(
    wish: ImageRequest, model: Model, changes: dict[str, Any], words: list[tuple[str, str]]
) -> None:
    fitted = suited(wish, model)
    assert fitted.request == replace(wish, **changes)
    assert fitted.adjustments == tuple(Adjustment(field=field, message=message) for field, message in words)
    assert suited(fitted.request, model).adjustments == ()


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def test_recorded_answers_are_understood() -> None:
    older = Answer.model_validate(
        {
            "output": {
                "task_id": "86ecf553",
                "task_status": "SUCCEEDED",
                "submit_time": "2025-02-21 17:56:31.786",
                "results": [
                    {"orig_prompt": "a cat", "actual_prompt": "a fine cat", "url": "https://dashscope-result-sh.oss-cn-shanghai.aliyuncs.com/a.png"},
                    {"code": "InternalError.Timeout", "message": "timeout"},
                ],
                "task_metrics": {"TOTAL": 2, "SUCCEEDED": 1, "FAILED": 1},
            },
            "usage": {"image_count": 1},
            "request_id": "eeef0935",
        }
    )
    assert (older.has_failed, older.has_ended) == (False, True)
    assert older.output.pictures == [
        Result(url="https://dashscope-result-sh.oss-cn-shanghai.aliyuncs.com/a.png", actual_prompt="a fine cat"),
        Result(code="InternalError.Timeout", message="timeout"),
    ]
    content = [{"image": "https://x.example/1.png"}, {"text": "done"}]
    newer = Answer.model_validate({"output": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}}]}})
    assert newer.output.pictures == [Result(url="https://x.example/1.png")]
    assert Answer.model_validate({"output": None, "code": "Arrearage"}).has_failed


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (400, {"code": "Arrearage", "message": "Pay."}, Fault(message="Pay.", kind=QuotaError, details={"service_code": "Arrearage"})),
        (
            403,
            {"code": "AccessDenied", "message": "current user api does not support synchronous calls.", "request_id": "r1"},
            Fault(
                message="current user api does not support synchronous calls.",
                kind=ProviderError,
                details={"service_code": "AccessDenied", "request_id": "r1"},
            ),
        ),
        (400, {"code": "InvalidParameter.Size", "message": "bad"}, Fault(message="bad", details={"service_code": "InvalidParameter.Size"})),
        (
            500,
            {"code": "InternalError.Timeout", "message": "slow"},
            Fault(message="slow", kind=UnavailableError, details={"service_code": "InternalError.Timeout"}),
        ),
        (
            200,
            {"output": {"task_status": "FAILED", "code": "IPInfringementSuspect", "message": "no"}, "request_id": "r1"},
            Fault(message="no", kind=RefusedError, details={"service_code": "IPInfringementSuspect", "request_id": "r1"}),
        ),
        (
            200,
            {"output": {"task_status": "CANCELED"}},
            Fault(message="the task was cancelled at the service", kind=ProviderError),
        ),
        (400, {"error": {"message": "as OpenAI says it"}}, Fault(message="as OpenAI says it")),
        (500, {}, None),
        (500, [1], None),
    ],
)
def test_an_error_body_is_understood(status: int, body: Any, fault: Fault | None) -> None:
    assert read_fault(status, body) == fault


# At work ------------------------------------------------------------------------------------------------------------------------------------


async def test_a_model_that_answers_at_once_is_called_once(fake: FakeDashScope) -> None:
    ear = Ear()
    assert await draw(fake, replace(FULL, options={}), ear=ear) == Generated(images=(Drawn(data=picture(1024, 1024)),) * 2, request_id=REQUEST_ID)
    sent = fake.seen[0]
    assert (sent.method, sent.path) == ("POST", "/api/v1/services/aigc/multimodal-generation/generation")
    assert sent.json() == to_wire(replace(FULL, options={}), QWEN)
    assert sent.headers["authorization"] == f"Bearer {fake.key}"
    assert "x-dashscope-async" not in sent.headers
    assert [call.split("/")[1] for call in calls(fake)[1:]] == ["files", "files"]
    assert ear.tasks == []


@pytest.mark.parametrize(
    ("request_", "model", "path"),
    [
        (CAT, WAN, "image-generation/generation"),
        (replace(CAT, images=(PHOTO,)), known("wan2.6-image"), "image-generation/generation"),
        (CAT, OLD, "text2image/image-synthesis"),
        (CAT, known("qwen-image"), "text2image/image-synthesis"),
        (replace(CAT, images=(PHOTO,)), known("wan2.5-i2i-preview"), "image2image/image-synthesis"),
        (replace(CAT, images=(PHOTO,)), EDITOR, "image2image/image-synthesis"),
        (replace(CAT, images=(PHOTO,), mask=a_mask()), EDITOR, "image2image/image-synthesis"),
        (replace(CAT, images=(PHOTO,), extend=Edges(left=8)), EDITOR, "image2image/image-synthesis"),
    ],
)
async def test_a_task_is_submitted_told_and_waited_for(fake: FakeDashScope, request_: ImageRequest, model: Model, path: str) -> None:
    ear = Ear(calls=lambda: len(fake.seen))
    made = await draw(fake, request_, model, ear)
    revised = None if "2.7" in model.id or "2.6" in model.id else "a fine cat"
    assert made == Generated(images=(Drawn(data=picture(1024, 1024), revised_prompt=revised),), request_id=REQUEST_ID)
    task = "0385dc79-5ff8-4d82-bcb6-000000000000"
    assert (ear.tasks, ear.calls_before_acceptance) == ([task], [1])
    assert calls(fake)[:4] == [f"POST /services/aigc/{path}", *[f"GET /tasks/{task}"] * 3]
    assert fake.seen[0].headers["x-dashscope-async"] == "enable"
    assert [words for _, words in ear.said] == [
        "DashScope has the task in line.",
        "DashScope is drawing.",
        "The pictures are drawn and on their way.",
    ]


async def test_edits_at_once_and_words_beside_a_picture_do_no_harm(fake: FakeDashScope) -> None:
    edited = await draw(fake, replace(CAT, images=(PHOTO, DRAWING)), known("qwen-image-edit-plus"))
    drawn = await draw(fake, replace(CAT, seed=7), known("z-image-turbo"))
    assert edited.images == (Drawn(data=picture(1024, 1024)),)
    assert drawn.images == (Drawn(data=picture(1024, 1024), seed=7),)


async def test_another_process_goes_on_with_a_task_and_does_not_submit_it_again(fake: FakeDashScope) -> None:
    await draw(fake, CAT, WAN)
    fake.seen.clear()
    provider, ear = provider_at(fake), Ear()
    made = await provider.resume("0385dc79-5ff8-4d82-bcb6-000000000000", replace(CAT, seed=MAX_SEED + 6), WAN, ear)
    await provider.aclose()
    assert made.images == (Drawn(data=picture(1024, 1024), seed=5),)
    assert [adjustment.field for adjustment in made.adjustments] == ["seed"]
    assert {seen.method for seen in fake.seen} == {"GET"}
    assert ear.tasks == []


async def test_a_task_in_line_can_be_cancelled_and_one_that_is_being_drawn_cannot(fake: FakeDashScope) -> None:
    async def unwanted(beginning: str) -> bool:
        return False

    provider, ear = provider_at(fake), Ear()
    assert isinstance(provider, Stoppable)
    await provider.generate(CAT, WAN, ear)
    (task,) = ear.tasks
    fake.tasks[task].states = ["RUNNING"]
    assert not await provider.stop(task, unwanted)
    fake.tasks[task].states = ["PENDING"]
    assert await provider.stop(task, unwanted)
    with pytest.raises(ProviderError, match="the task was cancelled at the service") as caught:
        await provider.resume(task, CAT, WAN, ear)
    await provider.aclose()
    assert not caught.value.may_have_been_billed
    assert calls(fake).count(f"POST /tasks/{task}/cancel") == 2


async def test_a_picture_that_failed_does_not_lose_the_others(fake: FakeDashScope) -> None:
    fake.trouble.append(T.ONE_FAILED)
    made = await draw(fake, replace(CAT, count=3), OLD)
    assert len(made.images) == 2
    assert [(words.field, words.message[:60]) for words in made.adjustments] == [
        ("images", "Picture 2 did not come: DashScope failed: Output data may co")
    ]


@pytest.mark.parametrize("trouble", [T.MORE_FIELDS, T.ODD_STATE, T.LOOK_500])
async def test_new_things_and_hiccups_do_no_harm(fake: FakeDashScope, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert (await draw(fake, CAT, WAN)).images == (Drawn(data=picture(1024, 1024)),)
    assert [seen.method for seen in fake.seen].count("POST") == 1


async def test_polling_stops_when_the_job_is_cancelled(fake: FakeDashScope) -> None:
    fake.trouble.append(T.NEVER)
    await left_alone_when_cancelled(provider_at(fake), fake, CAT, WAN)


FAILURES: list[tuple[Trouble, Model, type[ProviderError], bool, int]] = [
    # trouble, model, class, may have been billed, submissions
    (T.ARREARAGE, QWEN, QuotaError, False, 1),
    (T.FREE_TIER, QWEN, QuotaError, False, 1),
    (T.ALLOCATION, QWEN, QuotaError, False, 1),
    (T.THROTTLED, WAN, RateLimitedError, False, 3),
    (T.BLOCKED, QWEN, RefusedError, False, 1),
    (T.BLOCKED_200, QWEN, RefusedError, False, 1),
    (T.BLOCKED_200, WAN, RefusedError, False, 1),
    (T.UNPURCHASED, QWEN, AuthError, False, 1),
    (T.NO_MODEL, QWEN, ProviderError, False, 1),
    (T.ERROR_500, QWEN, UnavailableError, False, 1),
    (T.OVERLOADED, QWEN, UnavailableError, False, 1),
    (T.HANG, QWEN, UnavailableError, True, 1),
    (T.KEY_ECHO, QWEN, ProviderError, False, 1),
    (T.EMPTY, QWEN, BadReplyError, True, 1),
    (T.EMPTY, OLD, BadReplyError, True, 1),
    (T.WORDS, QWEN, BadReplyError, True, 1),
    (T.LINK_DEAD, QWEN, BadReplyError, True, 1),
    (T.NO_TASK, WAN, BadReplyError, True, 1),
    (T.ALL_FAILED, OLD, RefusedError, False, 1),
    (T.ALL_LATE, OLD, UnavailableError, False, 1),
    (T.FAILED, WAN, UnavailableError, False, 1),
    (T.FAILED_MUTE, WAN, ProviderError, False, 1),
    (T.FAILED_BLOCKED, WAN, RefusedError, False, 1),
    (T.UNKNOWN, WAN, ProviderError, False, 1),
    (T.CANCELED, WAN, ProviderError, False, 1),
    (T.LOOK_401, WAN, AuthError, True, 1),
]


@pytest.mark.parametrize(("trouble", "model", "kind", "billed", "submissions"), FAILURES)
async def test_each_failure_has_its_class_and_its_word_on_the_bill(
    fake: FakeDashScope, trouble: Trouble, model: Model, kind: type[ProviderError], billed: bool, submissions: int
) -> None:
    fake.trouble.extend([trouble] * submissions)
    error = await failure_of(draw(fake, CAT, model, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key)
    assert (type(error), error.may_have_been_billed) == (kind, billed)
    assert [seen.method for seen in fake.seen].count("POST") == submissions


async def test_a_wrong_key_is_told_about_regions(fake: FakeDashScope) -> None:
    provider = provider_at(fake, DASHSCOPE_API_KEY="sk-wrong-987654321")
    for call in (provider.generate(CAT, QWEN, Ear()), provider.check()):
        with pytest.raises(AuthError) as caught:
            await call
        assert caught.value.message == (
            "DashScope answered 401: Invalid API-key provided. A key works only in the region where it was made, and DASHSCOPE_HTTP_BASE_URL has "
            "to be that region's address. Check DASHSCOPE_API_KEY, and what its account is allowed to use."
        )
        assert caught.value.details["request_id"] == REQUEST_ID
    await provider.aclose()


async def test_the_check_costs_nothing(fake: FakeDashScope) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "DashScope accepts the key."
    await provider.aclose()
    assert calls(fake) == ["GET /tasks"]


# The vendor's own library sends the same and understands the fake -----------------------------------------------------------------------------


@pytest.fixture
def library(fake: FakeDashScope, monkeypatch: pytest.MonkeyPatch) -> FakeDashScope:
    monkeypatch.setattr(sdk, "base_http_api_url", fake.base_url)
    monkeypatch.setattr(sdk, "api_key", fake.key)
    return fake


def same(fake: FakeDashScope, request: ImageRequest, model: Model) -> None:
    """What the library sent first is what we would send."""
    sent = fake.seen[0]
    assert (sent.method, sent.path.removeprefix("/api/v1/")) == ("POST", call_for(model.id).path)
    assert sent.json() == to_wire(request, model)
    assert (sent.headers.get("x-dashscope-async") == "enable") is call_for(model.id).task


async def test_the_library_sends_the_same_message(library: FakeDashScope) -> None:
    def ask() -> Any:
        return sdk.MultiModalConversation.call(
            model=DEFAULT_MODEL,
            messages=[{"role": "user", "content": [{"image": link(PHOTO)}, {"text": "a cat"}]}],
            size="1024*1024",
            n=2,
            seed=7,
            negative_prompt="dogs",
        )

    answer = await anyio.to_thread.run_sync(ask)
    same(library, replace(FULL, images=(PHOTO,), options={}), QWEN)
    assert answer.status_code == HTTPStatus.OK
    assert len(answer.output.choices) == 2


async def test_the_library_sends_the_same_older_task_and_can_follow_it(library: FakeDashScope) -> None:
    def ask() -> Any:
        task = sdk.ImageSynthesis.async_call(model=OLD.id, prompt="a cat", negative_prompt="dogs", size="1024*1024", n=2, seed=7)
        states = [sdk.ImageSynthesis.fetch(task).output.task_status for _ in range(2)]
        return states, sdk.ImageSynthesis.fetch(task)

    states, answer = await anyio.to_thread.run_sync(ask)
    same(library, replace(FULL, options={}), OLD)
    assert (states, answer.output.task_status) == (["PENDING", "RUNNING"], "SUCCEEDED")
    assert [result.actual_prompt for result in answer.output.results] == ["a fine cat"] * 2


async def test_the_library_sends_the_same_edit(library: FakeDashScope) -> None:
    request = replace(CAT, images=(PHOTO,), extend=Edges(left=8))

    def ask() -> Any:
        return sdk.ImageSynthesis.async_call(model=EDITOR.id, prompt="a cat", function="expand", base_image_url=link(PHOTO), n=1, left_scale=1.25)

    answer = await anyio.to_thread.run_sync(ask)
    same(library, request, EDITOR)
    assert answer.output.task_status == "PENDING"


@pytest.mark.parametrize("trouble", [T.ARREARAGE, T.BLOCKED, T.THROTTLED, T.NO_MODEL])
async def test_the_library_sees_the_same_failures(library: FakeDashScope, trouble: Trouble) -> None:
    library.trouble.append(trouble)

    def ask() -> Any:
        return sdk.MultiModalConversation.call(model=DEFAULT_MODEL, messages=[{"role": "user", "content": [{"text": "a cat"}]}])

    answer = await anyio.to_thread.run_sync(ask)
    library.trouble.extend([trouble] * 3)  # one of them is tried again
    with pytest.raises(ProviderError) as caught:
        await draw(library, timeouts=Timeouts())
    assert (answer.status_code, answer.code) == (caught.value.status, caught.value.details["service_code"])


async def test_a_model_called_in_another_ones_way_is_turned_away(library: FakeDashScope) -> None:
    def ask() -> Any:
        return sdk.ImageSynthesis.async_call(model="qwen-image-2.0", prompt="a cat")

    answer = await anyio.to_thread.run_sync(ask)
    assert (answer.status_code, answer.code) == (403, "AccessDenied")


def test_the_catalogue_is_there_without_an_http_client() -> None:
    code = (
        "import sys, mcp_image_server.providers.dashscope as m; m.load({'DASHSCOPE_API_KEY': 'sk-1'}); "
        "print([n for n in ('httpx2', 'PIL', 'dashscope', 'stamina') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
