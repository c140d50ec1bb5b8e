from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

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
    SizeList,
)
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault, Net, Pace, Tries
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.fal import (
    APPS,
    CATALOGUE,
    MODELS,
    Config,
    Fal,
    Queued,
    Status,
    load,
    read_fault,
    service,
    to_wire,
)
from mcp_image_server.providers.fal.models import DEFAULT_MODEL, RATIOS, RESOLUTIONS, app_of
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.fal import INPUTS, FakeFal, Trouble, complaints
from ..fakes.server import picture
from .service import drawn_by, failure_of, known_in, left_alone_when_cancelled, served

pytestmark = pytest.mark.anyio

KEY = "fal-fake-0123456789"
CAT = ImageRequest(prompt="a cat")
QUICK = Pace(first=0.001, factor=1, longest=0.001, deadline=60)
PHOTO = Picture(data=picture(64, 48, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=48))
DRAWING = Picture(data=picture(64, 48), media_type="image/png", size=Size(width=64, height=48))
IN_JPEG = f"data:image/jpeg;base64,{base64.b64encode(PHOTO.data).decode()}"
IN_PNG = f"data:image/png;base64,{base64.b64encode(DRAWING.data).decode()}"


def mask() -> Picture:
    """The left half is to be painted anew."""
    whole = Image.new("RGBA", (64, 48), (9, 9, 9, 255))
    whole.paste((9, 9, 9, 0), (0, 0, 32, 48))
    file = BytesIO()
    whole.save(file, "PNG")
    return Picture(data=file.getvalue(), media_type="image/png", size=Size(width=64, height=48))


known = partial(known_in, MODELS)
MODEL = known(DEFAULT_MODEL)

server, fake = served(FakeFal)


def provider_at(fake: FakeFal, **variables: str) -> Fal:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"FAL_KEY": KEY, "FAL_BASE_URL": fake.url, **variables})
    provider = Fal(config, looking=QUICK)
    provider._net = Net(service(config), tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeFal, request: ImageRequest = CAT, *, model: Model = MODEL, ear: Ear | None = None) -> Generated:
    return await drawn_by(provider_at(fake), request, model, ear)


def calls(fake: FakeFal) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in fake.seen]


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_provider_that_can_go_on_with_a_task() -> None:
    assert load({"FAL_BASE_URL": "http://localhost:1"}) is None
    provider = load({"FAL_KEY": KEY})
    assert provider is not None
    assert isinstance(provider, Resumable)
    assert KEY not in f"{provider.account}{provider._net.service!r}"
    assert provider._net.service.trusted_hosts == ("queue.fal.run", "api.fal.ai")
    assert service(parse(Config, {"FAL_KEY": KEY, "FAL_BASE_URL": "https://gateway.example/fal"})).trusted_hosts == ()


@pytest.mark.parametrize(("name", "value"), [("FAL_KEY", "a b"), ("FAL_BASE_URL", "fal.run"), ("FAL_MODEL", "../x"), ("FAL_MODEL", "flux")])
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load({"FAL_KEY": KEY, name: value})


# Models: held against fal's own description of its apps ----------------------------------------------------------------------------------------

FORMAT_FIELDS = ("output_format", "format")


