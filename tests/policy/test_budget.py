"""Money: estimates and sums are exact, nothing is ever too small, and what nobody knows is refused with the name of the setting."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server import providers
from mcp_image_server.errors import LimitError
from mcp_image_server.models import AspectRatio, Cost, ImageRequest, Model, Price, Size, Spending, find_model, parse_shape
from mcp_image_server.policy.budget import MICROS, Budgets, check, day_of, dearest, estimate, month_of, shown, total

TODAY = date(2026, 5, 1)
MODEL = Model(provider="p", id="m", default_size=Size(width=2000, height=1000))
REQUEST = ImageRequest(prompt="x")
DOLLARS = Budgets(rates={"CNY": 0.14, "EUR": 1.1})


def price(amount: float, **facts: Any) -> Price:
    return replace(Price(amount=amount, currency="USD", as_of=TODAY), **facts)


def usd(micros: int) -> Cost:
    return Cost(micros=micros, currency="USD", source="list_price")


def cny(micros: int) -> Cost:
    return Cost(micros=micros, currency="CNY", source="list_price")


# What it costs ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "request_", "micros"),
    [
        (price(0.04), REQUEST, 40_000),
        (price(0.07), replace(REQUEST, count=3), 210_000),
        (price(0.0132), replace(REQUEST, count=10), 132_000),
        (price(0.0132, factors={"low": 0.0059 / 0.0132}), replace(REQUEST, quality="low"), 5_900),
        (price(0.0132, factors={"low": 0.0059 / 0.0132}), replace(REQUEST, quality="high"), 13_200),
        (price(0.0132, factors={"low": 0.0059 / 0.0132}), REQUEST, 13_200),
        (price(0.08, above={1_500_000: 1.5, 6_000_000: 2}), REQUEST, 120_000),
        (price(0.08, above={1_500_000: 1.5, 6_000_000: 2}), replace(REQUEST, shape=Size(width=1500, height=1000)), 80_000),
        (price(0.08, above={1_500_000: 1.5, 6_000_000: 2}), replace(REQUEST, shape=Size(width=4096, height=4096)), 160_000),
        (price(0.0000001), replace(REQUEST, count=2), 2),
        (price(1 / 3), REQUEST, 333_334),
        (price(0), replace(REQUEST, count=15), 0),
        (price(0.02, per="megapixel"), REQUEST, 40_000),
        (price(0.02, per="megapixel"), replace(REQUEST, shape=Size(width=1024, height=1024)), 20_972),
        (price(0.02, per="megapixel"), replace(REQUEST, shape=AspectRatio(width=16, height=9), count=2), 80_000),
    ],
)
def test_an_estimate_is_the_price_of_each_picture_rounded_up_to_a_millionth(amount: Price, request_: ImageRequest, micros: int) -> None:
    assert estimate(request_, replace(MODEL, price=amount)) == usd(micros)


@pytest.mark.parametrize(
    ("provider", "name", "size", "quality", "dollars"),
    [
        ("openai", "gpt-image-2", "3840x2160", "high", 0.401),
        ("openai", "gpt-image-2", "2560x1440", "high", 0.222),
        ("openai", "gpt-image-2.5-flare", "3840x2160", "medium", 0.026),
        ("openai", "gpt-image-1.5", "1536x1024", "high", 0.2),
        ("openai", "gpt-image-1-mini", "1024x1536", "medium", 0.015),
        ("gemini", "gemini-3-pro-image", "4096x4096", None, 0.24),
        ("gemini", "gemini-3-pro-image", "2048x2048", None, 0.134),
        ("fal", "fal-ai/nano-banana-2", "2048x2048", None, 0.12),
        ("fal", "fal-ai/nano-banana-2", "4096x4096", None, 0.16),
    ],
)
def test_a_large_picture_is_estimated_at_what_its_service_lists(provider: str, name: str, size: str, quality: str | None, dollars: float) -> None:
    model, shape = find_model(providers.catalogues()[provider].models, name), parse_shape(size)
    assert model is not None
    found = estimate(replace(REQUEST, shape=shape, quality=quality), model)
    assert found is not None
    assert found.micros == pytest.approx(dollars * MICROS, rel=0.04)


def test_the_operators_own_price_takes_the_place_of_the_list_price() -> None:
    model = replace(MODEL, price=price(0.05))
    assert estimate(REQUEST, model, price(0.2, currency="CNY")) == cny(200_000)
    assert estimate(REQUEST, MODEL, price(0)) == usd(0)


def test_without_a_price_nothing_is_estimated() -> None:
    assert estimate(REQUEST, MODEL) is None


def test_a_model_without_a_size_is_taken_for_a_megapixel() -> None:
    assert estimate(REQUEST, Model(provider="p", id="m", price=price(0.02, per="megapixel"))) == usd(20_000)


@given(st.integers(1, 10**9), st.integers(1, 20))
def test_amounts_that_are_written_in_millionths_stay_what_they_are(micros: int, count: int) -> None:
    assert estimate(replace(REQUEST, count=count), replace(MODEL, price=price(micros / MICROS))) == usd(micros * count)


# Other currencies ---------------------------------------------------------------------------------------------------------------------------


def test_a_cost_is_worth_its_rate_to_the_last_millionth() -> None:
    assert DOLLARS.worth(usd(7)) == 7
    assert DOLLARS.worth(cny(100_000)) == 14_000
    assert DOLLARS.worth(cny(1)) == 1
    assert DOLLARS.worth(Cost(micros=5, currency="GBP", source="reported")) is None
    assert DOLLARS.worth(Cost(micros=0, currency="GBP", source="reported")) == 0


@given(st.integers(0, 10**15), st.decimals(min_value="0.0001", max_value="20000", places=4))
def test_a_cost_in_another_currency_is_rounded_up_and_by_less_than_a_millionth(micros: int, rate: Decimal) -> None:
    worth = Budgets(rates={"CNY": float(rate)}).worth(cny(micros))
    assert worth == int((micros * rate).to_integral_value(ROUND_CEILING))


@given(st.dictionaries(st.sampled_from(["USD", "CNY", "EUR"]), st.lists(st.integers(0, 10**9), max_size=5)))
def test_a_sum_over_currencies_is_never_less_than_its_parts_together_are_worth(spent: dict[str, list[int]]) -> None:
    at_once = total(DOLLARS, {currency: sum(amounts) for currency, amounts in spent.items()})
    parts = [
        DOLLARS.worth(Cost(micros=amount, currency=currency, source="reported")) or 0 for currency, amounts in spent.items() for amount in amounts
    ]
    assert at_once <= sum(parts) <= at_once + len(parts)


def test_what_was_spent_in_a_currency_whose_rate_has_gone_still_counts() -> None:
    assert total(DOLLARS, {"USD": 10, "CNY": 100, "GBP": 1000}) == 1024


def test_the_dearest_counts_by_worth_and_one_that_nobody_knows_makes_all_unknown() -> None:
    assert dearest([usd(100), cny(500), None], DOLLARS) is None
    assert dearest([usd(100), Cost(micros=1, currency="GBP", source="list_price")], DOLLARS) is None
    assert dearest([usd(100), cny(714), usd(0)], DOLLARS) == usd(100)
    assert dearest([usd(100), cny(715)], DOLLARS) == cny(715)
    assert dearest([], DOLLARS) is None


# Whether there is money ---------------------------------------------------------------------------------------------------------------------


def refusal(budgets: Budgets, spending: Spending, cost: Cost | None) -> LimitError:
    with pytest.raises(LimitError) as caught:
        check(budgets, spending, cost, model="p/m")
    return caught.value


def test_without_budgets_anything_may_be_spent_even_what_nobody_knows() -> None:
    check(DOLLARS, Spending(day={"USD": 10**12}), None, model="p/m")
    check(DOLLARS, Spending(), Cost(micros=1, currency="GBP", source="list_price"), model="p/m")


def test_an_unknown_price_is_refused_and_the_setting_named() -> None:
    error = refusal(replace(DOLLARS, month=1), Spending(), None)
    assert (error.code, error.details) == ("price_unknown", {"model": "p/m"})
    assert error.message == (
        "Nobody knows what p/m costs, and spending is limited here. "
        'The operator sets its price in MCP_PRICES, for example {"p/m": {"amount": 0.04, "currency": "USD"}}.'
    )


def test_an_unknown_rate_is_refused_and_the_setting_named() -> None:
    error = refusal(Budgets(day=10**9), Spending(), cny(1))
    assert (error.code, error.details) == ("price_unknown", {"model": "p/m", "currency": "CNY"})
    assert error.message == (
        'p/m is paid in CNY, and budgets are kept in USD. The operator says what one CNY is worth in MCP_CURRENCY_RATES, for example {"CNY": 0.14}.'
    )


def test_what_costs_nothing_is_drawn_even_when_everything_is_spent() -> None:
    check(Budgets(day=0, principal_month=5), Spending(principal_month={"USD": 9}), cny(0), model="p/m")


@pytest.mark.parametrize(
    ("limit", "words", "when", "variable"),
    [
        ("day", "today's budget", "tomorrow (UTC)", "MCP_BUDGET_DAY"),
        ("month", "this month's budget", "next month (UTC)", "MCP_BUDGET_MONTH"),
        ("principal_day", "your budget for today", "tomorrow (UTC)", "MCP_BUDGET_PRINCIPAL_DAY"),
        ("principal_month", "your budget for this month", "next month (UTC)", "MCP_BUDGET_PRINCIPAL_MONTH"),
    ],
)
def test_a_budget_that_is_used_up_says_what_is_left_when_it_helps_to_ask_again_and_who_can_raise_it(
    limit: str, words: str, when: str, variable: str
) -> None:
    spent: dict[str, Any] = {limit: {"USD": 1_300_000, "CNY": 1_000_000}}
    changes: dict[str, Any] = {limit: 1_500_000}
    budgets = replace(DOLLARS, **changes)
    check(budgets, Spending(**spent), usd(60_000), model="p/m")
    error = refusal(budgets, Spending(**spent), usd(60_001))
    assert error.message == (
        f"This costs about 0.060001 USD, and of {words} of 1.50 USD 0.06 USD is left. Nothing was sent. "
        f"Try a cheaper model, or again {when}; the operator can raise {variable}."
    )
    assert (error.code, error.details) == (
        "budget_exceeded",
        {"limit": 1.5, "used": 1.44, "estimate": 0.060001, "currency": "USD", "variable": variable},
    )


def test_more_spent_than_allowed_leaves_nothing_rather_than_less() -> None:
    assert "0.00 USD is left" in refusal(Budgets(day=5), Spending(day={"USD": 9}), usd(1)).message


amounts = st.dictionaries(st.sampled_from(["USD", "CNY", "EUR"]), st.integers(0, 10**7))


@given(amounts, amounts, st.integers(0, 10**7), st.integers(0, 10**7), st.one_of(st.integers(0, 10**7).map(usd), st.integers(0, 10**7).map(cny)))
def test_it_passes_exactly_when_every_sum_stays_within_its_limit(
    day: dict[str, int], month: dict[str, int], day_limit: int, month_limit: int, cost: Cost
) -> None:
    budgets = replace(DOLLARS, day=day_limit, principal_month=month_limit)
    wanted = budgets.worth(cost)
    assert wanted is not None
    affordable = wanted == 0 or (total(budgets, day) + wanted <= day_limit and total(budgets, month) + wanted <= month_limit)
    spending = Spending(day=day, principal_month=month)
    if affordable:
        check(budgets, spending, cost, model="p/m")
    else:
        assert refusal(budgets, spending, cost).code == "budget_exceeded"


@given(st.lists(st.one_of(st.integers(1, 10**6).map(usd), st.integers(1, 10**6).map(cny)), max_size=30), st.integers(0, 10**7))
def test_what_passes_one_after_the_other_never_comes_to_more_than_the_budget(costs: list[Cost], limit: int) -> None:
    budgets, spent = replace(DOLLARS, day=limit), {"USD": 0, "CNY": 0}
    for cost in costs:
        try:
            check(budgets, Spending(day=spent), cost, model="p/m")
        except LimitError:
            continue
        spent[cost.currency] += cost.micros
    assert total(budgets, spent) <= limit


# For people ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0.00"), (1, "0.000001"), (10_000, "0.01"), (132_100, "0.1321"), (1_500_000, "1.50"), (12_345_678_901_234_567, "12345678901.234567")],
)
def test_an_amount_is_shown_with_two_places_at_least_and_none_too_many(micros: int, text: str) -> None:
    assert shown(micros, "CNY") == f"{text} CNY"


def test_days_and_months_begin_at_midnight_in_greenwich() -> None:
    late = datetime(2026, 5, 1, 6, 30, tzinfo=timezone(timedelta(hours=8)))
    assert day_of(late) == datetime(2026, 4, 30, tzinfo=UTC)
    assert month_of(late) == datetime(2026, 4, 1, tzinfo=UTC)
