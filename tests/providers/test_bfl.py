from __future__ import annotations

from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

import jsonschema
import pytest
from PIL import Image

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
)
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Pace, Tries
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.bfl import BlackForestLabs, Config, load, service
from mcp_image_server.providers.bfl.models import CATALOGUE, DEFAULT_MODEL, MODELS
from mcp_image_server.providers.bfl.wire import Submitted, read_fault, to_wire
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.bfl import RULES, FakeBlackForestLabs, Trouble, decoded
from ..fakes.server import picture
from .service import drawn_by, known_in, left_alone_when_cancelled, served

pytestmark = pytest.mark.anyio

KEY = "bfl-fake-0123456789"
CAT = ImageRequest(prompt="a cat")
QUICK = Pace(first=0.001, factor=1, longest=0.001, deadline=60)
PHOTO = Picture(data=picture(64, 48, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=48))
DRAWING = Picture(data=picture(64, 48), media_type="image/png", size=Size(width=64, height=48))


def mask() -> Picture:
    """The left half is to be painted anew."""
    whole = Image.new("RGBA", (64, 48), (9, 9, 9, 255))
    whole.paste((9, 9, 9, 0), (0, 0, 32, 48))
    file = BytesIO()
    whole.save(file, "PNG")
    return Picture(data=file.getvalue(), media_type="image/png", size=Size(width=64, height=48))


known = partial(known_in, MODELS)
MODEL = known(DEFAULT_MODEL)

server, fake = served(FakeBlackForestLabs)


def provider_at(fake: FakeBlackForestLabs, **variables: str) -> BlackForestLabs:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"BFL_API_KEY": KEY, "BFL_BASE_URL": fake.url, **variables})
    provider = BlackForestLabs(config, looking=QUICK)
    provider._net = Net(service(config), tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeBlackForestLabs, request: ImageRequest = CAT, *, model: Model = MODEL, ear: Ear | None = None) -> Generated:
    return await drawn_by(provider_at(fake), request, model, ear)


async def failure(fake: FakeBlackForestLabs, trouble: Trouble, request: ImageRequest = CAT) -> ProviderError:
    fake.trouble.extend([trouble] * 3)  # what surely was not accepted is tried again
    with pytest.raises(ProviderError) as caught:
        await draw(fake, request)
    assert KEY not in f"{caught.value}{caught.value.details}{caught.value.__cause__!r}"
    return caught.value


def calls(fake: FakeBlackForestLabs) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in fake.seen]


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider_that_can_go_on_with_a_task() -> None:
    assert load({"BFL_BASE_URL": "http://localhost:1"}) is None
    provider = load({"BFL_API_KEY": KEY})
    assert provider is not None
    assert isinstance(provider, Resumable)
    assert KEY not in f"{provider.account}{provider._net.service!r}"


@pytest.mark.parametrize(
    ("address", "base_url", "trusted"),
    [
        ("https://api.eu.bfl.ai/v1", "https://api.eu.bfl.ai", ("bfl.ai",)),
        ("https://api.bfl.ai/", "https://api.bfl.ai", ("bfl.ai",)),
        ("http://localhost:9005", "http://localhost:9005", ()),
        ("https://bfl.ai.example", "https://bfl.ai.example", ()),
    ],
)
def test_the_key_goes_to_the_vendors_clusters_only_when_the_service_is_the_vendors(address: str, base_url: str, trusted: tuple[str, ...]) -> None:
    made = service(parse(Config, {"BFL_API_KEY": KEY, "BFL_BASE_URL": address}))
    assert (made.base_url, made.trusted_hosts, made.headers) == (base_url, trusted, {"x-key": KEY})


@pytest.mark.parametrize(("name", "value"), [("BFL_API_KEY", "a b"), ("BFL_BASE_URL", "bfl.ai"), ("BFL_MODEL", "../v1/x")])
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load({"BFL_API_KEY": KEY, name: value})


# Models -------------------------------------------------------------------------------------------------------------------------------------


