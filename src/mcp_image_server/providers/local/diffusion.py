"""The engine that draws with diffusers. Only the worker process imports it; the libraries are those of the extra `[diffusers]`."""

from __future__ import annotations

import gc
import inspect
import io
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

from .child import EngineError, StoppedError, Voice

_GIB = 2**30
_PREVIEW_EVERY = 1.0
"""Seconds between two previews."""

_PREVIEW_EDGE = 256


@dataclass
class Loaded:
    """A model in memory."""

    whole: Any
    """The pipeline as it was loaded."""
    size: int
    """Bytes."""
    placed: Callable[[Any], Any]
    """Brings a pipeline over the same parts to the device."""
    others: dict[str, Any] = field(default_factory=dict)
    """Pipelines over the same parts that do something else, by class."""
    colours: Any = None
    """How its latents show colours: None until somebody looks, False where they do not tell."""


class Engine:
    """Models in memory, and how to draw with them."""

    def __init__(self) -> None:
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        try:
            self._torch: Any = import_module("torch")
            self._diffusers: Any = import_module("diffusers")
            self._pillow: Any = import_module("PIL.Image")
        except ImportError as error:
            raise EngineError("config", f"the libraries that draw cannot be imported: {error}") from error
        for library in (self._diffusers, import_module("transformers")):
            library.utils.logging.disable_progress_bar()
        self._kept: OrderedDict[str, Loaded] = OrderedDict()

    def facts(self, task: Mapping[str, Any]) -> str:
        """Device, memory and versions."""
        device = self._device(task["device"])
        free, whole = self._memory(device)
        versions = ", ".join(f"{name} {version(name)}" for name in ("diffusers", "torch", "transformers"))
        return f"Draws on {self._device_name(device)} with {free / _GIB:.1f} of {whole / _GIB:.1f} GiB free; {versions}."

    def draw(self, task: Mapping[str, Any], pictures: Sequence[bytes], voice: Voice) -> None:
        """The pictures, one after the other: each follows from its own seed, whatever else is drawn beside it."""
        try:
            self._draw(task, pictures, voice)
        except self._torch.OutOfMemoryError as error:
            raise EngineError("memory", str(error).partition(".")[0]) from error
        finally:
            self._let_go(task["keep"], task["memory"])

    # ------------------------------------------------------------------ drawing

    def _draw(self, task: Mapping[str, Any], pictures: Sequence[bytes], voice: Voice) -> None:
        loaded = self._load(task, voice)
        pipeline = self._pipeline(loaded, task["pipeline"])
        arguments = self._arguments(task, pictures, pipeline)
        for index in range(task["count"]):
            seed = task["seed"] + index
            step = _Steps(task, index, loaded, voice, self._torch)
            generator = self._torch.Generator("cpu").manual_seed(seed)  # the same numbers on every device
            try:
                made = pipeline(**arguments, generator=generator, callback_on_step_end=step, output_type="pil")
            finally:
                pipeline.maybe_free_model_hooks()  # it does so itself, but not when it was stopped
            if any(getattr(made, "nsfw_content_detected", None) or ()):
                raise EngineError("refused", "the model's own safety checker held the picture back")
            image = made.images[0]
            if task["masked"]:
                image = self._pillow.composite(image.convert("RGB"), arguments["image"], arguments["mask_image"])
            voice.picture(_png(image), seed)

    def _arguments(self, task: Mapping[str, Any], pictures: Sequence[bytes], pipeline: Any) -> dict[str, Any]:
        takes = inspect.signature(pipeline.__call__).parameters
        reserved = {"image", "mask_image", "generator", "callback_on_step_end", "output_type", "return_dict", "latents", "prompt_embeds"}
        if strangers := sorted(name for name in task["options"] if name not in takes or name in reserved):
            known = ", ".join(["steps", "guidance", *sorted(name for name in takes if name not in reserved and "embeds" not in name)])
            raise EngineError("request", f"this model has no option {strangers[0]!r}; there are {known}")
        given = {
            "prompt": task["prompt"],
            "negative_prompt": task["negative_prompt"],
            "width": task["width"],
            "height": task["height"],
            "num_inference_steps": task["steps"],
            "strength": task["strength"],
            **task["guidance"],
        }
        arguments = {name: value for name, value in given.items() if name in takes and value is not None}
        images = [self._pillow.open(io.BytesIO(data)) for data in pictures]
        if images:
            size = (task["width"], task["height"])
            mask = images.pop() if task["masked"] else None
            colours = [image.convert("RGB") for image in images]
            if "strength" in takes or mask is not None:  # it starts from the picture; otherwise it looks at it, as large as it is
                colours = [self._fitted(image, size) for image in colours]
            arguments["image"] = colours[0] if len(colours) == 1 else colours
            if mask is not None:
                arguments["mask_image"] = self._fitted(mask.convert("L"), size)
        return {**arguments, **task["options"]}

    def _fitted(self, image: Any, size: tuple[int, int]) -> Any:
        """The picture at that size; what does not fit is cut off."""
        return import_module("PIL.ImageOps").fit(image, size, self._pillow.Resampling.LANCZOS)

    # ------------------------------------------------------------------ models in memory

    def _pipeline(self, loaded: Loaded, name: str) -> Any:
        kind = getattr(self._diffusers, name) if name else type(loaded.whole)
        if isinstance(loaded.whole, kind):
            return loaded.whole
        if name not in loaded.others:
            other = loaded.placed(kind.from_pipe(loaded.whole))
            other.set_progress_bar_config(disable=True)
            loaded.others[name] = other
        return loaded.others[name]

    def _load(self, task: Mapping[str, Any], voice: Voice) -> Loaded:
        key = json.dumps([task[name] for name in ("weights", "base", "lora", "device", "dtype")])
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        voice.report(0.01, f"Loading {Path(task['weights']).name}.")
        size = _size_on_disk(task["weights"])
        self._let_go(max(task["keep"] - 1, 0), task["memory"], room=size)
        device = self._device(task["device"])
        dtype = self._dtype(task["dtype"], device)
        try:
            whole = self._opened(task, dtype)
            self._dress(whole, task)
        except (MemoryError, self._torch.OutOfMemoryError):
            raise
        except Exception as error:  # the libraries raise anything where files are wrong
            reason = next(iter(str(error).splitlines()), type(error).__name__)[:300]
            raise EngineError("config", f"the weights {task['weights']} cannot be used: {reason}") from error
        whole.set_progress_bar_config(disable=True)
        size = sum(_bytes_of(part) for part in whole.components.values())
        loaded = Loaded(whole=whole, size=size, placed=self._placement(device, size))
        loaded.placed(whole)
        self._kept[key] = loaded
        return loaded

    def _opened(self, task: Mapping[str, Any], dtype: Any) -> Any:
        """The pipeline from a folder, a hub id, or a file and what it lacks."""
        weights, base = task["weights"], task["base"]
        # Pickled weights could run code; safetensors cannot.
        how = {"local_files_only": not task["hub"], "use_safetensors": True, "dtype": dtype}
        everything = self._diffusers.DiffusionPipeline
        if weights.endswith(".gguf"):
            part, kind = self._denoiser(everything.load_config(base, local_files_only=not task["hub"]))
            quantized = self._diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
            denoiser = kind.from_single_file(weights, config=base, subfolder=part, quantization_config=quantized, dtype=dtype)
            return everything.from_pretrained(base, **{part: denoiser}, **how)
        if weights.endswith(".safetensors"):
            kind = getattr(self._diffusers, everything.load_config(base, local_files_only=not task["hub"])["_class_name"])
            return kind.from_single_file(weights, config=base, dtype=dtype, local_files_only=not task["hub"])
        return everything.from_pretrained(weights, **how)

    def _denoiser(self, index: Mapping[str, Any]) -> tuple[str, Any]:
        """Name and class of the part that takes the steps."""
        part = "transformer" if "transformer" in index else "unet"
        return part, getattr(self._diffusers, index[part][1])

    def _dress(self, whole: Any, task: Mapping[str, Any]) -> None:
        """Puts the LoRA weights on."""
        names = []
        for number, (lora, _) in enumerate(task["lora"].items()):
            names.append(f"lora{number}")
            path = Path(lora)
            where = {"pretrained_model_name_or_path_or_dict": lora}
            if path.is_file():
                where = {"pretrained_model_name_or_path_or_dict": str(path.parent), "weight_name": path.name}
            whole.load_lora_weights(**where, adapter_name=names[-1], local_files_only=not task["hub"], use_safetensors=True)
        if names:
            whole.set_adapters(names, adapter_weights=list(task["lora"].values()))

    def _placement(self, device: str, size: int) -> Callable[[Any], Any]:
        """Wholly onto the device; on a graphics card that is too small, each part while it is needed."""
        crowded = device == "cuda" and size > 0.85 * self._memory(device)[0]

        def place(pipeline: Any) -> Any:
            if crowded:
                pipeline.enable_model_cpu_offload()
                return pipeline
            return pipeline.to(device)

        return place

    def _let_go(self, most: int, gigabytes: float | None, *, room: int = 0) -> None:
        """Makes those leave that were not used for longest."""
        bound = gigabytes * _GIB if gigabytes is not None else float("inf")
        left = False
        while self._kept and (len(self._kept) > most or sum(loaded.size for loaded in self._kept.values()) + room > bound):
            self._kept.popitem(last=False)
            left = True
        if left:
            gc.collect()
            for there, memory in ((self._torch.cuda, self._torch.cuda), (self._torch.backends.mps, self._torch.mps)):
                if there.is_available():
                    memory.empty_cache()

    # ------------------------------------------------------------------ the machine

    def _device(self, wanted: str) -> str:
        torch = self._torch
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        if wanted == "auto":
            return next(name for name, here in there.items() if here)
        if not there[wanted]:
            raise EngineError("config", f"LOCAL_DEVICE is {wanted}, which torch {torch.__version__} does not find here; set it to auto or cpu")
        return wanted

    def _dtype(self, wanted: str, device: str) -> Any:
        torch = self._torch
        if wanted != "auto":
            return getattr(torch, wanted)
        if device == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        if device == "mps":
            return torch.bfloat16 if torch.backends.mps.is_macos_or_newer(14, 0) else torch.float16
        return torch.float32

    def _device_name(self, device: str) -> str:
        if device == "cuda":
            return f"the graphics card {self._torch.cuda.get_device_name()}"
        return "Apple's graphics (mps)" if device == "mps" else f"the processor ({self._torch.get_num_threads()} threads)"

    def _memory(self, device: str) -> tuple[int, int]:
        """Bytes free and in all."""
        if device == "cuda":
            free, whole = self._torch.cuda.mem_get_info()
            return int(free), int(whole)
        memory = import_module("psutil").virtual_memory()  # accelerate brings it
        return int(memory.available), int(memory.total)


