from __future__ import annotations

from dataclasses import replace
from datetime import date
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
from mcp_image_server.models import Adjustment, Drawn, Edges, Generated, ImageRequest, Model, Operation, Picture, Price, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, File, Net, Pace, Service, Timeouts, Tries
from mcp_image_server.pictures import white_is_edit
from mcp_image_server.providers.base import Resumable
from mcp_image_server.providers.stability import (
    CATALOGUE,
    ENDPOINTS,
    MAX_SEED,
    MODELS,
    RATIOS,
    Config,
    Result,
    Stability,
    from_wire,
    load,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes import stability as wire
from ..fakes.multipart import parts_of, request_of
from ..fakes.server import picture
from ..fakes.stability import SEED, TASK, FakeStability, Trouble
from .inputs import hole, png
from .service import drawn_by, known_in, left_alone_when_cancelled, served

pytestmark = pytest.mark.anyio

model = partial(known_in, MODELS)
CORE = model("stable-image-core")
CAT = ImageRequest(prompt="a cat")
IN = png()
LOOK = Picture(data=picture(80, 64, "jpeg"), media_type="image/jpeg", size=Size(width=80, height=64))

server, fake = served(FakeStability)


def provider_at(fake: FakeStability, *, timeouts: Timeouts | None = None, deadline: float = 60, **variables: str) -> Stability:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"STABILITY_API_KEY": fake.key, "STABILITY_BASE_URL": fake.url, **variables})
    provider = Stability(config, pace=Pace(first=0.001, longest=0.001, deadline=deadline))
    provider._net = Net(service(config), timeouts=timeouts, tries=Tries(first_wait=0.001))
    return provider


async def draw(
    fake: FakeStability,
    request: ImageRequest = CAT,
    using: Model = CORE,
    ear: Ear | None = None,
    *,
    timeouts: Timeouts | None = None,
    deadline: float = 60,
) -> Generated:
    return await drawn_by(provider_at(fake, timeouts=timeouts, deadline=deadline), request, using, ear)


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider_that_can_go_on_with_a_task() -> None:
    assert load({"STABILITY_MODEL": "sd3.5-large"}) is None
    provider = load({"STABILITY_API_KEY": "sk-1", "STABILITY_MODEL": "sd3.5-large"})
    assert provider is not None
    assert isinstance(provider, Resumable)
    assert (provider.name, provider.repeatable, provider.catalogue.default_model) == ("stability", False, "sd3.5-large")


def test_a_wrong_variable_is_named_and_a_key_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="STABILITY_API_KEY: it holds spaces") as caught:
        load({"STABILITY_API_KEY": "sk-1 2"})
    assert "sk-1 2" not in caught.value.message


def test_the_service_is_reached_as_the_settings_say() -> None:
    assert service(parse(Config, {"STABILITY_API_KEY": " sk-12345\n"})) == Service(
        provider="stability",
        title="Stability AI",
        base_url="https://api.stability.ai",
        headers={"Authorization": "Bearer sk-12345"},
        secrets=("sk-12345",),
        read_fault=read_fault,
        key_variable="STABILITY_API_KEY",
        url_variable="STABILITY_BASE_URL",
    )


# Models -------------------------------------------------------------------------------------------------------------------------------------


def test_every_endpoint_of_the_service_is_a_model() -> None:
    assert {model.id for model in MODELS} == ENDPOINTS.keys()
    assert {endpoint.path for endpoint in ENDPOINTS.values()} == wire.ENDPOINTS.keys()
    assert {endpoint.path: endpoint.is_task for endpoint in ENDPOINTS.values()} == {path: rules.is_task for path, rules in wire.ENDPOINTS.items()}


@pytest.mark.parametrize("facts", MODELS, ids=lambda facts: facts.id)
def test_a_model_can_what_its_endpoint_takes(facts: Model) -> None:
    rules = wire.ENDPOINTS[ENDPOINTS[facts.id].path]
    fields, files = f"{rules.required} {rules.optional}".split(), rules.files.split()
    assert facts.seed == ("seed" in fields)
    assert facts.negative_prompt == ("negative_prompt" in fields)
    assert facts.styles == (CATALOGUE.styles.keys() if "style_preset" in fields else frozenset())
    assert facts.mask == ("mask" in files)
    assert (facts.sizes is not None) == ("aspect_ratio" in fields)
    assert facts.strength == bool({"strength", "style_strength"} & set(fields))
    assert facts.max_images == len(set(files) - {"mask", "style_image", "light_reference"}) - (facts.id == "control-style")


