from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import jsonschema
import openai as sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import (
    AuthError,
    BadReplyError,
    ConfigError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from mcp_image_server.models import Adjustment, AspectRatio, Drawn, Generated, ImageRequest, Model, Operation, Picture, Size, SizeRange
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Pace, Service, Timeouts, Tries
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.modelscope import (
    CATALOGUE,
    DEFAULT_MODEL,
    MAX_SEED,
    MODELS,
    Config,
    ModelScope,
    Submitted,
    Task,
    from_wire,
    load,
    pace_for,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.modelscope import SIGNATURE, UNSERVED, FakeModelScope, Trouble
from ..fakes.server import closed_port, picture
from .service import drawn_by, failure_of, known_in, reply, served

pytestmark = pytest.mark.anyio

TOKEN = "MODELSCOPE_SDK_TOKEN"
CAT = ImageRequest(prompt="a cat", polling={"interval": 0.01})
PHOTO = Picture(data=picture(64, 64, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=64))
DRAWING = Picture(data=picture(32, 32), media_type="image/png", size=Size(width=32, height=32))

known = partial(known_in, MODELS)
MODEL = known(DEFAULT_MODEL)
EDITOR = known("Qwen/Qwen-Image-Edit-2511")

recorded = partial(reply, "modelscope")
server, fake = served(FakeModelScope)


def provider_at(fake: FakeModelScope, *, timeouts: Timeouts | None = None, **variables: str) -> ModelScope:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {TOKEN: fake.token or "", "MODELSCOPE_BASE_URL": fake.url, **variables})
    provider = ModelScope(config, burst_pause=0.001)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeModelScope, request: ImageRequest = CAT, *, model: Model = MODEL, ear: Ear | None = None, timeouts: Timeouts | None = None
) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, model, ear)


def calls(fake: FakeModelScope) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in fake.seen]


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_without_a_token_there_is_no_provider() -> None:
    assert load({}) is None
    assert load({"MODELSCOPE_BASE_URL": "http://localhost:9002", "MODELSCOPE_MODEL": DEFAULT_MODEL}) is None


@pytest.mark.parametrize("name", ["MODELSCOPE_SDK_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_API_KEY"])
def test_a_token_under_any_of_its_names_makes_a_provider_that_can_go_on_with_a_task(name: str) -> None:
    provider = load({name: "ms-12345"})
    assert provider is not None
    assert isinstance(provider, Resumable)
    assert (provider.name, provider.repeatable) == ("modelscope", False)
    assert (provider._net.service.key_variable, provider._net.service.secrets) == (name, ("ms-12345",))


