"""What all of the application works with: the configuration, the record, jobs and stores, each opened by the first call that wants it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from .configuration import Configuration
from .errors import ImageServerError, RequestError
from .guard import inside
from .models import Caller, Offer
from .planning import Plan, Today
from .policy.routing import Address, read_address
from .settings import Settings, data_folder, record_place, save_folder

if TYPE_CHECKING:
    from .history import History
    from .jobs import Jobs
    from .pictures import Signing
    from .providers import Provider
    from .store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Opened:
    history: History
    jobs: Jobs


class Workshop:
    """What all of the application works with.

    Args:
        configuration: `reconfigure` puts another in its place.
        tasks: lives as long as the workshop; jobs run in it.
    """

    def __init__(self, configuration: Configuration, tasks: TaskGroup) -> None:
        self.configuration = configuration
        self._tasks = tasks
        self._opened: _Opened | None = None
        self._opening = anyio.Lock()
        self._stores: dict[str, Store] = {}
        self._secret: bytes | None = None
        self._retired: list[Provider] = []

    # ------------------------------------------------------------------ as the operator set it

    def reconfigure(self, configuration: Configuration) -> None:
        """From now on this one holds. Providers that it leaves out finish what they are at, and are closed in the end."""
        now = configuration.providers.values()
        self._retired += [provider for provider in self.configuration.providers.values() if provider not in now]
        self.configuration = configuration

    @property
    def settings(self) -> Settings:
        """As they are now."""
        return self.configuration.settings

    @property
    def save_folder(self) -> Path:
        """The folder that new pictures go to, where no other store is set. People's own styles and templates lie there in any case."""
        return save_folder(self.settings)

    @property
    def save_place(self) -> str:
        """Where new pictures go, in words for people."""
        return self.settings.store_url or str(self.save_folder)

    @property
    def save_url(self) -> str:
        """The store that new pictures go to."""
        from .store import folder_url

        return self.settings.store_url or folder_url(self.save_folder)

    @property
    def rescue_url(self) -> str:
        """The store for pictures that have been paid for and that no other store can take."""
        from .store import folder_url

        return folder_url(data_folder(self.settings) / "rescued")

    @property
    def signing(self) -> Signing | None:
        """With what pictures are signed; None where the operator has named nothing."""
        from .pictures import Signing

        certificate, key = self.settings.c2pa_certificate, self.settings.c2pa_key
        if certificate is None or key is None:
            return None
        return Signing(certificate=certificate.expanduser(), key=key.expanduser(), algorithm=self.settings.c2pa_alg)

    def key(self, purpose: str) -> bytes:
        """The key for signatures of that purpose: the same in every process that shares the server's secret."""
        from .secret import derived, server_secret

        if self._secret is None:
            self._secret = server_secret(self.settings)
        return derived(self._secret, purpose)

    # ------------------------------------------------------------------ wishes, before they are planned

    def read_address(self, *, provider: str = "", model: str = "", style: str = "", resolution: str = "") -> Address:
        """Arguments as callers write them, taken apart; see `policy.routing.read_address`."""
        return read_address(provider=provider, model=model, style=style, resolution=resolution, known=self.configuration.known_providers)

    async def today(self, *, seconds: bool) -> Today:
        """What the record knows just now about models.

        Args:
            seconds: how long they took, as well.
        """
        # Without a database nothing has failed yet and nobody knows how long anything takes, so it is not opened for that.
        if self._opened is None and not self.has_history:
            return Today()
        history = await self.history()
        return Today(breakers=await history.breakers(), seconds=await history.seconds() if seconds else {})

    def offer(self, caller: Caller, plan: Plan) -> Offer:
        """The plan as a job takes it, with the place of its copy made certain."""
        save_as = plan.request.save_as
        request = replace(plan.request, save_as=str(inside(save_as, caller.folders))) if save_as is not None else plan.request
        return replace(plan, request=request).offer(self.configuration.providers[plan.catalogue.provider].account)

    # ------------------------------------------------------------------ opening

    @property
    def has_history(self) -> bool:
        """Whether a database is there to be looked at; found out without opening it."""
        return self.settings.database_url is not None or any(data_folder(self.settings).glob("*.sqlite3"))

    def store(self, url: str) -> Store:
        """The store at that URL."""
        from .store import open_store

        if url not in self._stores:
            self._stores[url] = open_store(url, self.configuration.environment)
        return self._stores[url]

    async def try_store(self) -> None:
        """Passes when new pictures can be stored.

        Raises:
            ConfigError: there is no such place.
            StorageError: it cannot be written.
        """
        await self.store(self.save_url).ready()

    async def history(self) -> History:
        """The record."""
        return (await self._open()).history

    async def bring_home(self) -> None:
        """Pictures that this server saved elsewhere go where new pictures go, as far as that is possible by now."""
        await self._bring_home(await self.history())

    async def _bring_home(self, history: History) -> None:
        from .jobs.rescue import bring_home

        try:
            await bring_home(history, self.store, rescue_url=self.rescue_url, save_url=self.save_url)
        except ImageServerError as error:
            log.warning("Pictures that were saved elsewhere could not all be brought to their store: %s", error.message)

    async def jobs(self) -> Jobs:
        """The work under way."""
        return (await self._open()).jobs

    async def _open(self) -> _Opened:
        async with self._opening:
            if self._opened is None:
                self._opened = await self._open_all()
            return self._opened

    async def _open_all(self) -> _Opened:
        await load()
        from .history import open_history
        from .jobs import Jobs, Workplace
        from .jobs.trash import empty_trash
        from .jobs.work import Labelling

        history = await open_history(record_place(self.settings))
        try:
            await empty_trash(history, self.store, older_than=timedelta(days=self.settings.trash_days))
        except ImageServerError as error:
            log.warning("Old pictures in the trash could not all be removed: %s", error.message)
        await self._bring_home(history)
        place = Workplace(
            provider=lambda name: self.configuration.providers.get(name),
            model=lambda provider, name: self.configuration.model(provider, name),
            price=lambda provider, name: self.configuration.price(provider, name),
            open_store=self.store,
            rescue_url=self.rescue_url,
            retries=lambda: self.settings.retries,
            setback=2.0,
            clock=lambda: datetime.now(UTC),
            labelling=lambda: Labelling(prompt=self.settings.provenance_prompt, producer=self.settings.aigc_producer or "", signing=self.signing),
        )
        jobs = Jobs(
            history,
            self._tasks,
            place=place,
            limits=lambda provider: self.configuration.limits(provider),
            timeout=lambda: self.settings.job_timeout,
            slots=self.settings.max_concurrent_jobs,
        )
        self._tasks.start_soon(jobs.run)
        return _Opened(history=history, jobs=jobs)

    async def close(self) -> None:
        """Ends in order: jobs are finished or handed over, then the record and the ways to the services are closed."""
        if self._opened is not None:
            await self._opened.jobs.close()
            await self._opened.history.close()
        for provider in (*self.configuration.providers.values(), *self._retired):
            await provider.aclose()


async def load() -> None:
    """Imports what is heavy: half a second, in which the loop goes on answering."""
    await to_thread.run_sync(_import_heavy)


def _import_heavy() -> None:
    from . import history, jobs, pictures, store  # noqa: F401


def may_see(caller: Caller, principal: str, team: str | None = None) -> bool:
    """Whether what belongs to that principal, who shares it with that team, is the caller's to see."""
    return caller.is_admin or caller.principal == principal or (team is not None and caller.team == team)


def seen_by(caller: Caller) -> str | None:
    """Whose things the caller sees; None for everybody's."""
    return None if caller.is_admin else caller.principal


def may_change(caller: Caller) -> None:
    """Passes whoever may draw and change things.

    Raises:
        RequestError: the caller only looks (`forbidden`).
    """
    if caller.only_looks:
        raise RequestError("Your token is for looking only; the operator can give you one without the role viewer.", code="forbidden")
