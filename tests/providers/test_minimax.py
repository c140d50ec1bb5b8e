from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.errors import AuthError, BadReplyError, ConfigError, ProviderError, QuotaError, RateLimitedError, RefusedError, UnavailableError
from mcp_image_server.models import AspectRatio, Drawn, Generated, ImageRequest, Model, Picture, Size, parse_shape
from mcp_image_server.negotiate import fits, negotiate
from mcp_image_server.net import Fault, Net, Timeouts, Tries
from mcp_image_server.providers.minimax import (
    CATALOGUE,
    DEFAULT_MODEL,
    MODELS,
    NEWER,
    RATIOS,
    STYLES,
    Config,
    MiniMax,
    load,
    path_for,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.minimax import TRACE_ID, FakeMiniMax, Trouble
from ..fakes.server import picture
from .service import drawn_by, failure_of, judge, known_in, served

pytestmark = pytest.mark.anyio

T = Trouble
PHOTO = Picture(data=picture(64, 32, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=32))
DRAWING = Picture(data=picture(32, 32), media_type="image/png", size=Size(width=32, height=32))
CAT = ImageRequest(prompt="a cat", shape=Size(width=1280, height=720))

known = partial(known_in, MODELS)
OLDER, LIVE, H3 = known(DEFAULT_MODEL), known("image-01-live"), known("MiniMax-H3-Image")


def link(image: Picture) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


server, fake = served(FakeMiniMax)


def provider_at(fake: FakeMiniMax, *, timeouts: Timeouts | None = None, **variables: str) -> MiniMax:
    config = parse(Config, {"MINIMAX_API_KEY": fake.key, "MINIMAX_API_HOST": fake.url, **variables})
    provider = MiniMax(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeMiniMax, request: ImageRequest = CAT, model: Model = OLDER, timeouts: Timeouts | None = None) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, model)


# Settings and models ------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider() -> None:
    assert load({"MINIMAX_API_HOST": "http://localhost:9000"}) is None
    provider = load({"MINIMAX_API_KEY": "mm-12345"})
    assert provider is not None
    assert (provider.name, provider.repeatable) == ("minimax", False)
    made = service(parse(Config, {"MINIMAX_API_KEY": "mm-12345", "MINIMAX_API_HOST": "https://api.minimaxi.com/v1/"}))
    assert (made.base_url, made.headers) == ("https://api.minimaxi.com", {"Authorization": "Bearer mm-12345"})
    assert "mm-12345" not in repr(made)
    with pytest.raises(ConfigError, match="MINIMAX_API_HOST"):
        load({"MINIMAX_API_KEY": "mm-1", "MINIMAX_API_HOST": "minimax.io"})


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    assert all(fits(parse_shape(key), OLDER.sizes) for key in CATALOGUE.resolutions)
    assert all(fits(model.default_size, model.sizes) for model in MODELS)
    assert STYLES.keys() == CATALOGUE.styles.keys() == LIVE.styles
    assert {model.id for model in MODELS} >= NEWER


def test_a_default_model_that_nobody_knows_is_offered() -> None:
    offered = MiniMax(parse(Config, {"MINIMAX_API_KEY": "mm-1", "MINIMAX_IMAGE_MODEL": "image-02"})).catalogue
    assert (offered.default_model, offered.models[0].id, offered.models[1:]) == ("image-02", "image-02", MODELS)


# To wire ------------------------------------------------------------------------------------------------------------------------------------


def test_an_older_model_is_told_width_and_height() -> None:
    full = replace(CAT, count=2, seed=7, images=(PHOTO,), options={"prompt_optimizer": True, "n": 3})
    assert to_wire(full, OLDER) == {
        "model": "image-01",
        "prompt": "a cat",
        "n": 3,
        "width": 1280,
        "height": 720,
        "seed": 7,
        "response_format": "base64",
        "subject_reference": [{"type": "character", "image_file": link(PHOTO)}],
        "prompt_optimizer": True,
    }


def test_the_live_model_is_told_a_ratio_and_a_style() -> None:
    assert to_wire(replace(CAT, style="comic"), LIVE) == {
        "model": "image-01-live",
        "prompt": "a cat",
        "n": 1,
        "aspect_ratio": "16:9",
        "style": {"style_type": "Comic"},
        "response_format": "base64",
    }
    unknown = replace(CAT, shape=AspectRatio(width=21, height=9))
    assert to_wire(unknown, Model(provider="minimax", id="image-02"))["aspect_ratio"] == "21:9"


