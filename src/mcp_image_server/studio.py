"""The application: everything a surface may ask, and `open_studio`, the one place where it is put together.

Nothing heavy happens until it is needed: the database, the picture library and the network are opened by the first call that wants them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from . import providers as provider_list
from .configuration import Configuration, switches_of
from .errors import ConfigError, ImageServerError, LimitError, NotFoundError, RequestError
from .guard import inside
from .models import Caller, Catalogue, Image, ImageRequest, Job, Offer, Style, find_model
from .planning import Plan, Planner, Today
from .policy.breaker import is_open
from .policy.breaker import words as breaker_words
from .policy.budget import check, day_of, month_of, shown
from .policy.links import is_signed, signature
from .policy.routing import Address, ending_words, named, read_address
from .providers import Provider
from .settings import SECRET_WORDS, Environment, Settings, data_folder, needs_restart, read_environment, save_folder

if TYPE_CHECKING:
    from .history import Budget, History
    from .jobs import Jobs
    from .jobs.jobs import Watch
    from .jobs.verify import Verification
    from .policy.ranking import Ranked
    from .store import Store


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


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a request would come to, with nothing sent."""

    plan: Plan
    needs_confirmation: bool
    """The person would be asked first."""
    objection: ImageServerError | None = None
    """Why it would be refused, if it would: no money, or no known price."""


@dataclass(frozen=True, kw_only=True)
class _Workshop:
    """What is opened on first use."""

    history: History
    jobs: Jobs


