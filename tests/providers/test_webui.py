from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, UnavailableError
from mcp_image_server.models import Adjustment, Drawn, Generated, ImageRequest, Model, Operation, Picture, Size
from mcp_image_server.negotiate import negotiate
from mcp_image_server.net import Fault
from mcp_image_server.pictures import white_is_edit
from mcp_image_server.providers import Resumable
from mcp_image_server.providers.webui import AUTO, CATALOGUE, Config, Progress, WebUI, load, read_fault
from mcp_image_server.settings import parse

from ..ear import Ear
from ..easel import png_of
from ..fakes.server import picture
from ..fakes.webui import PREVIEW, FakeWebUI, Trouble, text
from .service import served

pytestmark = pytest.mark.anyio

ANY = CATALOGUE.models[0]
CAT = ImageRequest(prompt="a cat", seed=7, shape=Size(width=64, height=72))
PHOTO = Picture(data=picture(100, 70, "jpeg"), media_type="image/jpeg", size=Size(width=100, height=70))
MASK = Picture(data=png_of(Size(width=100, height=70), bytes(21_000)), media_type="image/png", size=Size(width=100, height=70))
PASSWORD = "pass-0123456789"

server, fake = served(lambda: FakeWebUI(password=PASSWORD))


@asynccontextmanager
async def engine(fake: FakeWebUI, *, glance: float = 5.0, password: str = PASSWORD) -> AsyncIterator[WebUI]:
    provider = WebUI(parse(Config, {"WEBUI_URL": fake.url, "WEBUI_USER": "me", "WEBUI_PASSWORD": password}), glance=glance)
    try:
        with anyio.fail_after(60):
            yield provider
    finally:
        await provider.aclose()


async def draw(fake: FakeWebUI, request: ImageRequest = CAT, *, model: Model = ANY) -> Generated:
    async with engine(fake) as provider:
        return await provider.generate(request, model, Ear())


def sent(fake: FakeWebUI) -> tuple[str, Any]:
    (seen,) = fake.seen
    return seen.path.removeprefix("/sdapi/v1/"), seen.json()


def test_the_engines_address_makes_the_provider_and_one_account_for_all_processes() -> None:
    assert load({}) is None
    assert load({"WEBUI_USER": "me"}) is None
    provider, elsewhere = load({"WEBUI_URL": "http://127.0.0.1:7860/"}), load({"WEBUI_URL": "http://10.0.0.2:7860"})
    assert provider is not None
    assert elsewhere is not None
    assert (provider.name, provider.repeatable, provider.catalogue, provider.limits.concurrent) == ("webui", True, CATALOGUE, 1)
    assert provider.account != elsewhere.account
    assert not isinstance(provider, Resumable)


# To wire ------------------------------------------------------------------------------------------------------------------------------------


async def test_a_picture_is_drawn_with_this_body(fake: FakeWebUI) -> None:
    request = replace(CAT, negative_prompt="dogs", count=2, options={"steps": 8, "cfg_scale": 1.5})
    made = await draw(fake, request, model=replace(ANY, id="sd_xl_base_1.0"))
    assert sent(fake) == (
        "txt2img",
        {
            "prompt": "a cat",
            "negative_prompt": "dogs",
            "width": 64,
            "height": 72,
            "seed": 7,
            "steps": 8,
            "cfg_scale": 1.5,
            "n_iter": 2,
            "do_not_save_grid": True,
            "override_settings": {"sd_model_checkpoint": "sd_xl_base_1.0"},
        },
    )
    drawn = picture(64, 72)
    assert made == Generated(images=(Drawn(data=drawn, seed=7), Drawn(data=drawn, seed=8)), model="sd_xl_base_1.0")


async def test_a_picture_is_changed_with_this_body(fake: FakeWebUI) -> None:
    await draw(fake, ImageRequest(prompt="a cat", images=(PHOTO,)))
    assert sent(fake) == (
        "img2img",
        {
            "prompt": "a cat",
            "width": 96,
            "height": 64,
            "steps": 25,
            "n_iter": 1,
            "do_not_save_grid": True,
            "init_images": [text(PHOTO.data)],
            "denoising_strength": 0.75,
            "resize_mode": 1,
        },
    )


async def test_a_picture_is_painted_anew_where_the_mask_is_open(fake: FakeWebUI) -> None:
    await draw(fake, ImageRequest(prompt="a cat", images=(PHOTO,), mask=MASK, strength=1.0, seed=3, shape=Size(width=128, height=64)))
    assert sent(fake) == (
        "img2img",
        {
            "prompt": "a cat",
            "width": 128,
            "height": 64,
            "seed": 3,
            "steps": 25,
            "n_iter": 1,
            "do_not_save_grid": True,
            "init_images": [text(PHOTO.data)],
            "denoising_strength": 1.0,
            "resize_mode": 1,
            "mask": text(white_is_edit(MASK.data)),
            "inpainting_fill": 1,
            "inpaint_full_res": False,
        },
    )


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        (None, {"resize_mode": 0, "upscaling_resize": 4}),
        (Size(width=512, height=256), {"resize_mode": 1, "upscaling_resize_w": 512, "upscaling_resize_h": 256, "upscaling_resize": 4}),
    ],
)
async def test_a_picture_is_made_larger_with_this_body(fake: FakeWebUI, shape: Size | None, scale: Any) -> None:
    request = ImageRequest(prompt="sharper", action=Operation.UPSCALE, images=(PHOTO,), shape=shape, options={"upscaling_resize": 4})
    made = await draw(fake, request)
    assert sent(fake) == ("extra-single-image", {"image": text(PHOTO.data), "upscaler_1": "R-ESRGAN 4x+", **scale})
    words = "The WebUI's upscalers take no such wish; it was not used."
    assert made == Generated(images=(Drawn(data=picture(128, 128)),), adjustments=(Adjustment(field="prompt", message=words),))


