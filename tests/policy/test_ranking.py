"""Which model fits best: what each fact does, and that every choice can be explained."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.models import AspectRatio, Catalogue, ImageRequest, Model, Operation, Picture, Size, SizeList, SizeRange
from mcp_image_server.negotiate import language_of
from mcp_image_server.policy.ranking import Candidate, Point, Ranked, lettering_of, rank
from mcp_image_server.providers.sketch import CATALOGUE as SKETCH

TODAY = date(2026, 5, 1)
FOX = ImageRequest(prompt="a red fox")
PICTURE = Picture(data=b"", media_type="image/png", size=Size(width=8, height=8))
LANDSCAPE = Size(width=1536, height=1024)
SQUARES = SizeList(sizes=(Size(width=1024, height=1024), Size(width=2048, height=2048)))
ANY_SIZE = SizeRange(min_edge=256, max_edge=4096, max_pixels=4096 * 4096, max_ratio=4)


def candidate(
    name: str, *, price: int | None = 40_000, seconds: float | None = None, failing: bool = False, preferred: bool = False, **facts: Any
) -> Candidate:
    """A service's only model; it is not the default one, so that no point is given for that."""
    model = Model(provider=name, id=f"{name}-1", **facts)
    catalogue = Catalogue(
        provider=name, title=name, models=(model,), default_model="another", styles={}, resolutions={}, variables=(f"{name.upper()}_KEY",)
    )
    return Candidate(catalogue=catalogue, model=model, price=price, seconds=seconds, failing=failing, preferred=preferred)


def order(request: ImageRequest, *candidates: Candidate) -> list[str]:
    return [ranked.candidate.model.provider for ranked in rank(request, candidates, today=TODAY)]


def points(request: ImageRequest, one: Candidate) -> list[Point]:
    """Those of the candidate beside nobody, without the one for its price."""
    [ranked] = rank(request, [replace(one, price=None)], today=TODAY)
    return [point for point in ranked.points if point.words != "its price is not known"]


CHINESE = ImageRequest(prompt="一只红色的狐狸")
POSTER = ImageRequest(prompt='a poster that says "OPEN LATE"')
CHINESE_POSTER = ImageRequest(prompt="海报，上面写着“营业到很晚”")


@pytest.mark.parametrize(
    ("request_", "facts", "point"),
    [
        (FOX, {"failing": True}, Point(value=-20, words="it has failed several times in a row")),
        (FOX, {"preferred": True}, Point(value=3, words="the operator prefers this provider")),
        (FOX, {"ends": date(2026, 6, 1)}, Point(value=-2, words="it is switched off soon")),
        (FOX, {"seconds": 30.0}, Point(value=-0.5, words="it took 30 s lately")),
        (FOX, {"seconds": 900.0}, Point(value=-2, words="it took 900 s lately")),
        (CHINESE, {"languages": frozenset({"zh"})}, Point(value=2, words="it understands Chinese")),
        (CHINESE, {}, Point(value=-2, words="it understands Chinese less well")),
        (POSTER, {"writes": frozenset({"latin"})}, Point(value=2.5, words="it writes Latin letters legibly")),
        (POSTER, {"writes": frozenset({"han"})}, Point(value=-1, words="it is not known to write Latin letters legibly")),
        (
            replace(CHINESE_POSTER, prompt="a poster that says “营业到很晚”"),
            {"writes": frozenset({"han"})},
            Point(value=2.5, words="it writes Chinese characters legibly"),
        ),
        (replace(FOX, background="transparent"), {"backgrounds": ("transparent",)}, Point(value=4, words="it draws transparent backgrounds")),
        (replace(FOX, background="transparent"), {"backgrounds": ("opaque",)}, Point(value=-4, words="it has no transparent backgrounds")),
        (replace(FOX, shape=LANDSCAPE), {"sizes": ANY_SIZE}, Point(value=1, words="it draws 1536x1024 as asked")),
        (replace(FOX, shape=LANDSCAPE), {"sizes": SQUARES}, Point(value=-0.5, words="it draws 1536x1024 only nearly")),
        (replace(FOX, shape=AspectRatio(width=1, height=1)), {"sizes": SQUARES}, Point(value=1, words="it draws 1:1 as asked")),
        (replace(FOX, shape=AspectRatio(width=16, height=9)), {"sizes": SQUARES}, Point(value=-0.5, words="it draws 16:9 only nearly")),
        (replace(FOX, shape=AspectRatio(width=16, height=9)), {"sizes": ANY_SIZE}, Point(value=1, words="it draws 16:9 as asked")),
        (replace(FOX, shape=AspectRatio(width=1, height=8)), {"sizes": ANY_SIZE}, Point(value=-0.5, words="it draws 1:8 only nearly")),
        (replace(FOX, style="ink"), {"styles": frozenset({"ink"})}, Point(value=1, words="it has the style ink itself")),
        (replace(FOX, quality="high"), {"qualities": ("low", "high")}, Point(value=0.5, words="it offers quality high")),
        (replace(FOX, count=4), {"max_count": 4}, Point(value=0.5, words="it draws 4 at once")),
        (replace(FOX, count=4), {"max_count": 3}, Point(value=-2, words="it draws no 4 at once")),
        (replace(FOX, seed=1), {"seed": True}, Point(value=0.5, words="it takes a seed")),
        (replace(FOX, seed=1), {}, Point(value=-1, words="it takes no seed")),
        (replace(FOX, negative_prompt="dogs"), {"negative_prompt": True}, Point(value=0.5, words="it takes a negative prompt")),
    ],
)
def test_each_fact_has_its_point_and_its_words(request_: ImageRequest, facts: dict[str, Any], point: Point) -> None:
    assert points(request_, candidate("a", **facts)) == [point]


