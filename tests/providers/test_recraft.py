from __future__ import annotations

import base64
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

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
)
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
    Price,
    Size,
    SizeList,
)
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Service, Timeouts, Tries
from mcp_image_server.pictures import white_is_edit
from mcp_image_server.providers.recraft import (
    CATALOGUE,
    MAX_SEED,
    MODELS,
    OPERATIONS,
    STYLES,
    TOOLS,
    Answer,
    Config,
    Recraft,
    from_wire,
    load,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes import recraft as wire
from ..fakes.recraft import FakeRecraft, Trouble
from ..fakes.server import picture
from .inputs import hole, png
from .service import drawn_by, failure_of, known_in, served

pytestmark = pytest.mark.anyio

model = partial(known_in, MODELS)
V4 = model("recraftv4_1")
CAT = ImageRequest(prompt="a cat")
IN = png()
LINK = f"data:image/png;base64,{base64.b64encode(IN.data).decode()}"
MASK = hole()
MASK_LINK = f"data:image/png;base64,{base64.b64encode(white_is_edit(MASK.data, hard=True)).decode()}"

server, fake = served(FakeRecraft)


def provider_at(fake: FakeRecraft, *, timeouts: Timeouts | None = None, **variables: str) -> Recraft:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"RECRAFT_API_TOKEN": fake.token, "RECRAFT_BASE_URL": fake.base_url, **variables})
    provider = Recraft(config)
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeRecraft, request: ImageRequest = CAT, using: Model = V4, *, timeouts: Timeouts | None = None) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts), request, using)


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_a_token_makes_a_provider() -> None:
    assert load({"RECRAFT_MODEL": "recraftv3"}) is None
    provider = load({"RECRAFT_API_TOKEN": "token-1", "RECRAFT_MODEL": "recraftv3"})
    assert provider is not None
    assert (provider.name, provider.repeatable, provider.catalogue.default_model) == ("recraft", False, "recraftv3")


def test_a_wrong_variable_is_named_and_a_token_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="RECRAFT_API_TOKEN: it holds spaces") as caught:
        load({"RECRAFT_API_TOKEN": "token-1 2"})
    assert "token-1 2" not in caught.value.message


def test_the_service_is_reached_as_the_settings_say() -> None:
    assert service(parse(Config, {"RECRAFT_API_TOKEN": " token-12345\n"})) == Service(
        provider="recraft",
        title="Recraft",
        base_url="https://external.api.recraft.ai/v1",
        headers={"Authorization": "Bearer token-12345"},
        secrets=("token-12345",),
        read_fault=read_fault,
        key_variable="RECRAFT_API_TOKEN",
        url_variable="RECRAFT_BASE_URL",
    )


# Models -------------------------------------------------------------------------------------------------------------------------------------


def test_the_models_are_those_that_draw_pixels() -> None:
    drawing = [facts.id for facts in MODELS if facts.id not in TOOLS]
    assert sorted(drawing) == sorted(wire.ENDPOINTS["generations/raster"].models)
    assert {tool.path.removeprefix("images/") for tool in TOOLS.values()} | {path.removeprefix("images/") for path in OPERATIONS.values()} == (
        wire.ENDPOINTS.keys() - {"generations"}
    )
    assert not any("vector" in facts.id for facts in MODELS)


@pytest.mark.parametrize("facts", [facts for facts in MODELS if facts.id not in TOOLS], ids=lambda facts: facts.id)
def test_a_model_is_offered_for_what_the_service_lets_it_do(facts: Model) -> None:
    allowed = {operation for operation, path in OPERATIONS.items() if facts.id in wire.ENDPOINTS[path.removeprefix("images/")].models}
    if not facts.id.startswith("recraftv4") or facts.id == wire.FLASH:
        allowed.discard(Operation.STYLE_TRANSFER)
    assert facts.operations == allowed
    assert isinstance(facts.sizes, SizeList)
    assert facts.default_size in facts.sizes.sizes


@pytest.mark.parametrize(("name", "wide", "tall"), [("recraftv4", "1344x768", "832x1344"), ("recraftv4_pro", "2688x1536", "1664x2688")])
def test_the_shape_6_10_is_drawn_upright_only(name: str, wide: str, tall: str) -> None:
    facts = next(facts for facts in MODELS if facts.id == name)
    shapes = [AspectRatio(width=10, height=6), AspectRatio(width=6, height=10)]
    assert [str(negotiate(replace(CAT, shape=shape), facts, styles={}).request.shape) for shape in shapes] == [wide, tall]


