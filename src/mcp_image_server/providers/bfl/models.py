"""The FLUX models: what they take, how each wants its request, and what they cost. Facts from https://docs.bfl.ai and https://bfl.ai/pricing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from ...models import Catalogue, Model, Operation, Price, Size, SizeList, SizeRange
from ..base import size_of

DEFAULT_MODEL = "flux-2-pro"

# How they are asked --------------------------------------------------------------------------------------------------------------------------

_RATIOS = ("21:9", "2:1", "16:9", "3:2", "7:5", "4:3", "5:4", "1:1", "4:5", "3:4", "5:7", "2:3", "9:16", "1:2", "9:21")
_ONE_MEGAPIXEL = {size_of(ratio, 1024): {"aspect_ratio": ratio} for ratio in _RATIOS}
_FOUR_MEGAPIXELS = {size_of(ratio, 2048): {"aspect_ratio": ratio} for ratio in _RATIOS}
_CLASSES = {
    size_of(ratio, edge): {"aspect_ratio": ratio, "resolution": name}
    for name, edge in {"1k": 1024, "768sq": 768, "1.5k": 1536, "2k": 2048, "4k": 4096}.items()
    for ratio in _RATIOS
}


@dataclass(frozen=True, kw_only=True)
class Form:
    """Under which names a model takes what it takes."""

    prompt: bool = True
    images: tuple[str, ...] = ()
    """A field for each input picture."""
    image_list: str = ""
    """The field that takes all input pictures, where there is such a one."""
    shapes: Mapping[Size, Mapping[str, str]] = field(default_factory=dict)
    """How sizes are asked for; those that are not here go as width and height."""


_NUMBERED = ("input_image", *(f"input_image_{number}" for number in range(2, 9)))
_IN_FLUX_2 = Form(images=_NUMBERED)
_IN_FLUX_3 = Form(image_list="images", shapes=_CLASSES)
_IN_KONTEXT = Form(images=_NUMBERED, shapes=_ONE_MEGAPIXEL)
_IN_FLUX_1 = Form(images=("image_prompt",))
_IN_ULTRA = Form(images=("image_prompt",), shapes=_FOUR_MEGAPIXELS)
_IN_TOOLS = Form(images=("image",))
FORMS: Mapping[str, Form] = {
    "flux-3-image": _IN_FLUX_3,
    "flux-3-image-klein": _IN_FLUX_3,
    "flux-kontext-max": _IN_KONTEXT,
    "flux-kontext-pro": _IN_KONTEXT,
    "flux-pro-1.1-ultra": _IN_ULTRA,
    "flux-pro-1.1-ultra-finetuned": _IN_ULTRA,
    "flux-pro-1.1": _IN_FLUX_1,
    "flux-dev": _IN_FLUX_1,
    "flux-pro-1.0-fill": _IN_TOOLS,
    "flux-pro-1.0-fill-finetuned": _IN_TOOLS,
    "flux-pro-1.0-expand": _IN_TOOLS,
    "flux-tools/erase-v1": replace(_IN_TOOLS, prompt=False),
}
"""All others are asked like FLUX.2."""


def form_of(model: Model) -> Form:
    """How the model wants its request."""
    return FORMS.get(model.id, _IN_FLUX_2)


# Models -------------------------------------------------------------------------------------------------------------------------------------

_PRICED = date(2026, 11, 21)

_DRAWS_AND_EDITS = frozenset({Operation.GENERATE, Operation.EDIT})
_DRAWS_AND_VARIES = frozenset({Operation.GENERATE, Operation.VARIATION})
_FORMATS = ("jpeg", "png", "webp")
_LATIN = frozenset({"latin"})

_NOT_TO_THE_PIXEL = "Takes a shape; the size that comes out is near the one named."

_FLUX_3 = Model(
    provider="bfl",
    id="",
    operations=_DRAWS_AND_EDITS,
    sizes=SizeList(sizes=tuple(_CLASSES)),
    default_size=Size(width=1024, height=1024),
    max_images=10,
    writes=_LATIN,
    polled=True,
    note=f"{_NOT_TO_THE_PIXEL} Options: grounding (false: no web search), safety_tolerance 0-4.",
)
_FLUX_2 = Model(
    provider="bfl",
    id="",
    operations=_DRAWS_AND_EDITS,
    sizes=SizeRange(min_edge=64, max_edge=4096, max_pixels=2048 * 2048, multiple=16),
    default_size=Size(width=1024, height=1024),
    seed=True,
    formats=_FORMATS,
    max_images=8,
    writes=_LATIN,
    polled=True,
    note="Options: safety_tolerance 0-5.",
)
_KLEIN = replace(_FLUX_2, max_images=4)
_KONTEXT = replace(
    _FLUX_2,
    sizes=SizeList(sizes=tuple(_ONE_MEGAPIXEL)),
    max_images=4,
    note=f"{_NOT_TO_THE_PIXEL} Options: prompt_upsampling, safety_tolerance 0-6.",
)
_FLUX_1 = replace(
    _FLUX_2,
    operations=_DRAWS_AND_VARIES,
    sizes=SizeRange(min_edge=256, max_edge=1440, max_pixels=1440 * 1440, multiple=32),
    max_images=1,
    writes=frozenset(),
    note="Options: prompt_upsampling, safety_tolerance 0-6.",
)
_ULTRA = replace(
    _FLUX_1,
    sizes=SizeList(sizes=tuple(_FOUR_MEGAPIXELS)),
    default_size=Size(width=2048, height=2048),
    strength=True,
    note=f"{_NOT_TO_THE_PIXEL} Options: raw, prompt_upsampling, safety_tolerance 0-6.",
)
_ON_A_PICTURE = replace(
    _FLUX_1,
    sizes=None,
    default_size=None,
    note="Options: steps 15-50, guidance 1.5-100, prompt_upsampling, safety_tolerance 0-6.",
)
_FILL = replace(_ON_A_PICTURE, operations=frozenset({Operation.INPAINT}), mask=True)
_NEEDS_FINETUNE = "Options: finetune_id (needed), finetune_strength 0-2."


def _usd(amount: float, *, each_megapixel: bool = False) -> Price:
    return Price(amount=amount, currency="USD", as_of=_PRICED, per="megapixel" if each_megapixel else "image")


MODELS = (
    replace(_FLUX_3, id="flux-3-image", title="FLUX 3 Image"),
    replace(_FLUX_3, id="flux-3-image-klein", title="FLUX 3 Image klein"),
    replace(_FLUX_2, id="flux-2-max", title="FLUX.2 max", price=_usd(0.07, each_megapixel=True)),
    replace(_FLUX_2, id=DEFAULT_MODEL, title="FLUX.2 pro", price=_usd(0.03, each_megapixel=True)),
    replace(_FLUX_2, id="flux-2-pro-preview", title="FLUX.2 pro (preview)", price=_usd(0.03, each_megapixel=True)),
    replace(
        _FLUX_2,
        id="flux-2-flex",
        title="FLUX.2 flex",
        price=_usd(0.06, each_megapixel=True),
        note="Options: steps 1-50, guidance 1.5-10, prompt_upsampling, safety_tolerance 0-5.",
    ),
    replace(_KLEIN, id="flux-2-klein-9b", title="FLUX.2 klein 9B", price=_usd(0.015, each_megapixel=True)),
    replace(_KLEIN, id="flux-2-klein-9b-preview", title="FLUX.2 klein 9B (preview)", price=_usd(0.015, each_megapixel=True)),
    replace(_KLEIN, id="flux-2-klein-4b", title="FLUX.2 klein 4B", price=_usd(0.014, each_megapixel=True)),
    replace(_KONTEXT, id="flux-kontext-max", title="FLUX.1 Kontext max", price=_usd(0.08)),
    replace(_KONTEXT, id="flux-kontext-pro", title="FLUX.1 Kontext pro", price=_usd(0.04)),
    replace(_ULTRA, id="flux-pro-1.1-ultra", title="FLUX1.1 pro ultra", price=_usd(0.06)),
    replace(_ULTRA, id="flux-pro-1.1-ultra-finetuned", title="FLUX1.1 pro ultra, finetuned", note=f"{_NOT_TO_THE_PIXEL} {_NEEDS_FINETUNE}"),
    replace(_FLUX_1, id="flux-pro-1.1", title="FLUX1.1 pro", price=_usd(0.04)),
    replace(
        _FLUX_1,
        id="flux-dev",
        title="FLUX.1 dev",
        price=_usd(0.025),
        note="Options: steps 1-50, guidance 1.5-5, prompt_upsampling, safety_tolerance 0-6.",
    ),
    replace(_FILL, id="flux-pro-1.0-fill", title="FLUX.1 Fill pro", price=_usd(0.05)),
    replace(_FILL, id="flux-pro-1.0-fill-finetuned", title="FLUX.1 Fill pro, finetuned", note=_NEEDS_FINETUNE),
    replace(_ON_A_PICTURE, id="flux-pro-1.0-expand", title="FLUX.1 Expand pro", operations=frozenset({Operation.OUTPAINT}), price=_usd(0.05)),
    replace(
        _FILL,
        id="flux-tools/erase-v1",
        title="FLUX Erase",
        seed=False,
        formats=(),
        note="Takes away what the mask leaves open, whatever the prompt says. Options: dilate_pixels 0-25.",
    ),
)
"""Each id is the end of the address at which the model is asked."""
CATALOGUE = Catalogue(
    provider="bfl",
    title="Black Forest Labs",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 正方形 square)",
        "1360x768": "1360x768 (16:9 横向 landscape)",
        "768x1360": "768x1360 (9:16 竖向 portrait)",
        "1248x832": "1248x832 (3:2 横向 landscape)",
        "832x1248": "832x1248 (2:3 竖向 portrait)",
        "2048x2048": "2048x2048 (1:1 正方形大图 large square)",
    },
    variables=("BFL_API_KEY",),
)
"""Ids that the table does not know are refused: some addresses beside the models' do other things than drawing."""
