"""Who takes a request, what it will cost, and who may draw instead."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from mcp_image_server.configuration import Configuration
from mcp_image_server.errors import NotFoundError, RequestError, UnavailableError, UnsupportedError
from mcp_image_server.models import (
    Adjustment,
    AspectRatio,
    Breaker,
    Catalogue,
    Cost,
    ImageRequest,
    Limits,
    Model,
    Offer,
    Operation,
    Picture,
    Price,
    Size,
    SizeList,
    SizeRange,
)
from mcp_image_server.planning import Plan, Planner, Today
from mcp_image_server.policy.budget import Budgets
from mcp_image_server.providers import sketch
from mcp_image_server.settings import Settings, parse
from tests.easel import Easel

FOX = ImageRequest(prompt="a red fox")
PICTURE = Picture(data=b"", media_type="image/png", size=Size(width=8, height=8))
SQUARE = Size(width=1024, height=1024)


def model(provider: str, name: str, **facts: Any) -> Model:
    return Model(provider=provider, id=name, **facts)


def listed(amount: float, currency: str = "USD", **facts: Any) -> Price:
    return Price(amount=amount, currency=currency, as_of=date(2026, 5, 1), **facts)


OIL = model("oil", "oil-2", aliases=("oil-1",), price=listed(0.05), sizes=SizeList(sizes=(SQUARE,)), default_size=SQUARE, max_count=2)
OIL_SMALL = model("oil", "oil-small", price=listed(0.01))
INK = model(
    *("ink", "ink-9"),
    price=listed(0.2, "CNY", per="megapixel"),
    sizes=SizeRange(min_edge=256, max_edge=4000, max_pixels=4_000_000),
    default_size=Size(width=2000, height=1000),
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    max_images=1,
    languages=frozenset({"en", "zh"}),
)
CHALK = model("chalk", "chalk-1")


def easel(*models: Model, unknown: Model | None = None) -> Easel:
    name = models[0].provider
    catalogue = Catalogue(
        provider=name,
        title=name,
        models=models,
        default_model=models[0].id,
        styles={},
        resolutions={},
        variables=(f"{name.upper()}_KEY",),
        unknown=unknown,
    )
    return Easel(name=name, catalogue=catalogue, account=f"{name}:account", limits=Limits(concurrent=4, per_second=5))


def configuration(**environment: str) -> Configuration:
    """Three services, and the engine that is always there."""
    services = {each.name: each for each in (easel(OIL, OIL_SMALL), easel(INK), easel(CHALK))}
    return Configuration(environment=environment, settings=parse(Settings, environment), providers={**services, "sketch": sketch.load(environment)})


def plan(request: ImageRequest, today: Today | None = None, fallback: tuple[str, ...] = (), **environment: str) -> Plan:
    return Planner(configuration(**environment)).plan(request, today or Today(), fallback=fallback)


def names(plan: Plan) -> tuple[str, ...]:
    """Who draws, and who may instead."""
    return (plan.name, *(each.name for each in plan.alternates))


def failing(*models: Model, seconds: float = 60) -> Today:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return Today(breakers=[Breaker(provider=each.provider, model=each.id, failures=5, openings=1, open_until=until) for each in models])


# Who draws ----------------------------------------------------------------------------------------------------------------------------------


def test_in_order_the_first_service_draws_unless_the_operator_or_the_caller_says_otherwise() -> None:
    assert names(plan(FOX)) == ("oil/oil-2",)
    assert names(plan(FOX, MCP_DEFAULT_PROVIDER="ink")) == ("ink/ink-9",)
    assert names(plan(replace(FOX, provider="chalk"), MCP_DEFAULT_PROVIDER="ink")) == ("chalk/chalk-1",)
    assert names(plan(replace(FOX, model="oil-small"))) == ("oil/oil-small",)
    assert plan(FOX).ranking == ()


def test_a_plan_holds_the_request_as_the_model_can_do_it_with_a_word_on_every_change() -> None:
    made = plan(replace(FOX, model="oil-1", shape=AspectRatio(width=16, height=9), count=3))
    assert made.request == replace(FOX, model="oil-1", shape=SQUARE, count=2)
    assert made.adjustments == (
        Adjustment(field="model", message="oil-1 stands for oil-2 today."),
        Adjustment(field="resolution", message="16:9 is drawn as 1024x1024."),
        Adjustment(field="n", message="oil-2 makes at most 2 image(s) at a time."),
    )


def test_the_plan_is_what_the_work_on_it_needs() -> None:
    made = plan(replace(FOX, provider="oil"))
    assert made.offer("oil:account") == Offer(
        request=replace(FOX, provider="oil"),
        provider="oil",
        model="oil-2",
        account="oil:account",
        estimate=Cost(micros=50_000, currency="USD", source="list_price"),
    )


def test_a_model_that_ends_soon_is_warned_of() -> None:
    ending = replace(CHALK, ends=datetime.now(UTC).date() + timedelta(days=9))
    settings = Configuration(environment={}, settings=parse(Settings, {}), providers={"chalk": easel(ending)})
    [words] = Planner(settings).plan(FOX, Today()).adjustments
    assert (words.field, words.message.startswith("chalk/chalk-1 is switched off on ")) == ("model", True)


def test_with_auto_the_one_that_fits_best_draws_and_says_why() -> None:
    made = plan(replace(FOX, prompt="一只红色的狐狸"), MCP_ROUTING="auto", MCP_CURRENCY_RATES='{"CNY": 0.14}')
    assert made.name == "ink/ink-9"
    assert made.adjustments == (Adjustment(field="provider", message="ink/ink-9 was chosen: it understands Chinese; it is its provider's default."),)
    assert made.request == replace(FOX, prompt="一只红色的狐狸", provider="ink", model="ink-9")
    assert [each.candidate.model.id for each in made.ranking] == ["ink-9", "oil-small", "chalk-1", "oil-2", "sketch-1"]


def test_with_auto_the_next_best_draws_what_the_best_would_not_take_and_says_why() -> None:
    short = replace(OIL_SMALL, max_prompt_chars=20)
    services = {each.name: each for each in (easel(OIL, short), easel(CHALK))}
    settings = Configuration(environment={}, settings=parse(Settings, {"MCP_ROUTING": "auto"}), providers={**services, "sketch": sketch.load({})})
    request = ImageRequest(prompt="a red fox", negative_prompt="snow and ice")
    assert Planner(settings).plan(replace(request, negative_prompt=None), Today()).name == "oil/oil-small"
    made = Planner(settings).plan(request, Today())
    assert made.name == "chalk/chalk-1"
    refusal = "A better one would not take it: The prompt has 30 characters; oil/oil-small takes 20. Shorten it."
    assert made.adjustments[0] == Adjustment(field="provider", message=f"chalk/chalk-1 was chosen: it is its provider's default. {refusal}")
    assert made.ranking[0].candidate.model.id == "oil-small"


def test_with_auto_what_no_service_takes_is_refused_and_not_drawn_by_the_engine() -> None:
    services = {"oil": easel(replace(OIL, max_prompt_chars=20, negative_prompt=False))}
    settings = Configuration(environment={}, settings=parse(Settings, {"MCP_ROUTING": "auto"}), providers={**services, "sketch": sketch.load({})})
    with pytest.raises(RequestError, match=r"oil/oil-2 takes 20\. Shorten it"):
        Planner(settings).plan(ImageRequest(prompt="a red fox", negative_prompt="snow and ice"), Today())


def test_with_auto_the_operators_preference_and_todays_speed_count() -> None:
    assert plan(FOX, MCP_ROUTING="auto", MCP_DEFAULT_PROVIDER="chalk").name == "chalk/chalk-1"
    slow = Today(seconds={("oil", "oil-2"): 120.0, ("oil", "oil-small"): 120.0})
    assert plan(FOX, MCP_ROUTING="auto").name == "oil/oil-small"
    assert plan(FOX, slow, MCP_ROUTING="auto").name == "ink/ink-9"


def test_with_auto_whoever_is_named_draws() -> None:
    assert plan(replace(FOX, provider="chalk"), MCP_ROUTING="auto").adjustments == ()
    assert plan(replace(FOX, model="oil-small"), MCP_ROUTING="auto").name == "oil/oil-small"


def test_with_auto_what_nobody_can_do_is_told_like_always() -> None:
    request = replace(FOX, action=Operation.UPSCALE, images=(PICTURE,))
    with pytest.raises(UnsupportedError, match=r"oil/oil-2 cannot upscale\. No configured model can; configure a service that does\."):
        plan(request, MCP_ROUTING="auto")


def test_with_auto_the_engine_draws_only_where_there_is_no_service() -> None:
    settings = parse(Settings, {"MCP_ROUTING": "auto"})
    alone = Configuration(environment={}, settings=settings, providers={"sketch": sketch.load({})})
    assert Planner(alone).plan(FOX, Today()).name == "sketch/sketch-1"
    assert plan(FOX, failing(OIL, OIL_SMALL, INK), MCP_ROUTING="auto").name == "chalk/chalk-1"
    with pytest.raises(UnavailableError):
        plan(FOX, failing(OIL, OIL_SMALL, INK, CHALK), MCP_ROUTING="auto")


# Who may draw instead -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "caller", "alternates"),
    [
        ("{}", (), ()),
        ('{"oil": ["chalk", "ink"]}', (), ("chalk/chalk-1", "ink/ink-9")),
        ('{"*": ["ink"]}', (), ("ink/ink-9",)),
        ('{"oil": [], "*": ["ink"]}', (), ()),
        ('{"ink": ["chalk"]}', (), ()),
        ('{"oil": ["oil", "oil/oil-small", "ink", "ink/ink-9"]}', (), ("oil/oil-small", "ink/ink-9")),
        ('{"oil": ["any"]}', (), ("ink/ink-9", "chalk/chalk-1")),
        ('{"*": ["any"], "oil": ["none"]}', (), ()),
        ('{"oil": ["chalk", "sketch"]}', (), ("chalk/chalk-1", "sketch/sketch-1")),
        ("{}", ("ink",), ("ink/ink-9",)),
        ('{"oil": ["chalk"]}', ("ink",), ("ink/ink-9",)),
        ('{"oil": ["chalk"]}', ("none",), ()),
        ('{"oil": ["chalk"]}', ("ink", " None "), ()),
        ("{}", ("any",), ("ink/ink-9", "chalk/chalk-1")),
        ("{}", ("chalk", "ANY"), ("chalk/chalk-1", "ink/ink-9")),
        ("{}", ("any", "sketch"), ("ink/ink-9", "chalk/chalk-1", "sketch/sketch-1")),
        ("{}", (" Oil/oil-small ", "oil/oil-1"), ("oil/oil-small",)),
    ],
)
def test_those_may_draw_instead_whom_the_caller_allows_or_else_the_operator(
    operator: str, caller: tuple[str, ...], alternates: tuple[str, ...]
) -> None:
    assert names(plan(FOX, fallback=caller, MCP_FALLBACK=operator)) == ("oil/oil-2", *alternates)


def test_an_operator_may_name_services_that_are_not_configured_today() -> None:
    assert names(plan(FOX, MCP_FALLBACK='{"oil": ["doubao", "ink/ink-10", "chalk"]}')) == ("oil/oil-2", "chalk/chalk-1")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("charcoal", "provider_unavailable", r"Provider 'charcoal' not available\. Available providers: \['oil', 'ink', 'chalk', 'sketch'\]\."),
        ("doubao", "provider_unavailable", r"To use doubao, the operator sets DOUBAO_API_KEY\."),
        ("ink/ink-10", "model_not_found", r"ink has no model 'ink-10'\. Its models: ink-9\."),
    ],
)
def test_a_caller_who_names_somebody_who_is_not_there_is_told(name: str, code: str, words: str) -> None:
    with pytest.raises(NotFoundError, match=words) as caught:
        plan(FOX, fallback=("chalk", name))
    assert caught.value.code == code


def test_whoever_cannot_do_it_is_left_out() -> None:
    request = replace(FOX, provider="ink", images=(PICTURE,))
    assert names(plan(request, fallback=("any",))) == ("ink/ink-9",)
    assert names(plan(request, fallback=("any", "sketch"))) == ("ink/ink-9", "sketch/sketch-1")


def test_each_of_them_has_the_request_fitted_to_itself() -> None:
    request = replace(FOX, shape=Size(width=2000, height=1000))
    [alternate] = plan(request, fallback=("ink",)).alternates
    assert alternate == Plan(
        request=replace(request, provider="ink"),
        catalogue=alternate.catalogue,
        model=INK,
        estimate=Cost(micros=400_000, currency="CNY", source="list_price"),
    )


# Those that fail ----------------------------------------------------------------------------------------------------------------------------


def test_in_the_place_of_a_failing_model_the_next_one_allowed_draws_and_says_so() -> None:
    made = plan(FOX, failing(OIL), ("any",))
    assert names(made) == ("ink/ink-9", "chalk/chalk-1")
    [words] = made.adjustments
    assert words.field == "provider"
    assert words.message.startswith("oil/oil-2 has failed several times in a row, so it is left alone; it is tried again in ")
    assert words.message.endswith(" s; ink/ink-9 draws instead, as allowed.")


def test_nobody_who_fails_is_among_those_who_may_draw_instead() -> None:
    assert names(plan(FOX, failing(INK), ("any",))) == ("oil/oil-2", "chalk/chalk-1")
    assert names(plan(FOX, failing(OIL, INK), ("any",))) == ("chalk/chalk-1",)


@pytest.mark.parametrize("fallback", [(), ("none",), ("ink",), ("oil",)])
def test_where_nobody_may_draw_instead_the_error_says_when_to_ask_again_and_what_would_help(fallback: tuple[str, ...]) -> None:
    with pytest.raises(UnavailableError) as caught:
        plan(FOX, failing(OIL, INK), fallback)
    error = caught.value
    assert error.message.startswith("oil/oil-2 has failed several times in a row, so it is left alone; it is tried again in ")
    assert error.message.endswith("Ask again then, or use another provider; with fallback='any' another one may draw instead.")
    assert (error.provider, error.not_accepted, error.retryable) == ("oil", True, True)
    assert error.retry_after is not None
    assert 50 < error.retry_after <= 60


def test_only_the_model_that_fails_is_left_alone_and_only_for_its_while() -> None:
    assert plan(FOX, failing(OIL_SMALL)).name == "oil/oil-2"
    assert plan(replace(FOX, model="oil-small"), failing(OIL)).name == "oil/oil-small"
    assert plan(FOX, failing(OIL, seconds=-1)).name == "oil/oil-2"


# What it costs ------------------------------------------------------------------------------------------------------------------------------


def usd(micros: int) -> Cost:
    return Cost(micros=micros, currency="USD", source="list_price")


@pytest.mark.parametrize(
    ("request_", "environment", "cost"),
    [
        (FOX, {}, usd(50_000)),
        (replace(FOX, count=5), {}, usd(100_000)),
        (replace(FOX, provider="ink"), {}, Cost(micros=400_000, currency="CNY", source="list_price")),
        (replace(FOX, provider="ink", shape=SQUARE), {}, Cost(micros=209_716, currency="CNY", source="list_price")),
        (replace(FOX, provider="chalk"), {}, None),
        (replace(FOX, provider="sketch"), {}, usd(0)),
        (replace(FOX, provider="sketch"), {"MCP_BUDGET_CURRENCY": "eur"}, Cost(micros=0, currency="EUR", source="list_price")),
        (replace(FOX, provider="chalk"), {"MCP_PRICES": '{"chalk": 0}'}, usd(0)),
        (
            replace(FOX, provider="chalk"),
            {"MCP_PRICES": '{"chalk": 0.3}', "MCP_BUDGET_CURRENCY": "CNY"},
            Cost(micros=300_000, currency="CNY", source="list_price"),
        ),
        (
            FOX,
            {"MCP_PRICES": '{"oil": 0.01, "oil/oil-2": {"amount": 0.02, "currency": "eur"}}'},
            Cost(micros=20_000, currency="EUR", source="list_price"),
        ),
        (replace(FOX, model="oil-small"), {"MCP_PRICES": '{"oil": 0.03, "oil/oil-2": 0.02}'}, usd(30_000)),
        (FOX, {"MCP_PRICES": '{"oil/oil-2": {"amount": 0.1, "per": "megapixel"}}'}, usd(104_858)),
    ],
)
def test_the_estimate_is_by_list_price_or_as_the_operator_says(request_: ImageRequest, environment: dict[str, Any], cost: Cost | None) -> None:
    assert plan(request_, **environment).estimate == cost


def test_money_is_kept_for_the_dearest_of_those_who_may_draw() -> None:
    budgets = Budgets(rates={"CNY": 0.2})
    assert plan(FOX, fallback=("ink",)).highest(budgets) == Cost(micros=400_000, currency="CNY", source="list_price")
    assert plan(FOX, fallback=("ink",)).highest(Budgets(rates={"CNY": 0.01})) == usd(50_000)
    assert plan(FOX, fallback=("ink",)).highest(Budgets()) is None
    assert plan(FOX, fallback=("any",)).highest(budgets) is None
    assert plan(FOX).highest(budgets) == usd(50_000)


# The configuration --------------------------------------------------------------------------------------------------------------------------


def test_limits_are_those_of_the_service_as_far_as_the_operator_sets_no_others() -> None:
    known = configuration(MCP_LIMITS='{"oil": {"concurrent": 9, "images_per_minute": 50}, "doubao": {"concurrent": 1}}')
    assert known.limits("oil") == Limits(concurrent=9, per_second=5, images_per_minute=50)
    assert known.limits("ink") == Limits(concurrent=4, per_second=5)
    assert known.limits("doubao") == Limits(concurrent=1)
    assert known.limits("charcoal") == Limits()


def test_budgets_are_as_the_operator_sets_them() -> None:
    assert not configuration().budgets.any
    assert configuration(
        MCP_BUDGET_CURRENCY="cny", MCP_CURRENCY_RATES='{"usd": 7.1}', MCP_BUDGET_DAY="0", MCP_BUDGET_PRINCIPAL_MONTH="12.5"
    ).budgets == Budgets(currency="CNY", rates={"USD": 7.1}, day=0, principal_month=12_500_000)


def test_a_request_that_makes_no_sense_for_anybody_is_refused() -> None:
    with pytest.raises(RequestError, match="count is 0"):
        plan(replace(FOX, count=0), fallback=("any",))