def test_the_first_name_of_the_token_wins() -> None:
    assert parse(Config, {"MODELSCOPE_API_KEY": "ms-3", "MODELSCOPE_API_TOKEN": "ms-2", TOKEN: "ms-1"}).token == (TOKEN, "ms-1")
    assert parse(Config, {"MODELSCOPE_API_KEY": "ms-3", "MODELSCOPE_API_TOKEN": "ms-2"}).token == ("MODELSCOPE_API_TOKEN", "ms-2")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (TOKEN, "ms-1 2", "it holds spaces"),
        ("MODELSCOPE_API_KEY", "魔搭", "it holds spaces"),
        ("MODELSCOPE_BASE_URL", "modelscope.cn", "write an absolute address that starts with http:// or https:// (it is 'modelscope.cn')."),
        ("MODELSCOPE_POLL_INTERVAL_SECONDS", "five", "a valid number, unable to parse string as a number (it is 'five')."),
        ("MODELSCOPE_POLL_INTERVAL_SECONDS", "0", "greater than 0 (it is '0')."),
        ("MODELSCOPE_MAX_POLL_INTERVAL_SECONDS", "inf", "a finite number (it is 'inf')."),
        ("MODELSCOPE_MAX_POLL_ATTEMPTS", "many", "a valid integer, unable to parse string as an integer (it is 'many')."),
        ("MODELSCOPE_POLL_BACKOFF", "perhaps", "a valid boolean, unable to interpret input (it is 'perhaps')."),
    ],
)
def test_a_wrong_variable_is_named_and_a_token_is_not_shown(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({TOKEN: "ms-0123456789", name: value})
    assert f"{name}: " in caught.value.message
    assert words in caught.value.message
    assert "ms-0123456789" not in caught.value.message
    assert value not in caught.value.message or "(it is" in caught.value.message


def test_the_service_is_reached_as_the_settings_say() -> None:
    made = service(parse(Config, {TOKEN: " ms-12345\n"}))
    assert made == Service(
        provider="modelscope",
        title="ModelScope",
        base_url="https://api-inference.modelscope.cn",
        headers={"Authorization": "Bearer ms-12345"},
        secrets=("ms-12345",),
        trusted_hosts=("modelscope.cn",),
        read_fault=read_fault,
        key_variable=TOKEN,
        url_variable="MODELSCOPE_BASE_URL",
    )
    assert "ms-12345" not in repr(made)


@pytest.mark.parametrize(
    ("address", "base_url", "site"),
    [
        ("https://api-inference.modelscope.cn/v1/", "https://api-inference.modelscope.cn", "modelscope.cn"),
        ("https://api-inference.modelscope.ai", "https://api-inference.modelscope.ai", "modelscope.ai"),
        ("http://localhost:9002", "http://localhost:9002", None),
        ("https://gateway.example/modelscope/v1", "https://gateway.example/modelscope", None),
        ("https://api-inference.modelscope.cn.example", "https://api-inference.modelscope.cn.example", None),
    ],
)
def test_the_token_is_shown_to_the_vendors_main_site_only_when_the_service_is_the_vendors(address: str, base_url: str, site: str | None) -> None:
    config = parse(Config, {TOKEN: "ms-1", "MODELSCOPE_BASE_URL": address})
    assert (config.base_url, config.site, service(config).trusted_hosts) == (base_url, site, (site,) if site else ())


USUAL = Pace(first=0.5, longest=5, deadline=600)


@pytest.mark.parametrize(
    ("variables", "polling", "expected"),
    [
        ({}, {}, USUAL),
        ({"MODELSCOPE_MAX_POLL_INTERVAL_SECONDS": "60"}, {"max_interval": 90}, USUAL),
        ({"MODELSCOPE_POLL_INTERVAL_SECONDS": "0.2", "MODELSCOPE_MAX_POLL_ATTEMPTS": "10"}, {}, Pace(first=0.2, longest=0.2, deadline=2)),
        ({"MODELSCOPE_POLL_BACKOFF": "Yes"}, {}, Pace(first=0.5, longest=30, deadline=3600)),
        (
            {"MODELSCOPE_POLL_BACKOFF": "y", "MODELSCOPE_MAX_POLL_INTERVAL_SECONDS": "20"},
            {"attempts": 3},
            Pace(first=0.5, longest=20, deadline=60),
        ),
        ({"MODELSCOPE_POLL_BACKOFF": "1"}, {"backoff": 0}, USUAL),
        ({}, {"interval": 2, "attempts": 30}, Pace(first=0.5, longest=2, deadline=60)),
        ({}, {"backoff": True, "max_interval": 10, "attempts": 6}, Pace(first=0.5, longest=10, deadline=60)),
    ],
)
def test_the_polling_settings_bound_pauses_and_patience(variables: dict[str, str], polling: dict[str, float], expected: Pace) -> None:
    assert pace_for(parse(Config, variables), polling) == expected


# Models -------------------------------------------------------------------------------------------------------------------------------------


def test_the_default_is_the_one_people_know_and_every_model_is_asked_alike() -> None:
    assert MODELS[0] is MODEL
    assert CATALOGUE.default_model == "Qwen/Qwen-Image"
    assert len({model.id for model in MODELS}) == len(MODELS)
    assert {(model.max_count, model.seed, model.negative_prompt, model.max_prompt_chars, model.polled) for model in MODELS} == {
        (1, True, True, 2000, True)
    }


@pytest.mark.parametrize(
    ("name", "shortest", "longest", "images"),
    [
        ("Qwen/Qwen-Image", 64, 1664, 0),
        ("Qwen/Qwen-Image-2512", 64, 1664, 0),
        ("Tongyi-MAI/Z-Image-Turbo", 512, 2048, 0),
        ("black-forest-labs/FLUX.1-Krea-dev", 64, 1024, 0),
        ("Qwen/Qwen-Image-Edit", 64, 1664, 1),
        ("Qwen/Qwen-Image-Edit-2511", 64, 1664, 3),
    ],
)
def test_a_model_draws_its_sizes(name: str, shortest: int, longest: int, images: int) -> None:
    model = known(name)
    assert model.sizes == SizeRange(min_edge=shortest, max_edge=longest, max_pixels=longest**2, multiple=16)
    assert model.max_images == images
    assert model.operations == {Operation.EDIT if images else Operation.GENERATE}


def test_qwen_and_z_image_read_chinese_and_letter_both_scripts() -> None:
    lettering = {model.id for model in MODELS if model.writes == {"latin", "han"} and model.languages == {"en", "zh"}}
    assert lettering == {model.id for model in MODELS if "Qwen-Image" in model.id or "Z-Image" in model.id}


def test_a_default_model_that_nobody_knows_is_asked_with_everything_the_service_takes() -> None:
    offered = ModelScope(parse(Config, {"MODELSCOPE_MODEL": "someone/own-model"})).catalogue
    assert offered.default_model == "someone/own-model"
    assert offered.models[0] == replace(
        MODEL,
        id="someone/own-model",
        title="someone/own-model",
        sizes=None,
        operations=frozenset({Operation.GENERATE, Operation.EDIT}),
        max_images=3,
        languages=frozenset({"en"}),
        writes=frozenset(),
    )
    assert offered.models[1:] == MODELS
    assert offered.unknown is not None
    assert ModelScope(parse(Config, {"MODELSCOPE_MODEL": EDITOR.id})).catalogue.models == MODELS


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    assert next(iter(CATALOGUE.resolutions)) == "1024x1024"
    for key in CATALOGUE.resolutions:
        width, height = map(int, key.split("x"))
        fitted = negotiate(ImageRequest(prompt="a cat", shape=Size(width=width, height=height)), MODEL, styles={})
        assert fitted.adjustments == ()


def test_what_a_model_cannot_do_is_negotiated() -> None:
    wish = ImageRequest(prompt="a cat", shape=AspectRatio(width=16, height=9), count=4)
    fitted = negotiate(wish, MODEL, styles={})
    assert fitted.request == replace(wish, shape=Size(width=1360, height=768), count=1)
    assert [adjustment.field for adjustment in fitted.adjustments] == ["resolution", "n"]
    with pytest.raises(UnsupportedError, match=r"modelscope/Qwen/Qwen-Image-Edit-2511"):
        negotiate(replace(wish, images=(PHOTO,)), MODEL, styles={}, others=MODELS)


# To wire ------------------------------------------------------------------------------------------------------------------------------------

FULL = ImageRequest(
    prompt="a cat",
    negative_prompt="dogs",
    shape=Size(width=1664, height=928),
    seed=7,
    options={"steps": 30, "guidance": 4.0, "loras": {"org/a": 0.6, "org/b": 0.4}},
    polling={"interval": 0.01},
)

RULES: dict[str, Any] = {
    "type": "object",
    "required": ["model", "prompt"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string", "pattern": "^[^/]+/[^/]+$"},
        "prompt": {"type": "string", "minLength": 1, "maxLength": 2000},
        "negative_prompt": {"type": "string", "maxLength": 2000},
        "size": {"type": "string", "pattern": "^[1-9][0-9]*x[1-9][0-9]*$"},
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        "steps": {"type": "integer", "minimum": 1, "maximum": 100},
        "guidance": {"type": "number", "minimum": 1.5, "maximum": 20},
        "image_url": {
            "anyOf": [{"$ref": "#/$defs/link"}, {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/link"}}],
        },
        "loras": {
            "anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 6, "additionalProperties": {"type": "number"}}],
        },
    },
    "$defs": {"link": {"type": "string", "pattern": "^(https?://|data:image/[a-z]+;base64,)"}},
}
"""ModelScope's rules for the body of a submission, written from its documentation."""


@given(
    request=st.builds(
        ImageRequest,
        prompt=st.text(min_size=1, max_size=50),
        negative_prompt=st.none() | st.text(max_size=50),
        shape=st.none() | st.builds(Size, width=st.integers(1, 4000), height=st.integers(1, 4000)),
        seed=st.none() | st.integers(0, 2**32 - 1),
        images=st.lists(st.sampled_from([PHOTO, DRAWING]), max_size=3).map(tuple),
        options=st.fixed_dictionaries({}, optional={"steps": st.integers(1, 100), "guidance": st.floats(1.5, 20), "loras": st.just("org/lora")}),
    ),
    model=st.sampled_from(MODELS),
)
def test_every_body_keeps_the_rules(request: ImageRequest, model: Model) -> None:
    jsonschema.validate(to_wire(request, model), RULES)


def test_a_full_request_becomes_this_body() -> None:
    assert to_wire(FULL, MODEL) == {
        "model": "Qwen/Qwen-Image",
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "size": "1664x928",
        "seed": 7,
        "steps": 30,
        "guidance": 4.0,
        "loras": {"org/a": 0.6, "org/b": 0.4},
    }
    assert to_wire(CAT, MODEL) == {"model": "Qwen/Qwen-Image", "prompt": "a cat"}


def test_input_pictures_go_inside_the_body_one_as_a_text_and_several_as_a_list() -> None:
    photo = f"data:image/jpeg;base64,{base64.b64encode(PHOTO.data).decode()}"
    drawing = f"data:image/png;base64,{base64.b64encode(DRAWING.data).decode()}"
    asked = {"model": EDITOR.id, "prompt": "a cat"}
    assert to_wire(replace(CAT, images=(PHOTO,)), EDITOR) == {**asked, "image_url": photo}
    assert to_wire(replace(CAT, images=(PHOTO, DRAWING)), EDITOR) == {**asked, "image_url": [photo, drawing]}


def test_options_win_and_a_model_nobody_knows_gets_the_wish_as_written() -> None:
    request = replace(FULL, shape=AspectRatio(width=16, height=9), options={"size": "1024x1024", "seed": 9, "image_url": "https://example.com/1.png"})
    assert to_wire(request, Model(provider="modelscope", id="someone/own-model")) == {
        "model": "someone/own-model",
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "size": "1024x1024",
        "seed": 9,
        "image_url": "https://example.com/1.png",
    }


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def test_recorded_answers_are_understood() -> None:
    assert Submitted.model_validate(recorded("submitted")).task_id == "4291877"
    waiting, done, failed = (Task.model_validate(recorded(name)) for name in ("waiting", "done", "failed"))
    assert (waiting.is_done, waiting.has_failed) == (False, False)
    assert (done.is_done, done.has_failed) == (True, False)
    assert (failed.is_done, failed.has_failed) == (False, True)
    assert done.output_images == ["https://muse-ai.oss-cn-hangzhou.aliyuncs.com/img/1a2b3c.png?Expires=1795000000&Signature=a%2Bb%3D"]
    assert Task.model_validate(recorded("unauthorized")).has_failed


def test_the_answer_says_which_seed_was_used() -> None:
    assert from_wire([b"1", b"2"], FULL, request_id="req_1") == Generated(
        images=(Drawn(data=b"1", seed=7), Drawn(data=b"2", seed=7)), request_id="req_1"
    )
    assert from_wire([b"1"], replace(FULL, options={"seed": 9}), request_id=None) == Generated(images=(Drawn(data=b"1", seed=9),))
    assert from_wire([b"1"], CAT, request_id=None) == Generated(images=(Drawn(data=b"1"),))


def test_a_seed_that_is_too_large_is_made_smaller_with_a_word() -> None:
    request = replace(CAT, seed=MAX_SEED + 6)
    assert to_wire(request, MODEL)["seed"] == 5
    assert from_wire([b"1"], request, request_id=None) == Generated(
        images=(Drawn(data=b"1", seed=5),),
        adjustments=(Adjustment(field="seed", message="ModelScope takes seeds up to 2147483647; 2147483653 became 5."),),
    )


@pytest.mark.parametrize(
    ("name", "status", "kind", "code", "more"),
    [
        ("failed", 200, ProviderError, 400, ""),
        ("task_not_found", 200, ProviderError, 500, ""),
        ("unauthorized", 401, None, None, ""),
        ("daily_quota", 429, QuotaError, None, ""),
        ("insufficient_quota", 429, QuotaError, "insufficient_quota", ""),
        ("no_provider", 400, None, None, ". Only models whose page on ModelScope offers API-Inference can be used, such as Qwen/Qwen-Image"),
    ],
)
def test_a_recorded_error_is_understood(name: str, status: int, kind: type[ProviderError] | None, code: Any, more: str) -> None:
    body = recorded(name)
    error = body.get("errors") or body.get("error")
    details = {key: value for key, value in (("service_code", code), ("request_id", body.get("request_id"))) if value is not None}
    assert read_fault(status, body) == Fault(message=error["message"] + more, kind=kind, details=details)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Output data may contain inappropriate content.", RefusedError),
        ("data_inspection_failed", RefusedError),
        ("NSFW content detected", RefusedError),
        ("输入内容包含敏感信息", RefusedError),
        ("图片审核不通过", RefusedError),
        ("parameter names are case sensitive", None),
        ("Your magicube balance is not enough", QuotaError),
        ("Too many requests", RateLimitedError),
        ("Requests rate limit exceeded", RateLimitedError),
        ("size must be pixels like 1024x1024", None),
    ],
)
def test_a_failure_is_known_by_its_words(words: str, kind: type[ProviderError] | None) -> None:
    assert read_fault(400, {"errors": {"message": words}}) == Fault(message=words, kind=kind)
    assert read_fault(200, {"task_status": "FAILED", "error": words}) == Fault(message=words, kind=kind or ProviderError)


@pytest.mark.parametrize("body", [None, [], {}, 3, {"errors": None}, {"errors": {"code": 500}}])
def test_an_error_without_words_is_judged_by_its_status(body: Any) -> None:
    assert read_fault(500, body) is None


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_a_request_becomes_a_task_and_the_task_a_picture(fake: FakeModelScope) -> None:
    fake.looks = 3
    ear = Ear(lambda: len(fake.seen))
    made = await draw(fake, FULL, ear=ear)
    assert made == Generated(images=(Drawn(data=picture(1664, 928), seed=7),), request_id="req_look")
    look = "GET /v1/tasks/7000001"
    assert calls(fake) == ["POST /v1/images/generations", look, look, look, look, "GET /files/1664x928.png"]
    submission, first_look, *_, download = fake.seen
    assert submission.json() == to_wire(FULL, MODEL)
    assert submission.headers["authorization"] == first_look.headers["authorization"] == f"Bearer {fake.token}"
    assert submission.headers["x-modelscope-async-mode"] == "true"
    assert first_look.headers["x-modelscope-task-type"] == "image_generation"
    assert "authorization" not in download.headers
    assert (ear.tasks, ear.calls_before_acceptance) == (["7000001"], [1])
    assert [words for _, words in ear.said] == [
        "ModelScope has the task in line.",
        "ModelScope is drawing.",
        "ModelScope is drawing.",
        "The picture is drawn and on its way.",
    ]
    fractions = [fraction for fraction, _ in ear.said]
    assert fractions == sorted(fractions)


async def test_a_task_that_is_done_at_the_first_look_is_answered_at_once(fake: FakeModelScope) -> None:
    with anyio.fail_after(3):
        made = await draw(fake, replace(CAT, polling={"interval": 3600}))
    assert made.images == (Drawn(data=picture(1024, 1024)),)
    assert len(fake.seen) == 3


async def test_every_picture_of_a_task_is_fetched(fake: FakeModelScope) -> None:
    fake.outputs = 3
    assert (await draw(fake)).images == (Drawn(data=picture(1024, 1024)),) * 3


async def test_a_picture_is_edited_at_the_same_address(fake: FakeModelScope) -> None:
    request = replace(CAT, images=(PHOTO, DRAWING))
    assert len((await draw(fake, request, model=EDITOR)).images) == 1
    assert (fake.seen[0].path, fake.seen[0].json()) == ("/v1/images/generations", to_wire(request, EDITOR))


async def test_a_task_is_gone_on_with_by_another_process_and_not_submitted_again(fake: FakeModelScope) -> None:
    fake.looks = 2
    await draw(fake, FULL)
    fake.seen.clear()
    provider, ear = provider_at(fake), Ear()
    made = await provider.resume("7000001", FULL, MODEL, ear)
    await provider.aclose()
    assert made == Generated(images=(Drawn(data=picture(1664, 928), seed=7),), request_id="req_look")
    assert {seen.method for seen in fake.seen} == {"GET"}
    assert ear.tasks == []


async def test_two_requests_are_two_tasks(fake: FakeModelScope) -> None:
    ear = Ear(lambda: len(fake.seen))
    for _ in range(2):
        await draw(fake, ear=ear)
    assert ear.tasks == ["7000001", "7000002"]


async def test_a_burst_that_looks_like_spent_credits_is_tried_once_more(fake: FakeModelScope) -> None:
    fake.trouble.append(Trouble.NO_QUOTA)
    assert len((await draw(fake)).images) == 1
    assert calls(fake)[:2] == ["POST /v1/images/generations"] * 2


HARMLESS = (Trouble.NUMBER_ID, Trouble.MORE_FIELDS, Trouble.ODD_STATE, Trouble.SUCCESS, Trouble.LOOK_500, Trouble.LOOK_QUOTA)


@pytest.mark.parametrize("trouble", HARMLESS, ids=lambda trouble: trouble.name)
async def test_what_the_answers_have_of_new_things_and_hiccups_does_no_harm(fake: FakeModelScope, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    ear = Ear(lambda: len(fake.seen))
    assert (await draw(fake, ear=ear)).images == (Drawn(data=picture(1024, 1024)),)
    assert ear.tasks == ["7000001"]
    assert [seen.method for seen in fake.seen].count("POST") == 1


async def test_waiting_ends_when_the_caller_says_so(fake: FakeModelScope) -> None:
    fake.trouble.append(Trouble.NEVER)
    with anyio.fail_after(5), pytest.raises(UnavailableError, match=r"was not done after 0\.05 seconds.*may have been billed"):
        await draw(fake, replace(CAT, polling={"interval": 0.01, "attempts": 5}))


async def test_waiting_can_be_cancelled(fake: FakeModelScope) -> None:
    fake.trouble.append(Trouble.NEVER)
    with anyio.move_on_after(0.2) as scope:
        await draw(fake, replace(CAT, polling={"interval": 0.01, "attempts": 100_000}))
    assert scope.cancelled_caught
    assert calls(fake)[0] == "POST /v1/images/generations"
    assert set(calls(fake)[1:]) == {"GET /v1/tasks/7000001"}


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, type[ProviderError], str, bool, bool, int, int]] = [
    # trouble, class, code, retryable, may have been billed, submissions, looks
    (T.UNBOUND, AuthError, "auth", False, False, 1, 0),
    (T.RATE_LIMITED, RateLimitedError, "rate_limited", True, False, 3, 0),
    (T.DAILY_QUOTA, QuotaError, "quota", False, False, 1, 0),
    (T.NO_QUOTA, QuotaError, "quota", False, False, 2, 0),
    (T.BLOCKED, RefusedError, "refused", False, False, 1, 0),
    (T.ERROR_500, UnavailableError, "unavailable", True, False, 1, 0),
    (T.ERROR_502_PAGE, UnavailableError, "unavailable", True, False, 1, 0),
    (T.ERROR_503_SOON, UnavailableError, "unavailable", True, False, 3, 0),
    (T.ERROR_504, UnavailableError, "unavailable", True, True, 1, 0),
    (T.HANG, UnavailableError, "unavailable", True, True, 1, 0),
    (T.CUT, UnavailableError, "unavailable", True, True, 1, 0),
    (T.PAGE, BadReplyError, "bad_reply", False, True, 1, 0),
    (T.PAGE_404, BadReplyError, "bad_reply", False, False, 1, 0),
    (T.REDIRECT, BadReplyError, "bad_reply", False, False, 1, 0),
    (T.NO_JSON, BadReplyError, "bad_reply", False, True, 1, 0),
    (T.ERRORS_200, ProviderError, "provider_error", False, True, 1, 0),
    (T.NO_TASK, BadReplyError, "bad_reply", False, True, 1, 0),
    (T.KEY_ECHO, ProviderError, "provider_error", False, False, 1, 0),
    (T.FAILED, ProviderError, "provider_error", False, True, 1, 1),
    (T.FAILED_MUTE, ProviderError, "provider_error", False, True, 1, 1),
    (T.FAILED_BLOCKED, RefusedError, "refused", False, False, 1, 1),
    (T.FAILED_400, ProviderError, "provider_error", False, True, 1, 1),
    (T.LOST, ProviderError, "provider_error", False, True, 1, 1),
    (T.EMPTY, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.NO_LIST, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.LOOK_401, AuthError, "auth", False, True, 1, 1),
    (T.LOOK_PAGE, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.LINK_GONE, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.LINK_INSIDE, BadReplyError, "bad_reply", False, True, 1, 1),
    (T.LINK_NOWHERE, BadReplyError, "bad_reply", False, True, 1, 1),
]