def test_what_each_model_does() -> None:
    assert {model.id: sorted(map(str, model.operations)) for model in MODELS if model.operations != {Operation.GENERATE, Operation.EDIT}} == {
        "flux-pro-1.1-ultra": ["generate", "variation"],
        "flux-pro-1.1-ultra-finetuned": ["generate", "variation"],
        "flux-pro-1.1": ["generate", "variation"],
        "flux-dev": ["generate", "variation"],
        "flux-pro-1.0-fill": ["inpaint"],
        "flux-pro-1.0-fill-finetuned": ["inpaint"],
        "flux-pro-1.0-expand": ["outpaint"],
        "flux-tools/erase-v1": ["inpaint"],
    }
    assert {model.id for model in MODELS} == RULES.keys()


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    for key in CATALOGUE.resolutions:
        width, height = map(int, key.split("x"))
        fitted = negotiate(ImageRequest(prompt="a cat", shape=Size(width=width, height=height)), MODEL, styles={})
        assert fitted.adjustments == ()


def test_a_default_model_of_the_operators_is_offered_and_a_callers_unknown_one_is_not() -> None:
    offered = BlackForestLabs(parse(Config, {"BFL_API_KEY": KEY, "BFL_MODEL": "flux-4"})).catalogue
    assert (offered.default_model, offered.models[0].id, offered.models[1:], offered.unknown) == ("flux-4", "flux-4", MODELS, None)


def test_who_can_paint_into_a_picture_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"bfl/flux-pro-1\.0-fill, .*bfl/flux-tools/erase-v1"):
        negotiate(replace(CAT, images=(PHOTO,), mask=mask()), MODEL, styles={}, others=MODELS)


# To wire ------------------------------------------------------------------------------------------------------------------------------------


def body_of(request: ImageRequest, name: str) -> dict[str, Any]:
    """The body, with the bytes of pictures in the place of their base64, after the rules were checked."""
    model = known(name)
    body = to_wire(negotiate(request, model, styles={}).request, model)
    jsonschema.validate(body, RULES[name])
    shown = {
        field: decoded(value) if field.startswith(("image", "input_image", "mask")) and isinstance(value, str) else value
        for field, value in body.items()
    }
    return {field: [decoded(text) for text in value] if isinstance(value, list) else value for field, value in shown.items()}


WIDE = AspectRatio(width=16, height=9)


@pytest.mark.parametrize(
    ("name", "request_", "body"),
    [
        ("flux-2-pro", CAT, {"prompt": "a cat"}),
        (
            "flux-2-flex",
            replace(CAT, shape=Size(width=1024, height=768), seed=7, output_format="webp", options={"steps": 30, "safety_tolerance": 4}),
            {"prompt": "a cat", "width": 1024, "height": 768, "seed": 7, "output_format": "webp", "steps": 30, "safety_tolerance": 4},
        ),
        ("flux-2-max", replace(CAT, seed=7, options={"seed": 8}), {"prompt": "a cat", "seed": 8}),
        (
            "flux-2-klein-4b",
            replace(CAT, images=(PHOTO, DRAWING)),
            {"prompt": "a cat", "input_image": PHOTO.data, "input_image_2": DRAWING.data},
        ),
        ("flux-3-image", replace(CAT, shape=WIDE, seed=7), {"prompt": "a cat", "aspect_ratio": "16:9", "resolution": "1k"}),
        (
            "flux-3-image",
            replace(CAT, shape=Size(width=4096, height=4096), images=(PHOTO, DRAWING), output_format="png"),
            {"prompt": "a cat", "images": [PHOTO.data, DRAWING.data], "aspect_ratio": "1:1", "resolution": "4k"},
        ),
        ("flux-3-image-klein", CAT, {"prompt": "a cat"}),
        (
            "flux-kontext-max",
            replace(CAT, images=(PHOTO, DRAWING), shape=WIDE, output_format="png"),
            {"prompt": "a cat", "input_image": PHOTO.data, "input_image_2": DRAWING.data, "aspect_ratio": "16:9", "output_format": "png"},
        ),
        ("flux-pro-1.1", replace(CAT, shape=WIDE), {"prompt": "a cat", "width": 1376, "height": 768}),
        (
            "flux-dev",
            replace(CAT, action=Operation.VARIATION, images=(PHOTO,), strength=0.3),
            {"prompt": "a cat", "image_prompt": PHOTO.data},
        ),
        (
            "flux-pro-1.1-ultra",
            replace(CAT, action=Operation.VARIATION, images=(PHOTO,), strength=0.3, shape=Size(width=100, height=50), options={"raw": True}),
            {"prompt": "a cat", "image_prompt": PHOTO.data, "image_prompt_strength": 0.7, "aspect_ratio": "2:1", "raw": True},
        ),
        (
            "flux-pro-1.0-expand",
            ImageRequest(prompt="", images=(PHOTO,), extend=Edges(left=100, bottom=20), seed=7, output_format="png"),
            {"prompt": "", "image": PHOTO.data, "top": 0, "bottom": 20, "left": 100, "right": 0, "seed": 7, "output_format": "png"},
        ),
    ],
)
def test_a_request_becomes_this_body(name: str, request_: ImageRequest, body: dict[str, Any]) -> None:
    assert body_of(request_, name) == body