def test_every_app_is_described_and_every_description_is_used() -> None:
    assert {app.path for apps in APPS.values() for app in apps.values()} == INPUTS.keys()
    assert len({model.id for model in MODELS}) == len(MODELS) == len(APPS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_what_is_said_of_a_model_is_true_of_each_of_its_apps(model: Model) -> None:
    assert model.operations == APPS[model.id].keys()
    for operation, app in APPS[model.id].items():
        properties = INPUTS[app.path]["properties"]
        assert app.fields <= properties.keys()
        assert set(INPUTS[app.path]["required"]) <= app.fields
        assert ("seed" in app.fields) == ("seed" in properties) == model.seed
        assert ("num_images" in app.fields) == ("num_images" in properties) == (model.max_count > 1)
        assert ("negative_prompt" in app.fields) == ("negative_prompt" in properties) == model.negative_prompt
        offered = [properties[name]["enum"] for name in FORMAT_FIELDS if name in app.fields]
        assert bool(offered) == bool(model.formats)
        assert all(set(model.formats) <= set(choice) for choice in offered)
        assert ("image_urls" in app.fields) == (model.max_images > 1 and operation is Operation.EDIT)
        assert set(model.styles) == set(properties.get("target_style", {}).get("enum", ())), app.path
    has_strength = any(not app.fields.isdisjoint(("strength", "image_prompt_strength")) for app in APPS[model.id].values())
    assert model.strength == has_strength


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_every_body_keeps_fals_rules(model: Model) -> None:
    for operation in sorted(model.operations):
        for shape in (None, Size(width=1000, height=700), AspectRatio(width=9, height=16)):
            wish = ImageRequest(
                prompt="a cat",
                action=operation,
                shape=shape,
                count=3,
                seed=7,
                negative_prompt="dogs",
                output_format="png",
                strength=0.4,
                images=(PHOTO,) if model.max_images and operation is not Operation.GENERATE else (),
                mask=mask() if operation is Operation.INPAINT else None,
                extend=Edges(left=10) if operation is Operation.OUTPAINT else None,
                style_image=DRAWING if operation is Operation.STYLE_TRANSFER else None,
            )
            app = app_of(model, operation)
            assert complaints(app.path, to_wire(negotiate(wish, model, styles={}).request, app)) == [], app.path


def test_sizes_of_models_that_take_shapes_can_all_be_asked_for() -> None:
    for model in MODELS:
        if isinstance(model.sizes, SizeList):
            assert set(model.sizes.sizes) <= RATIOS.keys()
            for app in APPS[model.id].values():
                allowed = INPUTS[app.path]["properties"]["aspect_ratio"]
                choices = allowed.get("enum") or allowed["anyOf"][0]["enum"]
                assert {RATIOS[size] for size in model.sizes.sizes} <= set(choices)
    assert set(RESOLUTIONS.values()) == set(INPUTS["fal-ai/nano-banana-2"]["properties"]["resolution"]["enum"])


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    for key in CATALOGUE.resolutions:
        width, height = map(int, key.split("x"))
        assert negotiate(ImageRequest(prompt="a cat", shape=Size(width=width, height=height)), MODEL, styles={}).adjustments == ()


def test_a_default_model_that_nobody_knows_is_offered() -> None:
    offered = Fal(parse(Config, {"FAL_KEY": KEY, "FAL_MODEL": "blackforestlabs/flux-3/text-to-image"})).catalogue
    assert (offered.default_model, offered.models[1:]) == ("blackforestlabs/flux-3/text-to-image", MODELS)
    assert Fal(parse(Config, {"FAL_KEY": KEY, "FAL_MODEL": "fal-ai/fast-sdxl"})).catalogue.models == MODELS


# To wire ------------------------------------------------------------------------------------------------------------------------------------


def body_of(request: ImageRequest, name: str) -> tuple[str, dict[str, Any]]:
    """The app and its input."""
    model = known(name)
    app = app_of(model, request.operation)
    body = to_wire(negotiate(request, model, styles={}).request, app)
    assert complaints(app.path, body) == []
    return app.path, body


@pytest.mark.parametrize(
    ("name", "request_", "path", "body"),
    [
        ("fal-ai/flux-2", CAT, "fal-ai/flux-2", {"prompt": "a cat", "num_images": 1}),
        (
            "fal-ai/flux-2",
            replace(CAT, images=(PHOTO, DRAWING), shape=Size(width=1024, height=768), seed=7, count=2, output_format="webp"),
            "fal-ai/flux-2/edit",
            {
                "prompt": "a cat",
                "num_images": 2,
                "seed": 7,
                "image_size": {"width": 1024, "height": 768},
                "output_format": "webp",
                "image_urls": [IN_JPEG, IN_PNG],
            },
        ),
        (
            "fal-ai/flux-2-pro",
            replace(CAT, images=(PHOTO,), options={"safety_tolerance": "5", "prompt": "a dog"}),
            "fal-ai/flux-2-pro/edit",
            {"prompt": "a dog", "image_urls": [IN_JPEG], "safety_tolerance": "5"},
        ),
        (
            "fal-ai/flux-pro/kontext",
            replace(CAT, shape=AspectRatio(width=16, height=9)),
            "fal-ai/flux-pro/kontext/text-to-image",
            {"prompt": "a cat", "num_images": 1, "aspect_ratio": "16:9"},
        ),
        (
            "fal-ai/flux-pro/kontext",
            replace(CAT, images=(PHOTO,)),
            "fal-ai/flux-pro/kontext",
            {"prompt": "a cat", "num_images": 1, "image_url": IN_JPEG},
        ),
        (
            "fal-ai/flux-pro/v1.1-ultra",
            ImageRequest(prompt="", action=Operation.VARIATION, images=(PHOTO,), strength=0.25),
            "fal-ai/flux-pro/v1.1-ultra/redux",
            {"num_images": 1, "image_url": IN_JPEG, "image_prompt_strength": 0.75},
        ),
        (
            "fal-ai/fast-sdxl",
            replace(CAT, images=(PHOTO,), strength=0.5, negative_prompt="dogs", output_format="png"),
            "fal-ai/fast-sdxl/image-to-image",
            {"prompt": "a cat", "num_images": 1, "negative_prompt": "dogs", "format": "png", "image_url": IN_JPEG, "strength": 0.5},
        ),
        (
            "fal-ai/stable-diffusion-v35-large",
            replace(CAT, options={"loras": [{"path": "https://example.com/a.safetensors", "scale": 0.8}]}),
            "fal-ai/stable-diffusion-v35-large",
            {"prompt": "a cat", "num_images": 1, "loras": [{"path": "https://example.com/a.safetensors", "scale": 0.8}]},
        ),
        (
            "fal-ai/nano-banana-2",
            replace(CAT, shape=Size(width=4096, height=4096)),
            "fal-ai/nano-banana-2",
            {"prompt": "a cat", "num_images": 1, "aspect_ratio": "1:1", "resolution": "4K"},
        ),
        (
            "fal-ai/image-apps-v2/outpaint",
            replace(CAT, images=(PHOTO,), extend=Edges(left=100, bottom=20)),
            "fal-ai/image-apps-v2/outpaint",
            {"prompt": "a cat", "num_images": 1, "image_url": IN_JPEG, "expand_left": 100, "expand_top": 0, "expand_right": 0, "expand_bottom": 20},
        ),
        (
            "fal-ai/image-apps-v2/style-transfer",
            ImageRequest(prompt="", images=(PHOTO,), style_image=DRAWING),
            "fal-ai/image-apps-v2/style-transfer",
            {"image_url": IN_JPEG, "style_reference_image_url": IN_PNG},
        ),
        (
            "fal-ai/image-apps-v2/style-transfer",
            ImageRequest(prompt="", action=Operation.STYLE_TRANSFER, images=(PHOTO,), style="claymation"),
            "fal-ai/image-apps-v2/style-transfer",
            {"image_url": IN_JPEG, "target_style": "claymation"},
        ),
        (
            "fal-ai/esrgan",
            ImageRequest(prompt="", action=Operation.UPSCALE, images=(PHOTO,), output_format="png", options={"scale": 4}),
            "fal-ai/esrgan",
            {"image_url": IN_JPEG, "output_format": "png", "scale": 4},
        ),
        (
            "fal-ai/bria/background/remove",
            ImageRequest(prompt="", action=Operation.REMOVE_BACKGROUND, images=(PHOTO,)),
            "fal-ai/bria/background/remove",
            {"image_url": IN_JPEG},
        ),
    ],
)
def test_a_request_becomes_this_input_of_this_app(name: str, request_: ImageRequest, path: str, body: dict[str, Any]) -> None:
    assert body_of(request_, name) == (path, body)


@pytest.mark.parametrize(("name", "field"), [("fal-ai/flux-pro/v1/fill", "mask_url"), ("fal-ai/z-image/turbo", "mask_image_url")])
def test_what_the_mask_leaves_open_is_white(name: str, field: str) -> None:
    _, body = body_of(replace(CAT, images=(PHOTO,), mask=mask()), name)
    kind, _, text = body.pop(field).partition(",")
    with Image.open(BytesIO(base64.b64decode(text))) as sent:
        assert (kind, sent.mode, sent.size) == ("data:image/png;base64", "L", (64, 48))
        assert [sent.getpixel((column, 20)) for column in (0, 31, 32, 63)] == [255, 255, 0, 0]
    assert body == {"prompt": "a cat", "num_images": 1, "image_url": IN_JPEG}


# Drawing ------------------------------------------------------------------------------------------------------------------------------------

BAR = {"status": "IN_PROGRESS", "logs": [{"message": " 50%|█████     | 4/8", "level": "INFO"}, {"message": "almost"}]}


async def test_a_request_is_queued_followed_and_fetched(fake: FakeFal) -> None:
    fake.states = ({"status": "IN_QUEUE", "queue_position": 2}, {"status": "IN_QUEUE", "queue_position": 0}, BAR)
    ear = Ear(calls=lambda: len(fake.seen))
    model = known("fal-ai/flux/dev")
    assert await draw(fake, replace(CAT, seed=7, count=2, images=(PHOTO,)), model=model, ear=ear) == Generated(
        images=(Drawn(data=picture(48, 32), seed=7), Drawn(data=picture(48, 32), seed=7)),
        cost=Cost(micros=37_500, currency="USD", source="computed"),
        request_id="764cabcf-0000-4000-8000-000000000000",
    )
    address = "/fal-ai/flux/requests/764cabcf-0000-4000-8000-000000000000"
    assert calls(fake) == ["POST /fal-ai/flux/dev/image-to-image", *[f"GET {address}/status"] * 4, f"GET {address}", *["GET /files/cat.png"] * 2]
    assert ear.tasks == [f"{fake.url}{address}"]
    assert ear.calls_before_acceptance == [1]
    assert [words for _, words in ear.said] == [
        "In fal's line, behind 2.",
        "In fal's line.",
        "fal is drawing.",
        "The pictures are drawn and on their way.",
    ]
    assert [fraction for fraction, _ in ear.said] == pytest.approx([0.18, 0.3, 0.45, 0.95])
    assert all(seen.headers["authorization"] == f"Key {KEY}" for seen in fake.seen[:6])
    assert all("authorization" not in seen.headers for seen in fake.seen[6:])


async def test_a_tool_answers_with_one_picture_and_says_what_it_does_not_hear(fake: FakeFal) -> None:
    generated = await draw(fake, replace(CAT, action=Operation.UPSCALE, images=(PHOTO,)), model=known("fal-ai/aura-sr"))
    assert generated == Generated(
        images=(Drawn(data=picture(48, 32)),),
        request_id="764cabcf-0000-4000-8000-000000000000",
        adjustments=(Adjustment(field="prompt", message="fal-ai/aura-sr takes no such setting, so it was left out."),),
    )


async def test_a_size_that_one_app_of_a_model_does_not_take_is_told(fake: FakeFal) -> None:
    request = replace(CAT, images=(PHOTO,), shape=Size(width=1024, height=1024))
    generated = await draw(fake, request, model=known("fal-ai/flux/dev"))
    assert [adjustment.field for adjustment in generated.adjustments] == ["resolution"]


async def test_an_app_that_nobody_knows_is_told_the_prompt_and_the_options(fake: FakeFal) -> None:
    model = Model(provider="fal", id="fal-ai/recraft/v4/text-to-image")
    with pytest.raises(ProviderError, match=r"answered 404: Application 'recraft/v4/text-to-image' not found\."):
        await draw(fake, replace(CAT, options={"style": "x"}), model=model)
    assert [seen.json() for seen in fake.seen] == [{"prompt": "a cat", "style": "x"}]


@pytest.mark.parametrize("name", ["flux", "../admin/x", "fal-ai/../x", "fal-ai/x?y=1", "https://example.com/x"])
async def test_what_is_no_apps_name_is_not_called(fake: FakeFal, name: str) -> None:
    with pytest.raises(ProviderError, match="is no app of fal"):
        await draw(fake, model=Model(provider="fal", id=name))
    assert fake.seen == []


@pytest.mark.parametrize("trouble", [Trouble.LOOK_500, Trouble.ODD, Trouble.OWN_STATUS])
async def test_what_passes_does_not_lose_the_picture(fake: FakeFal, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert (await draw(fake)).images == (Drawn(data=picture(48, 32), seed=42),)
    assert [seen.method for seen in fake.seen].count("POST") == 1


async def test_a_picture_inside_its_link_is_taken_from_there(fake: FakeFal) -> None:
    fake.trouble.append(Trouble.INLINE)
    assert (await draw(fake)).images == (Drawn(data=base64.b64decode("iVBORw0KGgo="), seed=42),)


async def test_a_blackened_picture_is_left_away_and_told(fake: FakeFal) -> None:
    fake.trouble.append(Trouble.GREY)
    generated = await draw(fake, replace(CAT, count=3))
    assert len(generated.images) == 2
    assert generated.adjustments == (Adjustment(field="n", message="fal's safety checker blackened 1 of 3 pictures."),)


@pytest.mark.parametrize("trouble", [None, Trouble.OWN_STATUS])
async def test_work_is_taken_up_in_another_process_without_submitting(fake: FakeFal, trouble: Trouble | None) -> None:
    fake.trouble.extend([trouble] if trouble else [])
    ear = Ear()
    await draw(fake, ear=ear)
    before = calls(fake)
    fake.seen.clear()
    provider = provider_at(fake)
    generated = await provider.resume(ear.tasks[0], CAT, MODEL, Ear())
    await provider.aclose()
    assert generated.images == (Drawn(data=picture(48, 32), seed=42),)
    assert calls(fake) == before[1:]


async def test_a_cancelled_job_is_looked_at_no_more_and_stays_in_the_queue(fake: FakeFal) -> None:
    fake.trouble.append(Trouble.NEVER)
    await left_alone_when_cancelled(provider_at(fake), fake, CAT, MODEL)


# Failing ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "kind", "words", "billed"),
    [
        (Trouble.NO_BALANCE, QuotaError, "answered 403: User is locked. Reason: Exhausted balance.", False),
        (Trouble.BUSY, RateLimitedError, "answered 429: Concurrent requests limit exceeded.", False),
        (Trouble.NO_ADDRESS, BadReplyError, "took the work but did not say where to look for it.", True),
        (Trouble.ELSEWHERE, BadReplyError, "pointed to https://queue.fal.example, which must not see the key.", True),
        (Trouble.KEY_ECHO, ProviderError, "answered 400: Key *** is odd.", False),
        (Trouble.BLOCKED, RefusedError, "answered 422: prompt: The content could not be processed. The same words", False),
        (Trouble.FAILED, UnavailableError, "answered 500: Internal server error.", False),
        (Trouble.TIMEOUT, UnavailableError, "answered 504: Request timed out.", False),
        (Trouble.TOO_SMALL, ProviderError, "answered 422: image_url: Image is too small.", False),
        (Trouble.LOOK_401, AuthError, "answered 401: Invalid key. Check FAL_KEY", True),
        (Trouble.LOST, UnavailableError, "answered 502", True),
        (Trouble.EMPTY, BadReplyError, "finished the work without a picture.", True),
        (Trouble.BLACK, RefusedError, "safety checker blackened every picture.", True),
        (Trouble.LINK_GONE, BadReplyError, "answered 403.", True),
    ],
)
async def test_a_failure_is_named_with_the_services_reason(
    fake: FakeFal, trouble: Trouble, kind: type[ProviderError], words: str, billed: bool
) -> None:
    fake.trouble.extend([trouble] * 3)  # what surely was not accepted is tried again
    error = await failure_of(draw(fake), KEY)
    assert type(error) is kind
    assert words in error.message
    assert error.may_have_been_billed is billed


async def test_work_that_is_never_done_is_given_up(fake: FakeFal) -> None:
    fake.trouble.append(Trouble.NEVER)
    with pytest.raises(UnavailableError) as caught:
        await draw(fake, replace(CAT, polling={"interval": 0.01, "attempts": 3}))
    assert caught.value.may_have_been_billed


async def test_a_value_that_the_app_refuses_is_named(fake: FakeFal) -> None:
    with pytest.raises(ProviderError, match=r"answered 422: acceleration: 'warp' is not one of"):
        await draw(fake, replace(CAT, options={"acceleration": "warp"}))
    assert len(fake.seen) == 1


def test_errors_and_states_of_odd_forms_are_read() -> None:
    assert read_fault(500, {"detail": "Runner died", "error_type": "runner_disconnected"}) == Fault(
        message="Runner died", kind=UnavailableError, details={"service_code": "runner_disconnected"}
    )
    assert read_fault(500, None) is None
    assert Queued().task_id is None
    assert Status.model_validate({"status": "X", "logs": [{"message": "250%|"}]}).progress == 1


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_costs_nothing_and_names_the_price(fake: FakeFal) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "fal accepts the key; fal-ai/flux-2 costs 0.012 USD (unit: megapixels)."
    await provider.aclose()
    assert [(seen.method, seen.path, seen.query) for seen in fake.seen] == [("GET", "/v1/models/pricing", {"endpoint_id": "fal-ai/flux-2"})]


async def test_a_model_without_a_price_passes_the_check(fake: FakeFal) -> None:
    provider = provider_at(fake, FAL_MODEL="me/mine")
    assert await provider.check() == "fal answers but knows no price of me/mine, so whether the key works is not known."
    await provider.aclose()


async def test_a_wrong_key_names_its_variable_and_is_not_shown(fake: FakeFal) -> None:
    provider = provider_at(fake, FAL_KEY="fal-wrong-987654321")
    for call in (provider.check(), provider.generate(CAT, MODEL, Ear())):
        with pytest.raises(AuthError, match="Check FAL_KEY") as caught:
            await call
        assert "fal-wrong-987654321" not in str(caught.value)
    await provider.aclose()