def test_what_nobody_asked_for_is_worth_nothing() -> None:
    rich = candidate("a", seed=True, negative_prompt=True, max_count=9, backgrounds=("transparent",), sizes=ANY_SIZE, writes=frozenset({"latin"}))
    assert points(FOX, rich) == []


def test_a_providers_default_model_comes_before_its_others() -> None:
    models = tuple(Model(provider="a", id=name) for name in ("first", "second"))
    catalogue = replace(candidate("a").catalogue, models=models, default_model="second")
    ranked = rank(FOX, [Candidate(catalogue=catalogue, model=model, price=1) for model in models], today=TODAY)
    assert [(each.candidate.model.id, each.score) for each in ranked] == [("second", 2.5), ("first", 1)]


def test_prices_are_weighed_against_the_cheapest() -> None:
    some = [candidate("unknown", price=None), candidate("dear", price=160_000), candidate("cheap", price=10_000), candidate("free", price=0)]
    assert [(each.candidate.model.provider, each.points) for each in rank(FOX, some, today=TODAY)] == [
        ("free", (Point(value=1.5, words="it costs nothing"),)),
        ("cheap", (Point(value=1, words="nothing with a price is cheaper"),)),
        ("unknown", (Point(value=-0.5, words="its price is not known"),)),
        ("dear", (Point(value=-2, words="it costs 16.0 times the cheapest"),)),
    ]


def test_a_failing_service_comes_after_all_that_work() -> None:
    perfect = candidate("failing", failing=True, preferred=True, languages=frozenset({"zh"}), writes=frozenset({"han"}), price=0)
    assert order(CHINESE_POSTER, perfect, candidate("works", price=None, seconds=600.0)) == ["works", "failing"]


def test_equals_stay_in_the_operators_order() -> None:
    some = [candidate(name) for name in ("c", "a", "b")]
    assert order(FOX, *some) == ["c", "a", "b"]
    assert order(FOX, *reversed(some)) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("request_", "facts"),
    [
        (replace(FOX, images=(PICTURE,)), {}),
        (replace(FOX, images=(PICTURE, PICTURE)), {"operations": frozenset({Operation.EDIT}), "max_images": 1}),
        (replace(FOX, images=(PICTURE,), mask=PICTURE), {"operations": frozenset({Operation.INPAINT}), "max_images": 1}),
        (replace(FOX, action=Operation.UPSCALE), {}),
        (replace(FOX, prompt="a fox " * 10), {"max_prompt_chars": 50}),
        (FOX, {"ends": TODAY}),
    ],
)
def test_who_cannot_do_it_is_not_there(request_: ImageRequest, facts: dict[str, Any]) -> None:
    able = candidate(
        "able", operations=frozenset({Operation.GENERATE, Operation.EDIT, Operation.INPAINT, Operation.UPSCALE}), max_images=2, mask=True
    )
    assert order(request_, candidate("unable", price=0, preferred=True, **facts), able) == ["able"]
    assert order(request_, candidate("unable", **facts)) == []


