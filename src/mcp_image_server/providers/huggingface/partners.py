"""The inference providers behind Hugging Face's router, each with bodies and answers of its own. Pure. Facts from huggingface_hub's clients for them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ...models import ImageRequest, Size
from ..base import data_url, present

TEXT_TO_IMAGE = "text-to-image"
IMAGE_TO_IMAGE = "image-to-image"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model of the hub as one inference provider serves it."""

    partner: str
    """Name of the inference provider, in the router's words."""
    id: str
    """What the provider calls the model."""
    repo: str
    """What the hub calls it."""
    weights: str | None = None
    """File in the repository, where the model is a LoRA on top of another one."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is sent to the router, below the provider's name."""

    path: str
    json: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Pictures as links or in base64, and which of them were found unfit by the provider."""

    links: tuple[str, ...] = ()
    inline: tuple[str, ...] = ()
    unfit: tuple[bool, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """Not done: where to look."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The provider's reason for having no picture."""

    words: str


Outcome = Found | Look | Failed


@dataclass(frozen=True, kw_only=True)
class Partner:
    """One inference provider."""

    tasks: frozenset[str]
    call: Callable[[ImageRequest, Target], Call]
    read: Callable[[Any, str], Outcome | None]
    """Decoded answer and the path it came from, to what it means; None when its form is unknown."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Sent with each call and each look."""


def _settings(request: ImageRequest) -> dict[str, Any]:
    """What most providers take under the names of Hugging Face's own clients. The caller's options win."""
    size = request.shape if isinstance(request.shape, Size) else None
    settings = {
        "negative_prompt": request.negative_prompt,
        "width": size.width if size else None,
        "height": size.height if size else None,
        "seed": request.seed,
    }
    return {**present(settings), **request.options}


def _renamed(settings: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in settings.items()}


def _path_of(url: Any) -> str:
    return urlsplit(url).path if isinstance(url, str) else ""


def _dig(value: Any, *names: str | int) -> Any:
    """What lies below these names and places; None where there is no such thing."""
    for name in names:
        if isinstance(name, str):
            value = value.get(name) if isinstance(value, dict) else None
        else:
            value = value[name] if isinstance(value, list) and len(value) > name else None
    return value


def _texts(value: Any) -> tuple[str, ...]:
    """A text or the texts of a list."""
    return tuple(one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))


def _flags(value: Any) -> tuple[bool, ...]:
    return tuple(bool(one) for one in value) if isinstance(value, list) else ()


# hf-inference -------------------------------------------------------------------------------------------------------------------------------


def _hf_call(request: ImageRequest, target: Target) -> Call:
    settings = _settings(request)
    path, headers = f"models/{target.id}", {"Accept": "image/png"}
    if not request.images:
        return Call(path=path, json={"inputs": request.prompt, "parameters": settings}, headers=headers)
    picture = base64.b64encode(request.images[0].data).decode("ascii")
    return Call(path=path, json={"inputs": picture, "parameters": {"prompt": request.prompt, **settings}}, headers=headers)


# fal-ai -------------------------------------------------------------------------------------------------------------------------------------


def _fal_call(request: ImageRequest, target: Target) -> Call:
    settings = _settings(request)
    if "width" in settings and "height" in settings:
        settings["image_size"] = {"width": settings.pop("width"), "height": settings.pop("height")}
    if request.images:
        settings = {"image_url": data_url(request.images[0]), "image_urls": [data_url(request.images[0])], **settings}
    if target.weights is not None:
        settings["loras"] = [{"path": f"https://huggingface.co/{target.repo}/resolve/main/{target.weights}", "scale": 1}]
        if target.id == "fal-ai/lora":
            settings["model_name"] = "stabilityai/stable-diffusion-xl-base-1.0"
    return Call(path=target.id, json={"prompt": request.prompt, **settings})


def _fal_read(value: Any, path: str) -> Outcome | None:
    status = _dig(value, "status")
    if path.endswith("/status"):
        return Look(path=path.removesuffix("/status") if status == "COMPLETED" else path)
    if images := _dig(value, "images"):
        links = tuple(url for index in range(len(images)) for url in _texts(_dig(images, index, "url")))
        return Found(links=links, unfit=_flags(_dig(value, "has_nsfw_concepts")), seed=_dig(value, "seed"))
    below = _path_of(_dig(value, "response_url"))
    return Look(path=f"fal-ai{below}/status") if below else None


# replicate ----------------------------------------------------------------------------------------------------------------------------------


def _replicate_call(request: ImageRequest, target: Target) -> Call:
    body: dict[str, Any] = {"prompt": request.prompt, **_settings(request)}
    if request.images:  # its models call it by different names
        picture = data_url(request.images[0])
        body = {"image": picture, "images": [picture], "input_image": picture, "input_images": [picture], **body}
    elif target.weights is not None:
        body["lora_weights"] = f"https://huggingface.co/{target.repo}"
    name, _, version = target.id.partition(":")
    path, about = ("v1/predictions", {"version": version}) if version else (f"v1/models/{name}/predictions", {})
    return Call(path=path, json={"input": body, **about}, headers={"Prefer": "wait"})


