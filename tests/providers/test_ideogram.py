from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

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
)
from mcp_image_server.models import Adjustment, Drawn, Edges, Generated, ImageRequest, Model, Operation, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, File, Net, Service, Timeouts, Tries
from mcp_image_server.pictures import black_is_edit
from mcp_image_server.providers.ideogram import (
    CATALOGUE,
    MAX_SEED,
    MODELS,
    RATIOS,
    STYLES,
    Answer,
    Config,
    Entry,
    Ideogram,
    endpoint_for,
    from_wire,
    load,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.settings import parse

from ..fakes import ideogram as wire
from ..fakes.ideogram import FINER, SEED, FakeIdeogram, Trouble
from ..fakes.multipart import parts_of, request_of
from ..fakes.server import picture
from .inputs import hole, png
from .service import drawn_by, failure_of, known_in, served

pytestmark = pytest.mark.anyio

model = partial(known_in, MODELS)
V4, V3 = model("ideogram-v4"), model("ideogram-v3")
CAT = ImageRequest(prompt="a cat")
IN, LOOK, MASK = png(), png(80, 64), hole()
IMAGE = File(name="image.png", media_type="image/png", data=IN.data)
HOLE = File(name="mask.png", media_type="image/png", data=black_is_edit(MASK.data, hard=True))

server, fake = served(FakeIdeogram)


def provider_at(fake: FakeIdeogram, *, timeouts: Timeouts | None = None, **variables: str) -> Ideogram:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"IDEOGRAM_API_KEY": fake.key, "IDEOGRAM_BASE_URL": fake.url, **variables})
    provider = Ideogram(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeIdeogram, request: ImageRequest = CAT, using: Model = V3, *, timeouts: Timeouts | None = None) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, using)


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider() -> None:
    assert load({"IDEOGRAM_MODEL": "ideogram-v3"}) is None
    provider = load({"IDEOGRAM_API_KEY": "key-1", "IDEOGRAM_MODEL": "ideogram-v3"})
    assert provider is not None
    assert (provider.name, provider.repeatable, provider.catalogue.default_model) == ("ideogram", False, "ideogram-v3")


def test_a_wrong_variable_is_named_and_a_key_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="IDEOGRAM_API_KEY: it holds spaces") as caught:
        load({"IDEOGRAM_API_KEY": "key-1 2"})
    assert "key-1 2" not in caught.value.message


def test_the_service_is_reached_as_the_settings_say() -> None:
    assert service(parse(Config, {"IDEOGRAM_API_KEY": " key-12345\n"})) == Service(
        provider="ideogram",
        title="Ideogram",
        base_url="https://api.ideogram.ai",
        headers={"Api-Key": "key-12345"},
        secrets=("key-12345",),
        read_fault=read_fault,
        key_variable="IDEOGRAM_API_KEY",
        url_variable="IDEOGRAM_BASE_URL",
    )


# Models -------------------------------------------------------------------------------------------------------------------------------------


def test_sizes_shapes_and_styles_are_the_service_s_own() -> None:
    for facts, sizes in ((V4, wire.SIZES_V4), (V3, wire.SIZES_V3)):
        assert sorted(map(str, getattr(facts.sizes, "sizes", ()))) == sorted(sizes.split())
    assert sorted(RATIOS.values()) == sorted(wire.RATIOS)
    assert len(STYLES) == 66
    assert (STYLES["art_deco"], STYLES["realistic"]) == (("style_preset", "ART_DECO"), ("style_type", "REALISTIC"))
    assert (CATALOGUE.styles["art_deco"].label, CATALOGUE.styles["art_deco"].phrase) == ("Art deco", "art deco style")
    assert set(CATALOGUE.resolutions) <= set(wire.SIZES_V4.split())


def test_prices_follow_the_rendering_speed() -> None:
    prices = {
        facts.id: tuple(round(facts.price.amount * facts.price.factors.get(quality, 1), 4) for quality in ("low", "medium", "high"))
        for facts in MODELS
        if facts.price and facts.qualities
    }
    assert prices == {
        "ideogram-v4": (0.03, 0.06, 0.10),
        "ideogram-v3": (0.03, 0.06, 0.09),
        "ideogram-v3-transparent": (0.04, 0.07, 0.10),
        "ideogram-v3-reframe": (0.03, 0.06, 0.09),
        "ideogram-v3-replace-background": (0.03, 0.06, 0.09),
        "ideogram-4-5-precise-edit": (0.03, 0.06, 0.22),
    }


