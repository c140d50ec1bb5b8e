"""The application: everything a surface may ask, and `open_studio`, the one place where it is put together.

Nothing heavy happens until it is needed: the database, the picture library and the network are opened by the first call that wants them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup

from .audit import audit
from .configuration import NOTHING, Configuration, read_environment, switches_of
from .errors import ImageServerError, LimitError, NotFoundError, RequestError, UnsupportedError
from .gallery import Gallery
from .guard import inside
from .inputs import Inputs, Wish, on_canvas
from .models import Adjustment, Caller, Catalogue, ImageRequest, Job, JobState, Operation
from .payment import budget_for, confirm, promise, question
from .planning import Plan, Planner
from .policy.routing import Address, named
from .settings import Environment, Settings
from .workshop import Workshop, load, may_change, may_see, seen_by

if TYPE_CHECKING:
    from .batches import Batches
    from .bookshelf import Bookshelf
    from .jobs.jobs import Watch
    from .policy.ranking import Ranked
    from .transforming import Transformation, Transformed
    from .upkeep import Upkeep
    from .uploads import Uploads


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a request would come to, with nothing sent."""

    plan: Plan
    needs_confirmation: bool
    """The person would be asked first."""
    objection: ImageServerError | None = None
    """Why it would be refused, if it would: no money, or no known price."""