def _replicate_read(value: Any, path: str) -> Outcome | None:
    status = _dig(value, "status")
    if status in ("failed", "canceled", "aborted"):
        return Failed(words=str(_dig(value, "error") or f"the work was {status}"))
    if links := _texts(_dig(value, "output")):
        return Found(links=links)
    below = _path_of(_dig(value, "urls", "get"))
    return Look(path=f"replicate{below}") if below and status != "succeeded" else None


# together and nscale ------------------------------------------------------------------------------------------------------------------------


def _together_call(request: ImageRequest, target: Target) -> Call:
    settings = _renamed(_settings(request), {"num_inference_steps": "steps"})
    if request.images:
        picture = data_url(request.images[0])
        is_kontext = re.search(r"flux\.1.*kontext", target.id, re.IGNORECASE)  # the one family that has its own name for it
        settings = {**({"image_url": picture} if is_kontext else {"reference_images": [picture]}), **settings}
    body = {"prompt": request.prompt, "response_format": "base64", **settings, "model": target.id}
    return Call(path="v1/images/generations", json=body)


def _nscale_call(request: ImageRequest, target: Target) -> Call:
    settings = {name: value for name, value in _settings(request).items() if name not in ("num_inference_steps", "cfg_scale")}
    if "width" in settings and "height" in settings:
        settings["size"] = f"{settings.pop('width')}x{settings.pop('height')}"
    return Call(path="v1/images/generations", json={"response_format": "b64_json", "prompt": request.prompt, "model": target.id, **settings})


def _data_read(value: Any, path: str) -> Outcome | None:
    entries = _dig(value, "data")
    if not isinstance(entries, list):
        return None
    places = range(len(entries))
    return Found(
        inline=tuple(text for place in places for text in _texts(_dig(entries, place, "b64_json"))),
        links=tuple(url for place in places for url in _texts(_dig(entries, place, "url"))),
    )


# wavespeed ----------------------------------------------------------------------------------------------------------------------------------


def _wavespeed_call(request: ImageRequest, target: Target) -> Call:
    picture = {"image": data_url(request.images[0])} if request.images else {}
    return Call(path=f"api/v3/{target.id}", json={**picture, "prompt": request.prompt, **_settings(request)})


def _wavespeed_read(value: Any, path: str) -> Outcome | None:
    status = _dig(value, "data", "status")
    if status == "failed":
        return Failed(words=str(_dig(value, "data", "error") or "no reason given"))
    if status == "completed":
        return Found(links=_texts(_dig(value, "data", "outputs")), unfit=_flags(_dig(value, "data", "has_nsfw_contents")))
    below = _path_of(_dig(value, "data", "urls", "get"))
    return Look(path=f"wavespeed{below}") if below else None


# zai-org ------------------------------------------------------------------------------------------------------------------------------------

_ZAI = "api/paas/v4"


def _zai_call(request: ImageRequest, target: Target) -> Call:
    settings = _settings(request)
    if "width" in settings and "height" in settings:
        settings["size"] = f"{settings.pop('width')}x{settings.pop('height')}"
    return Call(path=f"{_ZAI}/async/images/generations", json={"model": target.id, "prompt": request.prompt, **settings})


def _zai_read(value: Any, path: str) -> Outcome | None:
    status, task = _dig(value, "task_status"), _dig(value, "id")
    if status == "FAIL":
        return Failed(words=str(_dig(value, "error", "message") or "no reason given"))
    if entries := _dig(value, "image_result"):
        return Found(links=tuple(url for place in range(len(entries)) for url in _texts(_dig(entries, place, "url"))))
    if status != "PROCESSING":
        return None
    return Look(path=path if "async-result" in path else f"zai-org/{_ZAI}/async-result/{task}")


_BOTH = frozenset({TEXT_TO_IMAGE, IMAGE_TO_IMAGE})
_DRAWS = frozenset({TEXT_TO_IMAGE})

PARTNERS: Mapping[str, Partner] = {
    "fal-ai": Partner(tasks=_BOTH, call=_fal_call, read=_fal_read, params={"_subdomain": "queue"}),
    "hf-inference": Partner(tasks=_BOTH, call=_hf_call, read=lambda value, path: None),
    "nscale": Partner(tasks=_DRAWS, call=_nscale_call, read=_data_read),
    "replicate": Partner(tasks=_BOTH, call=_replicate_call, read=_replicate_read),
    "together": Partner(tasks=_BOTH, call=_together_call, read=_data_read),
    "wavespeed": Partner(tasks=_BOTH, call=_wavespeed_call, read=_wavespeed_read),
    "zai-org": Partner(tasks=_DRAWS, call=_zai_call, read=_zai_read),
}
"""Those that draw."""
