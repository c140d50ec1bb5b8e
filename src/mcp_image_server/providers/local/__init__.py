"""Diffusion models on this machine: the server's own worker process draws with weights that the operator has.

The extra `[diffusers]` brings the libraries; the weights come with nobody. Facts from https://huggingface.co/docs/diffusers.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

from anyio import to_thread
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ...errors import ConfigError, ImageServerError, ProviderError, RefusedError
from ...fields import Key, json_list, json_object
from ...models import Catalogue, Drawn, Generated, ImageRequest, Limits, Model, Operation, Picture, Size, SizeRange
from ...settings import SECRET_WORDS, Environment, parse
from ..base import Context, account_of
from .frames import Frame
from .models import Offer, Weights, folder_of, is_hub_id, offer_of, size_of
from .worker import Worker

AUTO = "auto"

# Config -------------------------------------------------------------------------------------------------------------------------------------


class OwnModel(BaseModel):
    """One entry of LOCAL_MODELS, or a text with its weights alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str = Field(min_length=1)
    name: str = ""
    base: str = ""
    lora: Mapping[str, float] = {}
    steps: int | None = Field(default=None, ge=1, le=200)
    guidance: float | None = Field(default=None, ge=0, le=50)


def _entry(value: object) -> object:
    return {"weights": value} if isinstance(value, str) else value


Entries = Annotated[tuple[Annotated[OwnModel, BeforeValidator(_entry)], ...], json_list('["/models/sd-turbo"]')]
Strengths = Annotated[Mapping[str, float], json_object('{"/models/pixel-art.safetensors": 0.8}')]


