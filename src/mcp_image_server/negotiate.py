"""Fit a request to a model: pure, and the whole policy on what a model lacks.

* **Tuning** (size, count, seed, style, quality, format …) is adapted, and every change is an `Adjustment` that reaches the caller.
* **Content** (the prompt, input images, the mask) is never cut or dropped: `UnsupportedError` names models that could.
* **Options** under the service's own names pass through untouched, but for the model and the number of pictures, by which money is counted.

What comes out fits; fitting it again changes nothing; nothing changes without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil, log
from typing import Any

from .errors import RequestError, UnsupportedError
from .models import Adjustment, ImageRequest, Model, Operation, Shape, Size, SizeList, SizeRange, Style, Wording

LONGEST_EDGE = 16_384
"""Pixels; no model draws longer edges, so a longer one is a slip of the pen, not a wish to be rounded."""

STEEPEST_RATIO = 16.0

_MEGAPIXEL = 1024 * 1024

_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")

_QUALITY_ORDER = ("low", "medium", "high", "xhigh", "max")
_QUALITY_ALIASES = {"draft": "low", "standard": "medium", "hd": "high", "ultra": "max"}


_COUNTED = re.compile(
    r"n|num|count|samples|num(ber)?_?(of_?)?(images|outputs|results|samples)(_?per_?prompt)?|(candidate|sample|batch)_?count|batch_?size|n_?iter|max_?images",
    re.IGNORECASE,
)
"""Names under which services take the number of pictures."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A request that the model can do as it stands, and what was changed to make it so."""

    request: ImageRequest
    adjustments: tuple[Adjustment, ...] = ()


def negotiate(request: ImageRequest, model: Model, *, styles: Mapping[str, Style], others: Iterable[Model] = ()) -> Fitted:
    """The request as this model can do it.

    Args:
        styles: every style anybody knows, by key; those the model lacks, and those that somebody here wrote, are written into the prompt.
        others: models to name when this one cannot do the operation.

    Raises:
        UnsupportedError: the model cannot take the content.
        RequestError: a value makes no sense for any model.
    """
    _check(request, model)
    _check_content(request, model, others)
    fitting = _Fitting(request, model)
    fitting.style(styles)
    fitting.negative_prompt()
    fitting.prompt_length()
    fitting.shape()
    fitting.count()
    fitting.seed()
    fitting.strength()
    fitting.quality()
    fitting.output_format()
    fitting.background()
    fitting.compression()
    fitting.moderation()
    fitting.polling()
    fitting.economy()
    return Fitted(request=fitting.request, adjustments=tuple(fitting.adjustments))


def language_of(text: str) -> str:
    """`zh` where a third of the letters are Chinese characters, else `en`."""
    letters = _LETTER.findall(text)
    return "zh" if letters and len(_HAN.findall(text)) * 3 >= len(letters) else "en"


def fits(shape: Shape | None, sizes: SizeList | SizeRange | None) -> bool:
    """Whether a model with these sizes draws the shape as it is written."""
    if shape is None or sizes is None:
        return True
    if not isinstance(shape, Size):
        return False
    if isinstance(sizes, SizeList):
        return shape in sizes.sizes
    edges = (shape.width, shape.height)
    return (
        sizes.min_edge <= min(edges)
        and max(edges) <= sizes.max_edge
        and sizes.min_pixels <= shape.pixels <= sizes.max_pixels
        and all(edge % sizes.multiple == 0 for edge in edges)
        and max(edges) <= sizes.max_ratio * min(edges)
    )


def nearest_size(shape: Shape, sizes: SizeList | SizeRange, default: Size | None = None) -> Size:
    """The size the model can draw that comes nearest: first in proportion, then in area.

    A ratio without a scale takes the area of the model's default size, or about a megapixel.
    """
    pixels = shape.pixels if isinstance(shape, Size) else (default.pixels if default else _MEGAPIXEL)
    if isinstance(sizes, SizeList):
        candidates = list(sizes.sizes)
    else:  # round numbers where there are any, which are also fewer to look at
        candidates = list(_sizes_near(shape.ratio, sizes, _up(8, sizes.multiple))) or list(_sizes_near(shape.ratio, sizes, sizes.multiple))

    def distance(size: Size) -> tuple[float, int]:
        return 4 * abs(log(size.ratio / shape.ratio)) + abs(log(size.pixels / pixels)), -size.pixels

    return min(candidates, key=distance)


