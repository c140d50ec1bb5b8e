from __future__ import annotations

import base64
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
)
from mcp_image_server.models import (
    Adjustment,
    AspectRatio,
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
from mcp_image_server.providers.replicate import MAX_INLINE, Config, Replicate, load, service
from mcp_image_server.providers.replicate.models import CATALOGUE, DEFAULT_MODEL, FORMS, MODELS
from mcp_image_server.providers.replicate.wire import read_fault, to_wire
from mcp_image_server.settings import parse

from ..ear import Ear
from ..fakes.replicate import INPUTS, VERSION, FakeReplicate, Trouble
from ..fakes.server import picture
from .service import drawn_by, failure_of, known_in, left_alone_when_cancelled, served

pytestmark = pytest.mark.anyio

TOKEN = "r8_fake0123456789"
CAT = ImageRequest(prompt="a cat")
QUICK = Pace(first=0.001, factor=1, longest=0.001, deadline=60)
PHOTO = Picture(data=picture(64, 48, "jpeg"), media_type="image/jpeg", size=Size(width=64, height=48))
DRAWING = Picture(data=picture(64, 48), media_type="image/png", size=Size(width=64, height=48))
IN_JPEG = f"data:image/jpeg;base64,{base64.b64encode(PHOTO.data).decode()}"
IN_PNG = f"data:image/png;base64,{base64.b64encode(DRAWING.data).decode()}"
A, B = "https://example.com/a.png", "https://example.com/b.png"


def mask() -> Picture:
    """The left half is to be painted anew."""
    whole = Image.new("RGBA", (64, 48), (9, 9, 9, 255))
    whole.paste((9, 9, 9, 0), (0, 0, 32, 48))
    file = BytesIO()
    whole.save(file, "PNG")
    return Picture(data=file.getvalue(), media_type="image/png", size=Size(width=64, height=48))


known = partial(known_in, MODELS)
MODEL = known(DEFAULT_MODEL)
SCHNELL = known("black-forest-labs/flux-schnell")

server, fake = served(FakeReplicate)


def provider_at(fake: FakeReplicate, **variables: str) -> Replicate:
    """The provider with its usual settings and shorter waits."""
    config = parse(Config, {"REPLICATE_API_TOKEN": TOKEN, "REPLICATE_BASE_URL": f"{fake.url}/v1", **variables})
    provider = Replicate(config, looking=QUICK)
    provider._net = Net(service(config), tries=Tries(first_wait=0.001))
    return provider


async def draw(fake: FakeReplicate, request: ImageRequest = CAT, *, model: Model = MODEL, ear: Ear | None = None) -> Generated:
    return await drawn_by(provider_at(fake), request, model, ear)


def calls(fake: FakeReplicate) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in fake.seen]


# Settings -----------------------------------------------------------------------------------------------------------------------------------


def test_a_token_makes_a_provider_that_can_go_on_with_a_task() -> None:
    assert load({"REPLICATE_BASE_URL": "http://localhost:1"}) is None
    provider = load({"REPLICATE_API_TOKEN": TOKEN})
    assert provider is not None
    assert isinstance(provider, Resumable)
    assert TOKEN not in f"{provider.account}{provider._net.service!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("REPLICATE_API_TOKEN", "a b"), ("REPLICATE_BASE_URL", "replicate.com"), ("REPLICATE_MODEL", "flux"), ("REPLICATE_MODEL", "../files/x")],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load({"REPLICATE_API_TOKEN": TOKEN, name: value})


# Models -------------------------------------------------------------------------------------------------------------------------------------


def valid(body: Any, name: str) -> Any:
    """The input, after the model's rules were checked."""
    properties, required = INPUTS[name]
    jsonschema.validate(body, {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False})
    return body


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_what_is_said_of_a_model_is_true(model: Model) -> None:
    properties, form = INPUTS[model.id][0], FORMS[model.id]
    assert form.fields | ({form.image or form.image_list} - {""}) <= properties.keys()
    assert ("seed" in form.fields) == ("seed" in properties) == model.seed
    assert ("num_outputs" in form.fields) == ("num_outputs" in properties) == (model.max_count > 1)
    assert ("negative_prompt" in form.fields) == ("negative_prompt" in properties) == model.negative_prompt
    assert {"jpeg" if kind == "jpg" else kind for kind in properties.get("output_format", {}).get("enum", ())} == set(model.formats)
    assert ("output_quality" in properties) == bool(model.compression)
    assert ("mask" in form.fields) == model.mask
    assert form.fields.isdisjoint(("strength", "prompt_strength", "image_prompt_strength")) != model.strength
    assert bool(form.image or form.image_list) == (model.max_images > 0)
    assert isinstance(model.sizes, SizeList) == bool(form.shapes)
    for operation in sorted(model.operations):
        for shape in (None, Size(width=1000, height=700), AspectRatio(width=9, height=16)):
            wish = ImageRequest(
                prompt="a cat",
                action=operation,
                shape=shape,
                count=3,
                seed=7,
                negative_prompt="dogs",
                output_format="jpeg",
                output_compression=90,
                strength=0.4,
                images=(PHOTO,) if operation is not Operation.GENERATE else (),
                mask=DRAWING if operation is Operation.INPAINT else None,
                extend=Edges(left=10) if operation is Operation.OUTPAINT else None,
            )
            fitted = negotiate(wish, model, styles={}).request
            valid(to_wire(fitted, model, images=[A] * len(wish.images), mask=B if wish.mask else None), model.id)