# To wire ------------------------------------------------------------------------------------------------------------------------------------

Parts = list[tuple[str, str | File]]
BODIES: dict[str, tuple[str, ImageRequest, str, Parts]] = {
    "draw with 4.0": (
        "ideogram-v4",
        replace(CAT, shape=Size(width=2560, height=1440), quality="high"),
        "v1/ideogram-v4/generate",
        [("text_prompt", "a cat"), ("resolution", "2560x1440"), ("rendering_speed", "QUALITY")],
    ),
    "draw with a structured prompt": (
        "ideogram-v4",
        replace(CAT, options={"json_prompt": {"high_level_description": "a cat"}}),
        "v1/ideogram-v4/generate",
        [("json_prompt", '{"high_level_description": "a cat"}')],
    ),
    "draw with 3.0": (
        "ideogram-v3",
        replace(
            CAT,
            negative_prompt="dogs",
            shape=Size(width=1280, height=800),
            quality="low",
            count=2,
            seed=7,
            style="art_deco",
            options={"magic_prompt": "OFF", "style_codes": ["AAFF5733", "00112233"], "color_palette": {"name": "PASTEL"}},
        ),
        "v1/ideogram-v3/generate",
        [
            ("prompt", "a cat"),
            ("negative_prompt", "dogs"),
            ("resolution", "1280x800"),
            ("rendering_speed", "TURBO"),
            ("num_images", "2"),
            ("seed", "7"),
            ("style_preset", "ART_DECO"),
            ("magic_prompt", "OFF"),
            ("style_codes", "AAFF5733"),
            ("style_codes", "00112233"),
            ("color_palette", '{"name": "PASTEL"}'),
        ],
    ),
    "draw in the look of a picture": (
        "ideogram-v3",
        replace(CAT, style_image=IN),
        "v1/ideogram-v3/generate",
        [("style_reference_images", replace(IMAGE, name="style_reference_images.png")), ("prompt", "a cat"), ("num_images", "1")],
    ),
    "edit": (
        "ideogram-v3",
        ImageRequest(prompt="in winter", images=(IN,), strength=0.25, style="realistic"),
        "v1/ideogram-v3/remix",
        [("image", IMAGE), ("prompt", "in winter"), ("num_images", "1"), ("style_type", "REALISTIC"), ("image_weight", "75")],
    ),
    "edit in the look of a picture": (
        "ideogram-v3",
        ImageRequest(prompt="in winter", images=(IN,), style_image=LOOK, strength=1),
        "v1/ideogram-v3/remix",
        [
            ("image", IMAGE),
            ("style_reference_images", File(name="style_reference_images.png", media_type="image/png", data=LOOK.data)),
            ("prompt", "in winter"),
            ("num_images", "1"),
            ("image_weight", "1"),
        ],
    ),
    "inpaint": (
        "ideogram-v3",
        ImageRequest(prompt="a hat", images=(IN,), mask=MASK, quality="medium"),
        "v1/ideogram-v3/inpaint",
        [("image", IMAGE), ("mask", HOLE), ("prompt", "a hat"), ("rendering_speed", "DEFAULT"), ("num_images", "1")],
    ),
    "draw without a background": (
        "ideogram-v3-transparent",
        replace(CAT, shape=Size(width=1248, height=832), background="transparent", negative_prompt="dogs"),
        "v1/ideogram-v3/generate-transparent",
        [("prompt", "a cat"), ("negative_prompt", "dogs"), ("aspect_ratio", "3x2"), ("num_images", "1")],
    ),
    "reframe to a size": (
        "ideogram-v3-reframe",
        ImageRequest(prompt="", images=(IN,), action=Operation.OUTPAINT, shape=Size(width=1536, height=512)),
        "v1/ideogram-v3/reframe",
        [("image", IMAGE), ("resolution", "1536x512"), ("num_images", "1")],
    ),
    "reframe by edges": (
        "ideogram-v3-reframe",
        ImageRequest(prompt="", images=(IN,), extend=Edges(left=32, right=32)),
        "v1/ideogram-v3/reframe",
        [("image", IMAGE), ("resolution", "1408x704"), ("num_images", "1")],
    ),
    "replace the background": (
        "ideogram-v3-replace-background",
        ImageRequest(prompt="a beach", images=(IN,), style="bauhaus"),
        "v1/ideogram-v3/replace-background",
        [("image", IMAGE), ("prompt", "a beach"), ("num_images", "1"), ("style_preset", "BAUHAUS")],
    ),
    "edit several": (
        "ideogram-edit",
        ImageRequest(prompt="both together", images=(IN, LOOK), background="transparent"),
        "v1/edit",
        [
            ("images", replace(IMAGE, name="images.png")),
            ("images", File(name="images.png", media_type="image/png", data=LOOK.data)),
            ("prompt", "both together"),
            ("num_images", "1"),
            ("transparent_background", "true"),
        ],
    ),
    "edit precisely": (
        "ideogram-4-5-precise-edit",
        ImageRequest(prompt="a hat", images=(IN, LOOK), mask=MASK, quality="high", seed=2, options={"context_window": "auto"}),
        "v2/image/precise-edit/ideogram-4-5",
        [
            ("image", IMAGE),
            ("reference_images", File(name="reference_images.png", media_type="image/png", data=LOOK.data)),
            ("mask", HOLE),
            ("prompt", "a hat"),
            ("quality", "high"),
            ("num_images", "1"),
            ("seed", "2"),
            ("context_window", "auto"),
        ],
    ),
    "remove the background": (
        "ideogram-remove-background",
        ImageRequest(prompt="", images=(IN,), action=Operation.REMOVE_BACKGROUND),
        "v1/remove-background",
        [("image", IMAGE)],
    ),
    "upscale": (
        "ideogram-upscale",
        ImageRequest(prompt="a cat", images=(IN,), action=Operation.UPSCALE, count=2, options={"detail": 80}),
        "upscale",
        [("image_file", replace(IMAGE, name="image_file.png")), ("image_request", '{"prompt": "a cat", "num_images": 2, "detail": 80}')],
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_each_operation_is_sent_as_the_service_wants_it(fake: FakeIdeogram, name: str) -> None:
    using, request, path, parts = BODIES[name]
    assert negotiate(request, model(using), styles=CATALOGUE.styles).request == request
    made = await draw(fake, request, model(using))
    seen = fake.seen[0]
    assert (seen.method, seen.path, seen.headers["api-key"]) == ("POST", f"/{path}", fake.key)
    assert parts_of(seen) == parts
    assert [(one.data, one.seed) for one in made.images] == [(picture(64, 64), request.seed or SEED)] * request.count
    assert ["api-key" in seen.headers for seen in fake.seen[1:]] == [False] * request.count


@given(
    wish=st.builds(
        ImageRequest,
        prompt=st.just("a cat"),
        negative_prompt=st.none() | st.just("dogs"),
        shape=st.none() | st.builds(Size, width=st.integers(500, 3000), height=st.integers(500, 3000)),
        count=st.integers(1, 9),
        seed=st.none() | st.integers(0, 2**40),
        style=st.none() | st.sampled_from(sorted(STYLES)),
        quality=st.none() | st.sampled_from(["draft", "low", "medium", "high", "max"]),
        background=st.sampled_from([None, "transparent", "opaque"]),
        strength=st.none() | st.floats(0, 1),
    ),
    facts=st.sampled_from(MODELS),
    data=st.data(),
)
def test_every_body_keeps_the_rules(wish: ImageRequest, facts: Model, data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(sorted(facts.operations)))
    request = replace(
        wish,
        action=operation,
        images=() if operation in (Operation.GENERATE, Operation.STYLE_TRANSFER) else (IN,),
        style_image=IN if operation is Operation.STYLE_TRANSFER else None,
        mask=MASK if operation is Operation.INPAINT else None,
        extend=Edges(left=1) if operation is Operation.OUTPAINT else None,
    )
    fitted = negotiate(request, facts, styles=CATALOGUE.styles).request
    assert wire.complain(request_of(to_wire(fitted, facts)), wire.ENDPOINTS[endpoint_for(fitted, facts).path]) is None


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def test_what_was_not_heard_is_said() -> None:
    inpainting = ImageRequest(prompt="a hat", negative_prompt="dogs", images=(IN,), mask=MASK, shape=Size(width=1024, height=1024), seed=2**31)
    made = from_wire([b"1"], Answer(data=[Entry(url="x", seed=5, prompt="a hat")]), inpainting, V3, request_id="req_1")
    assert made == Generated(
        images=(Drawn(data=b"1", seed=5),),
        request_id="req_1",
        adjustments=(
            Adjustment(field="negative_prompt", message="ideogram-v3 takes no negative prompt where a mask says what is painted."),
            Adjustment(field="resolution", message="ideogram-v3 is told no size here; the input picture decides."),
            Adjustment(field="seed", message=f"Ideogram takes seeds up to {MAX_SEED}; {2**31} became 0."),
        ),
    )
    reframing = ImageRequest(prompt="wider", images=(IN,), extend=Edges(left=64))
    assert from_wire([b"1"], Answer(data=[Entry(url="x")]), reframing, model("ideogram-v3-reframe"), request_id=None).adjustments == (
        Adjustment(field="prompt", message="ideogram-v3-reframe takes no prompt."),
        Adjustment(field="extend", message="ideogram-v3-reframe is told a size and no edges: 1408x704."),
    )


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (422, {"error": "Prompt failed safety check."}, Fault(message="Prompt failed safety check.", kind=RefusedError)),
        (400, {"error": "prompt is required"}, Fault(message="prompt is required")),
        (400, {"detail": "odd"}, Fault(message="odd")),
        (500, None, None),
    ],
)
def test_an_error_is_understood(status: int, body: Any, fault: Fault | None) -> None:
    assert read_fault(status, body) == fault


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_unknown_fields_do_no_harm_and_a_finer_prompt_is_kept(fake: FakeIdeogram) -> None:
    fake.trouble.append(Trouble.MORE_FIELDS)
    assert await draw(fake) == Generated(images=(Drawn(data=picture(64, 64), seed=SEED, revised_prompt=FINER),))