def test_prices_are_those_of_the_day() -> None:
    assert {facts.id: facts.price.amount for facts in MODELS if facts.price} == {
        "recraftv4_1": 0.035,
        "recraftv4_1_pro": 0.21,
        "recraftv4_1_flash": 0.007,
        "recraftv4_1_utility": 0.035,
        "recraftv4_1_utility_pro": 0.21,
        "recraftv4": 0.04,
        "recraftv4_pro": 0.25,
        "recraftv3": 0.04,
        "recraftv2": 0.022,
        "replace-background": 0.04,
        "generate-background": 0.04,
        "erase-region": 0.002,
        "remove-background": 0.01,
        "crisp-upscale": 0.004,
        "creative-upscale": 0.25,
    }
    assert V4.price == Price(amount=0.035, currency="USD", as_of=date(2026, 11, 22))


def test_a_style_is_the_service_s_own_word_and_v4_gets_it_in_the_prompt() -> None:
    assert STYLES["pixel_art"] == ("digital_illustration", "pixel_art")
    assert STYLES["realistic_image"] == ("realistic_image", None)
    assert (CATALOGUE.styles["pixel_art"].label, CATALOGUE.styles["pixel_art"].phrase) == ("Pixel art", "pixel art style")
    wish = replace(CAT, style="pixel_art")
    assert negotiate(wish, model("recraftv3"), styles=CATALOGUE.styles).request == wish
    assert negotiate(wish, V4, styles=CATALOGUE.styles).request == replace(CAT, prompt="a cat, pixel art style")


# To wire ------------------------------------------------------------------------------------------------------------------------------------

