"""Questions to services that cost nothing: whether they can be used, and which models they have. All are asked at once, and none is waited for long."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

import anyio

from .errors import ImageServerError, ProviderError, UnavailableError
from .models import Catalogue, Model, find_model
from .policy.routing import ENDING_SOON
from .providers import Listing, Provider

log = logging.getLogger(__name__)

PATIENCE = 20.0
"""Seconds in which a service has to answer."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The table of models of a provider, held against the service's own list."""

    provider: str
    gone: tuple[str, ...] = ()
    """In the table, and no longer listed."""
    new: tuple[str, ...] = ()
    """Listed, and not in the table."""
    ending: tuple[Model, ...] = ()
    """Switched off by now, or within two months."""
    words: str = ""
    """Why there is nothing to compare with."""
    failed: bool = False
    """There is a list, and it could not be had."""

    @property
    def ok(self) -> bool:
        """Nothing in the table is amiss."""
        return not (self.gone or self.ending or self.failed)


async def ask(
    providers: Mapping[str, Provider], question: Callable[[Provider], Awaitable[T]], *, patience: float = PATIENCE
) -> dict[str, T | ImageServerError]:
    """Every provider's answer, or what came in its place."""
    answers: dict[str, T | ImageServerError] = {}

    async def one(name: str, provider: Provider) -> None:
        try:
            with anyio.fail_after(patience):
                answers[name] = await question(provider)
        except ImageServerError as error:
            answers[name] = error
        except TimeoutError:
            answers[name] = UnavailableError(f"{provider.catalogue.title} did not answer within {patience:g} seconds.", provider=name)
        except Exception as error:  # a provider of another package may do anything
            log.exception("The provider %s raised what it should not.", name)
            answers[name] = ProviderError(f"The provider {name} has a mistake: it raised {type(error).__name__}. The log says more.", provider=name)

    async with anyio.create_task_group() as tasks:
        for name, provider in providers.items():
            tasks.start_soon(one, name, provider)
    return answers


async def compare(providers: Mapping[str, Provider], catalogues: Iterable[Catalogue], *, today: date, patience: float = PATIENCE) -> list[Comparison]:
    """The tables of these catalogues, held against what their services list."""
    listing = {name: provider for name, provider in providers.items() if isinstance(provider, Listing)}
    answers = await ask(listing, _listed, patience=patience)
    return [compared(catalogue, answers.get(catalogue.provider), today) for catalogue in catalogues]


async def _listed(provider: Provider) -> tuple[str, ...]:
    assert isinstance(provider, Listing)
    return tuple(await provider.listed())


def compared(catalogue: Catalogue, listed: tuple[str, ...] | ImageServerError | None, today: date) -> Comparison:
    """One table, held against the list; None: the service has none."""
    ending = tuple(model for model in catalogue.models if model.ends is not None and model.ends - today <= ENDING_SOON)
    if listed is None:
        return Comparison(provider=catalogue.provider, ending=ending, words="The service does not list its models.")
    if isinstance(listed, ImageServerError):
        return Comparison(provider=catalogue.provider, ending=ending, words=listed.message, failed=True)
    there = [model for model in catalogue.models if not {model.id, *model.aliases}.isdisjoint(listed)]
    new = tuple(dict.fromkeys(name for name in listed if find_model(catalogue.models, name) is None))
    if not there:  # an account or a compatible server with other models; that all of them ended on one day is not likely
        words = f"The service lists {len(listed)} models that draw, and none of those in the table."
        return Comparison(provider=catalogue.provider, new=new, ending=ending, words=words)
    gone = tuple(model.id for model in catalogue.models if model not in there)
    return Comparison(provider=catalogue.provider, gone=gone, new=new, ending=ending)