def test_prices_are_those_of_the_day() -> None:
    cents = {facts.id: round(facts.price.amount * 100, 2) for facts in MODELS if facts.price}
    assert cents == {
        "stable-image-core": 3,
        "stable-image-ultra": 8,
        "sd3.5-large": 6.5,
        "sd3.5-large-turbo": 4,
        "sd3.5-medium": 3.5,
        "sd3.5-flash": 2.5,
        "inpaint": 5,
        "erase": 5,
        "outpaint": 4,
        "search-and-replace": 5,
        "search-and-recolor": 5,
        "remove-background": 5,
        "replace-background-and-relight": 8,
        "control-sketch": 5,
        "control-structure": 5,
        "control-style": 5,
        "style-transfer": 8,
        "upscale-fast": 2,
        "upscale-conservative": 40,
        "upscale-creative": 60,
    }
    assert CORE.price == Price(amount=0.03, currency="USD", as_of=date(2026, 11, 21))


def test_styles_and_shapes_are_the_service_s_own() -> None:
    assert tuple(CATALOGUE.styles) == wire.CHOICES["style_preset"]
    assert sorted(RATIOS.values()) == sorted(wire.CHOICES["aspect_ratio"])
    assert [str(size) for size in RATIOS] == list(CATALOGUE.resolutions)


# To wire ------------------------------------------------------------------------------------------------------------------------------------

