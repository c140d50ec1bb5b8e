from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import AuthError, BadReplyError, ConfigError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.models import Adjustment, AspectRatio, Drawn, Generated, ImageRequest, Model, Picture, Size, parse_shape
from mcp_image_server.negotiate import fits, negotiate
from mcp_image_server.net import Fault, Net, Timeouts, Tries
from mcp_image_server.providers.siliconflow import (
    CATALOGUE,
    DEFAULT_MODEL,
    MAX_SEED,
    MODELS,
    Config,
    SiliconFlow,
    load,
    read_fault,
    service,
    suited,
    to_wire,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.server import picture
from ..fakes.siliconflow import TRACE_ID, FakeSiliconFlow, Trouble
from .service import drawn_by, failure_of, judge, known_in, served

pytestmark = pytest.mark.anyio

T = Trouble
PHOTO = Picture(data=picture(64, 32, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=32))
DRAWING = Picture(data=picture(32, 32), media_type="image/png", size=Size(width=32, height=32))
CAT = ImageRequest(prompt="a cat", shape=Size(width=1328, height=1328))

known = partial(known_in, MODELS)
QWEN, KOLORS, EDITOR = known(DEFAULT_MODEL), known("Kwai-Kolors/Kolors"), known("Qwen/Qwen-Image-Edit-2509")


def link(image: Picture) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


server, fake = served(FakeSiliconFlow)


def provider_at(fake: FakeSiliconFlow, *, timeouts: Timeouts | None = None, **variables: str) -> SiliconFlow:
    config = parse(Config, {"SILICONFLOW_API_KEY": fake.key, "SILICONFLOW_BASE_URL": fake.base_url, **variables})
    provider = SiliconFlow(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeSiliconFlow, request: ImageRequest = CAT, model: Model = QWEN, timeouts: Timeouts | None = None) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, model)


# Settings and models ------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider() -> None:
    assert load({"SILICONFLOW_BASE_URL": "http://localhost:9000/v1"}) is None
    provider = load({"SILICONFLOW_API_KEY": "sk-12345"})
    assert provider is not None
    assert (provider.name, provider.repeatable) == ("siliconflow", False)
    made = service(parse(Config, {"SILICONFLOW_API_KEY": "sk-12345"}))
    assert (made.base_url, made.headers) == ("https://api.siliconflow.cn/v1", {"Authorization": "Bearer sk-12345"})
    assert "sk-12345" not in repr(made)
    with pytest.raises(ConfigError, match="SILICONFLOW_BASE_URL"):
        load({"SILICONFLOW_API_KEY": "sk-1", "SILICONFLOW_BASE_URL": "siliconflow.cn"})


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    assert all(fits(parse_shape(key), QWEN.sizes) for key in CATALOGUE.resolutions)


def test_a_default_model_that_nobody_knows_is_offered() -> None:
    offered = SiliconFlow(parse(Config, {"SILICONFLOW_API_KEY": "sk-1", "SILICONFLOW_MODEL": "someone/new"})).catalogue
    assert (offered.default_model, offered.models[0].id, offered.models[1:]) == ("someone/new", "someone/new", MODELS)


# To wire ------------------------------------------------------------------------------------------------------------------------------------

FULL = replace(CAT, negative_prompt="dogs", seed=7, options={"num_inference_steps": 30, "cfg": 4.0})

LINK = {"type": "string", "pattern": "^(https?://|data:image/[a-z]+;base64,)"}
RULES = judge(
    {
        "type": "object",
        "required": ["model", "prompt"],
        "additionalProperties": False,
        "properties": {
            "model": {"type": "string"},
            "prompt": {"type": "string", "minLength": 1},
            "negative_prompt": {"type": "string"},
            "image_size": {"type": "string", "pattern": "^[1-9][0-9]*x[1-9][0-9]*$"},
            "batch_size": {"type": "integer", "minimum": 1, "maximum": 4},
            "seed": {"type": "integer", "minimum": 0, "maximum": 9_999_999_999},
            "image": LINK,
            "image2": LINK,
            "image3": LINK,
        },
        "dependentRequired": {"image2": ["image"], "image3": ["image2"]},
        "dependentSchemas": {"image": {"not": {"required": ["image_size"]}}},
    }
)
"""SiliconFlow's rules for the body of a call, written from its documentation."""


@given(
    request=st.builds(
        ImageRequest,
        prompt=st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip())),
        negative_prompt=st.none() | st.text(max_size=20),
        shape=st.none()
        | st.builds(Size, width=st.integers(300, 2000), height=st.integers(300, 2000))
        | st.builds(AspectRatio, width=st.integers(1, 16), height=st.integers(1, 16)),
        seed=st.none() | st.integers(0, 2**64),
        count=st.integers(1, 9),
        images=st.sampled_from([(), (PHOTO,), (PHOTO, DRAWING), (PHOTO, DRAWING, PHOTO)]),
    ),
    model=st.sampled_from(MODELS),
)
def test_every_body_keeps_the_rules(request: ImageRequest, model: Model) -> None:
    if request.operation in model.operations and len(request.images) <= model.max_images:
        fitted = suited(negotiate(request, model, styles={}).request, model)
        RULES.validate(to_wire(fitted.request, model))
        assert suited(fitted.request, model).adjustments == ()