def test_a_newer_model_is_asked_as_openai_is() -> None:
    full = replace(CAT, count=2, output_format="webp", output_compression=80, options={"area": "2K"})
    expected = {
        "model": "MiniMax-H3-Image",
        "prompt": "a cat",
        "n": 2,
        "size": "1280x720",
        "response_format": "b64_json",
        "output_format": "webp",
        "output_compression": 80,
        "area": "2K",
    }
    assert to_wire(full, H3) == expected
    images = [{"image_url": link(PHOTO)}, {"image_url": link(DRAWING)}]
    assert to_wire(replace(full, images=(PHOTO, DRAWING)), H3) == {**expected, "images": images}
    assert [path_for(H3.id, edits=edits) for edits in (False, True)] == ["v1/images/generations", "v1/images/edits"]
    assert path_for(LIVE.id, edits=True) == "v1/image_generation"


EDGE = {"type": "integer", "minimum": 512, "maximum": 2048, "multipleOf": 8}
OLDER_RULES = judge(
    {
        "type": "object",
        "required": ["model", "prompt", "response_format"],
        "additionalProperties": False,
        "properties": {
            "model": {"enum": ["image-01", "image-01-live"]},
            "prompt": {"type": "string", "minLength": 1, "maxLength": 1500},
            "n": {"type": "integer", "minimum": 1, "maximum": 9},
            "aspect_ratio": {"enum": [*RATIOS.values(), "21:9"]},
            "width": EDGE,
            "height": EDGE,
            "seed": {"type": "integer"},
            "style": {"type": "object", "properties": {"style_type": {"enum": ["Comic", "Energetic", "Medieval", "Watercolor"]}}},
            "response_format": {"enum": ["url", "base64"]},
        },
        "dependentRequired": {"width": ["height"], "height": ["width"]},
        "if": {"properties": {"model": {"const": "image-01-live"}}},
        "then": {"not": {"anyOf": [{"required": ["width"]}, {"properties": {"aspect_ratio": {"const": "21:9"}}, "required": ["aspect_ratio"]}]}},
        "else": {"not": {"required": ["style"]}},
    }
)
"""MiniMax's rules for the body of a call, written from its documentation."""


@given(
    request=st.builds(
        ImageRequest,
        prompt=st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip())),
        shape=st.none()
        | st.builds(Size, width=st.integers(300, 3000), height=st.integers(300, 3000))
        | st.builds(AspectRatio, width=st.integers(1, 16), height=st.integers(1, 16)),
        seed=st.none() | st.integers(0, 2**31),
        count=st.integers(1, 12),
        style=st.none() | st.sampled_from(sorted(STYLES)),
    ),
    model=st.sampled_from([OLDER, LIVE]),
)
def test_every_body_keeps_the_rules(request: ImageRequest, model: Model) -> None:
    fitted = negotiate(request, model, styles=CATALOGUE.styles)
    OLDER_RULES.validate(to_wire(fitted.request, model))


# From wire ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (
            200,
            {"base_resp": {"status_code": 1026, "status_msg": "new_sensitive"}},
            Fault(message="new_sensitive", kind=RefusedError, details={"service_code": 1026}),
        ),
        (
            500,
            {"base_resp": {"status_code": "1008", "status_msg": "insufficient balance"}},
            Fault(message="insufficient balance", kind=QuotaError, details={"service_code": 1008}),
        ),
        (
            200,
            {"base_resp": {"status_code": 2013, "status_msg": "invalid params"}},
            Fault(message="invalid params", kind=ProviderError, details={"service_code": 2013}),
        ),
        (200, {"base_resp": {"status_code": 4711}}, Fault(message="code 4711", kind=ProviderError, details={"service_code": 4711})),
        (
            200,
            {"error": {"type": "rate_limit_error", "message": "slow down", "http_code": "429"}},
            Fault(message="slow down", kind=RateLimitedError, details={"service_code": "rate_limit_error"}),
        ),
        (404, {"message": "404 page not found"}, Fault(message="404 page not found")),
        (500, {}, None),
    ],
)
def test_an_error_body_is_understood(status: int, body: Any, fault: Fault | None) -> None:
    assert read_fault(status, body) == fault


# At work ------------------------------------------------------------------------------------------------------------------------------------


async def test_the_older_interface_draws(fake: FakeMiniMax) -> None:
    request = replace(CAT, seed=7)
    assert await draw(fake, request) == Generated(images=(Drawn(data=picture(1280, 720, "jpeg"), seed=7),), request_id=TRACE_ID)
    assert len(fake.seen) == 1
    assert (fake.seen[0].path, fake.seen[0].json()) == ("/v1/image_generation", to_wire(request, OLDER))
    assert fake.seen[0].headers["authorization"] == f"Bearer {fake.key}"
    live = await draw(fake, replace(CAT, style="medieval", count=2, images=(PHOTO,)), LIVE)
    assert live.images == (Drawn(data=picture(1280, 720, "jpeg")),) * 2


