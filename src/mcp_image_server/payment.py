"""What a plan may cost: whether there is money for it, what is kept for it, and what a person is asked first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .errors import LimitError
from .models import Caller, Cost
from .planning import Plan
from .policy.budget import Budgets, check, day_of, month_of, shown

if TYPE_CHECKING:
    from .history import Budget


def budget_for(plan: Plan, budgets: Budgets) -> Budget | None:
    """What looks whether there is money and room for the plan; None where nothing is limited."""
    if not budgets.any:
        return None
    from .history import Budget

    now = datetime.now(UTC)
    cost = plan.highest(budgets)
    unknown = next((each.name for each in (plan, *plan.alternates) if each.estimate is None or budgets.worth(each.estimate) is None), plan.name)
    cost = cost if cost is not None else next((each.estimate for each in (plan, *plan.alternates) if each.name == unknown), None)
    images = plan.request.count
    return Budget(check=lambda spending: check(budgets, spending, cost, model=unknown, images=images), day=day_of(now), month=month_of(now))


def promise(plan: Plan, budgets: Budgets) -> Cost | None:
    """What is kept for the plan while it is carried out, in the currency of the budgets."""
    highest = plan.highest(budgets)
    worth = budgets.worth(highest) if highest is not None else None
    return replace(highest, micros=worth, currency=budgets.currency) if highest is not None and worth else None


def question(plan: Plan, budgets: Budgets, confirm_above: int | None) -> str | None:
    """What a person is asked before the plan is carried out; None where nobody needs to be.

    Args:
        confirm_above: in millionths of the budgets' currency; None: nobody is ever asked.
    """
    highest = plan.highest(budgets)
    pictures = "1 picture" if plan.request.count == 1 else f"{plan.request.count} pictures"
    return question_about(f"{pictures} with {plan.name}", budgets.worth(highest) if highest is not None else None, budgets, confirm_above)


def question_about(wanted: str, worth: int | None, budgets: Budgets, confirm_above: int | None) -> str | None:
    """What a person is asked before what is wanted is drawn; None where nobody needs to be.

    Args:
        worth: the most that it may come to, in millionths of the budgets' currency; None when that is not known.
        confirm_above: the same; None: nobody is ever asked.
    """
    if confirm_above is None or (worth is not None and worth <= confirm_above):
        return None
    price = f"about {shown(worth, budgets.currency)}" if worth is not None else "an amount that nobody here knows"
    return f"Drawing {wanted} costs {price}. Draw?"


async def confirm(caller: Caller, words: str) -> None:
    """Passes when the person says yes.

    Raises:
        LimitError: nobody can be asked (`confirmation_required`), or the person says no (`declined`).
    """
    if caller.ask is None:
        raise LimitError(
            f"{words} A person has to agree first, and this client cannot ask one. Choose a cheaper model or fewer pictures; "
            "the operator can raise MCP_CONFIRM_ABOVE.",
            code="confirmation_required",
        )
    if not await caller.ask(words):
        raise LimitError(f"{words} The person said no. Nothing was sent.", code="declined")