def _sizes_near(ratio: float, sizes: SizeRange, step: int) -> Iterable[Size]:
    """For each width the model draws, in these steps, the height nearest to the ratio."""
    for width in range(_up(sizes.min_edge, step), sizes.max_edge + 1, step):
        lowest = _up(max(sizes.min_edge, ceil(sizes.min_pixels / width), ceil(width / sizes.max_ratio)), step)
        highest = min(sizes.max_edge, sizes.max_pixels // width, int(width * sizes.max_ratio)) // step * step
        if lowest <= highest:
            yield Size(width=width, height=min(max(round(width / ratio / step) * step, lowest), highest))


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _check(request: ImageRequest, model: Model) -> None:
    if not request.prompt.strip() and request.operation.needs_prompt:
        raise RequestError("The prompt is empty. Describe the picture in a few words, for example: a red fox in the snow.")
    if request.strength is not None and not 0 <= request.strength <= 1:
        raise RequestError(f"strength is {request.strength:g}; it goes from 0 (as it was) to 1 (wholly new).", code="invalid_parameters")
    if request.count < 1:
        raise RequestError(f"count is {request.count}; ask for at least 1 image.", code="invalid_parameters")
    if request.output_compression is not None and not 0 <= request.output_compression <= 100:
        raise RequestError("Invalid output_compression. Expected integer between 0 and 100.", code="invalid_parameters")
    _check_options(request.options)
    _check_pictures(request)
    shape = request.shape
    if model.sizes is not None and fits(shape, model.sizes):
        return
    if isinstance(shape, Size) and max(shape.width, shape.height) > LONGEST_EDGE:
        raise RequestError(
            f"No model draws {shape}: the longest edge may be {LONGEST_EDGE} pixels. Try 1024x1024, 1536x1024 or a ratio such as 16:9.",
            code="invalid_resolution",
        )
    if shape is not None and max(shape.ratio, 1 / shape.ratio) > STEEPEST_RATIO:
        raise RequestError(
            f"No model draws {shape}: one edge may be at most {STEEPEST_RATIO:g} times the other. Try 1536x1024 or a ratio such as 21:9.",
            code="invalid_resolution",
        )


_USES = {
    "images": frozenset(Operation) - {Operation.GENERATE},
    "mask": frozenset({Operation.INPAINT}),
    "extend": frozenset({Operation.OUTPAINT}),
    "style_image": frozenset({Operation.EDIT, Operation.INPAINT, Operation.OUTPAINT, Operation.STYLE_TRANSFER}),
}
"""Operations that do something with what is said about pictures."""


def _check_pictures(request: ImageRequest) -> None:
    """Passes when the operation has pictures to work on, and a use for all that was said about them: nothing is left aside for something else."""
    operation, extend = request.operation, request.extend
    if not request.images and operation not in (Operation.GENERATE, Operation.STYLE_TRANSFER):
        raise RequestError("Name the picture that is to be changed.", code="invalid_parameters")
    if unused := [name for name, operations in _USES.items() if name in request.wishes and operation not in operations]:
        name = operation.value.replace("_", " ")
        raise RequestError(f"To {name}, there is no use for {' and '.join(unused)}: make one change after the other.", code="invalid_parameters")
    if extend is not None and (min(edges := (extend.left, extend.top, extend.right, extend.bottom)) < 0 or max(edges) == 0):
        raise RequestError("Extend the picture by some pixels at one edge at least; to make it smaller, crop it.", code="invalid_parameters")


def _check_options(options: Mapping[str, Any]) -> None:
    """Passes options by which neither the price nor the number of pictures becomes another than the one that budgets and allowances are held to."""
    if "model" in options:
        raise RequestError("options name a model; name it in `model`.", code="invalid_parameters")
    for name, value in options.items():
        if _COUNTED.fullmatch(name):
            raise RequestError(f"The option {name!r} is a number of pictures; say it with `n`.", code="invalid_parameters")
        if isinstance(value, Mapping):
            _check_options({inner: each for inner, each in value.items() if inner != "model"})


_DEEDS = {Operation.STYLE_TRANSFER: "take over the look of a picture", Operation.VARIATION: "draw variations"}
"""What operations are called whose name is no verb."""


def _check_content(request: ImageRequest, model: Model, others: Iterable[Model]) -> None:
    operation = request.operation
    needed = {operation} | ({Operation.STYLE_TRANSFER} if request.style_image is not None else set())
    if needed <= model.operations and len(request.images) <= model.max_images and (request.mask is None or model.mask):
        return
    able = sorted({f"{m.provider}/{m.id}" for m in others if needed <= m.operations and len(request.images) <= m.max_images})
    if operation in model.operations:
        operation = min(needed - model.operations, default=operation)
    if needed <= model.operations and request.images and 0 < model.max_images < len(request.images):
        what = f"takes at most {model.max_images} input image(s), not {len(request.images)}"
    else:
        what = f"cannot {_DEEDS.get(operation) or operation.value.replace('_', ' ')}"
    advice = f"Models that can: {', '.join(able)}." if able else "No configured model can; configure a service that does."
    raise UnsupportedError(f"{model.provider}/{model.id} {what}. {advice}", details={"operation": str(operation), "models": able})


class _Fitting:
    """One negotiation under way. Each step looks at one field and either leaves it or changes it with a word."""

    def __init__(self, request: ImageRequest, model: Model) -> None:
        self.request = request
        self.model = model
        self.adjustments: list[Adjustment] = []

    def change(self, field: str, message: str, **changes: Any) -> None:
        self.request = replace(self.request, **changes)
        self.adjustments.append(Adjustment(field=field, message=message))

    def written(self, prompt: str) -> dict[str, Any]:
        """The changes when words have gone into the prompt: what they were stays known."""
        asked = self.request
        return {"prompt": prompt, "wording": asked.wording or Wording(prompt=asked.prompt, style=asked.style, negative_prompt=asked.negative_prompt)}

    def style(self, styles: Mapping[str, Style]) -> None:
        key = self.request.style
        if key is None:
            return
        style = styles.get(key)
        if key in self.model.styles and (style is None or style.source is None):
            return
        if style is None:
            known = sorted(self.model.styles | styles.keys())
            raise RequestError(
                f"Style {key!r} is not known. Available styles: {', '.join(known)}. Or describe the style in the prompt.",
                code="invalid_style",
                details={"provider": self.model.provider, "style": key, "available_styles": known},
            )
        chinese = bool(style.phrase_zh) and language_of(self.request.prompt) == "zh"
        phrase = style.phrase_zh if chinese else style.phrase
        reason = "is a style of your own" if style.source is not None else f"is no setting of {self.model.id}"
        what = "it was written into the prompt" if phrase else "it asks for nothing that the prompt does not say"
        prompt = _joined(self.request.prompt, "，" if chinese else ", ", phrase) if phrase else self.request.prompt
        self.change("style", f"{key!r} {reason}; {what}.", style=None, **self.written(prompt))

    def negative_prompt(self) -> None:
        unwanted = self.request.negative_prompt
        if unwanted is None or self.model.negative_prompt:
            return
        self.change(
            "negative_prompt",
            f"{self.model.id} has no negative prompt; it was written into the prompt.",
            negative_prompt=None,
            **self.written(_joined(self.request.prompt, ". ", f"Avoid: {unwanted}") if unwanted.strip() else self.request.prompt),
        )

    def prompt_length(self) -> None:
        length, limit = len(self.request.prompt), self.model.max_prompt_chars
        if length > limit:
            raise RequestError(
                f"The prompt has {length} characters; {self.model.provider}/{self.model.id} takes {limit}. Shorten it.",
                details={"length": length, "limit": limit},
            )

    def shape(self) -> None:
        shape, sizes = self.request.shape, self.model.sizes
        if shape is None or sizes is None or fits(shape, sizes):
            return
        size = nearest_size(shape, sizes, self.model.default_size)
        words = f"{shape} is drawn as {size}." if not isinstance(shape, Size) else f"{self.model.id} does not draw {shape}; {size} is nearest."
        self.change("resolution", words, shape=size)

    def count(self) -> None:
        if self.request.count > self.model.max_count:
            self.change("n", f"{self.model.id} makes at most {self.model.max_count} image(s) at a time.", count=self.model.max_count)

    def seed(self) -> None:
        if self.request.seed is not None and not self.model.seed:
            self.change("seed", f"{self.model.id} takes no seed.", seed=None)

    def strength(self) -> None:
        if self.request.strength is not None and not self.model.strength:
            self.change("strength", f"{self.model.id} has no such setting; describe in the prompt how much is to change.", strength=None)

    def quality(self) -> None:
        wanted, offered = self.request.quality, self.model.qualities
        if wanted is None or wanted in offered:
            return
        translated = _QUALITY_ALIASES.get(wanted, wanted)
        ranked = [quality for quality in _QUALITY_ORDER if quality in offered]
        if translated in _QUALITY_ORDER and ranked:
            rank = _QUALITY_ORDER.index(translated)
            nearest = min(ranked, key=lambda quality: abs(_QUALITY_ORDER.index(quality) - rank))
            self.change("quality", f"{self.model.id} offers {', '.join(offered)}; {wanted!r} became {nearest!r}.", quality=nearest)
        else:
            self.change("quality", _not_offered(self.model.id, "quality", wanted, offered), quality=None)

    def output_format(self) -> None:
        wanted, offered = self.request.output_format, self.model.formats
        if wanted is None or wanted in offered:
            return
        if wanted == "jpg" and "jpeg" in offered:
            self.change("output_format", "'jpg' is called 'jpeg'.", output_format="jpeg")
        else:
            self.change("output_format", _not_offered(self.model.id, "output format", wanted, offered), output_format=None)

    def background(self) -> None:
        wanted, offered = self.request.background, self.model.backgrounds
        if wanted is not None and wanted not in offered:
            self.change("background", _not_offered(self.model.id, "background", wanted, offered), background=None)
        elif wanted == "transparent" and self.request.output_format == "jpeg":
            lossless = next((kind for kind in ("png", "webp") if kind in self.model.formats), None)
            self.change(
                "output_format", f"JPEG has no transparency; the picture is saved as {lossless or 'the service decides'}.", output_format=lossless
            )

    def compression(self) -> None:
        wanted = self.request.output_compression
        if wanted is None or self.request.output_format in self.model.compression:
            return
        possible = ", ".join(sorted(self.model.compression))
        advice = f"set output_format to one of: {possible}" if possible else f"{self.model.id} has no such setting"
        self.change("output_compression", f"Compression does not apply here; {advice}.", output_compression=None)

    def moderation(self) -> None:
        wanted, offered = self.request.moderation, self.model.moderation
        if wanted is not None and wanted not in offered:
            self.change("moderation", _not_offered(self.model.id, "moderation", wanted, offered), moderation=None)

    def polling(self) -> None:
        if self.request.polling and not self.model.polled:
            self.change("polling", f"{self.model.id} answers without being looked at; the polling arguments do not apply.", polling={})

    def economy(self) -> None:
        if self.request.economy and not (self.model.economy and self.request.operation is Operation.GENERATE):
            self.change("economy", f"{self.model.id} is not offered for half the price; it draws at once, at the full one.", economy=False)


def _joined(prompt: str, mark: str, words: str) -> str:
    """The prompt and more words, with the mark between them where the prompt does not end with one already."""
    ending = prompt.rstrip()[-1:]
    return (
        f"{prompt.rstrip()} {words}"
        if ending and ending in ".!?"
        else f"{prompt}{words}"
        if ending and ending in "。！？"
        else f"{prompt}{mark}{words}"
    )


def _not_offered(model: str, what: str, wanted: str, offered: tuple[str, ...]) -> str:
    choice = f"it offers {', '.join(offered)}" if offered else "it has no such setting"
    return f"{model} does not offer {what} {wanted!r} ({choice}); the model decides."