async def test_the_newer_interface_draws_and_edits(fake: FakeMiniMax) -> None:
    request = replace(CAT, output_format="png")
    assert await draw(fake, request, H3) == Generated(images=(Drawn(data=picture(1280, 720)),), request_id=TRACE_ID)
    edit = replace(CAT, images=(PHOTO, DRAWING), count=2)
    assert (await draw(fake, edit, H3)).images == (Drawn(data=picture(1280, 720, "jpeg")),) * 2
    assert [(seen.path, seen.json()) for seen in fake.seen] == [
        ("/v1/images/generations", to_wire(request, H3)),
        ("/v1/images/edits", to_wire(edit, H3)),
    ]


@pytest.mark.parametrize("model", [OLDER, H3], ids=lambda model: model.id)
async def test_a_picture_that_was_held_back_does_not_lose_the_others(fake: FakeMiniMax, model: Model) -> None:
    fake.trouble.append(T.ONE_HELD_BACK)
    made = await draw(fake, replace(CAT, count=3), model)
    assert len(made.images) == 2
    assert [words.field for words in made.adjustments] == ["images"]
    assert made.adjustments[0].message.startswith("A picture did not come: MiniMax")


@pytest.mark.parametrize("trouble", [T.NO_BASE, T.LINKS, T.NUMBERS, T.NO_COUNTS, T.MORE_FIELDS])
async def test_other_forms_of_the_answer_do_no_harm(fake: FakeMiniMax, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert await draw(fake) == Generated(images=(Drawn(data=picture(1280, 720, "jpeg")),), request_id=TRACE_ID)


FAILURES: list[tuple[Trouble, type[ProviderError], bool]] = [
    # trouble, class, may have been billed
    (T.RATE_LIMITED, RateLimitedError, False),
    (T.TOKENS_LIMITED, RateLimitedError, False),
    (T.PLAN_USED_UP, QuotaError, False),
    (T.NO_MONEY, QuotaError, False),
    (T.NO_NAME, AuthError, False),
    (T.BLOCKED_INPUT, RefusedError, False),
    (T.BLOCKED_OUTPUT, RefusedError, False),
    (T.ALL_HELD_BACK, RefusedError, False),
    (T.TIMEOUT, UnavailableError, True),
    (T.BROKEN, UnavailableError, True),
    (T.HANG, UnavailableError, True),
    (T.KEY_ECHO, ProviderError, False),
    (T.EMPTY, BadReplyError, True),
    (T.LINKS_DEAD, BadReplyError, True),
    (T.BAD_BASE64, BadReplyError, True),
]


@pytest.mark.parametrize(("trouble", "kind", "billed"), FAILURES)
async def test_each_failure_has_its_class_and_its_word_on_the_bill(
    fake: FakeMiniMax, trouble: Trouble, kind: type[ProviderError], billed: bool
) -> None:
    fake.trouble.append(trouble)
    error = await failure_of(draw(fake, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key)
    assert (type(error), error.may_have_been_billed) == (kind, billed)
    assert [seen.method for seen in fake.seen].count("POST") == 1


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {T.NO_BASE, T.LINKS, T.NUMBERS, T.NO_COUNTS, T.MORE_FIELDS, T.ONE_HELD_BACK} == set(Trouble)


@pytest.mark.parametrize(("trouble", "kind", "billed"), [row for row in FAILURES[:10] if row[0] is not T.TIMEOUT])
async def test_the_newer_interface_fails_alike(fake: FakeMiniMax, trouble: Trouble, kind: type[ProviderError], billed: bool) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(kind) as caught:
        await draw(fake, model=H3)
    assert caught.value.may_have_been_billed is billed


@pytest.mark.parametrize("model", [OLDER, H3], ids=lambda model: model.id)
async def test_a_wrong_key_is_named_and_a_right_one_passes_the_check_without_a_picture(fake: FakeMiniMax, model: Model) -> None:
    stranger = provider_at(fake, MINIMAX_API_KEY="mm-wrong-987654321", MINIMAX_IMAGE_MODEL=model.id)
    friend = provider_at(fake, MINIMAX_IMAGE_MODEL=model.id)
    for call in (stranger.generate(CAT, model, Ear()), stranger.check()):
        with pytest.raises(AuthError, match="Check MINIMAX_API_KEY") as caught:
            await call
        assert "mm-wrong-987654321" not in str(caught.value)
    assert await friend.check() == "MiniMax accepts the key."
    assert fake.seen[-1].json() == {"model": model.id}
    for provider in (stranger, friend):
        await provider.aclose()