async def test_a_picture_that_moderation_holds_back_is_missed_with_a_word(fake: FakeIdeogram) -> None:
    fake.trouble.append(Trouble.HELD_ONE)
    made = await draw(fake, replace(CAT, count=3))
    assert len(made.images) == 2
    assert made.adjustments == (Adjustment(field="n", message="Ideogram's moderation held back 1 of 3 pictures."),)


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, type[ProviderError], str, bool, int]] = [
    # trouble, class, words, may have been billed, calls
    (T.UNSAFE_PROMPT, RefusedError, "failed safety check", False, 1),
    (T.NO_CREDITS, QuotaError, "Insufficient credits", False, 1),
    (T.RATE_LIMITED, RateLimitedError, "Too many requests", False, 3),
    (T.ERROR_503, UnavailableError, "temporarily unavailable", False, 1),
    (T.HANG, UnavailableError, "was silent for too long", True, 1),
    (T.CUT, UnavailableError, "broke the connection", True, 1),
    (T.PAGE, BadReplyError, "answered with a web page", True, 1),
    (T.NO_DATA, BadReplyError, "answered without a picture", True, 1),
    (T.HELD_ALL, RefusedError, "moderation then held back", True, 1),
    (T.LINK_GONE, BadReplyError, "answered 403", True, 2),
    (T.KEY_ECHO, ProviderError, r"api-key \*\*\* is odd", False, 1),
]


