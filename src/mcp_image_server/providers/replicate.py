"""Replicate: models of many makers as predictions. Facts from https://replicate.com/docs/reference/http and the pages of the models."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field

from ..errors import BadReplyError, ProviderError, QuotaError, RefusedError, UnavailableError
from ..fields import BaseUrl, Key
from ..models import (
    Adjustment,
    Catalogue,
    Drawn,
    Generated,
    ImageRequest,
    Limits,
    Model,
    Operation,
    Picture,
    Size,
    SizeList,
    SizeRange,
)
from ..net import Fault, File, Net, Pace, Reply, Service, Timeouts, words_in
from ..settings import Environment, parse
from .base import Context, account_of, guessed, with_default

DEFAULT_MODEL = "black-forest-labs/flux-2-pro"

# Config -------------------------------------------------------------------------------------------------------------------------------------

_NAME = r"[\w-][\w.-]*/[\w-][\w.-]*"
_ID = rf"{_NAME}(:[0-9a-f]{{64}})?|[0-9a-f]{{64}}"


class Config(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True)

    token: Key = Field(alias="REPLICATE_API_TOKEN", description="Token of the account, from https://replicate.com/account/api-tokens.")
    base_url: BaseUrl = Field("https://api.replicate.com/v1", alias="REPLICATE_BASE_URL", description="Address of the service, used as written.")
    model: str = Field(
        DEFAULT_MODEL,
        alias="REPLICATE_MODEL",
        pattern=f"^({_ID})$",
        description="Model for requests that name none: owner/name of an official model, owner/name:version of any other.",
    )


# Models -------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Form:
    """Under which names a model takes what it takes."""

    fields: frozenset[str]
    image: str = ""
    """The field for the first input picture."""
    image_list: str = ""
    """The field for all of them, as a list."""
    shapes: Mapping[Size, Mapping[str, str]] = field(default_factory=dict)
    """How sizes are asked for, where the model takes no pixels."""


def _shapes(ratios: str, classes: Mapping[str, int] | None = None) -> dict[Size, Mapping[str, str]]:
    """For sizes of about a megapixel, or of each class of resolution, the fields that ask for them."""
    found: dict[Size, Mapping[str, str]] = {}
    for name, edge in (classes or {"": 1024}).items():
        for ratio in ratios.split():
            width, height = map(int, ratio.split(":"))
            scale = edge / (width * height) ** 0.5
            size = Size(width=round(width * scale / 16) * 16, height=round(height * scale / 16) * 16)
            found[size] = {"aspect_ratio": ratio, "resolution": name} if name else {"aspect_ratio": ratio}
    return found


def _form(fields: str, *, image: str = "", image_list: str = "", shapes: Mapping[Size, Mapping[str, str]] | None = None) -> Form:
    return Form(fields=frozenset(fields.split()), image=image, image_list=image_list, shapes=shapes or {})


_FLUX_RATIOS = "1:1 16:9 21:9 3:2 2:3 4:5 5:4 9:16 9:21"
_SD_RATIOS = f"{_FLUX_RATIOS} 3:4 4:3"
_FLUX_3_RATIOS = "1:1 21:9 2:1 16:9 3:2 7:5 4:3 5:4 4:5 3:4 5:7 2:3 9:16 1:2 9:21"
_OLD_FLUX = _shapes(_FLUX_RATIOS)
_SD = _shapes(_SD_RATIOS)
_KONTEXT = _shapes("1:1 16:9 9:16 4:3 3:4 3:2 2:3 4:5 5:4 21:9 9:21 2:1 1:2")
_ULTRA = {size: {"aspect_ratio": fields["aspect_ratio"]} for size, fields in _shapes(_SD_RATIOS, {"4 MP": 2048}).items()}
_FLUX_3 = _shapes(_FLUX_3_RATIOS, {"1k": 1024, "768sq": 768, "1.5k": 1536, "2k": 2048, "4k": 4096})
_QWEN_EDIT = _shapes("1:1 16:9 9:16 4:3 3:4")

_ALL_FORMATS = ("webp", "jpeg", "png")
_JPEG_PNG = ("jpeg", "png")
_LATIN = frozenset({"latin"})
_SQUARE = Size(width=1024, height=1024)
_NOT_TO_THE_PIXEL = "Takes a shape; the size that comes out is near the one named."
_GENERATE, _EDIT, _INPAINT, _VARIATION = Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.VARIATION

_DRAWS = Model(
    provider="replicate",
    id="",
    default_size=_SQUARE,
    seed=True,
    formats=_ALL_FORMATS,
    compression=frozenset({"jpeg", "webp"}),
    polled=True,
)
_FLUX_2 = replace(
    _DRAWS,
    operations=frozenset({_GENERATE, _EDIT}),
    sizes=SizeRange(min_edge=256, max_edge=2048, max_pixels=2048 * 2048, multiple=32),
    max_images=8,
    writes=_LATIN,
    note="Options: safety_tolerance 1-5.",
)
_KONTEXT_MODEL = replace(
    _DRAWS,
    operations=frozenset({_GENERATE, _EDIT}),
    sizes=SizeList(sizes=tuple(_KONTEXT)),
    max_images=1,
    formats=_JPEG_PNG,
    compression=frozenset(),
    writes=_LATIN,
    note=f"{_NOT_TO_THE_PIXEL} Options: prompt_upsampling, safety_tolerance 0-6.",
)
_FLUX_1 = replace(
    _DRAWS,
    sizes=SizeList(sizes=tuple(_OLD_FLUX)),
    max_count=4,
    note=f"{_NOT_TO_THE_PIXEL} Options: go_fast, num_inference_steps, disable_safety_checker.",
)
_FILL = replace(_DRAWS, operations=frozenset({_INPAINT}), default_size=None, max_images=1, mask=True)
_QWEN = replace(
    _DRAWS, writes=frozenset({"latin", "han"}), languages=frozenset({"en", "zh"}), note="Options: go_fast, guidance, num_inference_steps."
)
_TOOL = Model(provider="replicate", id="", max_images=1, polled=True)

_COMMON = "prompt seed output_format output_quality"
_IN_PIXELS = f"{_COMMON} aspect_ratio width height"

_TABLE: tuple[tuple[Model, Form], ...] = (
    *(
        (replace(_FLUX_2, id=f"black-forest-labs/{name}", title=title, max_images=images), _form(_IN_PIXELS, image_list="input_images"))
        for name, title, images in (("flux-2-pro", "FLUX.2 pro", 8), ("flux-2-max", "FLUX.2 max", 8), ("flux-2-flex", "FLUX.2 flex", 10))
    ),
    (
        replace(
            _FLUX_2,
            id="black-forest-labs/flux-3-image",
            title="FLUX 3 Image",
            sizes=SizeList(sizes=tuple(_FLUX_3)),
            seed=False,
            max_images=10,
            note=f"{_NOT_TO_THE_PIXEL} Options: grounding (false: no web search), safety_tolerance 0-4.",
        ),
        _form("prompt output_format output_quality aspect_ratio resolution", image_list="images", shapes=_FLUX_3),
    ),
    *(
        (
            replace(_KONTEXT_MODEL, id=f"black-forest-labs/{name}", title=title),
            _form("prompt seed output_format aspect_ratio", image="input_image", shapes=_KONTEXT),
        )
        for name, title in {"flux-kontext-pro": "FLUX.1 Kontext pro", "flux-kontext-max": "FLUX.1 Kontext max"}.items()
    ),
    (
        replace(
            _KONTEXT_MODEL,
            id="black-forest-labs/flux-1.1-pro-ultra",
            title="FLUX1.1 pro ultra",
            operations=frozenset({_GENERATE, _VARIATION}),
            sizes=SizeList(sizes=tuple(_ULTRA)),
            default_size=Size(width=2048, height=2048),
            strength=True,
            writes=frozenset(),
            note=f"{_NOT_TO_THE_PIXEL} Options: raw, safety_tolerance 1-6.",
        ),
        _form("prompt seed output_format aspect_ratio image_prompt_strength", image="image_prompt", shapes=_ULTRA),
    ),
    (
        replace(
            _DRAWS,
            id="black-forest-labs/flux-1.1-pro",
            title="FLUX1.1 pro",
            operations=frozenset({_GENERATE, _VARIATION}),
            sizes=SizeRange(min_edge=256, max_edge=1440, max_pixels=1440 * 1440, multiple=32),
            max_images=1,
            note="Options: prompt_upsampling, safety_tolerance 1-6.",
        ),
        _form(_IN_PIXELS, image="image_prompt"),
    ),
    (
        replace(_FLUX_1, id="black-forest-labs/flux-dev", title="FLUX.1 dev", operations=frozenset({_GENERATE, _EDIT}), max_images=1, strength=True),
        _form(f"{_COMMON} num_outputs aspect_ratio prompt_strength", image="image", shapes=_OLD_FLUX),
    ),
    (
        replace(_FLUX_1, id="black-forest-labs/flux-schnell", title="FLUX.1 schnell"),
        _form(f"{_COMMON} num_outputs aspect_ratio", shapes=_OLD_FLUX),
    ),
    (
        replace(
            _FILL,
            id="black-forest-labs/flux-fill-pro",
            title="FLUX.1 Fill pro",
            formats=_JPEG_PNG,
            compression=frozenset(),
            note="Options: steps 15-50, guidance, prompt_upsampling, safety_tolerance 1-6.",
        ),
        _form("prompt seed output_format mask", image="image"),
    ),
    (
        replace(_FILL, id="black-forest-labs/flux-fill-dev", title="FLUX.1 Fill dev", max_count=4, note="Options: guidance, num_inference_steps."),
        _form(f"{_COMMON} num_outputs mask", image="image"),
    ),
    (
        replace(
            _DRAWS,
            id="stability-ai/stable-diffusion-3.5-large",
            title="Stable Diffusion 3.5 large",
            sizes=SizeList(sizes=tuple(_SD)),
            note=f"{_NOT_TO_THE_PIXEL} Options: cfg, steps.",
        ),
        _form(f"{_COMMON} aspect_ratio", shapes=_SD),
    ),
    (
        replace(
            _QWEN,
            id="qwen/qwen-image-2512",
            title="Qwen-Image 2512",
            operations=frozenset({_GENERATE, _EDIT}),
            sizes=SizeRange(min_edge=256, max_edge=2048, max_pixels=2048 * 2048, multiple=16),
            negative_prompt=True,
            max_images=1,
            strength=True,
        ),
        _form(f"{_IN_PIXELS} negative_prompt strength", image="image"),
    ),
    (
        replace(
            _QWEN,
            id="qwen/qwen-image-edit-plus",
            title="Qwen-Image-Edit plus",
            operations=frozenset({_EDIT}),
            sizes=SizeList(sizes=tuple(_QWEN_EDIT)),
            max_images=3,
            note=f"{_NOT_TO_THE_PIXEL} Options: go_fast, disable_safety_checker.",
        ),
        _form(f"{_COMMON} aspect_ratio", image_list="image", shapes=_QWEN_EDIT),
    ),
    (
        replace(
            _TOOL,
            id="bria/expand-image",
            title="Bria expand",
            operations=frozenset({Operation.OUTPAINT}),
            seed=True,
            negative_prompt=True,
            note="Options: preserve_alpha, content_moderation.",
        ),
        _form("prompt seed negative_prompt canvas_size original_image_size original_image_location aspect_ratio", image="image"),
    ),
    (
        replace(_TOOL, id="recraft-ai/recraft-crisp-upscale", title="Recraft crisp upscale", operations=frozenset({Operation.UPSCALE})),
        _form("", image="image"),
    ),
    (
        replace(
            _TOOL,
            id="topazlabs/image-upscale",
            title="Topaz upscale",
            operations=frozenset({Operation.UPSCALE}),
            note="Options: upscale_factor (2x, 4x, 6x), enhance_model.",
        ),
        _form("", image="image"),
    ),
    *(
        (replace(_TOOL, id=name, title=title, operations=frozenset({Operation.REMOVE_BACKGROUND})), _form("", image="image"))
        for name, title in {"bria/remove-background": "Bria RMBG", "recraft-ai/recraft-remove-background": "Recraft remove background"}.items()
    ),
)

MODELS = tuple(model for model, _ in _TABLE)
FORMS: Mapping[str, Form] = {model.id: form for model, form in _TABLE}
"""A model that is not here is told the prompt."""

CATALOGUE = Catalogue(
    provider="replicate",
    title="Replicate",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形 square)",
        "1376x768": "1376x768 (16:9 横向 landscape)",
        "768x1376": "768x1376 (9:16 竖向 portrait)",
        "1248x832": "1248x832 (3:2 横向 landscape)",
        "832x1248": "832x1248 (2:3 竖向 portrait)",
        "2048x2048": "2048x2048 (1:1 正方形大图 large square)",
    },
    variables=("REPLICATE_API_TOKEN",),
    unknown=Model(provider="replicate", id="", polled=True),
)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LOOKING = Pace(first=0.5, factor=1.3, longest=3, deadline=600)

MAX_INLINE = 190_000
"""Bytes up to which a picture may stand in the request itself, where it takes a third more. Larger ones are uploaded; the service deletes them by itself."""


class Replicate:
    """The service at work. Opens no connection before it is first used."""

    name = "replicate"
    limits = Limits(concurrent=8, per_second=10)
    repeatable = False

    def __init__(self, config: Config, *, looking: Pace = _LOOKING) -> None:
        self.catalogue = with_default(CATALOGUE, config.model)
        self.account = account_of(self.name, config.token.get_secret_value())
        self._looking = looking
        self._net = Net(service(config), timeouts=Timeouts(read=60))  # it answers at once and draws later

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: a prediction is created and waited for."""
        if re.fullmatch(_ID, model.id) is None:  # it may become part of an address
            words = f"{model.id!r} is no model of Replicate; one is called like {DEFAULT_MODEL}, or owner/name:version"
            raise self._net.service.failure(ProviderError, words, not_accepted=True)
        images = [await self._link(picture) for picture in request.images]
        mask = await self._mask(request.mask) if request.mask is not None else None
        body: dict[str, Any] = {"input": to_wire(request, model, images=images, mask=mask)}
        path = f"models/{model.id}/predictions" if re.fullmatch(_NAME, model.id) else "predictions"
        reply = await self._net.send("POST", path, json=body if path != "predictions" else {"version": model.id, **body})
        prediction = reply.parse(Prediction)
        if not prediction.id:
            raise reply.failure(BadReplyError, "Replicate took the work but gave the prediction no id")
        await context.accepted(prediction.id)
        return await self.resume(prediction.id, request, model, context)

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of a prediction that was created earlier."""
        looks = count(1)

        async def look() -> tuple[Reply, Prediction] | None:
            reply = await self._look(task_id)
            prediction = reply.parse(Prediction)
            if prediction.status in _ENDS:
                return reply, prediction
            seen = next(looks)
            doing = "is drawing" if prediction.status == "processing" else "makes a machine ready"
            await context.report(0.9 * (prediction.progress or guessed(seen)), f"Replicate {doing}.")
            return None

        reply, prediction = await self._net.poll(look, pace=self._looking.within(request.polling))
        if prediction.status != "succeeded":
            raise reply.fault(reply.json())
        if not prediction.links:
            gone = " that is still there; what a prediction made is deleted after an hour" if prediction.data_removed else ""
            raise reply.failure(BadReplyError, f"Replicate finished the work without a picture{gone}")
        await context.report(0.95, "The pictures are drawn and on their way.")
        pictures = [await self._net.download(link) for link in prediction.links]
        return from_wire(pictures, request, model, request_id=reply.request_id or task_id)

    async def check(self) -> str:
        """Whether the token works, asked without paying."""
        account = (await self._net.send("GET", "account", read_timeout=30)).parse(Account)
        return f"Replicate accepts the token of {account.username}."

    async def aclose(self) -> None:
        """Close the connections."""
        await self._net.aclose()

    async def _look(self, task_id: str) -> Reply:
        try:
            reply = await self._net.send("GET", f"predictions/{task_id}")
        except ProviderError as error:
            # The question was turned away, not the work: that has been taken.
            error.not_accepted, error.may_have_been_billed = False, True
            raise
        return replace(reply, paid=True)

    async def _mask(self, mask: Picture) -> str:
        from ..pictures import white_is_edit

        data = await anyio.to_thread.run_sync(white_is_edit, mask.data)
        return await self._link(replace(mask, data=data, media_type="image/png"))

    async def _link(self, picture: Picture) -> str:
        """What stands for a picture in the input: itself where it is small, else the address of an upload, which costs nothing."""
        if len(picture.data) <= MAX_INLINE:
            return f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode('ascii')}"
        name = f"picture.{picture.media_type.rpartition('/')[2]}"
        parts = [("content", File(name=name, media_type=picture.media_type, data=picture.data))]
        reply = await self._net.send("POST", "files", parts=parts, repeatable=True)
        return reply.parse(Upload).urls.get


def load(environment: Environment) -> Replicate | None:
    """The provider, when a token is set.

    Raises:
        ConfigError: a variable is wrong.
    """
    return Replicate(parse(Config, environment)) if "REPLICATE_API_TOKEN" in environment else None


def service(config: Config) -> Service:
    """How to reach the service with these settings."""
    token = config.token.get_secret_value()
    return Service(
        provider="replicate",
        title="Replicate",
        base_url=config.base_url,
        headers={"Authorization": f"Bearer {token}"},
        secrets=(token,),
        read_fault=read_fault,
        key_variable="REPLICATE_API_TOKEN",
        url_variable="REPLICATE_BASE_URL",
    )


# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

_ENDS = ("succeeded", "failed", "canceled", "aborted")


class Prediction(BaseModel):
    """Work as it stands. A status that nobody knows means that it is still under way."""

    id: str | None = None
    status: str | None = None
    output: Any = None
    logs: str | None = None
    data_removed: bool = False

    @property
    def links(self) -> list[str]:
        """Where the pictures are: some models answer with one address, others with a list."""
        found = self.output if isinstance(self.output, list) else [self.output]
        return [link for link in found if isinstance(link, str) and link]

    @property
    def progress(self) -> float | None:
        """0 to 1, where the log shows a progress bar."""
        bars = re.findall(r"(\d{1,3})%\|", self.logs or "")
        return min(int(bars[-1]), 100) / 100 if bars else None


class UploadUrls(BaseModel):
    """Where an upload is."""

    get: str


class Upload(BaseModel):
    """The answer to an upload."""

    urls: UploadUrls


class Account(BaseModel):
    """Whose token it is."""

    username: str


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


_WITH_PROMPT = frozenset(operation for operation in Operation if operation.needs_prompt) | {Operation.VARIATION}


def to_wire(request: ImageRequest, model: Model, *, images: Sequence[str] = (), mask: str | None = None) -> dict[str, Any]:
    """The input of a prediction: what was asked for, as far as the model has fields for it. `images` and `mask` are links."""
    form = _form_of(model)
    wanted: dict[str, Any] = {
        # A model that makes something like a picture wants the field, and takes it empty.
        "prompt": request.prompt if request.prompt.strip() or request.operation in _WITH_PROMPT else None,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "num_outputs": request.count,
        **_size(request, form),
        "output_format": "jpg" if request.output_format == "jpeg" else request.output_format,
        "output_quality": request.output_compression,
        "mask": mask,
        "prompt_strength": request.strength if images else None,
        "strength": request.strength if images else None,
        # Counted the other way: 1 is the picture as it was.
        "image_prompt_strength": round(1 - request.strength, 3) if request.strength is not None and images else None,
        **_canvas(request),
    }
    body = {name: value for name, value in wanted.items() if name in form.fields and value is not None}
    if images and form.image:
        body[form.image] = images[0]
    if images and form.image_list:
        body[form.image_list] = list(images)
    return {**body, **request.options}


def _form_of(model: Model) -> Form:
    return FORMS.get(model.id) or Form(fields=frozenset({"prompt"}))


def _size(request: ImageRequest, form: Form) -> Mapping[str, Any]:
    shape = request.shape
    if not isinstance(shape, Size):
        return {"aspect_ratio": str(shape)} if shape is not None else {}
    return form.shapes.get(shape) or {"aspect_ratio": "custom", "width": shape.width, "height": shape.height}


def _canvas(request: ImageRequest) -> Mapping[str, Any]:
    """The first input picture on a larger canvas."""
    if request.extend is None or not request.images:
        return {}
    edges, inside = request.extend, request.images[0].size
    return {
        "aspect_ratio": "none",  # or its default would count for more than the canvas
        "canvas_size": [inside.width + edges.left + edges.right, inside.height + edges.top + edges.bottom],
        "original_image_size": [inside.width, inside.height],
        "original_image_location": [edges.left, edges.top],
    }


def from_wire(pictures: Sequence[bytes], request: ImageRequest, model: Model, *, request_id: str) -> Generated:
    """The answer in our words; the service does not repeat the seed."""
    form = _form_of(model)
    seed = request.options.get("seed", request.seed if "seed" in form.fields else None)
    left_out = {
        "prompt": request.prompt.strip() and "prompt" not in form.fields,
        "resolution": request.shape and (request.extend or "aspect_ratio" not in form.fields),
    }
    words = tuple(
        Adjustment(field=name, message=f"{model.id} takes no such setting, so it was left out.")
        for name, is_left_out in left_out.items()
        if is_left_out
    )
    images = tuple(Drawn(data=data, seed=seed if isinstance(seed, int) else None) for data in pictures)
    return Generated(images=images, request_id=request_id, adjustments=words)


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"nsfw|\bE005\b|flagged as sensitive|content.?(policy|moderation)|safety (system|filter|checker)", RefusedError),
    (r"insufficient credit|set up billing", QuotaError),
    (r"please retry|\binterrupted\b", UnavailableError),
)
"""Words by which a failure is known: a prediction that failed has a text and no code."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: a refused call has a `detail`, a prediction that failed has an `error`."""
    facts = body if isinstance(body, dict) else {}
    ended = facts.get("status")
    message = words_in({name: facts.get(name) for name in ("detail", "error", "title")}) if facts else words_in(body)
    if not message and ended in _ENDS:
        message = f"the prediction was {ended}" if ended != "failed" else "no reason given"
    if not message:
        return None
    kind = next((kind for words, kind in _KINDS if re.search(words, message, re.IGNORECASE)), None)
    wait = facts.get("retry_after")
    return Fault(
        message=message,
        kind=kind if status != 429 else None,  # its words speak of credit, too
        retry_after=float(wait) if isinstance(wait, int | float) else None,
        details={"service_status": ended} if ended in _ENDS else {},
    )