class Config(BaseModel):
    """Which weights there are, and what they may take of the machine."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(
        "",
        alias="LOCAL_MODEL",
        description="Weights to draw with: a folder as diffusers writes it, or the id of a model at the Hugging Face hub. Setting it switches the provider on.",
    )
    models: Entries = Field(
        (),
        alias="LOCAL_MODELS",
        description="Several models, as a JSON list of weights or of objects with weights, name, base, lora, steps and guidance. A .safetensors or .gguf file needs "
        "base: the folder or hub id of the model it was made from.",
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(
        "auto", alias="LOCAL_DEVICE", description="What draws: auto (the graphics card where there is one), cuda, mps (Apple) or cpu."
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto",
        alias="LOCAL_DTYPE",
        description="Numbers to reckon with: auto is bfloat16 or float16 on a graphics card and float32 on a processor; newer processors are twice as fast with bfloat16.",
    )
    lora: Strengths = Field(
        default_factory=dict,
        alias="LOCAL_LORA",
        description="LoRA weights for LOCAL_MODEL and how strongly they count, as a JSON object of files or hub ids to numbers.",
    )
    keep: int = Field(1, alias="LOCAL_KEEP", ge=0, le=16, description="Models kept in memory; the one that was not used for longest leaves.")
    memory_gb: float | None = Field(
        None,
        alias="LOCAL_MEMORY_GB",
        gt=0,
        description="Gigabytes that the models kept in memory may take together. Unset: as many as LOCAL_KEEP says.",
    )
    idle_seconds: float = Field(
        900, alias="LOCAL_IDLE_SECONDS", ge=1, description="Seconds without work after which the worker process ends and gives its memory back."
    )
    hub: bool = Field(
        False, alias="LOCAL_HUB", description="Whether weights named by a hub id may be downloaded. Otherwise only what is on this machine is used."
    )
    token: Key | None = Field(
        None, alias="LOCAL_HUB_TOKEN", description="Token for hub models that ask who comes; the worker process gets it only with LOCAL_HUB."
    )

    def weights(self) -> tuple[Weights, ...]:
        """Every model there is, the default one first.

        Raises:
            ConfigError: two have one name, or a file stands without its base.
        """
        first = [OwnModel(weights=self.model, lora=self.lora)] if self.model else []
        found: dict[str, Weights] = {}
        for own in (*first, *self.models):
            name = own.name or Path(own.weights.rstrip("/\\")).name.removesuffix(".safetensors").removesuffix(".gguf")
            weights = Weights(weights=own.weights, name=name, base=own.base, lora=own.lora, steps=own.steps, guidance=own.guidance)
            if name in found:
                raise ConfigError(f"Two local models are called {name!r}; give one of them another name in LOCAL_MODELS.")
            if weights.is_file and not own.base:
                entry = json.dumps([{"weights": own.weights, "base": "folder or hub id"}])
                raise ConfigError(f"{own.weights} is a part of a model; name the model that it was made from: LOCAL_MODELS={entry}")
            found[name] = weights
        if not found:
            raise ConfigError('LOCAL_MODELS is empty; write a JSON list such as ["/models/sd-turbo"], or unset it.')
        return tuple(found.values())


# Models -------------------------------------------------------------------------------------------------------------------------------------

CATALOGUE = Catalogue(
    provider="local",
    title="Models on this machine",
    models=(
        Model(
            provider="local",
            id=AUTO,
            title="The first of the weights",
            operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT}),
            sizes=SizeRange(min_edge=64, max_edge=2048, max_pixels=2048 * 2048, multiple=16),
            default_size=Size(width=1024, height=1024),
            max_count=16,
            seed=True,
            negative_prompt=True,
            max_images=1,
            mask=True,
            strength=True,
            previews=True,
            note="Free, on this machine, with the weights that LOCAL_MODEL names.",
        ),
    ),
    default_model=AUTO,
    styles={},
    resolutions={
        "1024x1024": "1024x1024 (1:1 square 正方形)",
        "512x512": "512x512 (1:1 small 小图)",
        "1216x832": "1216x832 (3:2 landscape 横向)",
        "832x1216": "832x1216 (2:3 portrait 竖向)",
        "1344x768": "1344x768 (16:9 wide 宽屏)",
        "768x1344": "768x1344 (9:16 tall 长屏)",
    },
    variables=("LOCAL_MODEL",),
)


def catalogue_for(offers: Sequence[Offer]) -> Catalogue:
    """What is offered with these models; the first draws what names none, and has the first of the resolutions."""
    best = str(offers[0].model.default_size)
    resolutions = {best: CATALOGUE.resolutions.get(best, best), **CATALOGUE.resolutions}
    return replace(CATALOGUE, models=tuple(offer.model for offer in offers), default_model=offers[0].model.id, resolutions=resolutions)


# Generate -----------------------------------------------------------------------------------------------------------------------------------

_LIBRARIES = ("diffusers", "torch", "transformers", "accelerate")
_MISSING = "Install the libraries that draw: pip install 'image-gen-mcp-server[diffusers]' (with torch, more than a gigabyte)"


class Local:
    """The models at work, in a process of their own that is started when they are first needed.

    Args:
        environment: where the hub's programs keep their downloads.
        command: starts the worker process; unset: the one that draws with diffusers.
    """

    name = "local"
    limits = Limits(concurrent=1)  # more at once would only take turns, and memory
    repeatable = True

    def __init__(self, config: Config, environment: Environment, *, command: Sequence[str] = ()) -> None:
        self._config = config
        self._environment = environment
        names = config.weights()
        offers = [offer_of(weights, environment, aliases=(AUTO,) if weights is names[0] else ()) for weights in names]
        self._offers = {offer.model.id: offer for offer in offers}
        self.catalogue = catalogue_for(offers)
        self.account = account_of(self.name)
        self._own_command = bool(command)
        command = command or (sys.executable, "-P", "-m", __name__, f"{config.idle_seconds:g}")
        self._worker = Worker(command, worker_environment(config, environment))

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures, with previews while they are drawn. Cancelling ends the work after its present step.

        Raises:
            ConfigError: libraries or weights are missing, or cannot be used.
        """
        offer = self._offers.get(model.id)
        if offer is None:
            raise ConfigError(f"{model.id} is no longer among the local models; there are {', '.join(self._offers)}.")
        await to_thread.run_sync(self._find, offer)
        mask = await self._white_mask(request.mask) if request.mask is not None else None
        drawn: list[Drawn] = []

        async def heard(frame: Frame) -> None:
            if frame.words["say"] == "picture":
                drawn.append(Drawn(data=frame.parts[0], seed=frame.words["seed"]))
                return
            await context.report(min(max(frame.words["fraction"], 0.0), 1.0), frame.words["words"])
            for part in frame.parts:
                await context.preview(part)

        task = to_wire(request, offer, self._config)
        parts = [picture.data for picture in request.images] + ([mask] if mask is not None else [])
        last = await self._worker.ask(task, parts, heard=heard)
        if last.words["say"] == "failed":
            raise failure_of(last.words["kind"], last.words["words"])
        return Generated(images=tuple(drawn))

    async def check(self) -> str:
        """Device, memory, versions of the libraries, and that the weights are there, none of which are loaded.

        Raises:
            ConfigError: something is missing.
        """
        for offer in self._offers.values():
            await to_thread.run_sync(self._find, offer)
        absent = await to_thread.run_sync(lambda: [name for name, offer in self._offers.items() if self._folder(offer) is None])
        names = f"Models: {', '.join(self._offers)}." + (f" Downloaded when first used: {', '.join(absent)}." if absent else "")
        if self._worker.busy:
            return f"It is drawing just now. {names}"
        last = await self._worker.ask({"do": "facts", "device": self._config.device})
        if last.words["say"] == "failed":
            raise failure_of(last.words["kind"], last.words["words"])
        return f"{last.words['words']} {names}"

    async def aclose(self) -> None:
        """End the worker process."""
        await self._worker.aclose()

    def _find(self, offer: Offer) -> None:
        """Passes when libraries and weights are there.

        Raises:
            ConfigError: they are not.
        """
        absent = [] if self._own_command else [name for name in _LIBRARIES if find_spec(name) is None]
        if absent:
            raise ConfigError(f"{', '.join(absent)} is not installed. {_MISSING}.")
        weights = offer.weights
        if weights.is_file and not Path(weights.weights).expanduser().is_file():
            raise ConfigError(f"There is no file {weights.weights}. Put the weights there, or correct LOCAL_MODELS.")
        if self._folder(offer) is not None:
            return
        whole = weights.whole
        if not is_hub_id(whole):
            raise ConfigError(
                f"There are no weights in {whole}: a folder as diffusers writes it has a model_index.json. Correct LOCAL_MODEL or LOCAL_MODELS."
            )
        if not self._config.hub:
            raise ConfigError(
                f"{whole} is not on this machine. Set LOCAL_HUB=true to have it downloaded, or download it yourself: hf download {whole}"
            )

    def _folder(self, offer: Offer) -> Path | None:
        return folder_of(offer.weights.whole, self._environment)

    async def _white_mask(self, mask: Picture) -> bytes:
        from ...pictures import white_is_edit

        return await to_thread.run_sync(white_is_edit, mask.data)


