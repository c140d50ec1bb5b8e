"""The WebUI for Stable Diffusion on the user's own machine: AUTOMATIC1111, Forge, SD.Next.

Facts from https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/API.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr

from ..errors import BadReplyError, ProviderError
from ..fields import BaseUrl
from ..models import Adjustment, Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Picture, Size, SizeRange
from ..net import Fault, Net, Service, words_in
from ..settings import Environment, parse
from .base import Context, account_of, present

AUTO = "auto"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Where the engine is. It has to be started with `--api`, and with `--api-auth name:password` where it asks for these."""

    model_config = ConfigDict(frozen=True)

    url: BaseUrl = Field(
        "http://127.0.0.1:7860",
        alias="WEBUI_URL",
        description="Address of the WebUI, which is started with --api. Setting it switches the provider on.",
    )
    user: str = Field("", alias="WEBUI_USER", description="Name, where the WebUI was started with --api-auth.")
    password: SecretStr = Field(SecretStr(""), alias="WEBUI_PASSWORD", description="Password, where the WebUI was started with --api-auth.")
    model: str = Field(
        AUTO,
        alias="WEBUI_MODEL",
        min_length=1,
        description="Checkpoint for requests that name none, as the WebUI lists it; auto: the one that is loaded.",
    )


# Models -------------------------------------------------------------------------------------------------------------------------------------

_ANY = Model(
    provider="webui",
    id=AUTO,
    title="The checkpoint that is loaded",
    operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.UPSCALE}),
    sizes=SizeRange(min_edge=64, max_edge=4096, max_pixels=4096 * 4096, multiple=8),
    default_size=Size(width=1024, height=1024),
    max_count=16,
    seed=True,
    negative_prompt=True,
    max_images=1,
    mask=True,
    strength=True,
    previews=True,
    note="Options: steps (25 unless told otherwise), cfg_scale, sampler_name, scheduler, enable_hr, alwayson_scripts …; to upscale, upscaler_1 and "
    "upscaling_resize. A LoRA is named in the prompt: <lora:name:0.8>.",
)

CATALOGUE = Catalogue(
    provider="webui",
    title="Stable Diffusion WebUI",
    models=(_ANY,),
    default_model=AUTO,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square 正方形)",
        "1216x832": "1216x832 (3:2 landscape 横向)",
        "832x1216": "832x1216 (2:3 portrait 竖向)",
        "1344x768": "1344x768 (16:9 wide 宽屏)",
        "768x1344": "768x1344 (9:16 tall 长屏)",
        "512x512": "512x512 (1:1 small 小图)",
    },
    variables=("WEBUI_URL",),
    unknown=replace(_ANY, id="", title=""),
)


def catalogue_for(config: Config, checkpoints: Sequence[str] = ()) -> Catalogue:
    """What is offered with these settings, and by the engine where it has been asked."""
    names = dict.fromkeys((AUTO, config.model, *checkpoints))
    models = tuple(_ANY if name == AUTO else replace(_ANY, id=name, title=name) for name in names)
    return replace(CATALOGUE, models=models, default_model=config.model)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_ROUTES = {Operation.GENERATE: "txt2img", Operation.EDIT: "img2img", Operation.INPAINT: "img2img", Operation.UPSCALE: "extra-single-image"}

_AS_LONG_AS_IT_TAKES = 86_400
"""Seconds of silence to bear: the answer is the picture, and how long that takes depends on the machine alone."""