FULL = ImageRequest(
    prompt="a cat",
    negative_prompt="dogs",
    shape=Size(width=1344, height=768),
    seed=7,
    style="line-art",
    output_format="webp",
    options={"cfg_scale": 5},
)
CAT_FILE = File(name="image.png", media_type="image/png", data=IN.data)
BODIES: dict[str, tuple[ImageRequest, list[tuple[str, str | File]]]] = {
    "stable-image-core": (
        replace(FULL, options={}),
        [
            ("prompt", "a cat"),
            ("negative_prompt", "dogs"),
            ("aspect_ratio", "16:9"),
            ("seed", "7"),
            ("style_preset", "line-art"),
            ("output_format", "webp"),
        ],
    ),
    "stable-image-ultra": (
        ImageRequest(prompt="in winter", images=(IN,)),
        [("image", CAT_FILE), ("prompt", "in winter"), ("strength", "0.7")],
    ),
    "sd3.5-large": (
        FULL,
        [
            ("prompt", "a cat"),
            ("negative_prompt", "dogs"),
            ("aspect_ratio", "16:9"),
            ("model", "sd3.5-large"),
            ("seed", "7"),
            ("style_preset", "line-art"),
            ("output_format", "webp"),
            ("cfg_scale", "5"),
        ],
    ),
    "sd3.5-flash": (
        ImageRequest(prompt="in winter", images=(IN,), strength=0.25),
        [("image", CAT_FILE), ("prompt", "in winter"), ("model", "sd3.5-flash"), ("mode", "image-to-image"), ("strength", "0.25")],
    ),
    "inpaint": (
        ImageRequest(prompt="a hat", images=(IN,), mask=hole(), options={"grow_mask": 3}),
        [
            ("image", CAT_FILE),
            ("mask", File(name="mask.png", media_type="image/png", data=white_is_edit(hole().data))),
            ("prompt", "a hat"),
            ("grow_mask", "3"),
        ],
    ),
    "erase": (
        ImageRequest(prompt="nothing", images=(IN,), mask=hole(), seed=3),
        [("image", CAT_FILE), ("mask", File(name="mask.png", media_type="image/png", data=white_is_edit(hole().data))), ("seed", "3")],
    ),
    "outpaint": (
        ImageRequest(prompt="", images=(IN,), extend=Edges(left=10, top=20, bottom=5), style="anime"),
        [("image", CAT_FILE), ("left", "10"), ("right", "0"), ("up", "20"), ("down", "5"), ("style_preset", "anime")],
    ),
    "search-and-replace": (
        ImageRequest(prompt="a dog", images=(IN,), options={"search_prompt": "cat"}),
        [("image", CAT_FILE), ("prompt", "a dog"), ("search_prompt", "cat")],
    ),
    "search-and-recolor": (
        ImageRequest(prompt="blue", images=(IN,), options={"select_prompt": "cat", "prompt": "green"}),
        [("image", CAT_FILE), ("prompt", "green"), ("select_prompt", "cat")],
    ),
    "remove-background": (
        ImageRequest(prompt="", images=(IN,), action=Operation.REMOVE_BACKGROUND, output_format="webp"),
        [("image", CAT_FILE), ("output_format", "webp")],
    ),
    "replace-background-and-relight": (
        ImageRequest(prompt="a beach", images=(IN, LOOK), seed=1, options={"keep_original_background": True}),
        [
            ("subject_image", replace(CAT_FILE, name="subject_image.png")),
            ("background_reference", File(name="background_reference.jpeg", media_type="image/jpeg", data=LOOK.data)),
            ("background_prompt", "a beach"),
            ("seed", "1"),
            ("keep_original_background", "true"),
        ],
    ),
    "control-sketch": (
        ImageRequest(prompt="a castle", images=(IN,), options={"control_strength": 0.5}),
        [("image", CAT_FILE), ("prompt", "a castle"), ("control_strength", "0.5")],
    ),
    "control-structure": (ImageRequest(prompt="a castle", images=(IN,)), [("image", CAT_FILE), ("prompt", "a castle")]),
    "control-style": (
        ImageRequest(prompt="a castle", style_image=IN, shape=Size(width=640, height=1536)),
        [("image", CAT_FILE), ("prompt", "a castle"), ("aspect_ratio", "9:21")],
    ),
    "style-transfer": (
        ImageRequest(prompt="", images=(LOOK,), style_image=IN, strength=0.5),
        [
            ("init_image", File(name="init_image.jpeg", media_type="image/jpeg", data=LOOK.data)),
            ("style_image", replace(CAT_FILE, name="style_image.png")),
            ("style_strength", "0.5"),
        ],
    ),
    "upscale-fast": (ImageRequest(prompt="", images=(IN,), action=Operation.UPSCALE), [("image", CAT_FILE)]),
    "upscale-conservative": (
        ImageRequest(prompt="a cat", images=(IN,), action=Operation.UPSCALE, options={"creativity": 0.3}),
        [("image", CAT_FILE), ("prompt", "a cat"), ("creativity", "0.3")],
    ),
    "upscale-creative": (
        ImageRequest(prompt="a cat", images=(IN,), action=Operation.UPSCALE, style="enhance"),
        [("image", CAT_FILE), ("prompt", "a cat"), ("style_preset", "enhance")],
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_each_model_is_sent_what_its_endpoint_takes(fake: FakeStability, name: str) -> None:
    request, body = BODIES[name]
    assert negotiate(request, model(name), styles=CATALOGUE.styles).request == request
    made = await draw(fake, request, model(name))
    seen = fake.seen[0]
    assert (seen.method, seen.path) == ("POST", f"/v2beta/stable-image/{ENDPOINTS[name].path}")
    assert (seen.headers["authorization"], seen.headers["accept"]) == (f"Bearer {fake.key}", "application/json")
    assert parts_of(seen) == body
    assert made.images == (Drawn(data=picture(64, 64, request.output_format or "png"), seed=request.seed or SEED),)


WISHES = st.builds(
    ImageRequest,
    prompt=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip),
    negative_prompt=st.none() | st.just("dogs"),
    shape=st.none() | st.builds(Size, width=st.integers(500, 2000), height=st.integers(500, 2000)),
    seed=st.none() | st.integers(0, 2**40),
    style=st.none() | st.sampled_from(["anime", "origami"]),
    output_format=st.none() | st.sampled_from(["png", "jpeg", "webp"]),
    strength=st.none() | st.floats(0, 1),
)


@given(wish=WISHES, facts=st.sampled_from(MODELS))
def test_every_body_keeps_the_rules(wish: ImageRequest, facts: Model) -> None:
    needs: dict[str, Any] = {"options": {"search_prompt": "x"} if "replace" in facts.id else {"select_prompt": "x"} if "recolor" in facts.id else {}}
    if facts.id == "replace-background-and-relight":
        needs["options"] = {}
    if facts.max_images:
        needs["images"] = (IN,)
    if Operation.STYLE_TRANSFER in facts.operations:
        needs["style_image"] = LOOK
    if Operation.OUTPAINT in facts.operations:
        needs["extend"] = Edges(left=1)
    if facts.operations & {Operation.UPSCALE, Operation.REMOVE_BACKGROUND, Operation.INPAINT}:
        (needs["action"],) = facts.operations
    request = negotiate(replace(wish, **needs), facts, styles=CATALOGUE.styles).request
    assert wire.complain(request_of(to_wire(request, facts)), wire.ENDPOINTS[ENDPOINTS[facts.id].path]) == []


# From wire ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "sent"), [(1, 1), (MAX_SEED, MAX_SEED), (0, MAX_SEED), (MAX_SEED + 1, 1), (2**33, 4)])
def test_a_seed_the_service_would_not_keep_becomes_one_that_it_does(seed: int, sent: int) -> None:
    request = replace(CAT, seed=seed)
    assert dict(to_wire(request, CORE))["seed"] == str(sent)
    words = from_wire(b"1", Result.model_validate({"seed": sent}), request, CORE, request_id=None).adjustments
    assert words == (
        () if seed == sent else (Adjustment(field="seed", message=f"Stability AI takes seeds from 1 to {MAX_SEED}; {seed} became {sent}."),)
    )


def test_what_a_model_does_not_hear_is_said() -> None:
    request = ImageRequest(prompt="larger", images=(IN,), action=Operation.UPSCALE, shape=Size(width=2048, height=2048))
    made = from_wire(b"1", Result.model_validate({"result": "MQ==", "seed": 5}), request, model("upscale-fast"), request_id="req_1")
    assert made == Generated(
        images=(Drawn(data=b"1", seed=5),),
        request_id="req_1",
        adjustments=(
            Adjustment(field="prompt", message="upscale-fast takes no prompt."),
            Adjustment(field="resolution", message="upscale-fast is told no size here; the input picture decides."),
        ),
    )


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (
            403,
            {"id": "4212", "name": "content_moderation", "errors": ["Your request was flagged."]},
            Fault(message="Your request was flagged.", kind=RefusedError, details={"service_code": "content_moderation", "error_id": "4212"}),
        ),
        (
            400,
            {"id": "4212", "name": "bad_request", "errors": ["prompt: cannot be blank", "image: is required"]},
            Fault(message="prompt: cannot be blank; image: is required", details={"service_code": "bad_request", "error_id": "4212"}),
        ),
        (
            429,
            {"id": "4212", "name": "rate_limit_exceeded", "errors": [wire.LIMITED]},
            Fault(
                message=wire.LIMITED,
                kind=RateLimitedError,
                retry_after=60,
                details={"service_code": "rate_limit_exceeded", "error_id": "4212"},
            ),
        ),
        (500, {"message": "upstream is away"}, Fault(message="upstream is away")),
        (500, {"name": 3, "errors": []}, None),
        (500, None, None),
    ],
)
def test_an_error_is_understood(status: int, body: Any, fault: Fault | None) -> None:
    assert read_fault(status, body) == fault


