"""The embedded scene composer: what it reads, and where it puts things."""

from __future__ import annotations

from random import Random

import pytest

from mcp_image_server.providers.sketch.artwork import load, rgb, tinted
from mcp_image_server.providers.sketch.compose import Placement, compose
from mcp_image_server.providers.sketch.lexicon import nouns
from mcp_image_server.providers.sketch.light import palette
from mcp_image_server.providers.sketch.read import read
from mcp_image_server.providers.sketch.scenery import World, build

CAT, DOG, TABLE, TREE, HOUSE, BALLOON = "1f408", "1f415", "own:table", "own:tree", "own:house", "1f388"


def subjects(prompt: str, negative: str = "") -> list[tuple[str, int]]:
    return [(s.art, s.count) for s in read(prompt, negative).subjects]


def relations(prompt: str) -> list[tuple[str, str, list[str]]]:
    scene = read(prompt)
    return [(scene.subjects[r.of].art, r.kind, [scene.subjects[t].art for t in r.to]) for r in scene.relations]


def placed(prompt: str, width: float = 1000, height: float = 1000) -> list[Placement]:
    scene = read(prompt)
    world = World(scene=scene, palette=palette(scene), width=width, height=height, random=Random(1))
    return compose(scene, build(world), width, height, Random(1), load)


@pytest.mark.parametrize(
    ("prompt", "place", "time", "season"),
    [
        ("a red balloon over a meadow at sunset", "meadow", "sunset", "summer"),
        ("three penguins on the ice", "snow", "day", "winter"),
        ("autumn forest at dawn", "forest", "dawn", "autumn"),
        ("a village in the snow at night", "village", "night", "winter"),
        ("a lighthouse", "sea", "day", "summer"),
        ("an octopus", "underwater", "day", "summer"),
        ("a camel", "desert", "day", "summer"),
        ("a bowl of noodles", "table", "day", "summer"),
        ("a cat on a sofa", "room", "day", "summer"),
        ("a castle under the moon", "meadow", "night", "summer"),
        ("a lake with mountains", "lake", "day", "summer"),
        ("黄昏的沙滩", "beach", "sunset", "summer"),
        ("月光下的城堡", "meadow", "night", "summer"),
        ("春天的花园", "garden", "day", "spring"),
        ("夜晚的城市街道", "city", "night", "summer"),
        ("雪山下的村庄，清晨", "village", "dawn", "summer"),
        ("宇宙中的飞船", "space", "day", "summer"),
        ("海底的美人鱼", "underwater", "day", "summer"),
    ],
)
def test_place_time_and_season_are_read(prompt: str, place: str, time: str, season: str) -> None:
    scene = read(prompt)
    assert (scene.place, scene.time, scene.season) == (place, time, season)


@pytest.mark.parametrize(
    ("prompt", "weather"),
    [
        ("a rainy street", {"rain"}),
        ("a stormy night at sea with fog", {"fog"}),
        ("thunderstorm", {"storm"}),
        ("a rainbow over clouds", {"rainbow"}),
        ("下雪的村庄", {"snow"}),
        ("雨中的伞", {"rain"}),
        ("极光下的冰屋", {"aurora"}),
    ],
)
def test_weather_is_read(prompt: str, weather: set[str]) -> None:
    assert read(prompt).weather >= weather


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("three cats", [(CAT, 3)]),
        ("cats", [(CAT, 3)]),
        ("a cat and two dogs", [(CAT, 1), (DOG, 2)]),
        ("12 dogs", [(DOG, 12)]),
        ("500 dogs", [(DOG, 12)]),
        ("三只猫和一条狗", [(CAT, 3), (DOG, 1)]),
        ("一群羊", [("1f411", 5)]),
        ("PUPPY", [(DOG, 1)]),
        ("a hot-air balloon", [("own:hotair", 1)]),
        ("an orange cat eats an orange", [(CAT, 1), ("1f34a", 1)]),
        ("熊猫", [("plush:1f43c:panda", 1)]),
        ("mice, geese and wolves", [("1f401", 3), ("1fabf", 3), ("plush:1f43a:wolf", 3)]),
        ("a boy riding a bicycle", [("1f6b4", 1)]),
        ("truth and beauty", []),
    ],
)
def test_things_and_their_numbers_are_read(prompt: str, expected: list[tuple[str, int]]) -> None:
    assert subjects(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat on a table", [(CAT, "on", [TABLE])]),
        ("a cat and a dog under a tree", [(CAT, "under", [TREE]), (DOG, "under", [TREE])]),
        ("a dog in front of a house", [(DOG, "front", [HOUSE])]),
        ("a dog behind the house", [(DOG, "behind", [HOUSE])]),
        ("a cat beside a dog", [(CAT, "beside", [DOG])]),
        ("a dog between a house and a tree", [(DOG, "between", [HOUSE, TREE])]),
        ("a girl holding a balloon", [(BALLOON, "holding", ["plush:1f467:girl"])]),
        ("a cat wearing a top hat", [("1f3a9", "wearing", [CAT])]),
        ("a dragon flying over a house", [("1f409", "over", [HOUSE])]),
        ("猫在桌子上", [(CAT, "on", [TABLE])]),
        ("桌子上有一只猫", [(CAT, "on", [TABLE])]),
        ("大树下的小狗", [(DOG, "under", [TREE])]),
        ("房子后面有一只狗", [(DOG, "behind", [HOUSE])]),
        ("猫坐在狗的旁边", [(CAT, "beside", [DOG])]),
        ("猫坐在树下", [(CAT, "under", [TREE])]),
        ("房子旁边有一棵树", [(TREE, "beside", [HOUSE])]),
        ("戴着草帽的熊坐在长椅上", [("1f452", "wearing", ["plush:1f43b:bear"]), ("plush:1f43b:bear", "on", ["own:bench"])]),
        ("a cat in a cardboard box", [(CAT, "in", ["own:box"])]),
        ("女孩拿着气球", [(BALLOON, "holding", ["plush:1f467:girl"])]),
        ("a cat on the beach", []),
    ],
)
def test_relations_are_read(prompt: str, expected: list[tuple[str, str, list[str]]]) -> None:
    assert relations(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "colour"), [("a red balloon", "#d9383a"), ("蓝色的猫", "#3f7fd6"), ("a big green dragon", "#5aa84f"), ("a house, red", None)]
)
def test_colours_belong_to_the_thing_that_follows(prompt: str, colour: str | None) -> None:
    assert read(prompt).subjects[0].colour == colour


