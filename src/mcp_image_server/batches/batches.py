"""Batches, begun and looked after."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from ..audit import audit
from ..bookshelf import Bookshelf
from ..errors import ImageServerError, LimitError, RequestError
from ..gallery import Gallery
from ..guard import inside
from ..models import BatchSummary, Caller, Cost
from ..payment import budget_for, confirm, promise, question_about
from ..planning import Plan, Planner
from ..policy.budget import check
from ..workshop import Workshop, may_change, may_see, seen_by
from .batch import Batch, BatchEstimate, Bill, Watch, assembled, no_batch
from .items import Bad, Item, batch_id, refuse, wanted_by
from .sheet import draw_sheet

if TYPE_CHECKING:
    from ..history import Budget, Order

log = logging.getLogger(__name__)


class Batches:
    """Batches, begun and looked after.

    Args:
        images: reads what goes on contact sheets.
        library: has styles and templates.
    """

    def __init__(self, workshop: Workshop, images: Gallery, library: Bookshelf) -> None:
        self._workshop = workshop
        self._images = images
        self._library = library

    async def estimate(self, caller: Caller, items: Sequence[Item]) -> BatchEstimate:
        """What the batch of these items would come to. Nothing is sent and no job is made.

        Raises:
            RequestError: items that cannot be drawn, all at once (`invalid_rows`).
        """
        plans = await self._plans(caller, items)
        objection: ImageServerError | None = None
        if (budget := self._budget(caller, plans)) is not None:
            try:
                budget.check(await (await self._workshop.history()).spending(caller.principal, budget))
            except LimitError as error:
                objection = error
        bill = Bill.of(plans, self._workshop.configuration.budgets)
        changes = Counter(adjustment for plan in plans for adjustment in plan.adjustments)
        return BatchEstimate(bill=bill, adjustments=changes, needs_confirmation=self._question(bill) is not None, objection=objection)

    async def begin(
        self, caller: Caller, items: Sequence[Item], *, new: bool = False, wait_seconds: float | None = None, watch: Watch | None = None
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
        found = batch_id(caller.principal, items, new=new)
        if await (await self._workshop.history()).batches.order(found) is None:
            from ..history import Order

            order = Order(id=found, principal=caller.principal, items=tuple(item.to_json() for item in items), created_at=datetime.now(UTC))
            await self._enter(caller, order, [(position, item, 0) for position, item in enumerate(items)])
        return await self.status(caller, found, wait_seconds=self._patience(wait_seconds), watch=watch)

    async def status(self, caller: Caller, batch_id: str, *, wait_seconds: float = 0, watch: Watch | None = None) -> Batch:
        """The caller's batch of that id, waited for. Once it has ended it has its contact sheet.

        Raises:
            NotFoundError: the caller has no such batch (`batch_not_found`).
        """
        await self._own(caller, batch_id)
        await (await self._workshop.jobs()).wait_for_batch(batch_id, wait_seconds, watch)
        order = await self._own(caller, batch_id)
        batch = await self._as_it_stands(order)
        return await self._with_sheet(order, batch) if batch.headway.ended and order.sheet is None else batch

    async def latest(self, caller: Caller, *, limit: int = 20, before: str | None = None) -> list[BatchSummary]:
        """The caller's latest batches, newest first.

        Args:
            before: only those older than the batch of that id, for the next page.
        """
        return await (await self._workshop.history()).batches.latest(seen_by(caller), limit=limit, before=before)

    async def retry(
        self,
        caller: Caller,
        batch_id: str,
        *,
        failed: bool = False,
        maybe_billed: bool = False,
        wait_seconds: float | None = None,
        watch: Watch | None = None,
    ) -> Batch:
        """The caller's batch with a new job for items that ended without pictures, waited for.

        Args:
            failed: for those that surely were not billed.
            maybe_billed: for those that may have been billed, and those whose server stopped.

        Raises:
            NotFoundError: the caller has no such batch.
            ImageServerError: as in `begin`.
        """
        order = await self._own(caller, batch_id)
        again = [
            (position, piece.item, piece.tries)
            for position, piece in enumerate((await self._as_it_stands(order)).pieces)
            if piece.is_wanted_again(failed=failed, maybe_billed=maybe_billed)
        ]
        if again:
            await self._enter(caller, order, again)
        return await self.status(caller, batch_id, wait_seconds=self._patience(wait_seconds), watch=watch)

    async def cancel(self, caller: Caller, batch_id: str) -> Batch:
        """The caller's batch after it was asked to end. Items that have ended already stay as they are.

        Raises:
            NotFoundError: the caller has no such batch.
        """
        may_change(caller)
        await self._own(caller, batch_id)
        await (await self._workshop.jobs()).cancel_batch(batch_id)
        audit("batch.cancelled", principal=caller.principal, batch=batch_id)
        return await self.status(caller, batch_id, wait_seconds=5)

    def _patience(self, wait_seconds: float | None) -> float:
        return self._workshop.settings.wait_seconds if wait_seconds is None else wait_seconds

    # ------------------------------------------------------------------ entering

    async def _enter(self, caller: Caller, order: Order, wanted: Sequence[tuple[int, Item, int]]) -> None:
        """Jobs for the items at these positions that have had so many tries. First everything that could be said against it, then all at once."""
        from ..jobs import Part

        may_change(caller)
        workshop, budgets = self._workshop, self._workshop.configuration.budgets
        plans = await self._plans(caller, [item for _, item, _ in wanted], principal=order.principal)
        if words := self._question(Bill.of(plans, budgets)):
            await confirm(caller, words)
        parts = []
        for (position, _, tries), plan in zip(wanted, plans, strict=True):
            offer, *alternates = [workshop.offer(caller, each) for each in (plan, *plan.alternates)]
            parts.append(Part(position=position, offer=offer, alternates=tuple(alternates), promised=promise(plan, budgets), tries=tries))
        await (await workshop.jobs()).submit_batch(order, parts, store_url=workshop.save_url, budget=self._budget(caller, plans))
        audit("batch.submitted", principal=caller.principal, batch=order.id, images=sum(plan.request.count for plan in plans))

    async def _plans(self, caller: Caller, items: Sequence[Item], *, principal: str | None = None) -> list[Plan]:
        """A plan for each item. A model that is failing just now counts as well: its jobs wait in line until it works again.

        Args:
            principal: whose styles and templates the items mean; None: the caller's.

        Raises:
            RequestError: items that cannot be drawn, all at once (`invalid_rows`).
        """
        workshop, writer = self._workshop, caller if principal is None else replace(caller, principal=principal)
        today = replace(await workshop.today(seconds=workshop.settings.routing == "auto"), breakers=())
        planner = Planner(workshop.configuration, await self._library.own_styles(writer))
        plans: list[Plan] = []
        bad: list[Bad] = []
        for item in items:
            await checkpoint()
            try:
                wanted = wanted_by(item, workshop.read_address)
                request = wanted.request
                if wanted.template or wanted.variables:
                    request = await self._library.from_template(writer, request, wanted.template, wanted.variables)
                if request.save_as is not None:
                    inside(request.save_as, caller.folders)
                plans.append(planner.plan(request, today, fallback=wanted.fallback))
            except RequestError as error:
                bad.append(Bad(place=item.place, message=error.message))
        refuse(bad)
        return plans

    def _budget(self, caller: Caller, plans: Sequence[Plan]) -> Budget | None:
        """What looks whether there is money and room for all of them; None where nothing is limited."""
        budgets = self._workshop.configuration.budgets.of(caller.allowance)
        images = sum(plan.request.count for plan in plans)
        worth = Bill.of(plans, budgets).worth
        if worth is None and budgets.limits_money:
            return budget_for(next(plan for plan in plans if plan.highest(budgets) is None), budgets)  # which says of whom it is not known
        budget = budget_for(plans[0], budgets)
        cost = Cost(micros=worth, currency=budgets.currency, source="list_price") if worth is not None else None
        return budget and replace(budget, check=lambda spending: check(budgets, spending, cost, model=plans[0].name, images=images))

    def _question(self, bill: Bill) -> str | None:
        """What a person is asked before a batch is begun; None where nobody needs to be."""
        wanted = f"{bill.pictures} pictures with {', '.join(bill.by_model)}"
        return question_about(wanted, bill.worth, self._workshop.configuration.budgets, self._workshop.settings.confirm_above)

    # ------------------------------------------------------------------ what became of it

    async def _own(self, caller: Caller, batch_id: str) -> Order:
        order = await (await self._workshop.history()).batches.order(batch_id)
        if order is None or not may_see(caller, order.principal):
            raise no_batch(batch_id)
        return order

    async def _as_it_stands(self, order: Order) -> Batch:
        history = await self._workshop.history()
        sheet = await history.image(order.sheet) if order.sheet is not None else None
        return assembled(order, await history.batches.jobs(order.id), await history.batches.headway(order.id), sheet)

    async def _with_sheet(self, order: Order, batch: Batch) -> Batch:
        """The batch with its contact sheet, where one can be made."""
        history, store = await self._workshop.history(), self._workshop.store(self._workshop.save_url)
        try:
            sheet = await draw_sheet(batch, store, lambda image: self._images.read(image, thumbnail=True), now=datetime.now(UTC))
        except ImageServerError as error:  # the pictures are what was asked for
            log.warning("%s has no contact sheet: %s", batch.id, error.message)
            return batch
        if sheet is None:
            return batch
        if await history.batches.put_sheet(batch.id, sheet.job, sheet.image):
            return replace(batch, sheet=sheet.image)
        for key in (sheet.image.key, sheet.image.thumbnail_key):  # somebody else was first
            if key is not None:
                await store.delete(key)
        return await self._as_it_stands(await history.batches.order(order.id) or order)
