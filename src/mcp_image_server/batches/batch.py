"""What a batch would cost, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ImageServerError, NotFoundError
from ..models import Adjustment, BatchSummary, Headway, Image, Job, JobState
from ..planning import Plan
from ..policy.budget import Budgets
from .items import Item

if TYPE_CHECKING:
    from ..history import Order

Watch = Callable[[Headway], Awaitable[None]]
"""Is told how far a batch has come, whenever something has moved."""


# ---------------------------------------------------------------------- money


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What drawing many plans comes to."""

    by_model: Mapping[str, int]
    """Pictures by provider/model."""
    costs: Mapping[str, int]
    """Currency to millionths, by list prices, for those whose price is known."""
    unknown: tuple[str, ...]
    """Models of which nobody knows what they cost."""
    worth: int | None
    """The most it may come to, in millionths of the budgets' currency; None when that is not known."""

    @property
    def pictures(self) -> int:
        """How many are drawn."""
        return sum(self.by_model.values())

    @classmethod
    def of(cls, plans: Sequence[Plan], budgets: Budgets) -> Bill:
        """The sum of these plans."""
        pictures: Counter[str] = Counter()
        costs: Counter[str] = Counter()
        unknown: dict[str, None] = {}
        worths: list[int | None] = []
        for plan in plans:
            pictures[plan.name] += plan.request.count
            if plan.estimate is None:
                unknown[plan.name] = None
            elif plan.estimate.micros:
                costs[plan.estimate.currency] += plan.estimate.micros
            highest = plan.highest(budgets)
            worths.append(budgets.worth(highest) if highest is not None else None)
        known = [worth for worth in worths if worth is not None]
        return cls(by_model=pictures, costs=costs, unknown=tuple(unknown), worth=sum(known) if len(known) == len(worths) else None)


@dataclass(frozen=True, kw_only=True)
class BatchEstimate:
    """What a batch would come to, with nothing sent."""

    bill: Bill
    adjustments: Mapping[Adjustment, int]
    """What would be changed, and for how many items."""
    needs_confirmation: bool
    """The person would be asked first."""
    objection: ImageServerError | None = None
    """Why it would be refused, if it would."""


# ---------------------------------------------------------------------- what became of it


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An item of a batch, and the latest job for it."""

    item: Item
    job: Job
    tries: int
    """Jobs that there were for it."""

    @property
    def prompt(self) -> str:
        """As it was asked for; where a template made it, as it was made."""
        return str(self.item.arguments.get("prompt") or self.job.request.prompt)

    @property
    def has_failed(self) -> bool:
        """Ended without pictures."""
        return self.job.state.ended and self.job.state is not JobState.SUCCEEDED

    @property
    def may_have_been_billed(self) -> bool:
        """It brought nothing and may have cost something."""
        failure = self.job.failure
        return self.has_failed and failure is not None and failure.may_have_been_billed

    def is_wanted_again(self, *, failed: bool, maybe_billed: bool) -> bool:
        """Whether it is among those that are to be entered anew.

        Args:
            failed: those that surely were not billed.
            maybe_billed: those that may have been, and those whose server stopped.
        """
        interrupted = self.job.failure is not None and self.job.failure.code == "interrupted"
        return self.has_failed and ((failed and not self.may_have_been_billed) or (maybe_billed and (self.may_have_been_billed or interrupted)))


@dataclass(frozen=True, kw_only=True)
class Batch(BatchSummary):
    """A batch as it stands, item by item."""

    pieces: tuple[Piece, ...]
    """In order."""
    sheet: Image | None = None
    """All its pictures on one, once it has ended."""

    @property
    def images(self) -> tuple[Image, ...]:
        """Every picture, item by item."""
        return tuple(image for piece in self.pieces for image in piece.job.images)


def assembled(order: Order, jobs: Sequence[Job], headway: Headway, sheet: Image | None) -> Batch:
    """The batch of what the record knows about it.

    Args:
        jobs: item by item, oldest first.
    """
    theirs: list[list[Job]] = [[] for _ in order.items]
    for job in jobs:
        theirs[job.position or 0].append(job)
    pieces = (Piece(item=Item.from_json(data), job=tries[-1], tries=len(tries)) for data, tries in zip(order.items, theirs, strict=True))
    return Batch(id=order.id, principal=order.principal, created_at=order.created_at, headway=headway, pieces=tuple(pieces), sheet=sheet)


def no_batch(batch_id: str) -> NotFoundError:
    """That there is no such batch."""
    words = f"There is no batch {batch_id!r}. Its id is in the answer of the call that began it."
    return NotFoundError(words, code="batch_not_found", details={"batch_id": batch_id})