class Studio:
    """Everything a surface may ask. Every method that touches somebody's things takes the caller first.

    Args:
        tasks: lives as long as the studio; jobs run in it.
        dotenv: the `.env` file that `reload` reads again.
        base_url: the address at which this process serves pictures over HTTP, where it does.
    """

    def __init__(self, configuration: Configuration, tasks: TaskGroup, *, dotenv: Path, base_url: str | None = None) -> None:
        self._configuration = configuration
        self._tasks = tasks
        self._dotenv = dotenv
        self._base_url = base_url
        self._workshop: _Workshop | None = None
        self._stores: dict[str, Store] = {}
        self._opening = anyio.Lock()
        self._retired: list[Provider] = []

    # ------------------------------------------------------------------ what there is

    @property
    def settings(self) -> Settings:
        return self._configuration.settings

    @property
    def save_url(self) -> str:
        """The store that new pictures go to."""
        from .store import folder_url

        return folder_url(self.save_folder)

    @property
    def save_folder(self) -> Path:
        return save_folder(self.settings)

    @property
    def known_providers(self) -> tuple[str, ...]:
        """Every provider's name, configured or not."""
        return tuple(dict.fromkeys((*provider_list.ORDER, *self._configuration.providers)))

    def catalogues(self) -> tuple[Catalogue, ...]:
        """What the configured providers offer, most preferred first."""
        return self._configuration.catalogues

    def catalogue(self, provider: str) -> Catalogue:
        """What that configured provider offers.

        Raises:
            NotFoundError: it is not configured, or there is none of that name.
        """
        return named(provider, self.catalogues(), switches_of)

    def all_catalogues(self) -> tuple[Catalogue, ...]:
        """What every provider offers, with the configured ones as they are configured."""
        configured = self._configuration.providers
        return tuple(configured[name].catalogue if name in configured else catalogue for name, catalogue in provider_list.catalogues().items())

    @property
    def default_provider(self) -> str:
        """Who takes a request that names nobody."""
        return self._configuration.default_provider

    def styles(self) -> dict[str, Style]:
        """Every style anybody knows; the first provider that has a key defines it."""
        return self._configuration.styles()

    # ------------------------------------------------------------------ making pictures

    def read_address(self, *, provider: str = "", model: str = "", style: str = "", resolution: str = "") -> Address:
        """Arguments as callers write them, taken apart; see `policy.routing.read_address`."""
        return read_address(provider=provider, model=model, style=style, resolution=resolution, known=self.known_providers)

    @property
    def open_folders(self) -> tuple[Path, ...]:
        """Where a caller on this machine may have files written: the working directory first, then the picture folder, then what the operator adds."""
        return (Path.cwd(), self.save_folder, *(Path(folder).expanduser() for folder in self.settings.allowed_folders))

    async def estimate(self, caller: Caller, request: ImageRequest, *, fallback: Sequence[str] = ()) -> Estimate:
        """What would become of the request, and what it would cost. Nothing is sent and no job is made.

        Args:
            fallback: as in `generate`.

        Raises:
            RequestError: the request cannot be done; the message says what could.
        """
        plan = await self._plan(request, fallback)
        objection: ImageServerError | None = None
        if (budget := self._budget(plan)) is not None:
            try:
                budget.check(await (await self._open()).history.spending(caller.principal, budget))
            except LimitError as error:
                objection = error
        return Estimate(plan=plan, needs_confirmation=self._question(plan) is not None, objection=objection)

    async def ranking(self, caller: Caller, request: ImageRequest) -> list[Ranked]:
        """Every configured model that can do what is asked, best first, with what speaks for and against it."""
        return Planner(self._configuration).ranking(request, await self._today(seconds=True))

    async def generate(
        self,
        caller: Caller,
        request: ImageRequest,
        *,
        wait_seconds: float | None = None,
        watch: Watch | None = None,
        fallback: Sequence[str] = (),
        idempotency_key: str | None = None,
        fresh: bool = False,
    ) -> Job:
        """A job for the request: ended, or still running when the wait is over. It goes on without whoever asked.

        Args:
            wait_seconds: how long to wait; None means the operator's default.
            watch: is told of progress while we wait.
            fallback: who may draw instead while nobody has accepted the work: providers, provider/model, `any` or `none`; empty: as the operator says.
            idempotency_key: a second call with this key is the first one.
            fresh: a new job even though the same request is still under way.

        Raises:
            ImageServerError: the request was not taken. Failures after that are in the job.
        """
        plan = await self._plan(request, fallback)
        if request.save_as is not None:
            inside(request.save_as, caller.folders)
        if question := self._question(plan):
            await _confirm(caller, question)
        workshop = await self._open()
        offers = [self._offer(each, caller) for each in (plan, *plan.alternates)]
        highest = plan.highest(self._configuration.budgets)
        worth = self._configuration.budgets.worth(highest) if highest is not None else None
        job = await workshop.jobs.submit(
            caller.principal,
            offers[0],
            alternates=offers[1:],
            store_url=self.save_url,
            promised=replace(highest, micros=worth, currency=self.settings.budget_currency) if highest is not None and worth else None,
            budget=self._budget(plan),
            idempotency_key=idempotency_key,
            join_after=None if fresh else self.settings.join_after,
        )
        seconds = self.settings.wait_seconds if wait_seconds is None else wait_seconds
        try:
            return await workshop.jobs.wait(job.id, seconds, watch)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await (workshop.jobs.cancel(job.id) if self.settings.cancel_with_request else workshop.jobs.leave(job.id))
            raise

    async def _plan(self, request: ImageRequest, fallback: Sequence[str]) -> Plan:
        today = await self._today(seconds=self.settings.routing == "auto")
        return Planner(self._configuration).plan(request, today, fallback=fallback)

    async def _today(self, *, seconds: bool) -> Today:
        # Without a database nothing has failed yet and nobody knows how long anything takes, so it is not opened for that.
        if self._workshop is None and not self.has_history:
            return Today()
        history = (await self._open()).history
        return Today(breakers=await history.breakers(), seconds=await history.seconds() if seconds else {})

    def _offer(self, plan: Plan, caller: Caller) -> Offer:
        """The plan as a job takes it, with the place of its copy made certain."""
        save_as = plan.request.save_as
        request = replace(plan.request, save_as=str(inside(save_as, caller.folders))) if save_as is not None else plan.request
        return replace(plan, request=request).offer(self._configuration.providers[plan.catalogue.provider].account)

    def _budget(self, plan: Plan) -> Budget | None:
        """What looks whether there is money for the plan; None where nothing is limited."""
        from .history import Budget

        budgets, now = self._configuration.budgets, datetime.now(UTC)
        if not budgets.any:
            return None
        cost = plan.highest(budgets)
        unknown = next((each.name for each in (plan, *plan.alternates) if each.estimate is None or budgets.worth(each.estimate) is None), plan.name)
        cost = cost if cost is not None else next((each.estimate for each in (plan, *plan.alternates) if each.name == unknown), None)
        return Budget(check=lambda spending: check(budgets, spending, cost, model=unknown), day=day_of(now), month=month_of(now))

    def _question(self, plan: Plan) -> str | None:
        """What a person is asked before the plan is carried out; None where nobody needs to be."""
        limit, budgets = self.settings.confirm_above, self._configuration.budgets
        if limit is None:
            return None
        highest = plan.highest(budgets)
        worth = budgets.worth(highest) if highest is not None else None
        if worth is not None and worth <= limit:
            return None
        price = f"about {shown(worth, budgets.currency)}" if worth is not None else "an amount that nobody here knows"
        pictures = "1 picture" if plan.request.count == 1 else f"{plan.request.count} pictures"
        return f"Drawing {pictures} with {plan.name} costs {price}. Draw?"

    async def job(self, caller: Caller, job_id: str, *, wait_seconds: float = 0, watch: Watch | None = None) -> Job:
        """The caller's job of that id, waited for.

        Raises:
            NotFoundError: the caller has no such job.
        """
        workshop = await self._open()
        await self._own_job(caller, job_id)
        return await workshop.jobs.wait(job_id, wait_seconds, watch)

    async def cancel(self, caller: Caller, job_id: str) -> Job:
        """The caller's job after it was asked to end. One that has ended already stays as it is.

        Raises:
            NotFoundError: the caller has no such job.
        """
        workshop = await self._open()
        await self._own_job(caller, job_id)
        await workshop.jobs.cancel(job_id)
        return await workshop.jobs.wait(job_id, 5)

    async def jobs(self, caller: Caller, *, limit: int = 20) -> list[Job]:
        """The caller's latest jobs, newest first."""
        workshop = await self._open()
        return await workshop.history.jobs(_seen_by(caller), limit=limit)

    async def spent(self, caller: Caller, *, days: int = 30) -> dict[str, int]:
        """What the caller's pictures of the last days cost, in millionths of each currency, as far as it is known."""
        workshop = await self._open()
        return await workshop.history.spent(_seen_by(caller), since=datetime.now(UTC) - timedelta(days=days))

    async def preview(self, caller: Caller, job: Job) -> bytes | None:
        """The latest look at work under way, small; None when there is none."""
        return await (await self._open()).jobs.preview(job) if _may_see(caller, job.principal) else None

    async def _own_job(self, caller: Caller, job_id: str) -> Job:
        job = await (await self._open()).history.job(job_id)
        if job is None or not _may_see(caller, job.principal):
            raise NotFoundError(
                f"There is no job {job_id!r}. Job ids are in the answer of generate_image.", code="job_not_found", details={"job_id": job_id}
            )
        return job

    # ------------------------------------------------------------------ finding pictures

    async def search(self, caller: Caller, text: str = "", *, provider: str | None = None, limit: int = 20, before: str | None = None) -> list[Image]:
        """The caller's pictures whose prompt holds the text, newest first.

        Args:
            before: only those older than the picture of that id, for the next page.
        """
        workshop = await self._open()
        return await workshop.history.images(_seen_by(caller), text=text, provider=provider, limit=limit, before=before)

    async def image(self, caller: Caller, image_id: str) -> Image:
        """The caller's picture of that id.

        Raises:
            NotFoundError: the caller has no such picture.
        """
        image = await (await self._open()).history.image(image_id)
        if image is None or not _may_see(caller, image.principal):
            raise _no_image(image_id)
        return image

    async def recent_image(self, caller: Caller, image_id: str) -> Image:
        """Like `image`, but only for as long as MCP_IMAGE_RECORD_TTL says.

        Raises:
            NotFoundError: there is none, or it is too old.
        """
        image = await self.image(caller, image_id)
        ttl = self.settings.image_record_ttl
        if ttl is not None and image.created_at + timedelta(seconds=ttl) < datetime.now(UTC):
            raise _no_image(image_id)
        return image

    async def image_of_file(self, caller: Caller, name: str) -> Image:
        """The caller's picture that is stored under that file name.

        Raises:
            NotFoundError: there is none.
        """
        image = await self.image(caller, Path(name).stem.rpartition("_")[2])
        if image.key != name:
            raise _no_image(name)
        return image

    async def read(self, image: Image, *, thumbnail: bool = False) -> bytes:
        """The picture's bytes, or those of its WebP thumbnail (at most 512 pixels and 100 kB).

        Raises:
            NotFoundError: the file is gone.
        """
        key = image.thumbnail_key if thumbnail and image.thumbnail_key else image.key
        try:
            return await self._store(image.store_url).get(key)
        except NotFoundError as error:
            path = self.path(image)
            raise NotFoundError(
                f"The file of image {image.id} is gone: {path or image.key}. It was moved or deleted after it was made.",
                code="file_not_found",
                details={"image_id": image.id, "local_path": str(path) if path else None},
            ) from error

    async def read_limited(self, image: Image, limit: int) -> bytes:
        """The picture's bytes, if they are few enough to be sent inline.

        Raises:
            LimitError: they are not; the link is in the message.
        """
        if image.size_bytes > limit:
            where = self.link(image) or self.path(image)
            raise LimitError(
                f"Image {image.id} has {image.size_bytes} bytes; inline at most {limit} are sent. Use images[].url to access the file directly: {where}",
                code="payload_too_large",
                details={"image_id": image.id, "size_bytes": image.size_bytes, "max_bytes": limit},
            )
        return await self.read(image)

    def path(self, image: Image) -> Path | None:
        """Where the picture lies on this machine, absolute; None when it is stored elsewhere."""
        return self._store(image.store_url).path(image.key)

    def link(self, image: Image) -> str | None:
        """Where the picture can be fetched over HTTP; None when nobody serves it. Signed where the server has a token."""
        base = self.settings.public_base_url or self._base_url
        if base is None:
            return None
        url = f"{base}/images/{quote(image.key)}"
        proof = self._proof(image)
        return f"{url}?{proof}" if proof else url

    def page_link(self, image: Image, *, thumbnail: bool = False) -> str:
        """The same link from a page of this server itself, without host."""
        query = "&".join(part for part in ("thumbnail=1" if thumbnail else "", self._proof(image)) if part)
        return f"/images/{quote(image.key)}" + (f"?{query}" if query else "")

    def _proof(self, image: Image) -> str:
        secret = self.settings.auth_token
        if secret is None or self.settings.public_images:
            return ""
        expires = int(time.time()) + self.settings.link_ttl
        return f"expires={expires}&signature={signature(secret.get_secret_value(), image.key, expires)}"

    def link_is_good(self, name: str, expires: str | None, proof: str | None) -> bool:
        """Whether this link to a picture was given out by us and still holds."""
        secret = self.settings.auth_token
        return secret is None or is_signed(secret.get_secret_value(), name, expires, proof, now=time.time())

    # ------------------------------------------------------------------ for the operator

    async def reload(self, caller: Caller, *, dotenv_wins: bool = True) -> Reloaded:
        """The settings, read again. All or nothing: what is wrong, or needs a restart, changes nothing.

        Raises:
            RequestError: the caller may not.
            ConfigError: the new settings are wrong, or need a restart (`restart_required`).
        """
        if not caller.is_admin:
            raise RequestError("Only an administrator may reload the configuration.", code="forbidden")
        new = Configuration.read(read_environment(self._dotenv, dotenv_wins=dotenv_wins))
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
        for name in provider_list.ORDER:
            for variable in provider_list.variables(name):
                if old.environment.get(variable) != new.environment.get(variable):
                    changed.append(variable.lower())
                    changed_providers.add(name)
        kept = {name: old.providers[name] for name in old.providers if name not in changed_providers}
        self._retired += [provider for name, provider in old.providers.items() if name in changed_providers]
        providers = {name: kept.get(name, provider) for name, provider in new.providers.items()}
        self._configuration = Configuration(environment=new.environment, settings=new.settings, providers=providers)
        return Reloaded(
            changed=tuple(changed),
            providers=tuple(providers),
            default_provider=self.default_provider,
            models={name: provider.catalogue.default_model for name, provider in providers.items()},
        )

    async def doctor(self, caller: Caller) -> AsyncIterator[Check]:
        """Whether everything is in order, one thing after the other. Costs nothing."""
        folder = self.save_folder
        yield await _check("pictures", self._store(self.save_url).ready(), f"{folder} can be written")
        data = data_folder(self.settings)
        yield await _check("history", self.search(caller, limit=1), f"the database in {data} works")
        if self.has_history:
            for breaker in await (await self._open()).history.breakers():
                if is_open(breaker, now := datetime.now(UTC)):
                    yield Check(name=breaker.provider, ok=False, words=f"{breaker_words(breaker, now)}.")
        for name, catalogue in provider_list.catalogues().items():
            provider = self._configuration.providers.get(name)
            if provider is None:
                yield Check(name=name, ok=True, words=f"not configured; set {' and '.join(catalogue.variables)} to use it")
                continue
            try:
                words = await provider.check()
                default = find_model(provider.catalogue.models, provider.catalogue.default_model)
                ending = ending_words(default, datetime.now(UTC).date()) if default else None
                yield Check(name=name, ok=ending is None, words=f"{words} {ending}" if ending else words)
            except ImageServerError as error:
                yield Check(name=name, ok=False, words=error.message)

    async def verify(self, caller: Caller) -> Verification:
        """Whether history and store agree, down to each byte. Pieces of writes that a crash cut off are removed."""
        from .jobs.verify import verify

        workshop = await self._open()
        return await verify(workshop.history, self._store, self.save_url, principal=_seen_by(caller))

    # ------------------------------------------------------------------ opening

    @property
    def has_history(self) -> bool:
        """Whether a database is there to be looked at; found out without opening it."""
        return any(data_folder(self.settings).glob("*.sqlite3"))

    async def open(self) -> None:
        """Opens the database and takes up what was left undone. Otherwise the first call that needs it does so."""
        await self._open()

    async def _open(self) -> _Workshop:
        async with self._opening:
            if self._workshop is None:
                self._workshop = await self._open_workshop()
            return self._workshop

    async def _open_workshop(self) -> _Workshop:
        await to_thread.run_sync(_import_heavy)  # half a second of imports, in which the loop goes on answering
        from .history import open_history
        from .jobs import Jobs, Workplace
        from .store import folder_url

        folder = data_folder(self.settings)
        history = await open_history(folder)
        place = Workplace(
            provider=lambda name: self._configuration.providers.get(name),
            model=lambda provider, name: self._configuration.model(provider, name),
            price=lambda provider, name: self._configuration.price(provider, name),
            open_store=self._store,
            rescue_url=folder_url(folder / "rescued"),
            retries=lambda: self.settings.retries,
            setback=2.0,
            clock=lambda: datetime.now(UTC),
        )
        jobs = Jobs(
            history,
            self._tasks,
            place=place,
            limits=lambda provider: self._configuration.limits(provider),
            timeout=lambda: self.settings.job_timeout,
            slots=self.settings.max_concurrent_jobs,
        )
        self._tasks.start_soon(jobs.run)
        return _Workshop(history=history, jobs=jobs)

    def _store(self, url: str) -> Store:
        from .store import open_store

        if url not in self._stores:
            self._stores[url] = open_store(url)
        return self._stores[url]

    async def close(self) -> None:
        """Ends in order: jobs are finished or handed over, then everything is closed."""
        if self._workshop is not None:
            await self._workshop.jobs.close()
            await self._workshop.history.close()
        for provider in (*self._configuration.providers.values(), *self._retired):
            await provider.aclose()


