"""What is known of the weights that people have: how a family of models draws, what its well-known members want, and what the files themselves tell.

The steps and guidance of a line are those of its model card.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

from ...models import ImageRequest, Model, Operation, Size, SizeRange
from ...negotiate import nearest_size

_DRAW, _EDIT, _PAINT = Operation.GENERATE, Operation.EDIT, Operation.INPAINT


@dataclass(frozen=True, kw_only=True)
class Family:
    """Models that are built alike."""

    title: str
    pipelines: Mapping[Operation, str]
    """Which class of diffusers does what."""
    edge: int = 1024
    """Of the square that it draws best."""
    multiple: int = 16
    steps: int = 28
    guidance: float = 4.0
    guidance_argument: str = "guidance_scale"
    negative: bool = True
    """It takes a negative prompt, where there is guidance."""
    max_images: int = 1
    strength: bool = True
    """A picture is changed by starting from it, and not by looking at it."""
    previews: bool = True
    languages: frozenset[str] = frozenset({"en"})
    writes: frozenset[str] = frozenset()


def _three(stem: str, *, edit: str = "Img2ImgPipeline", inpaint: str = "InpaintPipeline") -> dict[Operation, str]:
    return {_DRAW: f"{stem}Pipeline", _EDIT: f"{stem}{edit}", _PAINT: f"{stem}{inpaint}"}


_CHINESE = frozenset({"en", "zh"})
_BOTH_SCRIPTS = frozenset({"latin", "han"})
_LATIN = frozenset({"latin"})

FAMILIES: Mapping[str, Family] = {
    "StableDiffusionPipeline": Family(title="Stable Diffusion", pipelines=_three("StableDiffusion"), edge=512, multiple=8, steps=25, guidance=7.0),
    "StableDiffusionXLPipeline": Family(title="Stable Diffusion XL", pipelines=_three("StableDiffusionXL"), multiple=8, steps=25, guidance=5.0),
    "StableDiffusion3Pipeline": Family(title="Stable Diffusion 3", pipelines=_three("StableDiffusion3"), writes=_LATIN),
    "LatentConsistencyModelPipeline": Family(
        title="Latent consistency model",
        pipelines={_DRAW: "LatentConsistencyModelPipeline", _EDIT: "LatentConsistencyModelImg2ImgPipeline"},
        edge=768,
        multiple=8,
        steps=4,
        guidance=8.5,
        negative=False,
    ),
    "FluxPipeline": Family(title="FLUX.1", pipelines=_three("Flux"), guidance=3.5, negative=False, writes=_LATIN),
    "FluxKontextPipeline": Family(
        title="FLUX.1 Kontext",
        pipelines={_DRAW: "FluxKontextPipeline", _EDIT: "FluxKontextPipeline"},
        guidance=2.5,
        negative=False,
        strength=False,
        writes=_LATIN,
    ),
    "Flux2Pipeline": Family(
        title="FLUX.2",
        pipelines={_DRAW: "Flux2Pipeline", _EDIT: "Flux2Pipeline"},
        negative=False,
        max_images=4,
        strength=False,
        previews=False,
        writes=_LATIN,
    ),
    "Flux2KleinPipeline": Family(
        title="FLUX.2 klein",
        pipelines={_DRAW: "Flux2KleinPipeline", _EDIT: "Flux2KleinPipeline", _PAINT: "Flux2KleinInpaintPipeline"},
        steps=4,
        guidance=1.0,
        negative=False,
        max_images=4,
        strength=False,
        previews=False,
        writes=_LATIN,
    ),
    "ZImagePipeline": Family(title="Z-Image", pipelines=_three("ZImage"), languages=_CHINESE, writes=_BOTH_SCRIPTS),
    "QwenImagePipeline": Family(
        title="Qwen-Image",
        pipelines=_three("QwenImage"),
        edge=1328,
        steps=50,
        guidance_argument="true_cfg_scale",
        languages=_CHINESE,
        writes=_BOTH_SCRIPTS,
    ),
    "QwenImageEditPipeline": Family(
        title="Qwen-Image-Edit",
        pipelines={_EDIT: "QwenImageEditPipeline", _PAINT: "QwenImageEditInpaintPipeline"},
        steps=50,
        guidance_argument="true_cfg_scale",
        strength=False,
        languages=_CHINESE,
        writes=_BOTH_SCRIPTS,
    ),
    "QwenImageEditPlusPipeline": Family(
        title="Qwen-Image-Edit Plus",
        pipelines={_EDIT: "QwenImageEditPlusPipeline"},
        steps=40,
        guidance_argument="true_cfg_scale",
        max_images=3,
        strength=False,
        languages=_CHINESE,
        writes=_BOTH_SCRIPTS,
    ),
}
"""By the class that a model's `model_index.json` names."""