class _Steps:
    """Is told of every step, and tells the job."""

    def __init__(self, task: Mapping[str, Any], index: int, loaded: Loaded, voice: Voice, torch: Any) -> None:
        self._task = task
        self._index = index
        self._loaded = loaded
        self._voice = voice
        self._torch = torch
        self._last = monotonic()

    def __call__(self, pipeline: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps = getattr(pipeline, "num_timesteps", None) or self._task["steps"]
        done = min(step + 1, steps)
        fraction = 0.05 + 0.93 * (self._index + done / (steps + 1)) / self._task["count"]
        which = f" of picture {self._index + 1} of {self._task['count']}" if self._task["count"] > 1 else ""
        preview = b""
        if done < steps and monotonic() - self._last >= _PREVIEW_EVERY:
            preview = self._preview(pipeline, tensors.get("latents"))
            self._last = monotonic()
        self._voice.report(fraction, f"Step {done} of {steps}{which}.", preview)
        return tensors

    def _preview(self, pipeline: Any, latents: Any) -> bytes:
        """A small picture of the latents; empty where they do not tell. It is an ornament: whatever goes wrong with it does not end the work."""
        loaded = self._loaded
        try:
            with self._torch.no_grad():
                if loaded.colours is None:
                    loaded.colours = _colours_of(pipeline.vae, self._torch)
                if loaded.colours is False or latents is None:
                    return b""
                cells = _cells(latents[:1], self._task["width"] / self._task["height"], loaded.colours.shape[0] - 1)
                cells = cells.float().cpu()
                cells = cells / max(1.0, cells.std().item())  # where noise is added to the picture, there is much more of it at first
                shown = cells @ loaded.colours[:-1] + loaded.colours[-1]
                return _small((shown.clamp(0, 1) * 255).byte().numpy())
        except StoppedError:
            raise
        except Exception:
            loaded.colours = False
            return b""


def _colours_of(vae: Any, torch: Any) -> Any:
    """A matrix that makes red, green and blue of a cell of latents, learnt by showing the model's own encoder a board of colours."""
    fields = 8
    cell = 2 ** (len(vae.config.block_out_channels) - 1) * 2
    colours = torch.rand(fields * fields, 3, generator=torch.Generator("cpu").manual_seed(0))
    board = colours.T.reshape(1, 3, fields, fields).repeat_interleave(cell, 2).repeat_interleave(cell, 3) * 2 - 1
    latents = vae.encode(board.to(vae.device, vae.dtype)).latent_dist.mode().float().cpu()
    latents = (latents - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor
    pooled = torch.nn.functional.adaptive_avg_pool2d(latents, fields)[0].flatten(1).T
    known = torch.cat([pooled, torch.ones(len(pooled), 1)], 1)
    matrix = torch.linalg.lstsq(known, colours).solution
    return matrix if matrix.isfinite().all() else False


def _cells(latents: Any, ratio: float, channels: int) -> Any:
    """Rows of cells. Transformers hold four neighbours in one token, of which the mean is shown."""
    if latents.ndim == 4:
        return latents[0].permute(1, 2, 0)
    count = latents.shape[1]
    rows = round((count / ratio) ** 0.5)
    return latents[0].reshape(rows, count // rows, channels, 4).mean(-1)


def _small(pixels: Any) -> bytes:
    pillow = import_module("PIL.Image")
    image = pillow.fromarray(pixels)
    scale = _PREVIEW_EDGE / max(image.size)
    out = io.BytesIO()
    image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), pillow.Resampling.BICUBIC).save(out, "WEBP", quality=70)
    return out.getvalue()


def _png(image: Any) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "PNG", compress_level=4)
    return out.getvalue()


def _bytes_of(part: Any) -> int:
    parameters = getattr(part, "parameters", None)
    return sum(each.numel() * each.element_size() for each in parameters()) if callable(parameters) else 0


def _size_on_disk(weights: str) -> int:
    """Bytes; 0 where they are not there yet."""
    path = Path(weights)
    files = [path] if path.is_file() else path.rglob("*.safetensors")
    return sum(file.stat().st_size for file in files)