@pytest.mark.parametrize(
    ("trouble", "kind", "code", "retryable", "billed", "submissions", "looks"), FAILURES, ids=lambda value: getattr(value, "name", None)
)
async def test_each_failure_has_its_class_its_word_on_the_bill_and_its_number_of_calls(
    fake: FakeModelScope, trouble: Trouble, kind: type[ProviderError], code: str, retryable: bool, billed: bool, submissions: int, looks: int
) -> None:
    fake.trouble.extend([trouble] * submissions)
    error = await failure_of(draw(fake, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.token)
    assert (type(error), error.code, error.retryable, error.may_have_been_billed) == (kind, code, retryable, billed)
    assert [sum(call.startswith(where) for call in calls(fake)) for where in ("POST", "GET /v1/tasks/")] == [submissions, looks]
    assert error.provider == "modelscope"


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {*HARMLESS, T.NEVER} == set(Trouble)


@pytest.mark.parametrize(
    ("trouble", "words", "request_id"),
    [
        (T.FAILED, "ModelScope failed: CUDA out of memory. It may have been billed although no picture came back.", "req_look"),
        (T.FAILED_MUTE, "ModelScope failed: no reason given. It may have been billed although no picture came back.", "req_look"),
        (
            T.FAILED_BLOCKED,
            "ModelScope failed: Output data may contain inappropriate content. The same words will be refused again: ask for something else.",
            "req_look",
        ),
        (
            T.DAILY_QUOTA,
            (
                "ModelScope answered 429: You have exceeded today's quota for model Qwen/Qwen-Image, please try again tomorrow. "
                "Credit or allowance of the account is used up: raise it with the service, or use another provider."
            ),
            "req_fault",
        ),
        (
            T.UNBOUND,
            (
                "ModelScope answered 401: Please bind your Alibaba Cloud account before use. "
                "Check MODELSCOPE_SDK_TOKEN, and what its account is allowed to use."
            ),
            "req_fault",
        ),
        (T.EMPTY, "ModelScope finished the task without a picture. It may have been billed although no picture came back.", "req_look"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_failure_tells_the_services_reason_and_what_would_help(fake: FakeModelScope, trouble: Trouble, words: str, request_id: str) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError) as caught:
        await draw(fake)
    assert (caught.value.message, caught.value.request_id) == (words, request_id)


async def test_a_call_id_that_stands_in_the_body_alone_is_kept(fake: FakeModelScope) -> None:
    fake.trouble.extend([T.NO_QUOTA] * 2)
    with pytest.raises(QuotaError) as caught:
        await draw(fake)
    assert caught.value.details["request_id"] == "req_fault"


async def test_a_model_that_is_not_served_says_which_are(fake: FakeModelScope) -> None:
    with pytest.raises(ProviderError, match=r"no provider supported\. Only models whose page .* such as Qwen/Qwen-Image"):
        await draw(fake, model=Model(provider="modelscope", id=UNSERVED))
    assert len(fake.seen) == 1


async def test_a_wrong_token_names_the_variable_it_came_from(fake: FakeModelScope) -> None:
    config = parse(Config, {"MODELSCOPE_API_KEY": "ms-wrong-987654321", "MODELSCOPE_BASE_URL": fake.url})
    provider = ModelScope(config)
    for call in (provider.generate(CAT, MODEL, Ear()), provider.check()):
        with pytest.raises(AuthError, match="Check MODELSCOPE_API_KEY") as caught:
            await call
        assert "ms-wrong-987654321" not in str(caught.value)
    await provider.aclose()


async def test_a_closed_port_names_the_place() -> None:
    provider = load({TOKEN: "ms-0123456789", "MODELSCOPE_BASE_URL": f"http://127.0.0.1:{closed_port()}"})
    assert provider is not None
    provider._net = Net(provider._net.service, tries=Tries(attempts=1))
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        await provider.check()
    await provider.aclose()
    assert caught.value.not_accepted


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_costs_nothing_and_tells_what_is_left(fake: FakeModelScope) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "ModelScope accepts the token; 248 credits are left today."
    await provider.aclose()
    assert calls(fake) == ["GET /openapi/v1/magicubes/balance"]


async def test_a_gateway_without_an_account_passes_the_check(fake: FakeModelScope) -> None:
    provider = provider_at(fake, MODELSCOPE_BASE_URL=f"{fake.url}/elsewhere")
    assert await provider.check() == "ModelScope answers but knows no balance, so whether the token works is not known."
    await provider.aclose()


# The fake is faithful. ModelScope has no library of its own for this; its interface follows OpenAI's, whose library is the witness as far as it goes ---


@pytest.fixture
async def library(fake: FakeModelScope) -> Any:
    async with sdk.AsyncOpenAI(base_url=f"{fake.url}/v1", api_key=fake.token, max_retries=0) as client:
        yield client


SUBMIT = {"X-ModelScope-Async-Mode": "true"}
LOOK = {"X-ModelScope-Task-Type": "image_generation"}


async def test_the_library_sends_the_same_body_to_the_same_place_and_can_follow_the_task(fake: FakeModelScope, library: sdk.AsyncOpenAI) -> None:
    answer: Any = await library.images.generate(
        model=DEFAULT_MODEL,
        prompt="a cat",
        size="1664x928",
        extra_body={"negative_prompt": "dogs", "seed": 7, **FULL.options},
        extra_headers=SUBMIT,
    )
    await draw(fake, FULL)
    theirs, ours = fake.seen[:2]
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    for name in ("authorization", "content-type", "x-modelscope-async-mode"):
        assert theirs.headers[name] == ours.headers[name]
    assert (answer.task_status, answer.task_id, answer._request_id) == ("SUCCEED", "7000001", "req_submit")
    task: Any = await library.get(f"/tasks/{answer.task_id}", cast_to=object, options={"headers": LOOK})
    links = [f"{fake.url}/files/1664x928.png?{SIGNATURE}"]
    assert task == {
        "task_status": "SUCCEED",
        "task_id": "7000001",
        "request_id": "req_look",
        "output_images": links,
        "outputs": {"images": links},
        "time_taken": 12345.6,
    }


async def test_without_its_header_a_task_is_not_found(fake: FakeModelScope, library: sdk.AsyncOpenAI) -> None:
    answer: Any = await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", extra_headers=SUBMIT)
    task: Any = await library.get(f"/tasks/{answer.task_id}", cast_to=object)
    assert task == {"task_status": "FAILED", "request_id": "req_look", "errors": {"code": 500, "message": "task not found"}}


@pytest.mark.parametrize(
    ("trouble", "kind", "code"),
    [
        (T.UNBOUND, sdk.AuthenticationError, None),
        (T.RATE_LIMITED, sdk.RateLimitError, None),
        (T.DAILY_QUOTA, sdk.RateLimitError, None),
        (T.NO_QUOTA, sdk.RateLimitError, "insufficient_quota"),
        (T.BLOCKED, sdk.BadRequestError, None),
        (T.ERROR_503_SOON, sdk.InternalServerError, None),
        (T.CUT, sdk.APIConnectionError, None),
    ],
)
async def test_the_library_sees_the_same_failures(
    fake: FakeModelScope, library: sdk.AsyncOpenAI, trouble: Trouble, kind: type[sdk.APIError], code: str | None
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(sdk.APIError) as caught:
        await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", extra_headers=SUBMIT)
    assert (type(caught.value), caught.value.code) == (kind, code)


async def test_the_library_sees_the_same_rules(fake: FakeModelScope, library: sdk.AsyncOpenAI) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"size": "auto"}, "size must be pixels like 1024x1024"),
        ({"size": "1680x64"}, "size must be in"),
        ({"model": "Tongyi-MAI/Z-Image-Turbo", "size": "256x256"}, "size must be in"),
        ({"model": "black-forest-labs/FLUX.1-Krea-dev", "size": "2048x1024"}, "size must be in"),
        ({"seed": 2**31}, "seed must be in"),
        ({"steps": 101}, "steps must be in"),
        ({"guidance": 1}, "guidance must be in"),
        ({"prompt": "x" * 2001}, "prompt must be shorter"),
        ({"model": EDITOR.id}, "image_url is required"),
        ({"model": EDITOR.id, "image_url": "iVBORw0KGgo="}, "image_url must be an url"),
        ({"loras": {"org/a": 0.6, "org/b": 0.6}}, "must sum to 1"),
        ({"model": UNSERVED}, "has no provider supported"),
    ]
    for change, words in bad:
        with pytest.raises(sdk.BadRequestError) as caught:
            await library.images.generate(model=DEFAULT_MODEL, prompt="a cat", extra_body=change, extra_headers=SUBMIT)
        assert words in caught.value.response.json()["errors"]["message"]
    with pytest.raises(sdk.BadRequestError):
        await library.images.generate(model=DEFAULT_MODEL, prompt="a cat")


def test_the_catalogue_is_there_without_an_http_client() -> None:
    heavy = ("httpx2", "httpcore2", "stamina", "openai", "PIL", "sqlalchemy")
    code = f"import sys, mcp_image_server.providers.modelscope as m; m.load({{'{TOKEN}': 'ms-1'}}); print([n for n in {heavy} if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
