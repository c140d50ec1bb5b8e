"""What is sent to Replicate and what it answers, in our words. Facts from https://replicate.com/docs/reference/http and the pages of the models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ...errors import ProviderError, QuotaError, RefusedError, UnavailableError
from ...models import Adjustment, Drawn, Generated, ImageRequest, Model, Operation, Size
from ...net import Fault, words_in
from .models import Form, form_of

# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

ENDS = ("succeeded", "failed", "canceled", "aborted")
"""The statuses of predictions that are over."""


class Prediction(BaseModel):
    """Work as it stands. A status that nobody knows means that it is still under way."""

    id: str | None = None
    status: str | None = None
    output: Any = None
    logs: str | None = None
    data_removed: bool = False

    @property
    def links(self) -> list[str]:
        """Where the pictures are: some models answer with one address, others with a list."""
        found = self.output if isinstance(self.output, list) else [self.output]
        return [link for link in found if isinstance(link, str) and link]

    @property
    def progress(self) -> float | None:
        """0 to 1, where the log shows a progress bar."""
        bars = re.findall(r"(\d{1,3})%\|", self.logs or "")
        return min(int(bars[-1]), 100) / 100 if bars else None


class UploadUrls(BaseModel):
    """Where an upload is."""

    get: str


class Upload(BaseModel):
    """The answer to an upload."""

    urls: UploadUrls


class Account(BaseModel):
    """Whose token it is."""

    username: str


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


_WITH_PROMPT = frozenset(operation for operation in Operation if operation.needs_prompt) | {Operation.VARIATION}


def to_wire(request: ImageRequest, model: Model, *, images: Sequence[str] = (), mask: str | None = None) -> dict[str, Any]:
    """The input of a prediction: what was asked for, as far as the model has fields for it. `images` and `mask` are links."""
    form = form_of(model)
    wanted: dict[str, Any] = {
        # A model that makes something like a picture wants the field, and takes it empty.
        "prompt": request.prompt if request.prompt.strip() or request.operation in _WITH_PROMPT else None,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "num_outputs": request.count,
        **_size(request, form),
        "output_format": "jpg" if request.output_format == "jpeg" else request.output_format,
        "output_quality": request.output_compression,
        "mask": mask,
        "prompt_strength": request.strength if images else None,
        "strength": request.strength if images else None,
        # Counted the other way: 1 is the picture as it was.
        "image_prompt_strength": round(1 - request.strength, 3) if request.strength is not None and images else None,
        **_canvas(request),
    }
    body = {name: value for name, value in wanted.items() if name in form.fields and value is not None}
    if images and form.image:
        body[form.image] = images[0]
    if images and form.image_list:
        body[form.image_list] = list(images)
    return {**body, **request.options}


def _size(request: ImageRequest, form: Form) -> Mapping[str, Any]:
    shape = request.shape
    if not isinstance(shape, Size):
        return {"aspect_ratio": str(shape)} if shape is not None else {}
    return form.shapes.get(shape) or {"aspect_ratio": "custom", "width": shape.width, "height": shape.height}


def _canvas(request: ImageRequest) -> Mapping[str, Any]:
    """The first input picture on a larger canvas."""
    if request.extend is None or not request.images:
        return {}
    edges, inside = request.extend, request.images[0].size
    return {
        "aspect_ratio": "none",  # or its default would count for more than the canvas
        "canvas_size": [inside.width + edges.left + edges.right, inside.height + edges.top + edges.bottom],
        "original_image_size": [inside.width, inside.height],
        "original_image_location": [edges.left, edges.top],
    }


def from_wire(pictures: Sequence[bytes], request: ImageRequest, model: Model, *, request_id: str) -> Generated:
    """The answer in our words; the service does not repeat the seed."""
    form = form_of(model)
    seed = request.options.get("seed", request.seed if "seed" in form.fields else None)
    left_out = {
        "prompt": request.prompt.strip() and "prompt" not in form.fields,
        "resolution": request.shape and (request.extend or "aspect_ratio" not in form.fields),
    }
    words = tuple(
        Adjustment(field=name, message=f"{model.id} takes no such setting, so it was left out.")
        for name, is_left_out in left_out.items()
        if is_left_out
    )
    images = tuple(Drawn(data=data, seed=seed if isinstance(seed, int) else None) for data in pictures)
    return Generated(images=images, request_id=request_id, adjustments=words)


_KINDS: tuple[tuple[str, type[ProviderError]], ...] = (
    (r"nsfw|\bE005\b|flagged as sensitive|content.?(policy|moderation)|safety (system|filter|checker)", RefusedError),
    (r"insufficient credit|set up billing", QuotaError),
    (r"please retry|\binterrupted\b", UnavailableError),
)
"""Words by which a failure is known: a prediction that failed has a text and no code."""


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: a refused call has a `detail`, a prediction that failed has an `error`."""
    facts = body if isinstance(body, dict) else {}
    ended = facts.get("status")
    message = words_in({name: facts.get(name) for name in ("detail", "error", "title")}) if facts else words_in(body)
    if not message and ended in ENDS:
        message = f"the prediction was {ended}" if ended != "failed" else "no reason given"
    if not message:
        return None
    kind = next((kind for words, kind in _KINDS if re.search(words, message, re.IGNORECASE)), None)
    wait = facts.get("retry_after")
    return Fault(
        message=message,
        kind=kind if status != 429 else None,  # its words speak of credit, too
        retry_after=float(wait) if isinstance(wait, int | float) else None,
        details={"service_status": ended} if ended in ENDS else {},
    )