class WebUI:
    """The engine at work. Opens no connection before it is first used."""

    name = "webui"
    limits = Limits(concurrent=1)  # it draws one picture at a time, and its progress does not say whose
    repeatable = True

    def __init__(self, config: Config, *, glance: float = 1.0) -> None:
        self.catalogue = catalogue_for(config)
        self.account = account_of(self.name, config.url)
        self._config = config
        self._net = Net(service(config))
        self._glance = glance
        """Seconds between two looks at the progress."""

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures, with previews while they are drawn. Cancelling interrupts the engine."""
        mask = await self._white_mask(request.mask) if request.mask is not None else None
        body = await anyio.to_thread.run_sync(lambda: to_wire(request, model, mask=mask))
        failure: ProviderError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, context)
            try:
                reply = await self._net.send("POST", f"sdapi/v1/{_ROUTES[request.operation]}", json=body, read_timeout=_AS_LONG_AS_IT_TAKES)
            except ProviderError as error:  # kept from the group, which would wrap it
                failure = error
            except anyio.get_cancelled_exc_class():
                await self._interrupt()
                raise
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        answer = reply.parse(Answer)
        pictures = [await reply.decode(text) for text in answer.pictures]
        if not pictures:
            raise reply.failure(BadReplyError, "The WebUI answered without a picture")
        return from_wire(answer, pictures, request)

    async def check(self) -> str:
        """Which checkpoint is loaded, and which others there are."""
        listed = (await self._net.send("GET", "sdapi/v1/sd-models", read_timeout=30)).parse(Checkpoints)
        options = (await self._net.send("GET", "sdapi/v1/options", read_timeout=30)).parse(Options)
        names = [checkpoint.model_name for checkpoint in listed.root]
        self.catalogue = catalogue_for(self._config, names)
        few = f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        return f"The WebUI answers with {options.sd_model_checkpoint or 'no checkpoint'} loaded; checkpoints: {few or 'none'}."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _white_mask(self, mask: Picture) -> bytes:
        from ..pictures import white_is_edit

        return await anyio.to_thread.run_sync(white_is_edit, mask.data)

    async def _watch(self, context: Context) -> None:
        """Progress and previews until cancelled. They are ornaments: whatever goes wrong with them does not end the work."""
        last = ""
        while True:
            await anyio.sleep(self._glance)
            with suppress(ProviderError):
                reply = await self._net.send("GET", "sdapi/v1/progress", params={"skip_current_image": "false"}, read_timeout=10)
                progress = reply.parse(Progress)
                if progress.words:
                    await context.report(min(max(progress.progress, 0.0), 0.95), progress.words)
                if progress.current_image and progress.current_image != last:
                    last = progress.current_image
                    await context.preview(await reply.decode(last))

    async def _interrupt(self) -> None:
        with anyio.move_on_after(2, shield=True), suppress(ProviderError):
            await self._net.send("POST", "sdapi/v1/interrupt")


def load(environment: Environment) -> WebUI | None:
    """The provider, when the engine's address is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return WebUI(parse(Config, environment)) if "WEBUI_URL" in environment else None