def test_every_resolution_offered_is_drawn_by_the_default_model() -> None:
    for key in CATALOGUE.resolutions:
        width, height = map(int, key.split("x"))
        assert negotiate(ImageRequest(prompt="a cat", shape=Size(width=width, height=height)), MODEL, styles={}).adjustments == ()


def test_a_default_model_that_nobody_knows_is_offered() -> None:
    offered = Replicate(parse(Config, {"REPLICATE_API_TOKEN": TOKEN, "REPLICATE_MODEL": VERSION})).catalogue
    assert (offered.default_model, offered.models[1:]) == (VERSION, MODELS)
    assert Replicate(parse(Config, {"REPLICATE_API_TOKEN": TOKEN, "REPLICATE_MODEL": SCHNELL.id})).catalogue.models == MODELS


# To wire ------------------------------------------------------------------------------------------------------------------------------------

ULTRA_WISH = replace(CAT, action=Operation.VARIATION, images=(PHOTO,), strength=0.25, options={"raw": True})


@pytest.mark.parametrize(
    ("name", "request_", "body"),
    [
        ("black-forest-labs/flux-2-pro", CAT, {"prompt": "a cat"}),
        (
            "black-forest-labs/flux-2-flex",
            replace(CAT, images=(PHOTO, DRAWING), shape=Size(width=1024, height=768), seed=7, output_format="jpeg", output_compression=90),
            {
                "prompt": "a cat",
                "seed": 7,
                "aspect_ratio": "custom",
                "width": 1024,
                "height": 768,
                "output_format": "jpg",
                "output_quality": 90,
                "input_images": [A, B],
            },
        ),
        (
            "black-forest-labs/flux-3-image",
            replace(CAT, images=(PHOTO,), shape=Size(width=2048, height=2048), options={"grounding": False}),
            {"prompt": "a cat", "aspect_ratio": "1:1", "resolution": "2k", "images": [A], "grounding": False},
        ),
        (
            "black-forest-labs/flux-kontext-pro",
            replace(CAT, images=(PHOTO,), shape=AspectRatio(width=16, height=9), output_format="png"),
            {"prompt": "a cat", "aspect_ratio": "16:9", "output_format": "png", "input_image": A},
        ),
        ("black-forest-labs/flux-schnell", replace(CAT, count=4), {"prompt": "a cat", "num_outputs": 4}),
        (
            "black-forest-labs/flux-dev",
            replace(CAT, images=(PHOTO,), strength=0.5),
            {"prompt": "a cat", "num_outputs": 1, "image": A, "prompt_strength": 0.5},
        ),
        ("black-forest-labs/flux-1.1-pro-ultra", ULTRA_WISH, {"prompt": "a cat", "image_prompt": A, "image_prompt_strength": 0.75, "raw": True}),
        ("qwen/qwen-image-2512", replace(CAT, negative_prompt="dogs"), {"prompt": "a cat", "negative_prompt": "dogs"}),
        ("qwen/qwen-image-edit-plus", replace(CAT, images=(PHOTO,)), {"prompt": "a cat", "image": [A]}),
        ("black-forest-labs/flux-fill-pro", replace(CAT, images=(PHOTO,), mask=DRAWING), {"prompt": "a cat", "image": A, "mask": B}),
        (
            "bria/expand-image",
            ImageRequest(prompt="", images=(PHOTO,), extend=Edges(left=100, top=8, bottom=20)),
            {
                "image": A,
                "aspect_ratio": "none",
                "canvas_size": [164, 76],
                "original_image_size": [64, 48],
                "original_image_location": [100, 8],
            },
        ),
        (
            "topazlabs/image-upscale",
            ImageRequest(prompt="", action=Operation.UPSCALE, images=(PHOTO,), options={"upscale_factor": "4x"}),
            {"image": A, "upscale_factor": "4x"},
        ),
        ("bria/remove-background", ImageRequest(prompt="", action=Operation.REMOVE_BACKGROUND, images=(PHOTO,)), {"image": A}),
    ],
)
def test_a_request_becomes_this_input(name: str, request_: ImageRequest, body: dict[str, Any]) -> None:
    fitted = negotiate(request_, known(name), styles={}).request
    sent = to_wire(fitted, known(name), images=[A, B][: len(request_.images)], mask=B if request_.mask else None)
    assert valid(sent, name) == body