_B64 = {"response_format": "b64_json"}
BODIES: dict[str, tuple[str, ImageRequest, str, dict[str, Any]]] = {
    "draw": (
        "recraftv4_1",
        replace(CAT, count=2, shape=Size(width=1344, height=768), seed=7, output_format="png", options={"controls": {"no_text": True}}),
        "generations/raster",
        {
            "prompt": "a cat",
            "model": "recraftv4_1",
            "n": 2,
            "size": "1344x768",
            "random_seed": 7,
            "image_format": "png",
            **_B64,
            "controls": {"no_text": True},
        },
    ),
    "draw in a style": (
        "recraftv3",
        replace(CAT, style="noir", negative_prompt="dogs"),
        "generations/raster",
        {
            "prompt": "a cat",
            "model": "recraftv3",
            "n": 1,
            "style": "digital_illustration",
            "substyle": "noir",
            "negative_prompt": "dogs",
            **_B64,
        },
    ),
    "draw in the look of a picture": (
        "recraftv4_styles_pro",
        replace(CAT, style_image=IN),
        "generations/raster",
        {"prompt": "a cat", "model": "recraftv4_styles_pro", "n": 1, "style_reference_urls": [LINK], **_B64},
    ),
    "edit": (
        "recraftv4_pro",
        ImageRequest(prompt="in winter", images=(IN,)),
        "imageToImage",
        {"prompt": "in winter", "model": "recraftv4_pro", "n": 1, "image_url": LINK, "strength": 0.5, **_B64},
    ),
    "edit a little": (
        "recraftv3",
        ImageRequest(prompt="in winter", images=(IN,), strength=0.1),
        "imageToImage",
        {"prompt": "in winter", "model": "recraftv3", "n": 1, "image_url": LINK, "strength": 0.1, **_B64},
    ),
    "inpaint": (
        "recraftv3",
        ImageRequest(prompt="a hat", images=(IN,), mask=MASK),
        "inpaint",
        {"prompt": "a hat", "model": "recraftv3", "n": 1, "image_url": LINK, "mask_url": MASK_LINK, **_B64},
    ),
    "outpaint": (
        "recraftv3",
        ImageRequest(prompt="a field", images=(IN,), extend=Edges(left=10, bottom=5)),
        "outpaint",
        {
            "prompt": "a field",
            "model": "recraftv3",
            "n": 1,
            "image_url": LINK,
            "expand_left": 10,
            "expand_top": 0,
            "expand_right": 0,
            "expand_bottom": 5,
            **_B64,
        },
    ),
    "replace the background": (
        "replace-background",
        ImageRequest(prompt="a beach", images=(IN,), style="hdr"),
        "replaceBackground",
        {"prompt": "a beach", "model": "recraftv3", "n": 1, "style": "realistic_image", "substyle": "hdr", "image_url": LINK, **_B64},
    ),
    "generate a background": (
        "generate-background",
        ImageRequest(prompt="a beach", images=(IN,), mask=MASK),
        "generateBackground",
        {"prompt": "a beach", "model": "recraftv3", "n": 1, "image_url": LINK, "mask_url": MASK_LINK, **_B64},
    ),
    "erase": (
        "erase-region",
        ImageRequest(prompt="nothing", images=(IN,), mask=MASK, output_format="webp"),
        "eraseRegion",
        {"image_url": LINK, "mask_url": MASK_LINK, "image_format": "webp", **_B64},
    ),
    "remove the background": (
        "remove-background",
        ImageRequest(prompt="", images=(IN,), action=Operation.REMOVE_BACKGROUND),
        "removeBackground",
        {"image_url": LINK, **_B64},
    ),
    "variate": (
        "variate-image",
        ImageRequest(prompt="", images=(IN,), action=Operation.VARIATION, count=2, seed=3),
        "variateImage",
        {"n": 2, "size": "1024x1024", "random_seed": 3, "image_url": LINK, **_B64},
    ),
    "crisp": (
        "crisp-upscale",
        ImageRequest(prompt="", images=(IN,), action=Operation.UPSCALE),
        "crispUpscale",
        {"image_url": LINK, **_B64},
    ),
    "creative": (
        "creative-upscale",
        ImageRequest(prompt="", images=(IN,), action=Operation.UPSCALE, output_format="png"),
        "creativeUpscale",
        {"image_url": LINK, "image_format": "png", **_B64},
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_each_operation_is_sent_as_the_service_wants_it(fake: FakeRecraft, name: str) -> None:
    using, request, path, body = BODIES[name]
    assert negotiate(request, model(using), styles=CATALOGUE.styles).request == request
    made = await draw(fake, request, model(using))
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.headers["authorization"]) == ("POST", f"/v1/images/{path}", f"Bearer {fake.token}")
    assert seen.json() == body
    count = body.get("n", 1)
    assert made.images == (Drawn(data=picture(64, 64, body.get("image_format", "webp")), seed=request.seed),) * count
    assert made.cost == Cost(micros=wire.ENDPOINTS[path].units * count * 1000, currency="USD", source="reported")


@given(
    wish=st.builds(
        ImageRequest,
        prompt=st.just("a cat"),
        negative_prompt=st.none() | st.just("dogs"),
        shape=st.none() | st.builds(Size, width=st.integers(500, 3000), height=st.integers(500, 3000)),
        count=st.integers(1, 9),
        seed=st.none() | st.integers(0, 2**40),
        style=st.none() | st.sampled_from(sorted(STYLES)),
        output_format=st.none() | st.sampled_from(["png", "jpeg", "webp"]),
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
    path = TOOLS[facts.id].path if facts.id in TOOLS else OPERATIONS[operation]
    body = to_wire(negotiate(request, facts, styles=CATALOGUE.styles).request, facts)
    assert wire.complain(body, wire.ENDPOINTS[path.removeprefix("images/")]) is None


async def test_a_style_picture_and_an_input_picture_together_are_refused_before_anything_is_sent(fake: FakeRecraft) -> None:
    with pytest.raises(ProviderError, match="leave away either the input pictures or the style picture") as caught:
        await draw(fake, replace(CAT, images=(IN,), style_image=IN))
    assert (caught.value.not_accepted, fake.seen) == (True, [])


# From wire ----------------------------------------------------------------------------------------------------------------------------------


def test_what_a_model_does_not_hear_is_said() -> None:
    request = ImageRequest(prompt="larger", images=(IN,), action=Operation.UPSCALE, shape=Size(width=2048, height=2048))
    made = from_wire((Drawn(data=b"1"),), Answer(credits=4), request, model("crisp-upscale"), request_id="req_1")
    assert made == Generated(
        images=(Drawn(data=b"1"),),
        cost=Cost(micros=4000, currency="USD", source="reported"),
        request_id="req_1",
        adjustments=(
            Adjustment(field="prompt", message="crisp-upscale takes no prompt."),
            Adjustment(field="resolution", message="crisp-upscale is told no size here; the input picture decides."),
        ),
    )


def test_a_seed_beyond_the_service_s_is_changed_with_a_word() -> None:
    request = replace(CAT, seed=2**32 + 5)
    assert to_wire(request, V4)["random_seed"] == 5
    assert from_wire((Drawn(data=b"1"),), Answer(), request, V4, request_id=None) == Generated(
        images=(Drawn(data=b"1", seed=5),),
        adjustments=(Adjustment(field="seed", message=f"Recraft takes seeds up to {MAX_SEED}; {2**32 + 5} became 5."),),
    )


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (
            400,
            {"code": "invalid_request_parameter", "message": "size is wrong"},
            Fault(message="size is wrong", details={"service_code": "invalid_request_parameter"}),
        ),
        (
            400,
            {"code": "not_enough_credits", "message": "Top up."},
            Fault(message="Top up.", kind=QuotaError, details={"service_code": "not_enough_credits"}),
        ),
        (403, {"message": "NSFW content"}, Fault(message="NSFW content", kind=RefusedError)),
        (500, {"message": "moderation is away"}, Fault(message="moderation is away")),
        (400, {"code": 3}, None),
        (400, None, None),
    ],
)
def test_an_error_is_understood(status: int, body: Any, fault: Fault | None) -> None:
    assert read_fault(status, body) == fault


# The call -----------------------------------------------------------------------------------------------------------------------------------


async def test_unknown_fields_do_no_harm_and_a_finer_prompt_is_kept(fake: FakeRecraft) -> None:
    fake.trouble.append(Trouble.MORE_FIELDS)
    assert (await draw(fake)).images == (Drawn(data=picture(64, 64, "webp"), revised_prompt="a finer cat"),)


async def test_an_answer_without_a_bill_leaves_the_list_price(fake: FakeRecraft) -> None:
    fake.trouble.append(Trouble.NO_BILL)
    assert (await draw(fake)).cost is None


async def test_a_link_is_fetched_without_the_token(fake: FakeRecraft) -> None:
    made = await draw(fake, replace(CAT, options={"response_format": "url"}))
    assert made.images == (Drawn(data=picture(64, 64)),)
    assert ["authorization" in seen.headers for seen in fake.seen] == [True, False]


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, type[ProviderError], str, bool, int]] = [
    # trouble, class, words, may have been billed, calls
    (T.MODERATED, RefusedError, "contains inappropriate words", False, 1),
    (T.NO_UNITS, QuotaError, "Not enough credits", False, 1),
    (T.RATE_LIMITED, RateLimitedError, "Too many requests", False, 3),
    (T.ERROR_500, UnavailableError, "internal server error", False, 1),
    (T.HANG, UnavailableError, "was silent for too long", True, 1),
    (T.CUT, UnavailableError, "broke the connection", True, 1),
    (T.PAGE, BadReplyError, "answered with a web page", True, 1),
    (T.NO_PICTURES, BadReplyError, "answered without a picture", True, 1),
    (T.NO_PICTURE, BadReplyError, "an entry that holds no picture", True, 1),
    (T.BAD_BASE64, BadReplyError, "not valid base64", True, 1),
    (T.KEY_ECHO, ProviderError, r"authorization Bearer \*\*\* is odd", False, 1),
]