# The call -----------------------------------------------------------------------------------------------------------------------------------

CREATIVE = model("upscale-creative")
LARGER = BODIES["upscale-creative"][0]


async def test_a_request_comes_back_as_a_picture(fake: FakeStability) -> None:
    fake.trouble.append(Trouble.MORE_FIELDS)
    assert await draw(fake) == Generated(images=(Drawn(data=picture(64, 64), seed=SEED),), request_id="req_fake")


async def test_a_task_is_accepted_before_it_is_looked_at(fake: FakeStability) -> None:
    fake.looks = 3
    ear = Ear(calls=lambda: len(fake.seen))
    assert (await draw(fake, LARGER, CREATIVE, ear)).images == (Drawn(data=picture(64, 64), seed=SEED),)
    assert (ear.tasks, ear.calls_before_acceptance) == ([TASK], [1])
    assert [seen.path for seen in fake.seen[1:]] == [f"/v2beta/results/{TASK}"] * 4
    assert [fraction for fraction, _ in ear.said] == [1 / 5, 2 / 6, 3 / 7]


async def test_a_task_is_gone_on_with_and_not_submitted_again(fake: FakeStability) -> None:
    await draw(fake, LARGER, CREATIVE)
    fake.seen.clear()
    provider = provider_at(fake)
    ear = Ear()
    made = await provider.resume(TASK, replace(LARGER, images=()), CREATIVE, ear)
    await provider.aclose()
    assert made.images == (Drawn(data=picture(64, 64), seed=SEED),)
    assert ([seen.method for seen in fake.seen], ear.tasks) == (["GET"], [])


async def test_cancelling_ends_the_looking(fake: FakeStability) -> None:
    fake.trouble.append(Trouble.NEVER)
    await left_alone_when_cancelled(provider_at(fake), fake, LARGER, CREATIVE)