class Studio:
    """Everything a surface may ask. Every method that touches somebody's things takes the caller first.

    Attributes:
        images: stored pictures.

    Args:
        tasks: lives as long as the studio; jobs run in it.
        dotenv: the `.env` file that `reload` reads again; the TOML file is looked for beside it.
        options: what the command line said, which goes before all else.
        base_url: the address at which this process serves pictures over HTTP, where it does.
    """

    def __init__(
        self, configuration: Configuration, tasks: TaskGroup, *, dotenv: Path, options: Environment = NOTHING, base_url: str | None = None
    ) -> None:
        self._workshop = Workshop(configuration, tasks)
        self._dotenv = dotenv
        self._options = options
        self.images = Gallery(self._workshop, base_url)
        self._inputs = Inputs(self.images.get, self.images.read)

    @cached_property
    def batches(self) -> Batches:
        """Many pictures asked for at once."""
        from .batches import Batches

        return Batches(self._workshop, self.images, self.library)

    @cached_property
    def library(self) -> Bookshelf:
        """Styles and templates."""
        from .bookshelf import Bookshelf

        return Bookshelf(self._workshop)

    @cached_property
    def uploads(self) -> Uploads:
        """Pictures that callers send, piece by piece where they are large."""
        from .uploads import Uploads

        return Uploads(self._workshop)

    @property
    def count_together(self) -> Callable[[str, int], Awaitable[tuple[bool, int, int]]] | None:
        """Counts requests for all servers that share the database, as the doorkeeper wants it; None where there is one server."""
        if self.settings.database_url is None:
            return None

        async def count(principal: str, most: int) -> tuple[bool, int, int]:
            return await (await self._workshop.history()).windows.count(principal, most)

        return count

    @cached_property
    def upkeep(self) -> Upkeep:
        """What the operator asks of a server at work."""
        from .upkeep import Upkeep

        return Upkeep(self._workshop, self.images, self.library, self._reread)

    def _reread(self, dotenv_wins: bool) -> Configuration:
        return Configuration.read(read_environment(self._dotenv, dotenv_wins=dotenv_wins, options=self._options))

    # ------------------------------------------------------------------ what there is

    @property
    def settings(self) -> Settings:
        """What the operator set."""
        return self._workshop.settings

    @property
    def _configuration(self) -> Configuration:
        return self._workshop.configuration

    @property
    def save_place(self) -> str:
        """Where new pictures go, in words for people."""
        return self._workshop.save_place

    @property
    def save_folder(self) -> Path:
        """The folder that new pictures go to."""
        return self._workshop.save_folder

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
        return self._configuration.all_catalogues

    @property
    def known_providers(self) -> tuple[str, ...]:
        """Every provider's name, configured or not. Imports none of them."""
        return self._configuration.known_providers

    @property
    def default_provider(self) -> str:
        """Who takes a request that names nobody."""
        return self._configuration.default_provider

    @property
    def address(self) -> str | None:
        """Where this server is reached over HTTP; None where nobody can say."""
        return self.images.address

    # ------------------------------------------------------------------ making pictures

    def read_address(self, *, provider: str = "", model: str = "", style: str = "", resolution: str = "") -> Address:
        """Arguments as callers write them, taken apart; see `policy.routing.read_address`."""
        return self._workshop.read_address(provider=provider, model=model, style=style, resolution=resolution)

    @property
    def open_folders(self) -> tuple[Path, ...]:
        """Where a caller on this machine may have files written: the working directory first, then the picture folder, then what the operator adds."""
        return (Path.cwd(), self.save_folder, *(Path(folder).expanduser() for folder in self.settings.allowed_folders))

    async def estimate(self, caller: Caller, wanted: ImageRequest | Wish, *, fallback: Sequence[str] = (), improve: bool | None = None) -> Estimate:
        """What would become of the request, and what it would cost. Nothing is sent and no job is made.

        Args:
            fallback: as in `generate`.
            improve: as in `generate`.

        Raises:
            RequestError: the request cannot be done; the message says what could.
        """
        plan = await self._plan(caller, wanted, fallback)
        if self._improves(wanted, improve):
            words = Adjustment(field="prompt", message=f"The chat model {self.settings.improve_model} would write the prompt anew.")
            plan = replace(plan, adjustments=(words, *plan.adjustments))
        objection: ImageServerError | None = None
        if (budget := budget_for(plan, self._configuration.budgets.of(caller.allowance))) is not None:
            try:
                budget.check(await (await self._workshop.history()).spending(caller.principal, budget))
            except LimitError as error:
                objection = error
        return Estimate(plan=plan, needs_confirmation=self._question(plan) is not None, objection=objection)

    async def ranking(self, caller: Caller, request: ImageRequest) -> list[Ranked]:
        """Every configured model that can do what is asked, best first, with what speaks for and against it."""
        return Planner(self._configuration).ranking(request, await self._workshop.today(seconds=True))

    async def generate(
        self,
        caller: Caller,
        wanted: ImageRequest | Wish,
        *,
        wait_seconds: float | None = None,
        watch: Watch | None = None,
        fallback: Sequence[str] = (),
        idempotency_key: str | None = None,
        fresh: bool = False,
        improve: bool | None = None,
    ) -> Job:
        """A job for the request: ended, or still running when the wait is over. It goes on without whoever asked.

        Args:
            wanted: a request, or a wish whose pictures are still to be read.
            wait_seconds: how long to wait; None means the operator's default.
            watch: is told of progress while we wait.
            fallback: who may draw instead while nobody has accepted the work: providers, provider/model, `any` or `none`; empty: as the operator says.
            idempotency_key: a second call with this key is the first one.
            fresh: a new job even though the same request is still under way.
            improve: whether a chat model writes the prompt anew; None: as the operator says.

        Raises:
            ImageServerError: the request was not taken. Failures after that are in the job.
        """
        may_change(caller)
        plan = asked = await self._plan(caller, wanted, fallback)
        if plan.request.save_as is not None:
            inside(plan.request.save_as, caller.folders)
        if asking := self._question(plan):
            await confirm(caller, asking)
        jobs, budgets = await self._workshop.jobs(), self._configuration.budgets.of(caller.allowance)
        join_after = None if fresh else self.settings.join_after
        if isinstance(wanted, ImageRequest) and self._improves(wanted, improve):
            asked = replace(plan, request=replace(plan.request, original_prompt=wanted.prompt))  # no prompt is improved twice in the same way
            like = self._workshop.offer(caller, asked)
            budget = budget_for(plan, budgets)
            # The chat model is paid as well: nobody asks it for what would be refused, or is under way already.
            if await jobs.foresee(caller.principal, like, budget=budget, idempotency_key=idempotency_key, join_after=join_after) is None:
                plan = await self._improved(caller, wanted, plan, fallback)
                if (anew := self._question(plan)) and anew != asking:  # other words may be for another model
                    await confirm(caller, anew)
        elif improve and self.settings.improve_url is None:
            words = Adjustment(field="improve", message="No chat model is there to improve prompts (the operator sets MCP_IMPROVE_URL).")
            plan = replace(plan, adjustments=(words, *plan.adjustments))
        offers = [self._workshop.offer(caller, each) for each in (plan, *plan.alternates)]
        job = await jobs.submit(
            caller.principal,
            offers[0],
            alternates=offers[1:],
            store_url=self._workshop.save_url,
            promised=promise(plan, budgets),
            budget=budget_for(plan, budgets),
            idempotency_key=idempotency_key,
            join_after=join_after,
            asked=self._workshop.offer(caller, asked),
        )
        audit("job.submitted", principal=caller.principal, job=job.id, model=f"{job.provider}/{job.model}", images=job.request.count, state=job.state)
        seconds = self.settings.wait_seconds if wait_seconds is None else wait_seconds
        try:
            return await jobs.wait(job.id, seconds, watch)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await (jobs.cancel(job.id) if self.settings.cancel_with_request else jobs.leave(job.id))
            raise

    async def again(self, caller: Caller, image_id: str, **overrides: Any) -> ImageRequest:
        """A request for the caller's picture once more: as it was drawn, with its seed, but for these fields.

        Raises:
            NotFoundError: the caller has no such picture, or one that went into it is gone.
            RequestError: no service drew it.
        """
        from . import transforming, uploads
        from .jobs.work import with_inputs

        image = await self.images.get(caller, image_id)
        if image.provider in (transforming.PROVIDER, uploads.PROVIDER):
            came = f"was made here from {', '.join(image.parents)}" if image.parents else "came from outside"
            raise RequestError(
                f"Image {image_id} {came}: no service drew it, so it cannot be drawn again. Change it with edit_image or transform_image."
            )
        job = await self._own_job(caller, image.job_id)
        job = await with_inputs(job, self._workshop.store(job.store_url))
        model = None if overrides.get("provider", job.provider) != job.provider else job.model
        request = job.request
        if overrides.keys() & {"prompt", "style", "negative_prompt"}:
            request = request.in_own_words
        request = replace(request, provider=job.provider, model=model, seed=image.seed, count=1, save_as=None)
        return replace(request, **{"original_prompt": None if "prompt" in overrides else request.original_prompt, **overrides})

    def _improves(self, wanted: ImageRequest | Wish, improve: bool | None) -> bool:
        """Whether a chat model writes the prompt anew: only one that a picture is drawn from, and only once."""
        if self.settings.improve_url is None or not isinstance(wanted, ImageRequest):
            return False
        once = wanted.operation is Operation.GENERATE and wanted.original_prompt is None
        return once and (self.settings.improve == "always" if improve is None else improve)

    async def _improved(self, caller: Caller, request: ImageRequest, plan: Plan, fallback: Sequence[str]) -> Plan:
        """The plan with a better prompt; as it was, with the reason, where there is none."""
        from .improving import improved

        written_in = len(plan.request.prompt) - len(request.prompt)
        better, words = await improved(request, self.settings, room=plan.model.max_prompt_chars - written_in)
        if better is not request:
            plan = await self._plan(caller, better, fallback)
        return replace(plan, adjustments=(words, *plan.adjustments))

    # ------------------------------------------------------------------ what generating needs

    async def _plan(self, caller: Caller, wanted: ImageRequest | Wish, fallback: Sequence[str]) -> Plan:
        today = await self._workshop.today(seconds=self.settings.routing == "auto")
        request, words = await self._inputs.request(caller, wanted) if isinstance(wanted, Wish) else (wanted, ())
        planner = Planner(self._configuration, await self.library.own_styles(caller) if request.style else None)
        try:
            plan = planner.plan(request, today, fallback=fallback)
        except UnsupportedError as cannot:
            if request.extend is None or len(request.images) != 1 or request.mask is not None:
                raise
            try:
                plan = planner.plan(await on_canvas(request), today, fallback=fallback)
            except UnsupportedError:
                raise cannot from None
            words += (Adjustment(field="extend", message=f"{plan.name} paints into a larger picture, since it cannot paint on beyond the edges."),)
        return replace(plan, adjustments=(*words, *plan.adjustments))

    def _question(self, plan: Plan) -> str | None:
        return question(plan, self._configuration.budgets, self.settings.confirm_above)

    async def job(self, caller: Caller, job_id: str, *, wait_seconds: float = 0, watch: Watch | None = None) -> Job:
        """The caller's job of that id, waited for: whoever waits for one whose pictures were lost on their way has its service asked again.

        Raises:
            NotFoundError: the caller has no such job.
        """
        job, jobs = await self._own_job(caller, job_id), await self._workshop.jobs()
        if wait_seconds > 0 and job.may_yet_come and not caller.only_looks:
            await jobs.ask_again(job)
        return await jobs.wait(job_id, wait_seconds, watch)

    async def cancel(self, caller: Caller, job_id: str) -> Job:
        """The caller's job after it was asked to end. One that has ended already stays as it is.

        Raises:
            NotFoundError: the caller has no such job.
        """
        may_change(caller)
        await self._own_job(caller, job_id)
        jobs = await self._workshop.jobs()
        await jobs.cancel(job_id)
        audit("job.cancelled", principal=caller.principal, job=job_id)
        return await jobs.wait(job_id, 5)

    async def jobs(self, caller: Caller, *, limit: int = 20, states: Collection[JobState] | None = None, before: str | None = None) -> list[Job]:
        """The caller's latest jobs, newest first.

        Args:
            states: only those; None: all.
            before: only those older than the job of that id, for the next page.
        """
        return await (await self._workshop.history()).jobs(seen_by(caller), limit=limit, states=states, before=before)

    async def spent(self, caller: Caller, *, days: int = 30) -> dict[str, int]:
        """What the caller's pictures of the last days cost, in millionths of each currency, as far as it is known."""
        since = datetime.now(UTC) - timedelta(days=days)
        return await (await self._workshop.history()).spent(seen_by(caller), since=since)

    async def preview(self, caller: Caller, job: Job) -> bytes | None:
        """The latest look at work under way, small; None when there is none."""
        return await (await self._workshop.jobs()).preview(job) if may_see(caller, job.principal) else None

    async def _own_job(self, caller: Caller, job_id: str) -> Job:
        job = await (await self._workshop.history()).job(job_id)
        if job is None or not may_see(caller, job.principal):
            raise NotFoundError(
                f"There is no job {job_id!r}. Job ids are in the answer of generate_image.", code="job_not_found", details={"job_id": job_id}
            )
        return job

    # ------------------------------------------------------------------ changing pictures without a service

    async def transform(self, caller: Caller, wanted: Transformation) -> Transformed:
        """What comes of a transformation: new stored pictures with their lineage, or files where the caller wants them. Free, and done at once.

        Raises:
            RequestError: it cannot be done, or the files may not be there; the message says why.
            StorageError: store, record or folder cannot be written.
        """
        from . import transforming as local

        may_change(caller)
        await load()
        local.check_places(caller, wanted)
        made, words = await local.make(caller, wanted, self._inputs, self.images.get, self._workshop.signing)
        if wanted.save_as or wanted.icons:
            return local.Transformed(files=await local.write(caller, wanted, made, self._workshop.store), adjustments=words)
        workshop = self._workshop
        history, owner, store = await workshop.history(), (await workshop.jobs()).owner, workshop.store(workshop.save_url)
        job = await local.record(caller, wanted, made, words, history=history, owner=owner, store=store, now=datetime.now(UTC))
        return local.Transformed(job=job, adjustments=words)

    # ------------------------------------------------------------------ opening

    @property
    def has_history(self) -> bool:
        """Whether a database is there to be looked at; found out without opening it."""
        return self._workshop.has_history

    async def open(self) -> None:
        """Opens the database and takes up what was left undone. Otherwise the first call that needs it does so."""
        await self._workshop.history()

    async def close(self) -> None:
        """Ends in order: jobs are finished or handed over, then everything is closed."""
        await self._workshop.close()
        await self._inputs.aclose()


@asynccontextmanager
async def open_studio(
    environment: Environment | None = None,
    *,
    dotenv: Path | None = None,
    options: Environment = NOTHING,
    base_url: Callable[[Settings], str | None] | None = None,
) -> AsyncIterator[Studio]:
    """A studio for this environment, closed in order at the end. If none is given, it is read: process, `.env` and TOML file.

    Args:
        options: what the command line said; a reload keeps to it.
        base_url: the address at which this process will serve pictures, as follows from the settings; None where it serves none.

    Raises:
        ConfigError: the settings are wrong.
    """
    dotenv = dotenv or Path.cwd() / ".env"
    configuration = Configuration.read(read_environment(dotenv, options=options) if environment is None else environment)
    async with anyio.create_task_group() as tasks:
        address = base_url(configuration.settings) if base_url else None
        studio = Studio(configuration, tasks, dotenv=dotenv, options=options, base_url=address)
        try:
            yield studio
        finally:
            with anyio.CancelScope(shield=True):
                await studio.close()
            tasks.cancel_scope.cancel()