def test_sizes_are_read() -> None:
    tiny, plain, huge = (read(prompt).subjects[0].height for prompt in ("a tiny mouse", "a mouse", "a huge mouse"))
    assert tiny < plain < huge
    assert read("巨大的猫").subjects[0].height > read("猫").subjects[0].height


@pytest.mark.parametrize(
    ("prompt", "negative", "expected"),
    [
        ("a cat and a dog", "dog", [(CAT, 1)]),
        ("a cat without a dog", "", [(CAT, 1)]),
        ("一只猫，没有狗", "", [(CAT, 1)]),
        ("猫和狗", "狗", [(CAT, 1)]),
        ("a girl and a cat", "people", [(CAT, 1)]),
        ("a cat under a tree", "trees", [(CAT, 1)]),
    ],
)
def test_what_is_unwanted_is_left_out(prompt: str, negative: str, expected: list[tuple[str, int]]) -> None:
    assert subjects(prompt, negative) == expected


def test_unwanted_weather_and_decoration_are_left_out() -> None:
    scene = read("a rainy meadow", "rain, clouds, flowers, birds")
    assert scene.weather == set()
    assert {"clouds", "flowers", "birds"} <= scene.without


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a poster saying 'OPEN'", "OPEN"),
        ("写着“欢迎光临”的海报", "欢迎光临"),
        ('a sign "Tea House" in the garden', "Tea House"),
        ("「春天」", ""),
        ('"a cat on the beach"', ""),
        ("the dog's house", ""),
    ],
)
def test_quoted_words_are_lettering(prompt: str, words: str) -> None:
    assert read(prompt).lettering == words


@pytest.mark.parametrize(
    ("prompt", "style"),
    [
        ("a watercolor of a fox", "watercolor"),
        ("水墨画 山水", "ink"),
        ("pixel art castle", "pixel_art"),
        ("剪纸风格的鱼", "new_year_paper_cut"),
        ("a fox", None),
    ],
)
def test_a_style_in_the_prompt_is_read(prompt: str, style: str | None) -> None:
    assert read(prompt).style == style


@pytest.mark.parametrize(
    ("prompt", "drawable"), [("hope and freedom", False), ("", False), ("sunset", True), ("a cat", True), ("in the forest", True)]
)
def test_a_prompt_without_things_or_places_becomes_a_poster(prompt: str, drawable: bool) -> None:
    assert read(prompt).drawable is drawable


def test_no_more_than_a_dozen_things_are_drawn() -> None:
    assert len(read(", ".join(sorted(nouns())[:400])).subjects) == 12


def test_every_noun_has_artwork() -> None:
    arts = {noun.art for noun in nouns().values()}
    assert len(arts) > 700
    for art in arts:
        assert load(art).height > 0, art


def test_tinting_changes_the_chief_colour_and_keeps_the_eyes() -> None:
    blue = tinted(load(CAT).svg, "#3f7fd6")
    assert blue != load(CAT).svg
    assert any(b > r + 40 for r, _, b in map(rgb, {part[:7] for part in ("#" + rest for rest in blue.split("#")[1:]) if len(part) >= 7}))


def test_on_means_standing_on_its_upper_edge() -> None:
    cat, table = sorted(placed("a cat on a table"), key=lambda p: p.art)
    assert table.top <= cat.y <= table.top + table.height * 0.2
    assert table.x - table.width / 2 < cat.x < table.x + table.width / 2
    assert cat.depth > table.depth


def test_behind_is_painted_first_and_front_last() -> None:
    behind = {p.art: p for p in placed("a dog behind a house")}
    assert behind[DOG].depth < behind[HOUSE].depth
    front = {p.art: p for p in placed("a dog in front of a house")}
    assert front[DOG].depth > front[HOUSE].depth


def test_between_stands_between() -> None:
    dog, first, second = sorted(placed("a dog between two trees"), key=lambda p: p.art != DOG)
    assert min(first.x, second.x) < dog.x < max(first.x, second.x)


@pytest.mark.parametrize("shape", [(1000.0, 1000.0), (3000.0, 1000.0), (1000.0, 2600.0)])
@pytest.mark.parametrize(
    "prompt", ["twelve penguins", "a castle, a dragon, a cat, a dog, a tree and three boats", "五只猫和六只狗", "an elephant and a mouse on a table"]
)
def test_everything_stays_mostly_within_the_picture(prompt: str, shape: tuple[float, float]) -> None:
    width, height = shape
    for p in placed(prompt, width, height):
        assert 0 <= p.x <= width
        assert 0 < p.y <= height * 1.02
        assert p.height < height * 0.9


def test_a_negation_ends_with_what_it_speaks_of() -> None:
    scene = read("没有云的天空下的热气球")
    assert [s.art for s in scene.subjects] == ["own:hotair"]
    assert "clouds" in scene.without