@pytest.mark.parametrize("name", ["flux-pro-1.0-fill", "flux-tools/erase-v1"])
def test_what_the_mask_leaves_open_is_white(name: str) -> None:
    body = body_of(replace(CAT, images=(PHOTO,), mask=mask()), name)
    with Image.open(BytesIO(body.pop("mask"))) as sent:
        assert (sent.format, sent.mode, sent.size) == ("PNG", "L", (64, 48))
        assert [sent.getpixel((column, 20)) for column in (0, 31, 32, 63)] == [255, 255, 0, 0]
    assert body == {"image": PHOTO.data, **({"prompt": "a cat"} if name.endswith("fill") else {})}


def test_a_finetune_is_named_in_the_options() -> None:
    request = replace(CAT, shape=AspectRatio(width=1, height=1), options={"finetune_id": "mine", "finetune_strength": 1.2})
    body = {"prompt": "a cat", "aspect_ratio": "1:1", "finetune_id": "mine", "finetune_strength": 1.2}
    assert body_of(request, "flux-pro-1.1-ultra-finetuned") == body


# Drawing ------------------------------------------------------------------------------------------------------------------------------------


async def test_a_task_is_submitted_followed_and_fetched(fake: FakeBlackForestLabs) -> None:
    fake.states = ("Pending", "Generating")
    ear = Ear(calls=lambda: len(fake.seen))
    assert await draw(fake, replace(CAT, seed=7), ear=ear) == Generated(
        images=(Drawn(data=picture(48, 32, "jpeg"), seed=7),),
        cost=Cost(micros=45_000, currency="USD", source="reported"),
        request_id="00000000-0000-4000-8000-000000000000",
    )
    assert calls(fake) == ["POST /v1/flux-2-pro", *["GET /v1/get_result"] * 3, "GET /delivery/sample.jpeg"]
    assert ear.tasks == [f"{fake.url}/v1/get_result?id=00000000-0000-4000-8000-000000000000#4.5"]
    assert ear.calls_before_acceptance == [1]
    assert ear.said == [
        (0.225, "Black Forest Labs has the task in line."),
        (0.225, "Black Forest Labs is drawing."),
        (0.95, "The picture is drawn and on its way."),
    ]
    assert all(seen.query == {"id": "00000000-0000-4000-8000-000000000000"} and seen.headers["x-key"] == KEY for seen in fake.seen[1:4])
    assert "x-key" not in fake.seen[-1].headers


async def test_a_prompt_that_the_model_wrote_anew_is_told(fake: FakeBlackForestLabs) -> None:
    generated = await draw(fake, replace(CAT, shape=Size(width=1024, height=1024)), model=known("flux-3-image"))
    assert generated.images == (Drawn(data=picture(48, 32, "jpeg"), seed=42, revised_prompt="a cat, sitting"),)


async def test_a_prompt_that_nobody_reads_is_told(fake: FakeBlackForestLabs) -> None:
    generated = await draw(fake, replace(CAT, images=(PHOTO,), mask=mask()), model=known("flux-tools/erase-v1"))
    words = "flux-tools/erase-v1 takes no prompt: what the mask leaves open was taken away."
    assert generated.adjustments == (Adjustment(field="prompt", message=words),)
    assert fake.seen[0].path == "/v1/flux-tools/erase-v1"


