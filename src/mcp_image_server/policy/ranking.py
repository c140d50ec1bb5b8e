"""Which model fits a request best, and why. Pure: a sum of a few plain points for and against, so that every choice can be explained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import log2

from ..models import Catalogue, ImageRequest, Model, Shape, Size, SizeList, SizeRange
from ..negotiate import fits, language_of
from .routing import ending_words

_QUOTED = re.compile(r"[\"“”「『《][^\"“”」』》]{1,200}[\"“”」』》]")
_LETTERING = re.compile(
    r"\b(text|lettering|letters|caption|headline|title|logo|sign|poster|typography|words?|slogan)\b|文字|写着|字样|标题|海报|标语|书法", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model that could be asked, and what is known of it today."""

    catalogue: Catalogue
    model: Model
    price: int | None = None
    """Of the whole request, in millionths of the budgets' currency; None: not known."""
    seconds: float | None = None
    """That jobs took lately, in the middle; None: not known."""
    failing: bool = False
    preferred: bool = False
    """By the operator."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One reason for or against."""

    value: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A candidate with its points. More is better."""

    candidate: Candidate
    points: tuple[Point, ...]

    @property
    def score(self) -> float:
        """The sum of its points."""
        return sum(point.value for point in self.points)

    @property
    def reason(self) -> str:
        """The strongest points for it, in words."""
        good = sorted((point for point in self.points if point.value > 0), key=lambda point: -point.value)
        return "; ".join(point.words for point in good[:3]) or "nothing speaks for another"


def rank(request: ImageRequest, candidates: Sequence[Candidate], *, today: date) -> list[Ranked]:
    """Those candidates that can do what is asked, best first. Equals stay in the order they came in.

    Args:
        candidates: in the operator's order of providers.
    """
    able = [candidate for candidate in candidates if _can(request, candidate.model) and not _has_ended(candidate.model, today)]
    cheapest = min((candidate.price for candidate in able if candidate.price), default=None)
    ranked = [Ranked(candidate=candidate, points=tuple(_points(request, candidate, cheapest, today))) for candidate in able]
    return sorted(ranked, key=lambda each: -each.score)


def lettering_of(text: str) -> str | None:
    """The script of words that the picture is to show (`han` or `latin`); None when it shows none."""
    quoted = "".join(_QUOTED.findall(text))
    if not quoted and not _LETTERING.search(text):
        return None
    return "han" if language_of(quoted or text) == "zh" else "latin"


def _can(request: ImageRequest, model: Model) -> bool:
    return (
        request.operation in model.operations
        and len(request.images) <= model.max_images
        and (request.mask is None or model.mask)
        and len(request.prompt) <= model.max_prompt_chars
    )


def _draws(shape: Shape, sizes: SizeList | SizeRange) -> bool:
    """Whether the size is drawn to the pixel, or the ratio as nearly as anybody sees."""
    if isinstance(shape, Size):
        return fits(shape, sizes)
    if isinstance(sizes, SizeList):
        return any(abs(log2(size.ratio / shape.ratio)) < 0.03 for size in sizes.sizes)
    return max(shape.ratio, 1 / shape.ratio) <= sizes.max_ratio


def _has_ended(model: Model, today: date) -> bool:
    return model.ends is not None and model.ends <= today


def _points(request: ImageRequest, candidate: Candidate, cheapest: int | None, today: date) -> list[Point]:
    model, points = candidate.model, []

    def add(value: float, words: str) -> None:
        points.append(Point(value=value, words=words))

    if not candidate.catalogue.variables:
        add(-100, "it composes packaged artwork and is no AI model")
    if candidate.failing:
        add(-20, "it has failed several times in a row")
    if candidate.preferred:
        add(3, "the operator prefers this provider")
    if model.id == candidate.catalogue.default_model:
        add(1.5, "it is its provider's default")
    if ending_words(model, today):
        add(-2, "it is switched off soon")
    if (language := language_of(request.prompt)) != "en":
        add(*((2, "it understands Chinese") if language in model.languages else (-2, "it understands Chinese less well")))
    if script := lettering_of(request.prompt):
        name = {"han": "Chinese characters", "latin": "Latin letters"}[script]
        add(*((2.5, f"it writes {name} legibly") if script in model.writes else (-1, f"it is not known to write {name} legibly")))
    if request.background == "transparent":
        add(*((4, "it draws transparent backgrounds") if "transparent" in model.backgrounds else (-4, "it has no transparent backgrounds")))
    if request.shape is not None and model.sizes is not None:
        add(*((1, f"it draws {request.shape} as asked") if _draws(request.shape, model.sizes) else (-0.5, f"it draws {request.shape} only nearly")))
    if request.style is not None and request.style in model.styles:
        add(1, f"it has the style {request.style} itself")
    if request.quality is not None and request.quality in model.qualities:
        add(0.5, f"it offers quality {request.quality}")
    if request.count > 1:
        add(*((0.5, f"it draws {request.count} at once") if request.count <= model.max_count else (-2, f"it draws no {request.count} at once")))
    if request.seed is not None:
        add(*((0.5, "it takes a seed") if model.seed else (-1, "it takes no seed")))
    if request.negative_prompt is not None and model.negative_prompt:
        add(0.5, "it takes a negative prompt")
    if candidate.price is None:
        add(-0.5, "its price is not known")
    elif not candidate.price:
        add(1.5, "it costs nothing")
    elif cheapest:
        dearer = candidate.price / cheapest
        add(*((1, "nothing with a price is cheaper") if dearer == 1 else (-min(2.0, log2(dearer) / 2), f"it costs {dearer:.1f} times the cheapest")))
    if candidate.seconds is not None:
        add(-min(2.0, candidate.seconds / 60), f"it took {candidate.seconds:.0f} s lately")
    return points
