"""What is sent to Black Forest Labs and what they answer, in our words. Facts from https://docs.bfl.ai."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from ...errors import ProviderError, QuotaError, RefusedError
from ...models import Adjustment, Cost, Drawn, Generated, ImageRequest, Model, Size
from ...net import Fault, words_in
from ..base import present
from .models import Form, form_of

# Reply types: only the fields we read, so that their additions cannot break us ---------------------------------------------------------------

READY = "Ready"
"""The status of a task whose picture is there."""
UNKNOWN = "Task not found"
"""The status of a task of which the service has not heard yet, or no longer."""
ENDS: Mapping[str, type[ProviderError]] = {
    "Request Moderated": RefusedError,
    "Content Moderated": RefusedError,
    "Error": ProviderError,
    UNKNOWN: ProviderError,
}
"""The statuses of tasks that brought no picture."""
DOING = {"Pending": "has the task in line", "Reasoning": "thinks about the prompt", "Generating": "is drawing"}
"""What the service does with a task of that status."""


class Submitted(BaseModel):
    """The answer to a submission."""

    polling_url: str | None = None
    cost: float | None = None

    @property
    def task_id(self) -> str | None:
        """All that is needed to go on with the task: a fragment is never sent, so it has room for what is not told again."""
        if not self.polling_url:
            return None
        return self.polling_url if self.cost is None else f"{self.polling_url}#{self.cost:g}"


class Result(BaseModel):
    """What was drawn."""

    sample: str | None = None
    prompt: str | None = None
    seed: int | None = None


class Task(BaseModel):
    """A task as it stands. A status that nobody knows means that it is still under way."""

    status: str
    id: str | None = None
    progress: float | None = None
    result: Result | None = None


class Credits(BaseModel):
    """What an account may spend; one is a US cent."""

    credits: float


# To wire, from wire -------------------------------------------------------------------------------------------------------------------------


def to_wire(request: ImageRequest, model: Model) -> dict[str, Any]:
    """The body of a submission. Takes its time where there is a mask, whose pixels are rewritten."""
    form = form_of(model)
    body: dict[str, Any] = {
        "prompt": request.prompt if form.prompt else None,
        **_pictures(request, form),
        **_shape(request, form),
        "seed": request.seed,
        "output_format": request.output_format,
        # The service counts the other way: 1 is the picture as it was.
        "image_prompt_strength": round(1 - request.strength, 3) if request.strength is not None and request.images else None,
    }
    if request.extend is not None:
        edges = request.extend
        body |= {"top": edges.top, "bottom": edges.bottom, "left": edges.left, "right": edges.right}
    return {**present(body), **request.options}


def _pictures(request: ImageRequest, form: Form) -> dict[str, Any]:
    texts = [_base64(picture.data) for picture in request.images]
    body: dict[str, Any] = {form.image_list: texts or None} if form.image_list else dict(zip(form.images, texts, strict=False))
    if request.mask is not None:
        from ...pictures import white_is_edit

        body["mask"] = _base64(white_is_edit(request.mask.data))
    return body


def _shape(request: ImageRequest, form: Form) -> Mapping[str, Any]:
    shape = request.shape
    if isinstance(shape, Size):
        return form.shapes.get(shape) or {"width": shape.width, "height": shape.height}
    return {"aspect_ratio": str(shape)} if shape is not None else {}


def from_wire(result: Result, data: bytes, request: ImageRequest, model: Model, *, credits_spent: str, request_id: str | None) -> Generated:
    """The answer in our words; `data` is the picture."""
    words: tuple[Adjustment, ...] = ()
    if request.prompt.strip() and not form_of(model).prompt:
        words = (Adjustment(field="prompt", message=f"{model.id} takes no prompt: what the mask leaves open was taken away."),)
    revised = result.prompt if result.prompt and result.prompt != request.prompt else None
    cost = Cost(micros=round(float(credits_spent) * 10_000), currency="USD", source="reported") if credits_spent else None
    return Generated(images=(Drawn(data=data, seed=result.seed, revised_prompt=revised),), cost=cost, request_id=request_id, adjustments=words)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def read_fault(status: int, body: Any) -> Fault | None:
    """What an error body means: a refused call has a `detail`, a task has a `status`, which counts for more than that of HTTP (it may be 404 or 503)."""
    facts = body if isinstance(body, dict) else {}
    if facts.get("status") in (READY, *ENDS, *DOING):
        return _fault_of_task(facts) if status < 400 else Fault(message=facts["status"], kind=ProviderError, details={"task": facts})
    detail = facts.get("detail")
    if isinstance(detail, list):
        problems = [entry for entry in detail if isinstance(entry, dict)]
        message = "; ".join(f"{'.'.join(map(str, entry.get('loc', ())[1:]))}: {words_in(entry)}" for entry in problems)
    else:
        message = words_in(body)
    if not message:
        return None
    return Fault(message=message, kind=QuotaError if status != 429 and "insufficient credits" in message.lower() else None)


def _fault_of_task(task: Mapping[str, Any]) -> Fault:
    status, reasons = task["status"], list(_reasons(task.get("details")))
    message = f"{status} ({', '.join(reasons)})" if reasons else status
    if status == UNKNOWN:
        message = f"{status}; pictures are kept for ten minutes, those of FLUX 3 for an hour"
    details = {"service_status": status, "task_id": task.get("id"), "reasons": reasons or None}
    return Fault(message=message, kind=ENDS.get(status), details=present(details))


def _reasons(details: Any) -> Iterable[str]:
    """Every text inside the details of a task that failed."""
    if isinstance(details, str):
        yield details
    elif isinstance(details, Mapping | list):
        for value in details.values() if isinstance(details, Mapping) else details:
            yield from _reasons(value)