_STRANGER = Family(title="Model", pipelines={_DRAW: ""}, negative=False, strength=False, max_images=0)
"""A family that is not in the table: it is asked for pictures in the way that all are."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of models that draws otherwise than its family."""

    pattern: str
    """What the name of the weights holds."""
    family: str = ""
    """Where the files do not tell."""
    steps: int | None = None
    guidance: float | None = None


LINES = (
    Line(pattern=r"sdxl[-_]?turbo|sd[-_]?xl[-_]?turbo", family="StableDiffusionXLPipeline", steps=4, guidance=0.0),
    Line(pattern=r"sd[-_]?turbo", family="StableDiffusionPipeline", steps=4, guidance=0.0),
    Line(pattern=r"z[-_]?image[-_]?turbo", family="ZImagePipeline", steps=9, guidance=0.0),
    Line(pattern=r"z[-_]?image", family="ZImagePipeline", steps=50),
    Line(pattern=r"flux\.?2[-_]klein[-_]base", family="Flux2KleinPipeline", steps=50, guidance=4.0),
    Line(pattern=r"flux\.?2[-_]klein", family="Flux2KleinPipeline"),
    Line(pattern=r"flux\.?2", family="Flux2Pipeline", steps=50),
    Line(pattern=r"kontext", family="FluxKontextPipeline"),
    Line(pattern=r"flux\.?1?[-_]schnell", family="FluxPipeline", steps=4, guidance=0.0),
    Line(pattern=r"flux\.?1", family="FluxPipeline"),
    Line(pattern=r"qwen[-_]image[-_]edit[-_]?(2509|2511|plus)", family="QwenImageEditPlusPipeline"),
    Line(pattern=r"qwen[-_]image[-_]edit", family="QwenImageEditPipeline"),
    Line(pattern=r"qwen[-_]image", family="QwenImagePipeline"),
    Line(pattern=r"stable[-_]diffusion[-_]3\.5.*turbo|sd3\.5.*turbo", family="StableDiffusion3Pipeline", steps=4, guidance=0.0),
    Line(pattern=r"stable[-_]diffusion[-_]3|sd3", family="StableDiffusion3Pipeline"),
    Line(pattern=r"stable[-_]diffusion[-_]xl|sdxl|sd[-_]?xl", family="StableDiffusionXLPipeline"),
    Line(pattern=r"stable[-_]diffusion|sd[-_]?v?[12]", family="StableDiffusionPipeline"),
)
"""The first whose pattern is found in the name counts."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What the operator says of one model."""

    weights: str
    """A folder as diffusers writes it, a .safetensors or .gguf file, or the id of a model at the Hugging Face hub."""
    name: str
    """The model's id in requests."""
    base: str = ""
    """For a file: folder or hub id of the model that it was made from, which has everything that the file lacks."""
    lora: Mapping[str, float] = field(default_factory=dict)
    """Files or hub ids of LoRA weights, and how strongly they count."""
    steps: int | None = None
    guidance: float | None = None

    @property
    def is_file(self) -> bool:
        return self.weights.lower().endswith((".safetensors", ".gguf"))

    @property
    def whole(self) -> str:
        """What holds a whole model."""
        return self.base if self.is_file else self.weights


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A model that can be drawn with, and how."""

    weights: Weights
    model: Model
    family: Family
    steps: int
    guidance: float


def offer_of(weights: Weights, environment: Mapping[str, str], *, aliases: tuple[str, ...] = ()) -> Offer:
    """What can be offered with these weights, from their name and their small files. Nothing is loaded."""
    folder = folder_of(weights.whole, environment)
    line = next((line for line in LINES if re.search(line.pattern, weights.weights, re.IGNORECASE)), Line(pattern=""))
    family = FAMILIES.get((folder and pipeline_of(folder)) or line.family, _STRANGER)
    steps = weights.steps or line.steps or family.steps
    guidance = next(value for value in (weights.guidance, line.guidance, family.guidance) if value is not None)
    edge = (folder and _trained_edge(folder)) or family.edge
    model = Model(
        provider="local",
        id=weights.name,
        title=f"{weights.name} ({family.title})" if family is not _STRANGER else weights.name,
        aliases=aliases,
        operations=frozenset(family.pipelines),
        sizes=SizeRange(min_edge=64, max_edge=2048, max_pixels=2048 * 2048, multiple=family.multiple),
        default_size=Size(width=edge, height=edge),
        max_count=16,
        seed=True,
        negative_prompt=family.negative and guidance > 1,
        max_images=family.max_images,
        mask=_PAINT in family.pipelines,
        strength=family.strength,
        languages=family.languages,
        writes=family.writes,
        previews=family.previews,
        note=f"Free, on this machine. Options: steps ({steps} unless told otherwise), guidance ({guidance:g}), "
        "and whatever else the model's pipeline in diffusers takes as text or number.",
    )
    return Offer(weights=weights, model=model, family=family, steps=steps, guidance=guidance)


def size_of(request: ImageRequest, model: Model) -> Size:
    """The size to draw: as wanted; else that of the first input picture, made smaller where the model would lose itself in it."""
    if isinstance(request.shape, Size):
        return request.shape
    assert model.default_size is not None
    assert model.sizes is not None
    if not request.images:
        return model.default_size
    given = request.images[0].size
    scale = min(1.0, sqrt(model.default_size.pixels / given.pixels))
    return nearest_size(Size(width=max(1, round(given.width * scale)), height=max(1, round(given.height * scale))), model.sizes)


# What lies on the disk ------------------------------------------------------------------------------------------------------------------------

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_id(name: str) -> bool:
    """Whether it can be a model at the hub, and is no path on this machine."""
    return bool(_HUB_ID.fullmatch(name)) and not name.startswith(".") and not Path(name).exists()


def folder_of(name: str, environment: Mapping[str, str]) -> Path | None:
    """The folder with a model in the layout of diffusers: the path itself, or where the hub's own programs have put a download. None: there is none."""
    path = Path(name).expanduser()
    if name and (path / "model_index.json").is_file():
        return path
    if not is_hub_id(name):
        return None
    cached = hub_folder(environment) / f"models--{name.replace('/', '--')}"
    try:
        revision = (cached / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    snapshot = cached / "snapshots" / revision
    return snapshot if (snapshot / "model_index.json").is_file() else None


def hub_folder(environment: Mapping[str, str]) -> Path:
    """Where downloads from the hub lie: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables."""
    if folder := environment.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    home = environment.get("HF_HOME") or os.path.join(environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def pipeline_of(folder: Path) -> str:
    """The class of diffusers that the model says it is for; empty where it does not say."""
    name = _json(folder / "model_index.json").get("_class_name", "")
    return str(name[-1] if isinstance(name, list) and name else name)


def _trained_edge(folder: Path) -> int | None:
    """The edge that a U-Net was trained on, in pixels: its own sample size, of which each cell is eight of them."""
    cells = _json(folder / "unet" / "config.json").get("sample_size")
    return cells * 8 if isinstance(cells, int) and 8 <= cells <= 256 else None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
