"""What the operator asks of a server at work: whether all is in order, the settings read anew, the record held against the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from . import condition, survey
from . import providers as provider_list
from .audit import audit
from .bookshelf import Bookshelf
from .condition import Burden, Part
from .configuration import Configuration, switches_of
from .errors import ConfigError, ImageServerError, RequestError
from .gallery import Gallery
from .models import Caller, find_model
from .policy.breaker import is_open
from .policy.breaker import words as breaker_words
from .policy.routing import ending_words, named
from .settings import SECRET_WORDS, Settings, database_words, needs_restart, record_place
from .survey import Comparison
from .workshop import Workshop, seen_by

if TYPE_CHECKING:
    from .jobs.verify import Verification


@dataclass(frozen=True, kw_only=True)
class Reloaded:
    """What a reload changed; names are those of the variables in lower case, without `MCP_`."""

    changed: tuple[str, ...]
    providers: tuple[str, ...]
    default_provider: str
    models: Mapping[str, str]
    """Provider to default model."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at by `doctor`."""

    name: str
    ok: bool
    words: str
    in_use: bool = True
    """False for a provider that is not configured: nothing was asked."""


class Upkeep:
    """What the operator asks of a server at work.

    Args:
        reread: the configuration as it is written down by now; told whether the `.env` file goes before the process's environment.
    """

    def __init__(self, workshop: Workshop, images: Gallery, library: Bookshelf, reread: Callable[[bool], Configuration]) -> None:
        self._workshop = workshop
        self._images = images
        self._library = library
        self._reread = reread

    @property
    def _configuration(self) -> Configuration:
        return self._workshop.configuration

    async def reload(self, caller: Caller, *, dotenv_wins: bool = True) -> Reloaded:
        """The settings, read again. All or nothing: what is wrong, or needs a restart, changes nothing.

        Raises:
            RequestError: the caller may not.
            ConfigError: the new settings are wrong, or need a restart (`restart_required`).
        """
        if not caller.is_admin:
            raise RequestError("Only an administrator may reload the configuration.", code="forbidden")
        new, variables = await to_thread.run_sync(self._read_again, dotenv_wins)
        old = self._configuration
        changed = [name for name in Settings.model_fields if getattr(old.settings, name) != getattr(new.settings, name)]
        stuck = [name for name in changed if needs_restart(name)]
        if stuck:
            raise ConfigError(
                f"These settings take effect only at a restart: {', '.join(stuck)}. Nothing was changed; restart the server, or set them back.",
                code="restart_required",
                details={
                    "changed_fields": changed,
                    "restart_required_fields": stuck,
                    "field_diffs": {name: {"before": _shown(name, old.settings), "after": _shown(name, new.settings)} for name in stuck},
                },
            )
        changed_providers = set()
        if old.model_file != new.model_file and "models_file" not in changed:
            changed.append("models_file")
        for name, theirs in variables.items():
            for variable in theirs:
                if old.environment.get(variable) != new.environment.get(variable):
                    changed.append(variable.lower())
                    changed_providers.add(name)
        kept = {name: old.providers[name] for name in old.providers if name not in changed_providers}
        providers = {name: kept.get(name, provider) for name, provider in new.providers.items()}
        self._workshop.reconfigure(replace(new, providers=providers))
        audit("settings.reloaded", principal=caller.principal, changed=changed)
        return Reloaded(
            changed=tuple(changed),
            providers=tuple(providers),
            default_provider=self._configuration.default_provider,
            models={catalogue.provider: catalogue.default_model for catalogue in self._configuration.catalogues},
        )

    def _read_again(self, dotenv_wins: bool) -> tuple[Configuration, Mapping[str, tuple[str, ...]]]:
        """The new configuration, and every provider's variables: to know those, all providers are imported."""
        return self._reread(dotenv_wins), {name: provider_list.variables(name) for name in provider_list.names()}

    async def doctor(self, caller: Caller) -> AsyncIterator[Check]:
        """Whether everything is in order: this machine first, then the services, which are asked all at once. Costs nothing."""
        settings = self._workshop.settings
        yield await _check("pictures", self._workshop.try_store(), f"{self._workshop.save_place} can be written")
        yield await _check("history", self._images.search(caller, limit=1), f"the database in {database_words(record_place(settings))} works")
        if self._workshop.has_history:
            for breaker in await (await self._workshop.history()).breakers():
                if is_open(breaker, now := datetime.now(UTC)):
                    yield Check(name=breaker.provider, ok=False, words=f"{breaker_words(breaker, now)}.")
        if (signing := self._workshop.signing) is not None:
            from .pictures import try_signing

            yield await _check("signing", to_thread.run_sync(try_signing, signing), "pictures can be signed")
        for problem in await to_thread.run_sync(self._library.library(caller).problems):
            yield Check(name="library", ok=False, words=problem)
        if settings.improve_url is not None:
            from .improving import check as check_chat_model

            yield await _check("improve", check_chat_model(settings), f"the chat model's service answers; {settings.improve_model} improves prompts")
        answers = await survey.ask(self._configuration.providers, lambda provider: provider.check())
        for catalogue in self._configuration.all_catalogues:
            answer = answers.get(catalogue.provider)
            if answer is None:
                yield Check(
                    name=catalogue.provider, ok=True, words=f"not configured; set {' and '.join(catalogue.variables)} to use it", in_use=False
                )
                continue
            if isinstance(answer, ImageServerError):
                yield Check(name=catalogue.provider, ok=False, words=answer.message)
                continue
            default = find_model(catalogue.models, catalogue.default_model)
            ending = ending_words(default, datetime.now(UTC).date()) if default else None
            yield Check(name=catalogue.provider, ok=ending is None, words=f"{answer} {ending}" if ending else answer)
        for name, words in self._configuration.broken.items():
            yield Check(name=name, ok=False, words=words)

    async def condition(self) -> tuple[Part, ...]:
        """Every part of the server, looked at now: database, store, the engine that works on jobs, and the providers. Costs nothing."""
        return await condition.look(self._workshop)

    async def burden(self) -> Burden:
        """How much work there is in all processes that share the database.

        Raises:
            StorageError: the database cannot be used.
        """
        return await condition.burden(self._workshop)

    async def compare_models(self, caller: Caller, provider: str = "") -> list[Comparison]:
        """The table of models held against the services' own lists, of every configured provider or of that one. Costs nothing.

        Raises:
            NotFoundError: it is not configured, or there is none of that name.
        """
        wanted = [named(provider, self._configuration.catalogues, switches_of)] if provider else self._configuration.catalogues
        names = {catalogue.provider for catalogue in wanted}
        asked = {name: each for name, each in self._configuration.providers.items() if name in names}
        return await survey.compare(asked, wanted, today=datetime.now(UTC).date())

    async def verify(self, caller: Caller) -> Verification:
        """Whether history and store agree, down to each byte. Pieces of writes that a crash cut off are removed, and pictures that were saved elsewhere brought home."""
        from .jobs.verify import verify

        workshop = self._workshop
        await workshop.bring_home()
        return await verify(await workshop.history(), workshop.store, workshop.save_url, principal=seen_by(caller))


def _shown(name: str, settings: Settings) -> str:
    value = getattr(settings, name)
    if any(word in name.upper() for word in SECRET_WORDS):
        return "<set>" if value else "<empty>"
    return str(value)


async def _check(name: str, trial: Awaitable[Any], words: str) -> Check:
    try:
        await trial
    except ImageServerError as error:
        return Check(name=name, ok=False, words=error.message)
    return Check(name=name, ok=True, words=words)