def test_the_price_of_one_who_cannot_do_it_is_nobodys_measure() -> None:
    [ranked] = rank(
        replace(FOX, images=(PICTURE,)), [candidate("a", price=1), candidate("b", operations=frozenset(Operation), max_images=1)], today=TODAY
    )
    assert ranked.points == (Point(value=1, words="nothing with a price is cheaper"),)


def test_the_reason_names_the_three_strongest_points_and_no_weak_one() -> None:
    request = replace(CHINESE_POSTER, seed=5, background="transparent")
    chosen = candidate("a", languages=frozenset({"zh"}), writes=frozenset({"han"}), backgrounds=("transparent",), seconds=20.0, seed=True)
    [ranked] = rank(request, [chosen], today=TODAY)
    assert ranked.reason == "it draws transparent backgrounds; it writes Chinese characters legibly; it understands Chinese"
    assert Ranked(candidate=chosen, points=(Point(value=-1, words="it is slow"),)).reason == "nothing speaks for another"


# The embedded engine, and whatever else -----------------------------------------------------------------------------------------------------

scripts = st.sets(st.sampled_from(["latin", "han"])).map(frozenset)
services = st.builds(
    candidate,
    st.sampled_from(["a", "b", "c"]),
    price=st.one_of(st.none(), st.integers(0, 10**7)),
    seconds=st.one_of(st.none(), st.floats(0, 5000)),
    failing=st.booleans(),
    preferred=st.booleans(),
    ends=st.one_of(st.none(), st.dates(date(2026, 5, 2), date(2026, 12, 1))),
    languages=st.sets(st.sampled_from(["en", "zh"])).map(frozenset),
    writes=scripts,
    sizes=st.one_of(st.none(), st.just(SQUARES), st.just(ANY_SIZE)),
    seed=st.booleans(),
    max_count=st.integers(1, 10),
    backgrounds=st.sampled_from([(), ("transparent",)]),
)
requests = st.builds(
    ImageRequest,
    prompt=st.sampled_from([FOX.prompt, CHINESE.prompt, POSTER.prompt, CHINESE_POSTER.prompt]),
    shape=st.sampled_from([None, LANDSCAPE, AspectRatio(width=16, height=9)]),
    count=st.integers(1, 10),
    seed=st.one_of(st.none(), st.just(1)),
    negative_prompt=st.one_of(st.none(), st.just("dogs")),
    style=st.sampled_from([None, "anime"]),
    quality=st.sampled_from([None, "high"]),
    background=st.sampled_from([None, "transparent"]),
)
everybody = st.lists(services, max_size=6)


@given(requests, everybody, st.booleans())
def test_the_embedded_engine_never_comes_before_a_service(request: ImageRequest, some: list[Candidate], preferred: bool) -> None:
    engine = Candidate(catalogue=SKETCH, model=SKETCH.models[0], price=0, preferred=preferred)
    assert order(request, engine, *some)[len(some) :] == ["sketch"]


@given(requests, everybody)
def test_the_same_question_has_the_same_answer_and_every_score_is_the_sum_of_its_points(request: ImageRequest, some: list[Candidate]) -> None:
    ranked = rank(request, some, today=TODAY)
    assert ranked == rank(request, list(some), today=TODAY)
    assert sorted(map(id, (each.candidate for each in ranked))) == sorted(map(id, some))
    assert [each.score for each in ranked] == sorted((sum(point.value for point in each.points) for each in ranked), reverse=True)


# What the prompt tells ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a red fox", "en"),
        ("一只狐狸", "zh"),
        ("一只狐狸 in the style of Hokusai", "en"),
        ("赛博朋克风格的城市, neon", "zh"),
        ("", "en"),
        ("1234 !?", "en"),
        ("ein Fuchs über dem Fluß", "en"),
    ],
)
def test_a_prompt_is_chinese_where_a_third_of_its_letters_are(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("a red fox", None),
        ("一只狐狸", None),
        ("a context full of swords and signals", None),
        ("a shop sign", "latin"),
        ('a cat, "hello"', "latin"),
        ("a cat with “你好”", "han"),
        ("一张海报", "han"),
        ("海报，标题 “OPEN”", "latin"),
        ("书法《兰亭序》", "han"),
    ],
)
def test_words_in_quotes_decide_in_which_script_is_lettered(text: str, script: str | None) -> None:
    assert lettering_of(text) == script