def test_an_unknown_model_is_told_the_prompt_and_the_options() -> None:
    model = Model(provider="replicate", id="someone/model")
    request = replace(CAT, seed=7, shape=Size(width=8, height=8), options={"lora_scale": 0.5})
    assert to_wire(request, model) == {"prompt": "a cat", "lora_scale": 0.5}


# Drawing ------------------------------------------------------------------------------------------------------------------------------------


async def test_a_prediction_is_created_followed_and_fetched(fake: FakeReplicate) -> None:
    fake.states = ("starting", "processing")
    ear = Ear(calls=lambda: len(fake.seen))
    assert await draw(fake, replace(CAT, seed=7, count=2), model=SCHNELL, ear=ear) == Generated(
        images=(Drawn(data=picture(48, 32, "webp"), seed=7), Drawn(data=picture(48, 32, "webp"), seed=7)),
        request_id="ufawqhfynnddngldkgtslldr00",
    )
    assert calls(fake) == [
        "POST /v1/models/black-forest-labs/flux-schnell/predictions",
        *["GET /v1/predictions/ufawqhfynnddngldkgtslldr00"] * 3,
        *["GET /delivery/out-0.webp"] * 2,
    ]
    assert fake.seen[0].json() == {"input": {"prompt": "a cat", "seed": 7, "num_outputs": 2}}
    assert ear.tasks == ["ufawqhfynnddngldkgtslldr00"]
    assert ear.calls_before_acceptance == [1]
    assert [words for _, words in ear.said] == [
        "Replicate makes a machine ready.",
        "Replicate is drawing.",
        "The pictures are drawn and on their way.",
    ]
    assert [fraction for fraction, _ in ear.said] == pytest.approx([0.18, 0.45, 0.95])
    assert all(seen.headers["authorization"] == f"Bearer {TOKEN}" for seen in fake.seen[:4])
    assert all("authorization" not in seen.headers for seen in fake.seen[4:])


async def test_a_version_is_asked_for_by_name(fake: FakeReplicate) -> None:
    generated = await draw(fake, replace(CAT, options={"lora_scale": 0.8}), model=Model(provider="replicate", id=VERSION))
    assert len(generated.images) == 1
    assert (fake.seen[0].path, fake.seen[0].json()) == ("/v1/predictions", {"version": VERSION, "input": {"prompt": "a cat", "lora_scale": 0.8}})


@pytest.mark.parametrize("name", ["flux", "../files", "a/../b", "owner/name?x=1", "owner/name:1234"])
async def test_what_is_no_models_name_is_not_called(fake: FakeReplicate, name: str) -> None:
    with pytest.raises(ProviderError, match="is no model of Replicate"):
        await draw(fake, model=Model(provider="replicate", id=name))
    assert fake.seen == []


async def test_a_small_picture_goes_inside_the_request_and_what_the_mask_leaves_open_is_white(fake: FakeReplicate) -> None:
    await draw(fake, replace(CAT, images=(PHOTO,), mask=mask()), model=known("black-forest-labs/flux-fill-dev"))
    body = fake.seen[0].json()["input"]
    kind, _, text = body.pop("mask").partition(",")
    with Image.open(BytesIO(base64.b64decode(text))) as sent:
        assert (kind, sent.mode, sent.size) == ("data:image/png;base64", "L", (64, 48))
        assert [sent.getpixel((column, 20)) for column in (0, 31, 32, 63)] == [255, 255, 0, 0]
    assert body == {"prompt": "a cat", "num_outputs": 1, "image": IN_JPEG}


async def test_a_large_picture_is_uploaded_first(fake: FakeReplicate) -> None:
    large = replace(DRAWING, data=DRAWING.data + bytes(MAX_INLINE))
    await draw(fake, replace(CAT, images=(large, PHOTO)))
    assert calls(fake)[:2] == ["POST /v1/files", "POST /v1/models/black-forest-labs/flux-2-pro/predictions"]
    assert fake.uploads == {"file0": large.data}
    assert fake.seen[1].json()["input"]["input_images"] == [f"{fake.url}/v1/files/file0", IN_JPEG]


async def test_what_a_tool_does_not_hear_is_told(fake: FakeReplicate) -> None:
    request = replace(CAT, action=Operation.UPSCALE, images=(PHOTO,), shape=Size(width=2048, height=2048))
    generated = await draw(fake, request, model=known("recraft-ai/recraft-crisp-upscale"))
    words = "recraft-ai/recraft-crisp-upscale takes no such setting, so it was left out."
    assert generated.adjustments == (Adjustment(field="prompt", message=words), Adjustment(field="resolution", message=words))


