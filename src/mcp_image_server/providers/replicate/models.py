"""The models of Replicate that draw and change pictures, and how each wants its request. Facts from https://replicate.com/explore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...models import Catalogue, Model, Operation, Size, SizeList, SizeRange
from ..base import size_of

DEFAULT_MODEL = "black-forest-labs/flux-2-pro"

# How they are asked --------------------------------------------------------------------------------------------------------------------------


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
    return {
        size_of(ratio, edge): {"aspect_ratio": ratio, "resolution": name} if name else {"aspect_ratio": ratio}
        for name, edge in (classes or {"": 1024}).items()
        for ratio in ratios.split()
    }


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

# Models -------------------------------------------------------------------------------------------------------------------------------------

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


def form_of(model: Model) -> Form:
    """How the model wants its request."""
    return FORMS.get(model.id) or Form(fields=frozenset({"prompt"}))
