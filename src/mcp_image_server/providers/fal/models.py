"""The models of fal that draw and change pictures, and how each of their apps wants its request. Facts from https://fal.ai/models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from ...models import Catalogue, Model, Operation, Price, Size, SizeList, SizeRange
from ..base import size_of

DEFAULT_MODEL = "fal-ai/flux-2"

_PRICED = date(2026, 11, 21)


@dataclass(frozen=True, kw_only=True)
class App:
    """One address of the service, and the fields that it has of those we know how to fill."""

    path: str
    fields: frozenset[str]


# How sizes are asked for ---------------------------------------------------------------------------------------------------------------------


def _sizes(edge: int, ratios: str) -> dict[Size, str]:
    """About the pixels of a square with that edge, in each of these ratios, on a grid of 16."""
    return {size_of(ratio, edge): ratio for ratio in ratios.split()}


_FLUX_RATIOS = "1:1 21:9 16:9 4:3 3:2 2:3 3:4 9:16 9:21"
_BANANA_RATIOS = "1:1 21:9 16:9 3:2 4:3 5:4 4:5 3:4 2:3 9:16 4:1 1:4 8:1 1:8"
_ONE_MEGAPIXEL = _sizes(1024, _FLUX_RATIOS)
_FOUR_MEGAPIXELS = _sizes(2048, _FLUX_RATIOS)
_BANANA = {name: _sizes(edge, _BANANA_RATIOS) for name, edge in {"1K": 1024, "0.5K": 512, "2K": 2048, "4K": 4096}.items()}

RATIOS: Mapping[Size, str] = {**_ONE_MEGAPIXEL, **_FOUR_MEGAPIXELS, **{size: ratio for sizes in _BANANA.values() for size, ratio in sizes.items()}}
"""What is written into `aspect_ratio` for a size; the sizes of the models that take no pixels."""

RESOLUTIONS: Mapping[Size, str] = {size: name for name, sizes in _BANANA.items() for size in sizes}
"""What is written into `resolution` for a size."""


# Models -------------------------------------------------------------------------------------------------------------------------------------

_BASIC = ("prompt", "seed", "num_images", "image_size", "output_format")
_ONE = ("image_url",)
_SEVERAL = ("image_urls",)
_UNLIKE = ("negative_prompt",)


def _app(path: str, *fields: tuple[str, ...], without: tuple[str, ...] = ()) -> App:
    return App(path=path, fields=frozenset(name for group in fields for name in group if name not in without))


_PIXELS = SizeRange(min_edge=256, max_edge=2048, max_pixels=2048 * 2048, multiple=16)
_SQUARE = Size(width=1024, height=1024)
_JPEG_PNG = ("jpeg", "png")
_WITH_WEBP = ("jpeg", "png", "webp")
_LATIN = frozenset({"latin"})
_LATIN_AND_HAN = frozenset({"latin", "han"})
_NOT_TO_THE_PIXEL = "Takes a shape; the size that comes out is near the one named."

_DRAWS = Model(
    provider="fal",
    id="",
    sizes=_PIXELS,
    default_size=_SQUARE,
    max_count=4,
    seed=True,
    formats=_JPEG_PNG,
    polled=True,
)
_FLUX = replace(_DRAWS, note="Options: guidance_scale, num_inference_steps, acceleration, enable_safety_checker.")
_FLUX_2 = replace(_FLUX, formats=_WITH_WEBP, max_images=4, writes=_LATIN)
_FLUX_2_PRO = replace(_FLUX_2, max_count=1, formats=_JPEG_PNG, max_images=8, note="Options: safety_tolerance 1-5, enable_safety_checker.")
_KONTEXT = replace(
    _DRAWS,
    sizes=SizeList(sizes=tuple(_ONE_MEGAPIXEL)),
    max_images=1,
    writes=_LATIN,
    note=f"{_NOT_TO_THE_PIXEL} Options: guidance_scale, enhance_prompt, safety_tolerance 1-6.",
)
_FLUX_PRO = replace(_DRAWS, max_images=1, note="Options: enhance_prompt, safety_tolerance 1-6.")
_LORA_NOTE = "Options: loras (a list of path and scale), guidance_scale, num_inference_steps."
_SD = replace(_DRAWS, negative_prompt=True, note=_LORA_NOTE)
_QWEN = replace(
    _DRAWS,
    negative_prompt=True,
    writes=_LATIN_AND_HAN,
    languages=frozenset({"en", "zh"}),
    note="Options: guidance_scale, num_inference_steps, acceleration.",
)
_QWEN_2 = replace(_QWEN, formats=_WITH_WEBP, max_images=3, note="Options: enable_prompt_expansion, enable_safety_checker.")
_TOOL = Model(provider="fal", id="", operations=frozenset({Operation.UPSCALE}), max_images=1, polled=True)

_GENERATE, _EDIT, _INPAINT, _VARIATION = Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.VARIATION
_CUTS_OUT = Operation.REMOVE_BACKGROUND


def _usd(amount: float, *, each_megapixel: bool = False) -> Price:
    return Price(amount=amount, currency="USD", as_of=_PRICED, per="megapixel" if each_megapixel else "image")


_FROM_ONE = (*_ONE, "strength")
_PRO_EDIT = (_BASIC, _SEVERAL)
_NO_COUNT = ("num_images",)
_RATIO = ("prompt", "seed", "num_images", "aspect_ratio", "output_format")
_BANANA_FIELDS = (*_RATIO, "resolution")
_SDXL = (*(name for name in _BASIC if name != "output_format"), "format", *_UNLIKE)

_LOOKS = (
    "anime_character cartoon_3d hand_drawn_animation cyberpunk_future anime_game_style comic_book_animation animated_series"
    " cartoon_animation lofi_aesthetic cottagecore dark_academia y2k vaporwave liminal_space weirdcore dreamcore synthwave outrun"
    " photorealistic hyperrealistic digital_art concept_art impressionist anime pixel_art claymation"
)

_TABLE: tuple[tuple[Model, Mapping[Operation, App]], ...] = (
    (
        replace(_FLUX_2, id=DEFAULT_MODEL, title="FLUX.2 dev"),
        {_GENERATE: _app("fal-ai/flux-2", _BASIC), _EDIT: _app("fal-ai/flux-2/edit", _BASIC, _SEVERAL)},
    ),
    (
        replace(_FLUX_2, id="fal-ai/flux-2/turbo", title="FLUX.2 dev turbo"),
        {_GENERATE: _app("fal-ai/flux-2/turbo", _BASIC), _EDIT: _app("fal-ai/flux-2/turbo/edit", _BASIC, _SEVERAL)},
    ),
    (
        replace(_FLUX_2, id="fal-ai/flux-2/klein/9b", title="FLUX.2 klein 9B", formats=_JPEG_PNG),
        {_GENERATE: _app("fal-ai/flux-2/klein/9b", _BASIC), _EDIT: _app("fal-ai/flux-2/klein/9b/edit", _BASIC, _SEVERAL)},
    ),
    *(
        (
            replace(_FLUX_2_PRO, id=path, title=title),
            {_GENERATE: _app(path, _BASIC, without=_NO_COUNT), _EDIT: _app(f"{path}/edit", _BASIC, _SEVERAL, without=_NO_COUNT)},
        )
        for path, title in {"fal-ai/flux-2-pro": "FLUX.2 pro", "fal-ai/flux-2-max": "FLUX.2 max", "fal-ai/flux-2-flex": "FLUX.2 flex"}.items()
    ),
    *(
        (
            replace(_KONTEXT, id=path, title=title),
            {_GENERATE: _app(f"{path}/text-to-image", _RATIO), _EDIT: _app(path, _RATIO, _ONE)},
        )
        for path, title in {"fal-ai/flux-pro/kontext": "FLUX.1 Kontext pro", "fal-ai/flux-pro/kontext/max": "FLUX.1 Kontext max"}.items()
    ),
    *(
        (replace(_KONTEXT, id=path, title=title, max_images=4), {_EDIT: _app(path, _RATIO, _SEVERAL)})
        for path, title in {
            "fal-ai/flux-pro/kontext/multi": "FLUX.1 Kontext pro, several pictures",
            "fal-ai/flux-pro/kontext/max/multi": "FLUX.1 Kontext max, several pictures",
        }.items()
    ),
    (
        replace(
            _FLUX_PRO,
            id="fal-ai/flux-pro/v1.1-ultra",
            title="FLUX1.1 pro ultra",
            sizes=SizeList(sizes=tuple(_FOUR_MEGAPIXELS)),
            default_size=Size(width=2048, height=2048),
            strength=True,
            price=_usd(0.06),
            note=f"{_NOT_TO_THE_PIXEL} Options: raw, enhance_prompt, safety_tolerance 1-6.",
        ),
        {
            _GENERATE: _app("fal-ai/flux-pro/v1.1-ultra", _RATIO),
            _VARIATION: _app("fal-ai/flux-pro/v1.1-ultra/redux", _RATIO, _ONE, ("image_prompt_strength",)),
        },
    ),
    (
        replace(_FLUX_PRO, id="fal-ai/flux-pro/v1.1", title="FLUX1.1 pro", price=_usd(0.04, each_megapixel=True)),
        {_GENERATE: _app("fal-ai/flux-pro/v1.1", _BASIC), _VARIATION: _app("fal-ai/flux-pro/v1.1/redux", _BASIC, _ONE)},
    ),
    (
        replace(_FLUX_PRO, id="fal-ai/flux-pro/v1/fill", title="FLUX.1 Fill pro", sizes=None, default_size=None),
        {_INPAINT: _app("fal-ai/flux-pro/v1/fill", _BASIC, _ONE, ("mask_url",), without=("image_size",))},
    ),
    *(
        (
            replace(_FLUX, id=path, title=title, max_images=1, strength=True, price=price),
            {_GENERATE: _app(path, _BASIC), _EDIT: _app(f"{path}/image-to-image", _BASIC, _FROM_ONE, without=("image_size",))},
        )
        for path, title, price in (
            ("fal-ai/flux/dev", "FLUX.1 dev", _usd(0.025, each_megapixel=True)),
            ("fal-ai/flux/krea", "FLUX.1 Krea", None),
        )
    ),
    (
        replace(_FLUX, id="fal-ai/flux/schnell", title="FLUX.1 schnell", price=_usd(0.003, each_megapixel=True)),
        {_GENERATE: _app("fal-ai/flux/schnell", _BASIC)},
    ),
    (
        replace(_FLUX, id="fal-ai/flux-lora", title="FLUX.1 dev with LoRA", max_images=1, strength=True, note=_LORA_NOTE),
        {
            _GENERATE: _app("fal-ai/flux-lora", _BASIC),
            _EDIT: _app("fal-ai/flux-lora/image-to-image", _BASIC, _FROM_ONE),
            _INPAINT: _app("fal-ai/flux-lora-fill", _BASIC, _ONE, ("mask_url",)),
        },
    ),
    (
        replace(_SD, id="fal-ai/stable-diffusion-v35-large", title="Stable Diffusion 3.5 large"),
        {_GENERATE: _app("fal-ai/stable-diffusion-v35-large", _BASIC, _UNLIKE)},
    ),
    (
        replace(
            _SD, id="fal-ai/stable-diffusion-v35-medium", title="Stable Diffusion 3.5 medium", note="Options: guidance_scale, num_inference_steps."
        ),
        {_GENERATE: _app("fal-ai/stable-diffusion-v35-medium", _BASIC, _UNLIKE)},
    ),
    (
        replace(_SD, id="fal-ai/fast-sdxl", title="Stable Diffusion XL", max_images=1, strength=True),
        {
            _GENERATE: _app("fal-ai/fast-sdxl", _SDXL),
            _EDIT: _app("fal-ai/fast-sdxl/image-to-image", _SDXL, _FROM_ONE),
            _INPAINT: _app("fal-ai/fast-sdxl/inpainting", _SDXL, _FROM_ONE, ("mask_url",)),
        },
    ),
    *(
        (
            replace(_QWEN_2, id=f"{path}/text-to-image", title=title),
            {_GENERATE: _app(f"{path}/text-to-image", _BASIC, _UNLIKE), _EDIT: _app(f"{path}/edit", _BASIC, _UNLIKE, _SEVERAL)},
        )
        for path, title in {"fal-ai/qwen-image-2": "Qwen-Image 2", "fal-ai/qwen-image-max": "Qwen-Image max"}.items()
    ),
    (
        replace(_QWEN, id="fal-ai/qwen-image-2512", title="Qwen-Image 2512", formats=_WITH_WEBP),
        {_GENERATE: _app("fal-ai/qwen-image-2512", _BASIC, _UNLIKE)},
    ),
    (
        replace(_QWEN, id="fal-ai/qwen-image", title="Qwen-Image", max_images=1, strength=True),
        {
            _GENERATE: _app("fal-ai/qwen-image", _BASIC, _UNLIKE),
            _EDIT: _app("fal-ai/qwen-image/image-to-image", _BASIC, _UNLIKE, _FROM_ONE),
        },
    ),
    (
        replace(_QWEN, id="fal-ai/qwen-image-edit-2511", title="Qwen-Image-Edit 2511", formats=_WITH_WEBP, max_images=3),
        {_EDIT: _app("fal-ai/qwen-image-edit-2511", _BASIC, _UNLIKE, _SEVERAL)},
    ),
    (
        replace(_QWEN, id="fal-ai/qwen-image-edit", title="Qwen-Image-Edit", max_images=1, strength=True),
        {
            _EDIT: _app("fal-ai/qwen-image-edit", _BASIC, _UNLIKE, _ONE),
            _INPAINT: _app("fal-ai/qwen-image-edit/inpaint", _BASIC, _UNLIKE, _FROM_ONE, ("mask_url",)),
        },
    ),
    (
        replace(
            _DRAWS,
            id="fal-ai/z-image/turbo",
            title="Z-Image turbo",
            formats=_WITH_WEBP,
            max_images=1,
            strength=True,
            writes=_LATIN_AND_HAN,
            languages=frozenset({"en", "zh"}),
            note="Options: num_inference_steps, acceleration, enable_prompt_expansion.",
        ),
        {
            _GENERATE: _app("fal-ai/z-image/turbo", _BASIC),
            _EDIT: _app("fal-ai/z-image/turbo/image-to-image", _BASIC, _FROM_ONE),
            _INPAINT: _app("fal-ai/z-image/turbo/inpaint", _BASIC, _FROM_ONE, ("mask_image_url",)),
        },
    ),
    (
        replace(
            _DRAWS,
            id="fal-ai/nano-banana-2",
            title="Nano Banana 2",
            sizes=SizeList(sizes=tuple(RESOLUTIONS)),
            formats=_WITH_WEBP,
            max_images=4,
            writes=_LATIN,
            price=replace(_usd(0.08), above={1_500_000: 1.5, 6_000_000: 2}),
            note=f"{_NOT_TO_THE_PIXEL} Options: enable_web_search, thinking_level, safety_tolerance 1-6.",
        ),
        {_GENERATE: _app("fal-ai/nano-banana-2", _BANANA_FIELDS), _EDIT: _app("fal-ai/nano-banana-2/edit", _BANANA_FIELDS, _SEVERAL)},
    ),
    (
        replace(_TOOL, id="fal-ai/image-apps-v2/outpaint", title="Outpaint", max_count=4, formats=_WITH_WEBP, note="Option: zoom_out_percentage."),
        {
            Operation.OUTPAINT: _app(
                "fal-ai/image-apps-v2/outpaint",
                ("prompt", "num_images", "output_format"),
                _ONE,
                ("expand_left", "expand_top", "expand_right", "expand_bottom"),
            )
        },
    ),
    (
        replace(
            _TOOL,
            id="fal-ai/image-apps-v2/style-transfer",
            title="Style transfer",
            styles=frozenset(_LOOKS.split()),
            note="Redraws the input picture in the look of the style picture, or in a style by name.",
        ),
        {Operation.STYLE_TRANSFER: _app("fal-ai/image-apps-v2/style-transfer", _ONE, ("style_reference_image_url", "target_style"))},
    ),
    (
        replace(_TOOL, id="fal-ai/bria/eraser", title="Bria eraser", note="Takes away what the mask leaves open, whatever the prompt says."),
        {_INPAINT: _app("fal-ai/bria/eraser", _ONE, ("mask_url",))},
    ),
    (
        replace(_TOOL, id="fal-ai/esrgan", title="Real-ESRGAN", formats=_JPEG_PNG, note="Options: scale, model, face, tile."),
        {Operation.UPSCALE: _app("fal-ai/esrgan", _ONE, ("output_format",))},
    ),
    (
        replace(
            _TOOL,
            id="fal-ai/clarity-upscaler",
            title="Clarity upscaler",
            seed=True,
            negative_prompt=True,
            note="Options: upscale_factor, creativity, resemblance.",
        ),
        {Operation.UPSCALE: _app("fal-ai/clarity-upscaler", _ONE, ("prompt", "seed"), _UNLIKE)},
    ),
    (
        replace(_TOOL, id="fal-ai/aura-sr", title="AuraSR", note="Options: upscale_factor, checkpoint, overlapping_tiles."),
        {Operation.UPSCALE: _app("fal-ai/aura-sr", _ONE)},
    ),
    (
        replace(
            _TOOL,
            id="fal-ai/seedvr/upscale/image",
            title="SeedVR2",
            seed=True,
            formats=("png", "webp"),
            note="Options: upscale_factor, or upscale_mode (target) with target_resolution.",
        ),
        {Operation.UPSCALE: _app("fal-ai/seedvr/upscale/image", _ONE, ("seed", "output_format"))},
    ),
    (
        replace(_TOOL, id="fal-ai/topaz/upscale/image", title="Topaz", formats=_JPEG_PNG, note="Options: upscale_factor, model, face_enhancement."),
        {Operation.UPSCALE: _app("fal-ai/topaz/upscale/image", _ONE, ("prompt", "output_format"))},
    ),
    (
        replace(_TOOL, id="fal-ai/birefnet/v2", title="BiRefNet", formats=("png", "webp"), note="Options: model, operating_resolution."),
        {_CUTS_OUT: _app("fal-ai/birefnet/v2", _ONE, ("output_format",))},
    ),
    (replace(_TOOL, id="fal-ai/bria/background/remove", title="Bria RMBG"), {_CUTS_OUT: _app("fal-ai/bria/background/remove", _ONE)}),
    (replace(_TOOL, id="fal-ai/imageutils/rembg", title="rembg"), {_CUTS_OUT: _app("fal-ai/imageutils/rembg", _ONE)}),
)

MODELS = tuple(replace(model, operations=frozenset(apps), mask=_INPAINT in apps) for model, apps in _TABLE)

APPS: Mapping[str, Mapping[Operation, App]] = {model.id: apps for model, apps in _TABLE}
"""Which app does what for a model. One that is not here is an app of that very name, and is told the prompt."""

CATALOGUE = Catalogue(
    provider="fal",
    title="fal",
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
    variables=("FAL_KEY",),
    unknown=Model(provider="fal", id="", polled=True),
)


def app_of(model: Model, operation: Operation) -> App:
    """The app that does this for the model."""
    apps = APPS.get(model.id, {})
    return apps.get(operation) or App(path=model.id, fields=frozenset({"prompt"}))