@pytest.mark.parametrize("trouble", [Trouble.LOOK_500, Trouble.ODD])
async def test_what_passes_does_not_lose_the_picture(fake: FakeReplicate, trouble: Trouble) -> None:
    fake.trouble.append(trouble)
    assert (await draw(fake)).images == (Drawn(data=picture(48, 32, "webp")),)
    assert [seen.method for seen in fake.seen].count("POST") == 1


async def test_a_prediction_is_taken_up_in_another_process_without_creating_one(fake: FakeReplicate) -> None:
    ear = Ear()
    await draw(fake, ear=ear)
    before = calls(fake)
    fake.seen.clear()
    provider = provider_at(fake)
    generated = await provider.resume(ear.tasks[0], replace(CAT, seed=7), MODEL, Ear())
    await provider.aclose()
    assert generated.images == (Drawn(data=picture(48, 32, "webp"), seed=7),)
    assert calls(fake) == before[1:]


async def test_a_cancelled_job_is_looked_at_no_more_and_can_be_taken_up(fake: FakeReplicate) -> None:
    fake.trouble.append(Trouble.NEVER)
    await left_alone_when_cancelled(provider_at(fake), fake, CAT, MODEL)


# Failing ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "kind", "words", "billed"),
    [
        (Trouble.NO_CREDIT, QuotaError, "answered 402: You have insufficient credit to run this model.", False),
        (Trouble.THROTTLED, RateLimitedError, "answered 429: Request was throttled.", False),
        (Trouble.NO_ID, BadReplyError, "took the work but gave the prediction no id.", True),
        (Trouble.TOKEN_ECHO, ProviderError, "answered 400: Bearer *** is odd.", False),
        (Trouble.BLOCKED, RefusedError, "failed: The input or output was flagged as sensitive.", False),
        (Trouble.NSFW, RefusedError, "failed: NSFW content detected.", False),
        (Trouble.FAILED, ProviderError, "failed: CUDA out of memory.", True),
        (Trouble.MUTE, ProviderError, "failed: no reason given.", True),
        (Trouble.INTERRUPTED, UnavailableError, "failed: Prediction interrupted; please retry", True),
        (Trouble.CANCELED, ProviderError, "failed: the prediction was canceled.", True),
        (Trouble.ABORTED, ProviderError, "failed: the prediction was aborted.", True),
        (Trouble.LOOK_404, ProviderError, "answered 404: The requested resource could not be found.", True),
        (Trouble.REMOVED, BadReplyError, "what a prediction made is deleted after an hour.", True),
        (Trouble.EMPTY, BadReplyError, "finished the work without a picture.", True),
        (Trouble.LINK_GONE, BadReplyError, "answered 404.", True),
    ],
)
async def test_a_failure_is_named_with_the_services_reason(
    fake: FakeReplicate, trouble: Trouble, kind: type[ProviderError], words: str, billed: bool
) -> None:
    fake.trouble.extend([trouble] * 3)  # what surely was not accepted is tried again
    error = await failure_of(draw(fake), TOKEN)
    assert type(error) is kind
    assert words in error.message
    assert error.may_have_been_billed is billed


async def test_a_prediction_that_is_never_done_is_given_up(fake: FakeReplicate) -> None:
    fake.trouble.append(Trouble.NEVER)
    with pytest.raises(UnavailableError) as caught:
        await draw(fake, replace(CAT, polling={"interval": 0.01, "attempts": 3}))
    assert caught.value.may_have_been_billed


async def test_a_value_that_the_model_refuses_is_named(fake: FakeReplicate) -> None:
    with pytest.raises(ProviderError, match=r"answered 422: - input\.safety_tolerance: 9 is greater than the maximum of 5\."):
        await draw(fake, replace(CAT, options={"safety_tolerance": 9}))
    assert len(fake.seen) == 1


def test_errors_of_odd_forms_are_read() -> None:
    assert read_fault(429, {"detail": "set up billing", "retry_after": 7}) == Fault(message="set up billing", retry_after=7.0)
    assert read_fault(500, "") is None


# Checking -----------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_costs_nothing_and_names_the_account(fake: FakeReplicate) -> None:
    provider = provider_at(fake)
    assert await provider.check() == "Replicate accepts the token of acme."
    await provider.aclose()
    assert calls(fake) == ["GET /v1/account"]


async def test_a_wrong_token_names_its_variable_and_is_not_shown(fake: FakeReplicate) -> None:
    provider = provider_at(fake, REPLICATE_API_TOKEN="r8_wrong987654321")
    for call in (provider.check(), provider.generate(CAT, MODEL, Ear())):
        with pytest.raises(AuthError, match="Check REPLICATE_API_TOKEN") as caught:
            await call
        assert "r8_wrong987654321" not in str(caught.value)
    await provider.aclose()