@pytest.mark.parametrize(("trouble", "kind", "words", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None))
async def test_each_failure_has_its_class_its_words_and_its_number_of_calls(
    fake: FakeRecraft, trouble: Trouble, kind: type[ProviderError], words: str, billed: bool, calls: int
) -> None:
    fake.trouble.extend([trouble] * calls)
    error = await failure_of(draw(fake, timeouts=Timeouts(read=0.2) if trouble is T.HANG else None), fake.token, match=words)
    assert (type(error), error.may_have_been_billed, len(fake.seen)) == (kind, billed, calls)
    assert error.provider == "recraft"


def test_every_trouble_is_in_the_table_or_does_no_harm() -> None:
    assert {row[0] for row in FAILURES} | {T.MORE_FIELDS, T.NO_BILL} == set(Trouble)


async def test_a_wrong_address_names_the_variable(fake: FakeRecraft) -> None:
    provider = provider_at(fake, RECRAFT_BASE_URL=fake.url)
    with pytest.raises(ProviderError, match=r"404 page not found.*Check that RECRAFT_BASE_URL"):
        await provider.generate(CAT, V4, Ear())
    await provider.aclose()


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_costs_nothing_and_tells_the_units(fake: FakeRecraft) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "Recraft accepts the token; 1234 API units are left."
    await provider.aclose()
    wrong = provider_at(fake, RECRAFT_API_TOKEN="wrong-9876543210")
    with pytest.raises(AuthError, match=r"request unauthorized.*Check RECRAFT_API_TOKEN"):
        await wrong.check()
    await wrong.aclose()
    assert {(seen.method, seen.path) for seen in fake.seen} == {("GET", "/v1/users/me")}


# The fake is faithful: OpenAI's library, which Recraft's documents call theirs, is its witness -----------------------------------------------


async def test_the_library_of_the_documents_can_talk_to_the_fake(fake: FakeRecraft) -> None:
    async with sdk.AsyncOpenAI(base_url=fake.base_url, api_key=fake.token, max_retries=0) as client:
        answer = await client.images.generate(model="recraftv4_1", prompt="a cat", size="1024x1024", n=2, extra_body={"random_seed": 7})
        assert answer.data is not None
        assert [entry.url for entry in answer.data] == [f"{fake.url}/files/1.png"] * 2
        with pytest.raises(sdk.BadRequestError, match="model dall-e-3 is not supported here"):
            await client.images.generate(model="dall-e-3", prompt="a cat")