async def test_a_pause_asked_for_while_looking_is_waited_out(fake: FakeStability) -> None:
    fake.trouble.append(Trouble.LOOK_LIMITED)
    assert len((await draw(fake, LARGER, CREATIVE)).images) == 1


# Failures -----------------------------------------------------------------------------------------------------------------------------------

T = Trouble
FAILURES: list[tuple[Trouble, bool, type[ProviderError], str, bool, int]] = [
    # trouble, of a task, class, words, may have been billed, calls
    (T.MODERATED, False, RefusedError, "flagged by our content moderation system", False, 1),
    (T.FORBIDDEN, False, AuthError, "You lack the permission", False, 1),
    (T.NO_CREDITS, False, QuotaError, "You lack sufficient credits", False, 1),
    (T.RATE_LIMITED, False, RateLimitedError, "Try again in 60 seconds", False, 1),
    (T.TOO_LARGE, False, ProviderError, "payloads cannot be larger than 10MiB", False, 1),
    (T.ERROR_500, False, UnavailableError, "unexpected server error", False, 1),
    (T.HANG, False, UnavailableError, "was silent for too long", True, 1),
    (T.CUT, False, UnavailableError, "broke the connection", True, 1),
    (T.PAGE, False, BadReplyError, "answered with a web page", True, 1),
    (T.FILTERED, False, RefusedError, "moderation then blurred", True, 1),
    (T.NO_PICTURE, False, BadReplyError, "answered without a picture", True, 1),
    (T.BAD_BASE64, False, BadReplyError, "not valid base64", True, 1),
    (T.KEY_ECHO, False, ProviderError, "authorization: Bearer *** is odd", False, 1),
    (T.NO_TASK, True, BadReplyError, "gave the task no id", True, 1),
    (T.LOST, True, ProviderError, "Generation not found", True, 2),
    (T.LOOK_MODERATED, True, RefusedError, "flagged by our content moderation system", False, 2),
    (T.FILTERED, True, RefusedError, "moderation then blurred", True, 2),
    (T.NO_PICTURE, True, BadReplyError, "answered without a picture", True, 2),
]


@pytest.mark.parametrize(("trouble", "of_task", "kind", "words", "billed", "calls"), FAILURES, ids=lambda value: getattr(value, "name", None))
async def test_each_failure_has_its_class_its_words_and_its_number_of_calls(
    fake: FakeStability, trouble: Trouble, of_task: bool, kind: type[ProviderError], words: str, billed: bool, calls: int
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError, match=words.replace("*", r"\*")) as caught:
        await draw(fake, *((LARGER, CREATIVE) if of_task else (CAT, CORE)), timeouts=Timeouts(read=0.2) if trouble is T.HANG else None)
    error = caught.value
    assert (type(error), error.may_have_been_billed, len(fake.seen)) == (kind, billed, calls)
    assert error.provider == "stability"
    assert fake.key not in f"{error!r}{error.details}"
    assert not (error.may_have_been_billed and error.not_accepted)


def test_every_trouble_is_in_the_table_or_has_its_own_test() -> None:
    assert {row[0] for row in FAILURES} | {T.MORE_FIELDS, T.LOOK_LIMITED, T.NEVER} == set(Trouble)


async def test_a_task_that_is_never_done_ends_at_the_deadline(fake: FakeStability) -> None:
    fake.trouble.append(Trouble.NEVER)
    with pytest.raises(UnavailableError, match="was not done after") as caught:
        await draw(fake, LARGER, CREATIVE, deadline=0.05)
    assert caught.value.may_have_been_billed


async def test_what_the_service_misses_is_told(fake: FakeStability) -> None:
    with pytest.raises(ProviderError, match="search_prompt: is required") as caught:
        await draw(fake, ImageRequest(prompt="a dog", images=(IN,)), model("search-and-replace"))
    assert caught.value.details["service_code"] == "bad_request"


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_costs_nothing_and_tells_the_credits(fake: FakeStability) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "Stability AI accepts the key; 112.5 credits are left."
    await provider.aclose()
    wrong = provider_at(fake, STABILITY_API_KEY="sk-wrong-9876543210")
    with pytest.raises(AuthError, match="Check STABILITY_API_KEY"):
        await wrong.check()
    await wrong.aclose()
    assert {(seen.method, seen.path) for seen in fake.seen} == {("GET", "/v1/user/balance")}
