"""The application: everything a surface may ask, and `open_studio`, the one place where it is put together.

Nothing heavy happens until it is needed: the database, the picture library and the network are opened by the first call that wants them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
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
from anyio.lowlevel import checkpoint

from . import providers as provider_list
from .configuration import Configuration, switches_of
from .errors import ConfigError, ImageServerError, LimitError, NotFoundError, RequestError, UnsupportedError
from .guard import inside
from .inputs import Inputs, Wish, on_canvas
from .models import (
    ANY,
    Action,
    Adjustment,
    Caller,
    Catalogue,
    Cost,
    Image,
    ImageFilter,
    ImageRequest,
    Job,
    Lineage,
    Offer,
    Operation,
    Statistics,
    Style,
    find_model,
)
from .planning import Plan, Planner, Today
from .policy.breaker import is_open
from .policy.breaker import words as breaker_words
from .policy.budget import check, day_of, month_of, shown
from .policy.links import is_signed, signature
from .policy.routing import Address, ending_words, named, read_address
from .providers import Provider
from .settings import SECRET_WORDS, Environment, Settings, data_folder, needs_restart, read_environment, save_folder

if TYPE_CHECKING:
    from .batches import Batch, BatchEstimate, Bill, Item
    from .batches import Watch as BatchWatch
    from .history import Budget, History, Order
    from .jobs import Jobs
    from .jobs.jobs import Watch
    from .jobs.verify import Verification
    from .library import Library, Template
    from .pictures import Signing
    from .policy.ranking import Ranked
    from .store import Store
    from .survey import Comparison
    from .transforming import Transformation, Transformed


log = logging.getLogger(__name__)

MAX_MANAGED = 500
"""Pictures that can be tagged, deleted … in one call."""


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
        self._inputs = Inputs(self.image, self.read)
        self._library: Library | None = None

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
        return tuple(dict.fromkeys((*provider_list.names(), *self._configuration.providers)))

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
        found = (self._configuration.catalogue(name) for name in self.known_providers)
        return tuple(catalogue for catalogue in found if catalogue is not None)

    @property
    def default_provider(self) -> str:
        """Who takes a request that names nobody."""
        return self._configuration.default_provider

    @property
    def library(self) -> Library:
        """Styles and templates in files: people's own, in the picture folder and, weightier, in the working directory; and templates that come along."""
        if self._library is None:
            from .library import Library

            self._library = Library(lambda: (self.save_folder, Path.cwd()))
        return self._library

    async def own_styles(self) -> Mapping[str, Style]:
        """The styles that people here have written, by key."""
        return await to_thread.run_sync(lambda: self.library.own_styles())

    async def styles(self) -> dict[str, Style]:
        """Every style that works with every model: those that come along, then people's own, which take the place of others of the same key."""
        from .library.styles import STYLES

        return {**STYLES, **await self.own_styles()}

    async def templates(self) -> Mapping[str, Template]:
        """Every template by key."""
        return await to_thread.run_sync(lambda: self.library.templates())

    # ------------------------------------------------------------------ making pictures

    def read_address(self, *, provider: str = "", model: str = "", style: str = "", resolution: str = "") -> Address:
        """Arguments as callers write them, taken apart; see `policy.routing.read_address`."""
        return read_address(provider=provider, model=model, style=style, resolution=resolution, known=self.known_providers)

    async def from_template(self, request: ImageRequest, name: str, variables: Mapping[str, object]) -> ImageRequest:
        """The request with the template's words before its own, and as the template says in all that the request leaves open.

        Raises:
            NotFoundError: there is no such template (`template_not_found`).
            RequestError: a variable is missing or wrong (`invalid_variables`).
        """
        template = (await to_thread.run_sync(lambda: self.library.template(name))).filled(variables)
        address = self.read_address(provider=template.provider, model=template.model, style=template.style, resolution=template.resolution)
        placed = request.provider is not None or request.model is not None
        return replace(
            request,
            prompt=" ".join(words for words in (template.prompt, request.prompt.strip()) if words),
            provider=request.provider if placed else address.provider,
            model=request.model if placed else address.model,
            style=request.style or address.style,
            shape=request.shape or address.shape,
            negative_prompt=request.negative_prompt or template.negative_prompt or None,
            quality=request.quality or template.quality or None,
            background=request.background or template.background or None,
            output_format=request.output_format or template.output_format or None,
        )

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
        plan = asked = await self._plan(caller, wanted, fallback)
        if plan.request.save_as is not None:
            inside(plan.request.save_as, caller.folders)
        if isinstance(wanted, ImageRequest) and self._improves(wanted, improve):
            plan, asked = await self._improved(caller, wanted, plan, fallback)
        elif improve and self.settings.improve_url is None:
            words = Adjustment(field="improve", message="No chat model is there to improve prompts (the operator sets MCP_IMPROVE_URL).")
            plan = replace(plan, adjustments=(words, *plan.adjustments))
        if question := self._question(plan):
            await _confirm(caller, question)
        workshop = await self._open()
        offers = [self._offer(each, caller) for each in (plan, *plan.alternates)]
        job = await workshop.jobs.submit(
            caller.principal,
            offers[0],
            alternates=offers[1:],
            store_url=self.save_url,
            promised=self._promise(plan),
            budget=self._budget(plan),
            idempotency_key=idempotency_key,
            join_after=None if fresh else self.settings.join_after,
            asked=self._offer(asked, caller),
        )
        seconds = self.settings.wait_seconds if wait_seconds is None else wait_seconds
        try:
            return await workshop.jobs.wait(job.id, seconds, watch)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await (workshop.jobs.cancel(job.id) if self.settings.cancel_with_request else workshop.jobs.leave(job.id))
            raise

    def _improves(self, wanted: ImageRequest | Wish, improve: bool | None) -> bool:
        """Whether a chat model writes the prompt anew: only one that a picture is drawn from, and only once."""
        if self.settings.improve_url is None or not isinstance(wanted, ImageRequest):
            return False
        once = wanted.operation is Operation.GENERATE and wanted.original_prompt is None
        return once and (self.settings.improve == "always" if improve is None else improve)

    async def _improved(self, caller: Caller, request: ImageRequest, plan: Plan, fallback: Sequence[str]) -> tuple[Plan, Plan]:
        """The plan with a better prompt, and what tells one request from another: no prompt is improved twice in the same way."""
        from .improving import improved

        written_in = len(plan.request.prompt) - len(request.prompt)
        better, words = await improved(request, self.settings, room=plan.model.max_prompt_chars - written_in)
        asked = replace(plan, request=replace(plan.request, original_prompt=request.prompt))
        if better is not request:
            plan = await self._plan(caller, better, fallback)
        return replace(plan, adjustments=(words, *plan.adjustments)), asked

    # ------------------------------------------------------------------ making many

    async def estimate_batch(self, caller: Caller, items: Sequence[Item]) -> BatchEstimate:
        """What the batch of these items would come to. Nothing is sent and no job is made.

        Raises:
            RequestError: items that cannot be drawn, all at once (`invalid_rows`).
        """
        from .batches import BatchEstimate, Bill

        plans = await self._plans(caller, items)
        objection: ImageServerError | None = None
        if (budget := self._budget_of_all(plans)) is not None:
            try:
                budget.check(await (await self._open()).history.spending(caller.principal, budget))
            except LimitError as error:
                objection = error
        bill = Bill.of(plans, self._configuration.budgets)
        changes = Counter(adjustment for plan in plans for adjustment in plan.adjustments)
        return BatchEstimate(bill=bill, adjustments=changes, needs_confirmation=self._question_for_all(bill) is not None, objection=objection)

    async def batch(
        self, caller: Caller, items: Sequence[Item], *, new: bool = False, wait_seconds: float | None = None, watch: BatchWatch | None = None
    ) -> Batch:
        """The batch of these items: ended, or still under way when the wait is over. It goes on without whoever asked.

        The same items of the same caller are the same batch: begun again, it finds the jobs that there are, and nothing is entered twice.

        Args:
            new: a batch of its own, although there is one of the same items.
            wait_seconds: how long to wait; None means the operator's default.
            watch: is told of progress while we wait.

        Raises:
            RequestError: items that cannot be drawn, all at once (`invalid_rows`).
            LimitError: there is not enough money for all, or a person did not agree to it. In both cases nothing was entered.
        """
        from .batches import batch_id
        from .history import Order

        found = batch_id(caller.principal, items, new=new)
        if await (await self._open()).history.batch(found) is None:
            order = Order(id=found, principal=caller.principal, items=tuple(item.to_json() for item in items), created_at=datetime.now(UTC))
            await self._enter_batch(caller, order, [(position, item, 0) for position, item in enumerate(items)])
        return await self.batch_status(caller, found, wait_seconds=self.settings.wait_seconds if wait_seconds is None else wait_seconds, watch=watch)

    async def batch_status(self, caller: Caller, batch_id: str, *, wait_seconds: float = 0, watch: BatchWatch | None = None) -> Batch:
        """The caller's batch of that id, waited for. Once it has ended it has its contact sheet.

        Raises:
            NotFoundError: the caller has no such batch (`batch_not_found`).
        """
        await self._own_batch(caller, batch_id)
        await (await self._open()).jobs.wait_for_batch(batch_id, wait_seconds, watch)
        order = await self._own_batch(caller, batch_id)
        batch = await self._batch(order)
        return await self._with_sheet(order, batch) if batch.headway.ended and order.sheet is None else batch

    async def retry_batch(
        self,
        caller: Caller,
        batch_id: str,
        *,
        failed: bool = False,
        maybe_billed: bool = False,
        wait_seconds: float | None = None,
        watch: BatchWatch | None = None,
    ) -> Batch:
        """The caller's batch with a new job for items that ended without pictures, waited for.

        Args:
            failed: for those that surely were not billed.
            maybe_billed: for those that may have been billed, and those whose server stopped.

        Raises:
            NotFoundError: the caller has no such batch.
            ImageServerError: as in `batch`.
        """
        order = await self._own_batch(caller, batch_id)
        again = [
            (position, piece.item, piece.tries)
            for position, piece in enumerate((await self._batch(order)).pieces)
            if piece.is_wanted_again(failed=failed, maybe_billed=maybe_billed)
        ]
        if again:
            await self._enter_batch(caller, order, again)
        return await self.batch_status(
            caller, batch_id, wait_seconds=self.settings.wait_seconds if wait_seconds is None else wait_seconds, watch=watch
        )

    async def cancel_batch(self, caller: Caller, batch_id: str) -> Batch:
        """The caller's batch after it was asked to end. Items that have ended already stay as they are.

        Raises:
            NotFoundError: the caller has no such batch.
        """
        await self._own_batch(caller, batch_id)
        await (await self._open()).jobs.cancel_batch(batch_id)
        return await self.batch_status(caller, batch_id, wait_seconds=5)

    async def _enter_batch(self, caller: Caller, order: Order, wanted: Sequence[tuple[int, Item, int]]) -> None:
        """Jobs for the items at these positions that have had so many tries. First everything that could be said against it, then all at once."""
        from .batches import Bill
        from .jobs import Part

        plans = await self._plans(caller, [item for _, item, _ in wanted])
        if question := self._question_for_all(Bill.of(plans, self._configuration.budgets)):
            await _confirm(caller, question)
        parts = []
        for (position, _, tries), plan in zip(wanted, plans, strict=True):
            offer, *alternates = [self._offer(each, caller) for each in (plan, *plan.alternates)]
            parts.append(Part(position=position, offer=offer, alternates=tuple(alternates), promised=self._promise(plan), tries=tries))
        await (await self._open()).jobs.submit_batch(order, parts, store_url=self.save_url, budget=self._budget_of_all(plans))

    async def _plans(self, caller: Caller, items: Sequence[Item]) -> list[Plan]:
        """A plan for each item. A model that is failing just now counts as well: its jobs wait in line until it works again.

        Raises:
            RequestError: items that cannot be drawn, all at once (`invalid_rows`).
        """
        from .batches import Bad, refuse, wanted_by

        today = replace(await self._today(seconds=self.settings.routing == "auto"), breakers=())
        planner = Planner(self._configuration, await self.own_styles())
        plans: list[Plan] = []
        bad: list[Bad] = []
        for item in items:
            await checkpoint()
            try:
                wanted = wanted_by(item, self.read_address)
                request = wanted.request
                if wanted.template or wanted.variables:
                    request = await self.from_template(request, wanted.template, wanted.variables)
                if request.save_as is not None:
                    inside(request.save_as, caller.folders)
                plans.append(planner.plan(request, today, fallback=wanted.fallback))
            except RequestError as error:
                bad.append(Bad(place=item.place, message=error.message))
        refuse(bad)
        return plans

    def _budget_of_all(self, plans: Sequence[Plan]) -> Budget | None:
        """What looks whether there is money for all of them; None where nothing is limited."""
        from .batches import Bill

        budgets = self._configuration.budgets
        worth = Bill.of(plans, budgets).worth
        if worth is None:
            return self._budget(next(plan for plan in plans if plan.highest(budgets) is None))  # which says of whom it is not known
        budget = self._budget(plans[0])
        cost = Cost(micros=worth, currency=budgets.currency, source="list_price")
        return budget and replace(budget, check=lambda spending: check(budgets, spending, cost, model=plans[0].name))

    def _question_for_all(self, bill: Bill) -> str | None:
        """What a person is asked before a batch is begun; None where nobody needs to be."""
        limit, currency = self.settings.confirm_above, self.settings.budget_currency
        if limit is None or (bill.worth is not None and bill.worth <= limit):
            return None
        price = f"about {shown(bill.worth, currency)}" if bill.worth is not None else "an amount that nobody here knows"
        return f"Drawing {bill.pictures} pictures with {', '.join(bill.by_model)} costs {price}. Draw?"

    async def _own_batch(self, caller: Caller, batch_id: str) -> Order:
        from .batches import no_batch

        order = await (await self._open()).history.batch(batch_id)
        if order is None or not _may_see(caller, order.principal):
            raise no_batch(batch_id)
        return order

    async def _batch(self, order: Order) -> Batch:
        from .batches import assembled

        history = (await self._open()).history
        sheet = await history.image(order.sheet) if order.sheet is not None else None
        return assembled(order, await history.batch_jobs(order.id), await history.headway(order.id), sheet)

    async def _with_sheet(self, order: Order, batch: Batch) -> Batch:
        """The batch with its contact sheet, where one can be made."""
        from .batches import draw_sheet

        history, store = (await self._open()).history, self._store(self.save_url)
        try:
            sheet = await draw_sheet(batch, store, lambda image: self.read(image, thumbnail=True), now=datetime.now(UTC))
        except ImageServerError as error:  # the pictures are what was asked for
            log.warning("%s has no contact sheet: %s", batch.id, error.message)
            return batch
        if sheet is None:
            return batch
        if await history.put_sheet(batch.id, sheet.job, sheet.image):
            return replace(batch, sheet=sheet.image)
        for key in (sheet.image.key, sheet.image.thumbnail_key):  # somebody else was first
            if key is not None:
                await store.delete(key)
        return await self._batch(await history.batch(order.id) or order)

    # ------------------------------------------------------------------ what generating needs

    async def _plan(self, caller: Caller, wanted: ImageRequest | Wish, fallback: Sequence[str]) -> Plan:
        today = await self._today(seconds=self.settings.routing == "auto")
        request, words = await self._inputs.request(caller, wanted) if isinstance(wanted, Wish) else (wanted, ())
        planner = Planner(self._configuration, await self.own_styles() if request.style else None)
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

    def _promise(self, plan: Plan) -> Cost | None:
        """What is kept for the plan while it is carried out, in the currency of the budgets."""
        budgets = self._configuration.budgets
        highest = plan.highest(budgets)
        worth = budgets.worth(highest) if highest is not None else None
        return replace(highest, micros=worth, currency=budgets.currency) if highest is not None and worth else None

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

    # ------------------------------------------------------------------ changing pictures without a service

    async def transform(self, caller: Caller, wanted: Transformation) -> Transformed:
        """What comes of a transformation: new stored pictures with their lineage, or files where the caller wants them. Free, and done at once.

        Raises:
            RequestError: it cannot be done, or the files may not be there; the message says why.
            StorageError: store, record or folder cannot be written.
        """
        from . import transforming as local

        await to_thread.run_sync(_import_heavy)
        local.check_places(caller, wanted)
        made, words = await local.make(caller, wanted, self._inputs, self.image, self._signing())
        if wanted.save_as or wanted.icons:
            return local.Transformed(files=await local.write(caller, wanted, made, self._store), adjustments=words)
        workshop, store = await self._open(), self._store(self.save_url)
        owner = workshop.jobs.owner
        job = await local.record(caller, wanted, made, words, history=workshop.history, owner=owner, store=store, now=datetime.now(UTC))
        return local.Transformed(job=job, adjustments=words)

    def _signing(self) -> Signing | None:
        """With what pictures are signed; None where the operator has named nothing."""
        from .pictures import Signing

        certificate, key = self.settings.c2pa_certificate, self.settings.c2pa_key
        if certificate is None or key is None:
            return None
        return Signing(certificate=certificate.expanduser(), key=key.expanduser(), algorithm=self.settings.c2pa_alg)

    # ------------------------------------------------------------------ finding pictures

    async def search(
        self, caller: Caller, text: str = "", *, provider: str | None = None, only: ImageFilter = ANY, limit: int = 20, before: str | None = None
    ) -> list[Image]:
        """The caller's pictures in whose prompt, title or tags all words of the text stand, newest first.

        Args:
            provider: the same as in `only`.
            before: only those older than the picture of that id, for the next page.
        """
        workshop = await self._open()
        only = only if provider is None else replace(only, provider=provider)
        return await workshop.history.library.search(_seen_by(caller), text, only=only, limit=limit, before=before)

    async def manage(self, caller: Caller, image_ids: Sequence[str], action: Action, *, tags: Sequence[str] = (), title: str = "") -> list[Image]:
        """The caller's pictures as they are after the action. Done to all of them or to none; doing it twice does nothing.

        What is deleted is found nowhere from then on. It can be got back with `undelete` for as many days as MCP_TRASH_DAYS says.

        Args:
            tags: for `tag` and `untag`.
            title: for `rename`; empty: none any more.

        Raises:
            RequestError: it cannot be done like this; the message says why.
            NotFoundError: the caller has no such picture.
        """
        if not image_ids or len(image_ids) > MAX_MANAGED:
            raise RequestError(f"Name 1 to {MAX_MANAGED} pictures at a time, not {len(image_ids)}.")
        if (action in ("tag", "untag")) != bool(tags):
            raise RequestError(f"{action} needs tags." if not tags else f"{action} takes no tags.")
        if title and action != "rename":
            raise RequestError(f"{action} takes no title.")
        library = (await self._open()).history.library
        return await library.manage(_seen_by(caller), image_ids, action, tags=tags, title=title, now=datetime.now(UTC))

    async def lineage(self, caller: Caller, image_id: str) -> Lineage:
        """What the caller's picture was made from, and what was made from it.

        Raises:
            NotFoundError: the caller has no such picture.
        """
        image = await self.image(caller, image_id)
        return await (await self._open()).history.library.lineage(_seen_by(caller), image)

    async def statistics(self, caller: Caller, *, days: int | None = None) -> Statistics:
        """The caller's pictures and what they cost, of so many days or of all time."""
        since = None if days is None else datetime.now(UTC) - timedelta(days=days)
        return await (await self._open()).history.library.statistics(_seen_by(caller), since=since)

    async def again(self, caller: Caller, image_id: str, **overrides: Any) -> ImageRequest:
        """A request for the caller's picture once more: as it was drawn, with its seed, but for these fields.

        Raises:
            NotFoundError: the caller has no such picture, or one that went into it is gone.
        """
        from .jobs.work import with_inputs

        image = await self.image(caller, image_id)
        job = await self._own_job(caller, image.job_id)
        job = await with_inputs(job, self._store(job.store_url))
        model = None if overrides.get("provider", job.provider) != job.provider else job.model
        request = replace(job.request, provider=job.provider, model=model, seed=image.seed, count=1, save_as=None)
        return replace(request, **{"original_prompt": None if "prompt" in overrides else request.original_prompt, **overrides})

    async def purge(self, caller: Caller, *, everything: bool = False) -> list[Image]:
        """What was removed from the trash for good, files and all: what is there longer than MCP_TRASH_DAYS says, or everything.

        Raises:
            RequestError: the caller may not.
            StorageError: some files could not be removed; those of the other pictures are.
        """
        if not caller.is_admin:
            raise RequestError("Only an administrator may empty the trash.", code="forbidden")
        return await self._purge((await self._open()).history, timedelta() if everything else timedelta(days=self.settings.trash_days))

    async def _purge(self, history: History, age: timedelta) -> list[Image]:
        removed: list[Image] = []
        trouble: ImageServerError | None = None
        for image in await history.library.condemn(deleted_before=datetime.now(UTC) - age):
            try:
                store = self._store(image.store_url)
                for key in filter(None, (image.key, image.thumbnail_key)):
                    await store.delete(key)
                removed.append(image)
            except ImageServerError as error:
                trouble = error
        if removed:
            await history.library.forget([image.id for image in removed])
        if trouble is not None:
            raise trouble
        return removed

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
        if old.model_file != new.model_file and "models_file" not in changed:
            changed.append("models_file")
        for name in provider_list.names():
            for variable in provider_list.variables(name):
                if old.environment.get(variable) != new.environment.get(variable):
                    changed.append(variable.lower())
                    changed_providers.add(name)
        kept = {name: old.providers[name] for name in old.providers if name not in changed_providers}
        self._retired += [provider for name, provider in old.providers.items() if name in changed_providers]
        providers = {name: kept.get(name, provider) for name, provider in new.providers.items()}
        self._configuration = replace(new, providers=providers)
        return Reloaded(
            changed=tuple(changed),
            providers=tuple(providers),
            default_provider=self.default_provider,
            models={catalogue.provider: catalogue.default_model for catalogue in self.catalogues()},
        )

    async def doctor(self, caller: Caller) -> AsyncIterator[Check]:
        """Whether everything is in order: this machine first, then the services, which are asked all at once. Costs nothing."""
        from .survey import ask

        folder = self.save_folder
        yield await _check("pictures", self._store(self.save_url).ready(), f"{folder} can be written")
        data = data_folder(self.settings)
        yield await _check("history", self.search(caller, limit=1), f"the database in {data} works")
        if self.has_history:
            for breaker in await (await self._open()).history.breakers():
                if is_open(breaker, now := datetime.now(UTC)):
                    yield Check(name=breaker.provider, ok=False, words=f"{breaker_words(breaker, now)}.")
        if (signing := self._signing()) is not None:
            from .pictures import try_signing

            yield await _check("signing", to_thread.run_sync(try_signing, signing), "pictures can be signed")
        for problem in await to_thread.run_sync(lambda: self.library.problems()):
            yield Check(name="library", ok=False, words=problem)
        if self.settings.improve_url is not None:
            from .improving import check as check_chat_model

            yield await _check(
                "improve", check_chat_model(self.settings), f"the chat model's service answers; {self.settings.improve_model} improves prompts"
            )
        answers = await ask(self._configuration.providers, lambda provider: provider.check())
        for catalogue in self.all_catalogues():
            answer = answers.get(catalogue.provider, f"not configured; set {' and '.join(catalogue.variables)} to use it")
            if isinstance(answer, ImageServerError):
                yield Check(name=catalogue.provider, ok=False, words=answer.message)
                continue
            default = find_model(catalogue.models, catalogue.default_model) if catalogue.provider in answers else None
            ending = ending_words(default, datetime.now(UTC).date()) if default else None
            yield Check(name=catalogue.provider, ok=ending is None, words=f"{answer} {ending}" if ending else answer)
        for name, words in self._configuration.broken.items():
            yield Check(name=name, ok=False, words=words)

    async def compare_models(self, caller: Caller, provider: str = "") -> list[Comparison]:
        """The table of models held against the services' own lists, of every configured provider or of that one. Costs nothing.

        Raises:
            NotFoundError: it is not configured, or there is none of that name.
        """
        from .survey import compare

        wanted = [self.catalogue(provider)] if provider else self.catalogues()
        names = {catalogue.provider for catalogue in wanted}
        asked = {name: each for name, each in self._configuration.providers.items() if name in names}
        return await compare(asked, wanted, today=datetime.now(UTC).date())

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
        from .jobs.work import Labelling
        from .store import folder_url

        folder = data_folder(self.settings)
        history = await open_history(folder)
        try:
            await self._purge(history, timedelta(days=self.settings.trash_days))
        except ImageServerError as error:
            log.warning("Old pictures in the trash could not all be removed: %s", error.message)
        place = Workplace(
            provider=lambda name: self._configuration.providers.get(name),
            model=lambda provider, name: self._configuration.model(provider, name),
            price=lambda provider, name: self._configuration.price(provider, name),
            open_store=self._store,
            rescue_url=folder_url(folder / "rescued"),
            retries=lambda: self.settings.retries,
            setback=2.0,
            clock=lambda: datetime.now(UTC),
            labelling=lambda: Labelling(prompt=self.settings.provenance_prompt, producer=self.settings.aigc_producer or "", signing=self._signing()),
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
        await self._inputs.aclose()
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