@pytest.mark.parametrize(("trouble", "kind", "words", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None))
async def test_each_failure_has_its_class_its_words_and_its_number_of_calls(
    fake: FakeIdeogram, trouble: Trouble, kind: type[ProviderError], words: str, billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(draw(fake, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.key, match=words)
    assert (type(error), error.may_have_been_billed, len(fake.seen)) == (kind, billed, calls)
    assert error.provider == "ideogram"


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {T.MORE_FIELDS, T.HELD_ONE} == set(Trouble)


async def test_what_the_service_misses_is_told(fake: FakeIdeogram) -> None:
    with pytest.raises(ProviderError, match="resolution is required"):
        await draw(fake, ImageRequest(prompt="", images=(IN,), action=Operation.OUTPAINT), model("ideogram-v3-reframe"))


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_costs_nothing(fake: FakeIdeogram) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "Ideogram accepts the key."
    await provider.aclose()
    wrong = provider_at(fake, IDEOGRAM_API_KEY="wrong-9876543210")
    with pytest.raises(AuthError, match="Check IDEOGRAM_API_KEY"):
        await wrong.check()
    await wrong.aclose()
    assert {(seen.method, seen.path) for seen in fake.seen} == {("GET", "/models")}


def test_a_structured_prompt_is_valid_json_on_the_wire() -> None:
    (part,) = to_wire(BODIES["draw with a structured prompt"][1], V4)
    assert json.loads(str(part[1])) == {"high_level_description": "a cat"}