def test_a_full_request_becomes_this_body() -> None:
    assert to_wire(FULL, QWEN) == {
        "model": "Qwen/Qwen-Image",
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "image_size": "1328x1328",
        "seed": 7,
        "num_inference_steps": 30,
        "cfg": 4.0,
    }
    assert to_wire(replace(CAT, shape=None, count=3), KOLORS) == {"model": "Kwai-Kolors/Kolors", "prompt": "a cat", "batch_size": 3}
    assert to_wire(replace(FULL, options={"seed": 9, "image_size": "1x1"}), QWEN)["seed"] == 9


def test_pictures_go_inside_under_three_names_and_no_size_with_them() -> None:
    fitted = suited(replace(CAT, images=(PHOTO, DRAWING, PHOTO), seed=MAX_SEED + 3), EDITOR)
    assert to_wire(fitted.request, EDITOR) == {
        "model": EDITOR.id,
        "prompt": "a cat",
        "seed": 2,
        "image": link(PHOTO),
        "image2": link(DRAWING),
        "image3": link(PHOTO),
    }
    assert fitted.adjustments == (
        Adjustment(field="resolution", message="Qwen/Qwen-Image-Edit-2509 goes by the size of the input picture."),
        Adjustment(field="seed", message="SiliconFlow takes seeds up to 9999999999; 10000000002 became 2."),
    )


# From wire ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (401, "Invalid token", Fault(message="Invalid token", kind=AuthError)),
        (
            400,
            {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None},
            Fault(
                message="Model does not exist. Please check it carefully. SiliconFlow has other models at each of its two sites; see "
                "SILICONFLOW_BASE_URL",
                details={"service_code": 20012},
            ),
        ),
        (429, "IPD limit reached", Fault(message="IPD limit reached", kind=QuotaError)),
        (500, {"code": 60000, "message": "rate limit of a worker"}, Fault(message="rate limit of a worker", details={"service_code": 60000})),
        (400, {"data": None}, None),
    ],
)
def test_an_error_body_is_understood(status: int, body: Any, fault: Fault | None) -> None:
    assert read_fault(status, body) == fault


# At work ------------------------------------------------------------------------------------------------------------------------------------


async def test_a_picture_is_drawn_with_one_call(fake: FakeSiliconFlow) -> None:
    assert await draw(fake, FULL) == Generated(images=(Drawn(data=picture(1328, 1328), seed=7),), request_id=TRACE_ID)
    sent, file = fake.seen
    assert (sent.method, sent.path, sent.json()) == ("POST", "/v1/images/generations", to_wire(FULL, QWEN))
    assert sent.headers["authorization"] == f"Bearer {fake.key}"
    assert (file.method, file.path) == ("GET", "/files/1328x1328/0.png")


async def test_several_pictures_and_edits_are_drawn(fake: FakeSiliconFlow) -> None:
    several = await draw(fake, replace(CAT, shape=Size(width=1024, height=1024), count=3), KOLORS)
    edited = await draw(fake, replace(CAT, images=(PHOTO, DRAWING)), EDITOR)
    assert several.images == (Drawn(data=picture(1024, 1024)),) * 3
    assert edited.images == (Drawn(data=picture(1024, 1024), seed=123),)
    assert [words.field for words in edited.adjustments] == ["resolution"]


@pytest.mark.parametrize("trouble", [T.AS_DATA, T.MORE_FIELDS])
async def test_other_forms_of_the_answer_do_no_harm(fake: FakeSiliconFlow, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert (await draw(fake)).images == (Drawn(data=picture(1328, 1328), seed=123),)


FAILURES: list[tuple[Trouble, type[ProviderError], bool, int]] = [
    # trouble, class, may have been billed, calls
    (T.PER_MINUTE, RateLimitedError, False, 3),
    (T.PER_MINUTE_TEXT, RateLimitedError, False, 3),
    (T.PER_DAY, QuotaError, False, 1),
    (T.PER_DAY_TEXT, QuotaError, False, 1),
    (T.NO_BALANCE, QuotaError, False, 1),
    (T.NO_MONEY, QuotaError, False, 1),
    (T.NO_NAME, AuthError, False, 1),
    (T.BLOCKED, RefusedError, False, 1),
    (T.CODE_200, RefusedError, False, 1),
    (T.ERROR_500, UnavailableError, False, 1),
    (T.OVERLOADED, UnavailableError, False, 1),
    (T.TIMEOUT, UnavailableError, True, 1),
    (T.HANG, UnavailableError, True, 1),
    (T.KEY_ECHO, ProviderError, False, 1),
    (T.EMPTY, BadReplyError, True, 1),
    (T.LINK_DEAD, BadReplyError, True, 1),
]


@pytest.mark.parametrize(("trouble", "kind", "billed", "calls"), FAILURES)
async def test_each_failure_has_its_class_and_its_word_on_the_bill(
    fake: FakeSiliconFlow, trouble: Trouble, kind: type[ProviderError], billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(draw(fake, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key)
    assert (type(error), error.may_have_been_billed) == (kind, billed)
    assert [seen.method for seen in fake.seen].count("POST") == calls


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {T.AS_DATA, T.MORE_FIELDS} == set(Trouble)


async def test_a_wrong_key_is_named(fake: FakeSiliconFlow) -> None:
    provider = provider_at(fake, SILICONFLOW_API_KEY="sk-wrong-987654321")
    for call in (provider.generate(CAT, QWEN, Ear()), provider.check()):
        with pytest.raises(AuthError) as caught:
            await call
        assert caught.value.message == "SiliconFlow answered 401: Invalid token. Check SILICONFLOW_API_KEY, and what its account is allowed to use."
    await provider.aclose()


async def test_the_check_tells_the_balance(fake: FakeSiliconFlow) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "SiliconFlow accepts the key; the balance is 88.88."
    await provider.aclose()