@asynccontextmanager
async def open_studio(
    environment: Environment | None = None, *, dotenv: Path | None = None, base_url: Callable[[Settings], str | None] | None = None
) -> AsyncIterator[Studio]:
    """A studio for this environment (the process's own and `.env`, if none is given), closed in order at the end.

    Args:
        base_url: the address at which this process will serve pictures, as follows from the settings; None where it serves none.

    Raises:
        ConfigError: the settings are wrong.
    """
    dotenv = dotenv or Path.cwd() / ".env"
    configuration = Configuration.read(read_environment(dotenv) if environment is None else environment)
    async with anyio.create_task_group() as tasks:
        studio = Studio(configuration, tasks, dotenv=dotenv, base_url=base_url(configuration.settings) if base_url else None)
        try:
            yield studio
        finally:
            with anyio.CancelScope(shield=True):
                await studio.close()
            tasks.cancel_scope.cancel()


async def _confirm(caller: Caller, question: str) -> None:
    """Passes when the person says yes.

    Raises:
        LimitError: nobody can be asked (`confirmation_required`), or the person says no (`declined`).
    """
    if caller.ask is None:
        raise LimitError(
            f"{question} A person has to agree first, and this client cannot ask one. Choose a cheaper model or fewer pictures; "
            "the operator can raise MCP_CONFIRM_ABOVE.",
            code="confirmation_required",
        )
    if not await caller.ask(question):
        raise LimitError(f"{question} The person said no. Nothing was sent.", code="declined")


def _import_heavy() -> None:
    from . import history, jobs, pictures, store  # noqa: F401


def _may_see(caller: Caller, principal: str) -> bool:
    return caller.is_admin or caller.principal == principal


def _seen_by(caller: Caller) -> str | None:
    """Whose things the caller sees; None for everybody's."""
    return None if caller.is_admin else caller.principal


def _no_image(image_id: str) -> NotFoundError:
    return NotFoundError(f"Image id '{image_id}' not found or expired", code="image_not_found", details={"image_id": image_id})


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