def test_sizes_are_fitted_to_what_the_engine_draws() -> None:
    fitted = negotiate(replace(CAT, shape=Size(width=1001, height=999)), ANY, styles={})
    assert fitted.request.shape == Size(width=1000, height=1000)


# Work ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "seed", "model"),
    [
        (Trouble.GRID, 7, "v1-5-pruned"),
        (Trouble.NO_INFO, None, None),
        (Trouble.ODD_INFO, None, None),
        (Trouble.MORE_FIELDS, 7, "v1-5-pruned"),
    ],
)
async def test_the_pictures_are_found_whatever_the_engine_says_about_them(
    fake: FakeWebUI, trouble: Trouble, seed: int | None, model: str | None
) -> None:
    fake.trouble.append(trouble)
    assert await draw(fake) == Generated(images=(Drawn(data=picture(64, 72), seed=seed),), model=model)


async def test_progress_and_previews_come_while_the_engine_draws(fake: FakeWebUI) -> None:
    fake.trouble.append(Trouble.HOLD)
    ear = Ear()
    async with engine(fake, glance=0.01) as provider, anyio.create_task_group() as tasks:
        tasks.start_soon(provider.generate, CAT, ANY, ear)
        while len(ear.said) < 3:
            await anyio.sleep(0.01)
        await provider._interrupt()
    assert set(ear.said) == {(0.35, "The WebUI is at step 7 of 20.")}
    assert ear.previews == [PREVIEW]
    assert ear.tasks == []
    assert {seen.query.get("skip_current_image") for seen in fake.seen if seen.path.endswith("progress")} == {"false"}


async def test_broken_progress_does_not_end_the_work(fake: FakeWebUI) -> None:
    fake.trouble.append(Trouble.HOLD)
    fake.broken_progress = True
    ear, made = Ear(), []
    async with engine(fake, glance=0.01) as provider, anyio.create_task_group() as tasks:

        async def work() -> None:
            made.append(await provider.generate(CAT, ANY, ear))

        tasks.start_soon(work)
        while len(fake.seen) < 3:
            await anyio.sleep(0.01)
        await provider._interrupt()
    assert ear.said == []
    assert [generated.images for generated in made] == [(Drawn(data=picture(64, 72), seed=7),)]


def test_an_engine_at_rest_reports_nothing() -> None:
    assert Progress().words == ""


async def test_who_cancels_interrupts_the_engine(fake: FakeWebUI) -> None:
    fake.trouble.append(Trouble.HOLD)
    async with engine(fake) as provider, anyio.create_task_group() as tasks:
        tasks.start_soon(provider.generate, CAT, ANY, Ear())
        while not fake.seen:
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert [(seen.method, seen.path) for seen in fake.seen] == [("POST", "/sdapi/v1/txt2img"), ("POST", "/sdapi/v1/interrupt")]


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (Trouble.NOTHING, BadReplyError, "answered without a picture"),
        (Trouble.NO_BASE64, BadReplyError, "not valid base64"),
        (Trouble.MEMORY, ProviderError, "CUDA out of memory. Tried to allocate 9 GiB"),
        (Trouble.NO_API, ProviderError, "Start the WebUI with --api"),
    ],
)
async def test_work_that_brings_nothing_says_why_and_speaks_of_no_bill(
    fake: FakeWebUI, trouble: Trouble, kind: type[ProviderError], words: str
) -> None:
    fake.trouble.append(trouble)
    with pytest.raises(ProviderError) as caught:
        await draw(fake)
    assert type(caught.value) is kind
    assert words in caught.value.message
    assert "billed" not in caught.value.message
    assert not caught.value.may_have_been_billed


async def test_what_the_engine_lacks_or_does_not_understand_is_told_in_its_words(fake: FakeWebUI) -> None:
    with pytest.raises(UnavailableError, match="Unknown checkpoint: gone"):
        await draw(fake, model=replace(ANY, id="gone"))
    with pytest.raises(ProviderError, match="value of steps is not valid"):
        await draw(fake, replace(CAT, options={"steps": "many"}))


# Check --------------------------------------------------------------------------------------------------------------------------------------


async def test_the_check_lists_the_checkpoints_which_then_are_offered(fake: FakeWebUI) -> None:
    async with engine(fake) as provider:
        words = await provider.check()
        assert words == "The WebUI answers with v1-5-pruned.safetensors [ab] loaded; checkpoints: v1-5-pruned, sd_xl_base_1.0."
        assert [model.id for model in provider.catalogue.models] == [AUTO, "v1-5-pruned", "sd_xl_base_1.0"]


async def test_a_wrong_password_is_told_and_not_shown(fake: FakeWebUI) -> None:
    async with engine(fake, password="wrong-0123456789") as provider:
        with pytest.raises(AuthError) as caught:
            await provider.check()
    shown = f"{caught.value!r}{caught.value.details}{provider._net.service!r}"
    assert "Check WEBUI_USER and WEBUI_PASSWORD" in shown
    assert "wrong-0123456789" not in shown
    assert base64.b64encode(b"me:wrong-0123456789").decode() not in shown


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (
            404,
            {"error": "HTTPException", "detail": "Sampler not found", "body": "", "errors": ""},
            Fault(message="Sampler not found", details={"service_code": "HTTPException"}),
        ),
        (500, {"error": "ValueError", "detail": "", "errors": ""}, Fault(message="ValueError")),
        (500, {}, None),
        (500, [], None),
    ],
)
def test_an_error_of_the_engine_is_understood(status: int, body: Any, fault: Fault | None) -> None:
    assert read_fault(status, body) == fault