def service(config: Config) -> Service:
    """How to reach the engine with these settings."""
    password = config.password.get_secret_value()
    token = base64.b64encode(f"{config.user}:{password}".encode()).decode("ascii")
    asked = bool(config.user or password)
    return Service(
        provider="webui",
        title="The WebUI",
        base_url=config.url,
        headers={"Authorization": f"Basic {token}"} if asked else {},
        secrets=(password, token) if asked else (),
        read_fault=read_fault,
        key_variable="WEBUI_USER and WEBUI_PASSWORD",
        url_variable="WEBUI_URL",
        free=True,
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------


class Info(BaseModel):
    """What the engine says about the pictures of an answer."""

    index_of_first_image: int = 0
    all_seeds: list[int] = []
    sd_model_name: str | None = None


class Answer(BaseModel):
    """Pictures as base64, before which an overview may stand; `info` is JSON in a text, and empty at some engines."""

    images: list[str] | None = None
    image: str | None = None
    info: str | None = None

    @property
    def facts(self) -> Info:
        try:
            return Info.model_validate(json.loads(self.info or "{}"))
        except ValueError:  # words about the pictures that we cannot read must not lose them
            return Info()

    @property
    def pictures(self) -> list[str]:
        return (self.images or [])[self.facts.index_of_first_image :] or ([self.image] if self.image else [])


class State(BaseModel):
    """What is being done."""

    sampling_step: int = 0
    sampling_steps: int = 0
    job_count: int = 0


class Progress(BaseModel):
    """How far the engine is with whatever it does."""

    progress: float = 0.0
    state: State = State()
    current_image: str | None = None

    @property
    def words(self) -> str:
        """For a person; empty while nothing is drawn."""
        steps = self.state.sampling_steps
        return f"The WebUI is at step {min(self.state.sampling_step, steps)} of {steps}." if steps and self.progress > 0 else ""


class Checkpoint(BaseModel):
    """One entry of the list of checkpoints."""

    model_name: str


class Checkpoints(RootModel[list[Checkpoint]]):
    """What there is to draw with."""


class Options(BaseModel):
    """The engine's settings."""

    sd_model_checkpoint: str | None = None


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------

_STEPS = 25  # the interface itself would take fifty, the pages of the WebUI twenty


def to_wire(request: ImageRequest, model: Model, *, mask: bytes | None = None) -> dict[str, Any]:
    """The body of the call. The mask is white where the picture is to be painted anew."""
    if request.operation is Operation.UPSCALE:
        return {**_upscale(request), **request.options}
    size = request.shape if isinstance(request.shape, Size) else _size_of(request.images[0]) if request.images else None
    body: dict[str, Any] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "width": size.width if size else None,
        "height": size.height if size else None,
        "seed": request.seed,
        "steps": _STEPS,
        "n_iter": request.count,  # one after the other: a batch would take that much more of the graphics card's memory
        "do_not_save_grid": True,
        "override_settings": {"sd_model_checkpoint": model.id} if model.id != AUTO else None,
    }
    if request.images:
        body |= {
            "init_images": [_text(picture.data) for picture in request.images],
            "denoising_strength": request.strength if request.strength is not None else 0.75,
            "resize_mode": 1,  # crop rather than stretch
        }
    if mask is not None:
        body |= {"mask": _text(mask), "inpainting_fill": 1, "inpaint_full_res": False}
    return {**present(body), **request.options}


def _upscale(request: ImageRequest) -> dict[str, Any]:
    image = {"image": _text(request.images[0].data), "upscaler_1": "R-ESRGAN 4x+"}
    if isinstance(request.shape, Size):
        return {**image, "resize_mode": 1, "upscaling_resize_w": request.shape.width, "upscaling_resize_h": request.shape.height}
    return {**image, "resize_mode": 0, "upscaling_resize": 2}


def _size_of(picture: Picture) -> Size:
    """The picture's size as the engine can draw it."""
    return Size(width=max(64, picture.size.width // 8 * 8), height=max(64, picture.size.height // 8 * 8))


def _text(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def from_wire(answer: Answer, pictures: Sequence[bytes], request: ImageRequest) -> Generated:
    """The answer in our words; `pictures` are the bytes of its pictures, in order."""
    facts = answer.facts
    images = tuple(Drawn(data=data, seed=seed) for data, seed in zip_longest(pictures, facts.all_seeds[: len(pictures)]) if data is not None)
    return Generated(images=images, model=facts.sd_model_name, adjustments=unheard(request))


def unheard(request: ImageRequest) -> tuple[Adjustment, ...]:
    """Words on every wish that an upscaler does not hear."""
    if request.operation is not Operation.UPSCALE:
        return ()
    wishes = {
        "prompt": request.prompt.strip(),
        "negative_prompt": request.negative_prompt,
        "n": request.count > 1,
        "strength": request.strength is not None,
    }
    return tuple(
        Adjustment(field=name, message="The WebUI's upscalers take no such wish; it was not used.") for name, wished in wishes.items() if wished
    )


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: the reason is under `detail` or `errors`, and `error` names the exception."""
    facts: Mapping[str, Any] = body if isinstance(body, dict) else {}
    message = words_in(facts.get("detail")) or words_in(facts.get("errors")) or words_in(body)
    if not message:
        return None
    name = facts.get("error")
    if status == 404 and message == "Not Found":
        message = "there is no interface for programs. Start the WebUI with --api"
    # More of the same would run out of memory again.
    kind = ProviderError if name == "OutOfMemoryError" or "out of memory" in message.lower() else None
    return Fault(message=message, kind=kind, details={"service_code": name} if isinstance(name, str) and name != message else {})
