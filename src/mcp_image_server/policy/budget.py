"""What work will cost, and whether there is money and room for it. Pure; amounts are millionths of a currency unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil

from ..errors import LimitError
from ..models import Allowance, Cost, ImageRequest, Model, Price, Size, Spending

MICROS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """What may be spent and asked for. `None`: as much as one likes. Days and months are those of UTC."""

    currency: str = "USD"
    rates: Mapping[str, float] = field(default_factory=dict)
    """What one unit of another currency is worth in this one."""
    day: int | None = None
    month: int | None = None
    principal_day: int | None = None
    principal_month: int | None = None
    principal_jobs: int | None = None
    """Under way at once."""
    principal_images_day: int | None = None

    @property
    def limits_money(self) -> bool:
        """Whether money is limited."""
        return any(limit is not None for limit in (self.day, self.month, self.principal_day, self.principal_month))

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return self.limits_money or self.principal_jobs is not None or self.principal_images_day is not None

    def of(self, allowance: Allowance) -> Budgets:
        """With what one principal may have."""
        return replace(
            self,
            principal_day=allowance.budget_day if allowance.budget_day is not None else self.principal_day,
            principal_month=allowance.budget_month if allowance.budget_month is not None else self.principal_month,
            principal_jobs=allowance.jobs,
            principal_images_day=allowance.images_per_day,
        )

    def worth(self, cost: Cost) -> int | None:
        """The cost in the currency of the budgets; None where its rate is not known. Rounded up, so that no sum is ever too small."""
        if cost.currency == self.currency or cost.micros == 0:
            return cost.micros
        rate = self.rates.get(cost.currency)
        return None if rate is None else ceil(cost.micros * Fraction(str(rate)))


def day_of(now: datetime) -> datetime:
    """When the day began."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def month_of(now: datetime) -> datetime:
    """When the month began."""
    return day_of(now).replace(day=1)


def estimate(request: ImageRequest, model: Model, price: Price | None = None) -> Cost | None:
    """What the request costs by list price, each picture rounded up to a millionth; None where there is none.

    Args:
        request: fitted to the model.
        price: the operator's own, in place of the model's.
    """
    price = price or model.price
    if price is None:
        return None
    amount = price.amount * price.factors.get(request.quality or "", 1)
    size = request.shape if isinstance(request.shape, Size) else model.default_size
    if size is not None:
        amount *= price.above.get(max((pixels for pixels in price.above if size.pixels > pixels), default=0), 1)
        amount *= size.pixels / 1e6 if price.per == "megapixel" else 1
    amount /= 2 if request.economy else 1
    micros = ceil(round(amount * MICROS, 6))  # what floating point adds beyond that is no money
    return Cost(micros=micros * request.count, currency=price.currency, source="list_price")


def check(budgets: Budgets, spending: Spending, cost: Cost | None, *, model: str, images: int = 1) -> None:
    """Passes when there is money and room for work of that cost.

    Args:
        images: how many are asked for. A batch counts as one job, however many it has: they wait in line.

    Raises:
        LimitError: there is not enough money (`budget_exceeded`) or room (`quota_exceeded`), or nobody knows what it costs (`price_unknown`).
    """
    _check_room(budgets, spending, images)
    if budgets.limits_money:
        _check_money(budgets, spending, cost, model)


def _check_room(budgets: Budgets, spending: Spending, images: int) -> None:
    if budgets.principal_jobs is not None and spending.jobs >= budgets.principal_jobs:
        raise LimitError(
            f"You have {spending.jobs} jobs under way, and may have {budgets.principal_jobs} at once. Wait for one to end, or cancel one.",
            code="quota_exceeded",
            details={"quota": "jobs", "limit": budgets.principal_jobs, "used": spending.jobs},
        )
    limit = budgets.principal_images_day
    if limit is not None and spending.images + images > limit:
        raise LimitError(
            f"Of your {limit} images a day, {max(0, limit - spending.images)} can still be had today. Ask for fewer, or again tomorrow (UTC).",
            code="quota_exceeded",
            details={"quota": "images_per_day", "limit": limit, "used": spending.images, "asked": images},
        )


def _check_money(budgets: Budgets, spending: Spending, cost: Cost | None, model: str) -> None:
    wanted = budgets.worth(cost) if cost is not None else None
    if cost is None:
        raise LimitError(
            f"Nobody knows what {model} costs, and spending is limited here. "
            f'The operator sets its price in MCP_PRICES, for example {{"{model}": {{"amount": 0.04, "currency": "{budgets.currency}"}}}}.',
            code="price_unknown",
            details={"model": model},
        )
    if wanted is None:
        raise LimitError(
            f"{model} is paid in {cost.currency}, and budgets are kept in {budgets.currency}. "
            f'The operator says what one {cost.currency} is worth in MCP_CURRENCY_RATES, for example {{"{cost.currency}": 0.14}}.',
            code="price_unknown",
            details={"model": model, "currency": cost.currency},
        )
    if wanted == 0:
        return
    limits = (
        ("today's budget", budgets.day, spending.day, "MCP_BUDGET_DAY", "tomorrow (UTC)"),
        ("this month's budget", budgets.month, spending.month, "MCP_BUDGET_MONTH", "next month (UTC)"),
        ("your budget for today", budgets.principal_day, spending.principal_day, "MCP_BUDGET_PRINCIPAL_DAY", "tomorrow (UTC)"),
        ("your budget for this month", budgets.principal_month, spending.principal_month, "MCP_BUDGET_PRINCIPAL_MONTH", "next month (UTC)"),
    )
    for name, limit, spent, variable, when in limits:
        if limit is None:
            continue
        used = total(budgets, spent)
        if used + wanted > limit:
            raise LimitError(
                f"This costs about {shown(wanted, budgets.currency)}, and of {name} of {shown(limit, budgets.currency)} "
                f"{shown(max(0, limit - used), budgets.currency)} is left. Nothing was sent. Try a cheaper model, or again {when}; "
                f"the operator can raise {variable}.",
                code="budget_exceeded",
                details={
                    "limit": limit / MICROS,
                    "used": used / MICROS,
                    "estimate": wanted / MICROS,
                    "currency": budgets.currency,
                    "variable": variable,
                },
            )


def total(budgets: Budgets, spent: Mapping[str, int]) -> int:
    """A sum in the currency of the budgets. What was spent in a currency whose rate has gone counts one to one: too much rather than nothing."""
    costs = (Cost(micros=micros, currency=currency, source="list_price") for currency, micros in spent.items())
    return sum(worth if (worth := budgets.worth(cost)) is not None else cost.micros for cost in costs)


def shown(micros: int, currency: str) -> str:
    """An amount for people."""
    whole, rest = divmod(micros, MICROS)
    return f"{whole}.{f'{rest:06}'.rstrip('0').ljust(2, '0')} {currency}"


def dearest(costs: Iterable[Cost | None], budgets: Budgets) -> Cost | None:
    """The cost that has to be at hand when any of these may come: the greatest; None when one of them is not known."""
    known = list(costs)
    worths = [budgets.worth(cost) if cost is not None else None for cost in known]
    if any(worth is None for worth in worths):
        return None
    return max(zip(worths, known, strict=True), key=lambda pair: pair[0] or 0)[1] if known else None