def load(environment: Environment) -> Local | None:
    """The provider, when weights are named.

    Raises:
        ConfigError: a variable is wrong.
    """
    if environment.keys().isdisjoint(("LOCAL_MODEL", "LOCAL_MODELS")):
        return None
    return Local(parse(Config, environment), environment)


def worker_environment(config: Config, environment: Environment) -> dict[str, str]:
    """What the worker process finds in its environment: nothing secret but the hub's token, and that one only where it may go there."""
    kept = {name: value for name, value in os.environ.items() if not any(word in name.upper() for word in SECRET_WORDS)}
    kept |= {name: value for name, value in environment.items() if name.startswith("HF_") and not any(word in name for word in SECRET_WORDS)}
    kept |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "DO_NOT_TRACK": "1"}
    kept.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait would starve the server beside them
    if not config.hub:
        kept["HF_HUB_OFFLINE"] = "1"
    elif config.token is not None:
        kept["HF_TOKEN"] = config.token.get_secret_value()
    return kept


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------

_LEAST_STRENGTH = 0.02
"""Below, a picture would stay as it is, and the pipelines have no step to take."""


def to_wire(request: ImageRequest, offer: Offer, config: Config) -> dict[str, Any]:
    """The task as the worker takes it; the input pictures go beside it, the mask last."""
    operation = request.operation
    size = size_of(request, offer.model)
    options = dict(request.options)
    steps = options.pop("steps", options.pop("num_inference_steps", offer.steps))
    guidance = options.pop("guidance", options.pop(offer.family.guidance_argument, offer.guidance))
    strength = request.strength if request.strength is not None or operation is not Operation.INPAINT else 1.0
    if strength is not None and operation is not Operation.GENERATE:
        strength = max(strength, _LEAST_STRENGTH)
        steps = max(steps, ceil(1 / strength)) if isinstance(steps, int) else steps
    weights = offer.weights
    return {
        "do": "draw",
        "weights": os.path.expanduser(weights.weights),
        "base": os.path.expanduser(weights.base),
        "lora": {os.path.expanduser(name): scale for name, scale in weights.lora.items()},
        "pipeline": offer.family.pipelines.get(operation, ""),
        "device": config.device,
        "dtype": config.dtype,
        "keep": config.keep,
        "memory": config.memory_gb,
        "hub": config.hub,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "width": size.width,
        "height": size.height,
        "count": request.count,
        "seed": request.seed if request.seed is not None else random.getrandbits(31),
        "steps": steps,
        "guidance": {offer.family.guidance_argument: guidance},
        "strength": strength if operation is not Operation.GENERATE else None,
        "masked": request.mask is not None,
        "options": options,
    }


_FAILURES: Mapping[str, tuple[type[ImageServerError], str]] = {
    "config": (ConfigError, "{}"),
    "request": (ProviderError, "{}"),
    "memory": (ProviderError, "There was not enough memory: {}. Ask for a smaller picture, or set LOCAL_DTYPE=bfloat16 or a smaller model"),
    "refused": (RefusedError, "{}"),
    "broken": (ProviderError, "The model failed: {}. The server's log has the details"),
}


def failure_of(kind: str, words: str) -> ImageServerError:
    """What the worker reported as a failure, as one of ours."""
    failure, sentence = _FAILURES[kind]
    message = f"{sentence.format(words).rstrip('.')}."
    if issubclass(failure, ProviderError):
        return failure(message, provider="local", not_accepted=kind == "request")
    return failure(message)