@pytest.mark.parametrize("trouble", [Trouble.LATE, Trouble.LOOK_500, Trouble.ODD, Trouble.READY_503, Trouble.NO_COST])
async def test_what_passes_does_not_lose_the_picture(fake: FakeBlackForestLabs, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    generated = await draw(fake)
    assert generated.images == (Drawn(data=picture(48, 32, "jpeg"), seed=42),)
    assert (generated.cost is None) == (trouble is Trouble.NO_COST)
    assert calls(fake).count("POST /v1/flux-2-pro") == 1


async def test_a_task_is_taken_up_in_another_process_without_submitting(fake: FakeBlackForestLabs) -> None:
    ear = Ear()
    await draw(fake, ear=ear)
    fake.seen.clear()
    provider = provider_at(fake)
    generated = await provider.resume(ear.tasks[0], CAT, MODEL, Ear())
    await provider.aclose()
    assert generated.cost == Cost(micros=45_000, currency="USD", source="reported")
    assert calls(fake) == ["GET /v1/get_result", "GET /delivery/sample.jpeg"]


async def test_a_cancelled_job_is_looked_at_no_more(fake: FakeBlackForestLabs) -> None:
    fake.trouble.append(Trouble.NEVER)
    await left_alone_when_cancelled(provider_at(fake), fake, CAT, MODEL)


# Failing ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "kind", "words", "billed"),
    [
        (Trouble.NO_CREDITS, QuotaError, "answered 402: Insufficient credits. Credit or allowance of the account is used up", False),
        (Trouble.BUSY, RateLimitedError, "answered 429: Too many active tasks.", False),
        (Trouble.NO_ADDRESS, BadReplyError, "took the work but did not say where to look for it.", True),
        (Trouble.KEY_ECHO, ProviderError, "answered 400: x-key *** is odd.", False),
        (Trouble.ELSEWHERE, BadReplyError, "pointed to https://api.bfl.example, which must not see the key.", True),
        (Trouble.BLOCKED, RefusedError, "failed: Request Moderated (Safety Filter). The same words will be refused again", False),
        (Trouble.BLOCKED_503, RefusedError, "failed: Request Moderated (Safety Filter).", False),
        (Trouble.BLOCKED_AFTER, RefusedError, "failed: Content Moderated.", False),
        (Trouble.FAILED, ProviderError, "failed: Error (out of memory).", True),
        (Trouble.LOST, ProviderError, "failed: Task not found; pictures are kept for ten minutes, those of FLUX 3 for an hour.", True),
        (Trouble.LOOK_403, AuthError, "answered 403: Not authenticated. Check BFL_API_KEY", True),
        (Trouble.EMPTY, BadReplyError, "finished the task without a picture.", True),
        (Trouble.LINK_GONE, BadReplyError, "answered 403.", True),
    ],
)
async def test_a_failure_is_named_with_the_services_reason(
    fake: FakeBlackForestLabs, trouble: Trouble, kind: type[ProviderError], words: str, billed: bool
) -> None:
    error = await failure(fake, trouble)
    assert type(error) is kind
    assert words in error.message
    assert error.may_have_been_billed is billed


async def test_a_task_that_is_never_done_is_given_up(fake: FakeBlackForestLabs) -> None:
    error = await failure(fake, Trouble.NEVER, replace(CAT, polling={"interval": 0.01, "attempts": 3}))
    assert isinstance(error, UnavailableError)
    assert error.may_have_been_billed


async def test_a_value_that_the_service_refuses_is_named(fake: FakeBlackForestLabs) -> None:
    with pytest.raises(ProviderError, match=r"answered 422: safety_tolerance: 9 is greater than the maximum of 5\."):
        await draw(fake, replace(CAT, options={"safety_tolerance": 9}))
    assert len(fake.seen) == 1


def test_a_gateways_own_status_is_not_a_tasks() -> None:
    assert read_fault(401, {"status": "error", "message": "who are you?"}) == Fault(message="who are you?")
    assert read_fault(500, "") is None
    assert Submitted().task_id is None


async def test_the_check_costs_nothing_and_tells_what_is_left(fake: FakeBlackForestLabs) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "Black Forest Labs accepts the key; 123.4 credits are left."
    await provider.aclose()
    assert calls(fake) == ["GET /v1/credits"]


async def test_a_wrong_key_names_its_variable_and_is_not_shown(fake: FakeBlackForestLabs) -> None:
    provider = provider_at(fake, BFL_API_KEY="bfl-wrong-987654321")
    with pytest.raises(AuthError, match="Check BFL_API_KEY") as caught:
        await provider.check()
    await provider.aclose()
    assert "bfl-wrong-987654321" not in str(caught.value)
