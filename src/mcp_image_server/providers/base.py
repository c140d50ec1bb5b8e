"""What the rest of the program knows about a service."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from ..models import Catalogue, Generated, ImageRequest, Limits, Model, Picture, Size, find_model

if TYPE_CHECKING:
    from ..settings import Environment


class Context(Protocol):
    """How an adapter talks to its job while it works."""

    async def report(self, fraction: float, words: str) -> None:
        """Progress: 0 to 1, and a short sentence for a person. Cheap to call often."""
        ...

    async def accepted(self, task_id: str) -> None:
        """The service took the work under this id. Returns once the id is on disk; call it before anything else."""
        ...

    async def preview(self, data: bytes) -> None:
        """A picture of the work so far, in any format a browser shows."""
        ...


class Provider(Protocol):
    """One image service. The request has already been fitted to the model: an adapter translates, calls, translates back.

    It raises nothing but `ProviderError` and `ConfigError`. An adapter whose service has tasks also has `Resumable.resume`.
    """

    name: str
    catalogue: Catalogue
    account: str
    """Whose limits count: the same for every process that uses the same key, and telling nothing about it. `account_of` makes one."""
    limits: Limits
    """What the service grants an account, as far as it is known; the operator may set other ones."""
    repeatable: bool
    """Doing a job again costs nothing and gives the same pictures, so an interrupted one is simply run again."""

    async def generate(self, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures. Returns, or raises, only when the service is done with the work."""
        ...

    async def check(self) -> str:
        """A sentence on whether the service can be used now, found without paying. Raises ProviderError or ConfigError when not."""
        ...

    async def aclose(self) -> None:
        """Closes connections; no work is under way any more."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A provider whose work can be picked up by the service's own task id."""

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        """The pictures of work that the service accepted earlier under this id, perhaps asked for by another process."""
        ...


@runtime_checkable
class Stoppable(Protocol):
    """A provider whose service can be asked to stop what it has taken."""

    async def stop(self, task_id: str, wanted: Callable[[str], Awaitable[bool]]) -> bool:
        """Whether the service stops now. What it has drawn by then is billed, and `Resumable.resume` has it.

        Args:
            wanted: whether somebody still wants work of this provider whose id begins so.
        """
        ...


@runtime_checkable
class Listing(Protocol):
    """A provider whose service tells which models it has."""

    async def listed(self) -> Sequence[str]:
        """Ids of the models that draw and that the account may use now, in the words of the catalogue; found without paying."""
        ...


class Source(Protocol):
    """What a provider comes from: a module with these two. It may have a `Config` besides, a pydantic model whose aliases are the variables that it reads."""

    CATALOGUE: Catalogue
    """What is offered, known without calling the service."""

    def load(self, environment: Environment) -> Provider | None:
        """The provider, or None where its variables are not set. Raises ConfigError when one is wrong."""
        ...


def with_default(catalogue: Catalogue, model: str, *, like: Model | None = None) -> Catalogue:
    """The catalogue with that default model. One that the table does not have stands before the others, with the facts that may be assumed of any.

    Args:
        like: these facts, where unknown ids are refused otherwise.
    """
    if find_model(catalogue.models, model) is not None:
        return replace(catalogue, default_model=model)
    facts = like or catalogue.unknown or Model(provider=catalogue.provider, id=model)
    return replace(catalogue, models=(replace(facts, id=model, title=model), *catalogue.models), default_model=model)


def is_at(url: str, domain: str) -> bool:
    """Whether the address is at that domain or beneath it: the vendor itself, and no gateway before it."""
    host = urlsplit(url).hostname or ""
    return host == domain or host.endswith(f".{domain}")


def size_of(ratio: str, edge: int) -> Size:
    """About the pixels of a square with that edge, in that ratio (`16:9`), on the grid of 16 on which most models draw."""
    width, height = map(int, ratio.split(":"))
    scale = edge / (width * height) ** 0.5
    return Size(width=round(width * scale / 16) * 16, height=round(height * scale / 16) * 16)


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those that have a value. Most services take null for a wrong one."""
    return {name: value for name, value in fields.items() if value is not None}


def data_url(picture: Picture) -> str:
    """The picture itself, as a link; its media type in lower case, since some services take no other."""
    return f"data:{picture.media_type.lower()};base64,{base64.b64encode(picture.data).decode('ascii')}"


def guessed(looks: int) -> float:
    """How far work may have come of which the service says nothing, after so many looks: each time a little further, and never done."""
    return looks / (looks + 4)


def _or_none(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(value)
    except ValueError:
        return None


OR_NONE = WrapValidator(_or_none)
"""For a part of a reply that may be missed: what cannot be read of it is None. A bill in an unknown form must not lose the picture."""


def that_draw(names: Iterable[str], catalogue: Catalogue) -> tuple[str, ...]:
    """Of all models that a service lists without saying what they are for, those in the catalogue and those whose name speaks of pictures."""
    return tuple(name for name in names if find_model(catalogue.models, name) is not None or _PICTURES.search(name))


_PICTURES = re.compile(r"image|imagen|flux|diffusion|dall-?e|sdxl", re.IGNORECASE)


def account_of(provider: str, secret: str = "") -> str:
    """A name for the account behind a key; without a key, for the engine on this machine."""
    if not secret:
        return f"{provider}@{socket.gethostname()}"
    return f"{provider}:{hashlib.sha256(f'{provider} {secret}'.encode()).hexdigest()[:12]}"
