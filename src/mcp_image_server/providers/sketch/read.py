"""Prompt → `Scene`: what to draw, read from English and Chinese words. Pure; the same words always give the same scene."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from . import words
from .lexicon import Kind, Noun, nouns

MAX_SUBJECTS = 12
MAX_READ = 4_000
"""Characters of a prompt that are read; what follows rarely names more than a dozen things can hold."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Some of one thing."""

    art: str
    kind: Kind
    height: float
    """Beside a grown person (1.0), with "tiny" and "huge" already in it."""
    count: int = 1
    colour: str | None = None


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Where one subject is as seen from another; both are places in `Scene.subjects`."""

    kind: Literal["on", "in", "under", "over", "beside", "behind", "front", "between", "wearing", "holding"]
    of: int
    to: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a prompt asks for."""

    place: str
    time: str = "day"
    weather: frozenset[str] = frozenset()
    season: str = "summer"
    mood: str = ""
    sky: frozenset[str] = frozenset()
    """Sun, moon and stars where they were asked for by name."""
    subjects: tuple[Subject, ...] = ()
    relations: tuple[Relation, ...] = ()
    without: frozenset[str] = frozenset()
    """Artwork, places, weather and decoration that must not appear."""
    lettering: str = ""
    style: str | None = None
    """A style named in the prompt itself."""
    drawable: bool = True
    """Whether the prompt named anything to draw; when not, the words themselves become the picture."""


@dataclass(frozen=True)
class _Token:
    kind: str
    value: Any = None
    plural: bool = False


_IRREGULAR = {"wolves": "wolf", "leaves": "leaf", "loaves": "loaf", "knives": "knife", "people": "person", "cacti": "cactus", "calves": "calf"}
_ALREADY_PLURAL = {"children", "kids", "men", "women", "mice", "geese", "people", "bunnies", "friends"}
_QUOTED = re.compile(
    r"“([^”]{1,120})”|\"([^\"]{1,120})\"|「([^」]{1,120})」|『([^』]{1,120})』|(?:say(?:s|ing)|read(?:s|ing)|titled|text|words?|written)\s*:?\s*['‘]([^'’]{1,120})['’]"
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+|[^\w\s]", re.UNICODE)


def is_chinese(character: str) -> bool:
    """Whether it is a Chinese character."""
    return "一" <= character <= "鿿" or "㐀" <= character <= "䶿"


@cache
def _tables() -> Mapping[str, Mapping[str, Any]]:
    """Every kind of word, in the order in which they are tried."""
    return {
        "style": words.by_word(words.STYLES),
        "negation": dict.fromkeys(words.split(words.NEGATIONS), True),
        "after": words.by_word(words.AFTER),
        "relation": words.by_word(words.RELATIONS),
        "action": words.by_word(words.ACTIONS),
        "noun": nouns(),
        "place": words.by_word(words.PLACES),
        "time": words.by_word(words.TIMES),
        "weather": words.by_word(words.WEATHERS),
        "sky": words.by_word(words.SKY),
        "season": words.by_word(words.SEASONS),
        "mood": words.by_word(words.MOODS),
        "colour": words.by_word(words.COLOURS),
        "number": words.by_word(words.NUMBERS),
        "size": words.by_word(words.SIZES),
        "pronoun": dict.fromkeys(words.split(words.PRONOUNS), True),
        "possessive": {words.POSSESSIVE: True},
        "joiner": dict.fromkeys(words.split(words.JOINERS), True),
        "filler": dict.fromkeys(words.split(words.FILLER), True),
    }


@cache
def _vocabulary() -> dict[str, tuple[tuple[str, Any], ...]]:
    """Every word or phrase in normal form, to all it can mean."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for kind, table in _tables().items():
        for word, meaning in table.items():
            found.setdefault(word.replace("-", " "), []).append((kind, meaning))
    return {word: tuple(meanings) for word, meanings in found.items()}


_LONGEST = 7
"""Words or Chinese characters in the longest phrase of the vocabulary."""


def _singular(phrase: str) -> str | None:
    """The phrase with its last word in the singular, when that names something."""
    head, _, last = phrase.rpartition(" ")
    candidates = [
        _IRREGULAR.get(last, ""),
        last.removesuffix("s"),
        last.removesuffix("es"),
        last.removesuffix("ies") + "y" if last.endswith("ies") else "",
    ]
    for candidate in candidates:
        if candidate and candidate != last and (found := f"{head} {candidate}".strip()) in _vocabulary():
            return found
    return None


def _tokens(text: str) -> Iterator[_Token]:
    """The prompt as meanings, longest phrases first."""
    flat = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    units: list[str] = []
    for match in _WORD.finditer(re.sub(r"(?<=\w)-(?=\w)", " ", flat)):
        piece = match[0]
        units += list(piece) if any(map(is_chinese, piece)) else [piece]
    at = 0
    while at < len(units):
        length, token = _match(units, at)
        at += length
        yield token


def _match(units: list[str], at: int) -> tuple[int, _Token]:
    vocabulary = _vocabulary()
    chinese = is_chinese(units[at])
    for length in range(min(_LONGEST, len(units) - at), 0, -1):
        piece = units[at : at + length]
        if any(is_chinese(unit) != chinese for unit in piece):
            continue
        phrase = ("" if chinese else " ").join(piece)
        meanings = vocabulary.get(phrase)
        singular = None if chinese else _singular(phrase)
        if meanings is None and singular:
            meanings = vocabulary[singular]
        if meanings is None:
            continue
        kinds = dict(reversed(meanings))
        if {"colour", "noun"} <= kinds.keys():
            follows = at + length < len(units) and _match(units, at + length)[1].kind in ("noun", "colour", "size", "filler", "possessive")
            kind = "colour" if follows else "noun"
        else:
            kind = meanings[0][0]
        plural = not chinese and (phrase in _ALREADY_PLURAL or (singular is not None and any(k == "noun" for k, _ in vocabulary[singular])))
        return length, _Token(kind, kinds[kind], plural)
    unit = units[at]
    if unit.isdigit():
        return 1, _Token("number", max(1, min(MAX_SUBJECTS, int(unit[:3]))))
    return 1, _Token("stop" if not unit.isalnum() else "unknown", unit)


@dataclass
class _Draft:
    """A scene while it is being read."""

    found: dict[str, list[str]] = field(default_factory=dict)
    subjects: list[Subject] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    without: set[str] = field(default_factory=set)

    def add(self, noun: Noun, count: int, size: float, colour: str | None) -> int | None:
        for index, known in enumerate(self.subjects):
            if known.art == noun.art and known.colour == colour and count == 1:
                return index
        if len(self.subjects) == MAX_SUBJECTS:
            return None
        self.subjects.append(Subject(art=noun.art, kind=noun.kind, height=noun.height * size, count=count, colour=colour))
        return len(self.subjects) - 1


_MANY = {"own:skylantern": 5, "own:firework": 3}
"""Things that hardly ever come alone, and that Chinese does not count."""


def _read_words(text: str, draft: _Draft) -> None:
    number: int | None = None
    size, colour = 1.0, None
    relation: str | None = None
    located: tuple[int, str] | None = None
    last: int | None = None
    group: list[int] = []
    recent: int | None = None
    aloft = False
    carried: tuple[str, int] | None = None
    owned = False
    joined = negated = False
    before = ""
    for token in _tokens(text):
        kind, value = token.kind, token.value
        follows_noun = before == "noun"
        before = before if kind in ("filler", "possessive") else kind
        if aloft and kind not in ("number", "size", "colour", "filler", "possessive", "unknown"):
            aloft = False
            if kind == "noun" and value.kind == "air" and recent is not None and _is_person(draft.subjects[recent].art):
                relation = "holding"  # a child flying a kite stays on the ground
            else:
                _act(draft, recent, "air")
        if kind == "number":
            number = value
        elif kind == "size":
            size = value
        elif kind == "colour":
            colour = value
        elif kind == "negation":
            negated = True
        elif kind == "relation":
            relation, negated = value, False
        elif kind == "noun":
            if negated:
                draft.without.add(value.art)
                draft.without |= _decoration_of(value)
                number, size, colour = None, 1.0, None
                continue
            count = number or _MANY.get(value.art, 0) or (5 if value.kind == "flower" and token.plural else 3 if token.plural else 1)
            index = draft.add(value, min(count, MAX_SUBJECTS), size, colour)
            number, size, colour = None, 1.0, None
            if index is None:
                continue
            if located and located[0] != index:
                _relate(draft, located[1], index, located[0])
            elif carried and owned:  # 戴着草帽的熊: the wearer is named last
                draft.relations = [r for r in draft.relations if r.of != carried[1]]
                _relate(draft, carried[0], index, carried[1])
            elif relation and last is not None and last != index:
                for member in group if relation in ("on", "in", "under", "behind", "front", "beside") else [last]:
                    _relate(draft, relation, member, index)
            if relation not in ("wearing", "holding", "with", "between") or last is None:
                last = index
                group = [*group, index] if joined else [index]
            recent = index
            carried, owned = ((relation, index) if relation in ("wearing", "holding") else None), False
            relation, joined = ("between" if relation == "between" else None), False
        elif kind == "pronoun":
            if relation and recent is not None and last is not None and recent != last:
                draft.relations = [r for r in draft.relations if r.of != recent]
                _relate(draft, relation, recent, last)
            relation = None
        elif kind == "after" and follows_noun:
            located = _after(draft, value, located)
        elif kind == "action":
            aloft = value == "air"
            if not aloft:
                _act(draft, recent, value)
        elif kind in ("place", "time", "weather", "sky", "season", "mood", "style"):
            value, _, furniture = value.partition(" with a ")
            if furniture and not negated:
                draft.add(nouns()[furniture], 1, 1.0, None)
            if negated:
                draft.without |= {value, {"cloudy": "clouds", "sky": "clouds"}.get(value, value)}
            else:
                draft.found.setdefault(kind, []).append(value)
            number, size, colour, relation = None, 1.0, None, None
        elif kind == "possessive":
            negated, owned = False, follows_noun and carried is not None
        elif kind == "joiner":
            joined = True
        elif kind == "stop":
            number, size, colour, relation, located, negated, joined = None, 1.0, None, None, None, False, False
            last = None if value in ".;。；!！?？" else last
    if aloft:
        _act(draft, recent, "air")


def _after(draft: _Draft, kind: str, located: tuple[int, str] | None) -> tuple[int, str] | None:
    """A Chinese word of place after its noun: 猫在桌子上 speaks of the noun before, 桌子上有猫 of the one to come."""
    if not draft.subjects or located is not None:
        return located
    index = len(draft.subjects) - 1
    if draft.relations and draft.relations[-1].to == (index,):  # 坐在树下: the later word is the more exact
        _relate(draft, kind, draft.relations.pop().of, index)
        return located
    if index > 0 and kind != "between":
        _relate(draft, kind, index - 1, index)
        return None
    if kind == "between" and index > 1:
        draft.relations.append(Relation(kind="between", of=index - 2, to=(index - 1, index)))
        return None
    return index, kind


def _relate(draft: _Draft, kind: str, of: int, to: int) -> None:
    subject, other = draft.subjects[of], draft.subjects[to]
    if kind == "with":
        kind = "wearing" if other.kind in ("hat", "glasses") else "holding" if _is_someone(subject) and other.kind not in _STANDING else ""
        if not kind:
            return
    if kind in ("in", "wearing") and other.kind in ("hat", "glasses"):
        kind = "wearing"
    elif kind == "wearing":
        kind = "holding" if other.kind == "thing" else "beside"
    if kind == "in":
        kind = {"structure": "beside", "plant": "front", "flower": "front", "ground": "on"}.get(other.kind, kind)
    if kind == "between" and draft.relations and draft.relations[-1].kind == "between" and draft.relations[-1].of == of:
        draft.relations[-1] = replace(draft.relations[-1], to=(*draft.relations[-1].to, to))
        return
    if kind == "holding" and other.kind in _STANDING:
        kind = "beside"
    if kind in ("wearing", "holding"):  # the hat is placed by its wearer
        of, to = to, of
    draft.relations.append(Relation(kind=kind, of=of, to=(to,)))  # type: ignore[arg-type]


_STANDING = ("ground", "structure", "plant", "water", "undersea", "furniture", "space")


def _is_someone(subject: Subject) -> bool:
    return subject.art.startswith("plush:") or subject.art in words.ACTIONS or subject.kind == "ground"


PEOPLE = ("1f46", "1f47", "1f9d", "1f93", "1f385", "1f934", "1f9b8", "1f9da")


def _is_person(art: str) -> bool:
    return art.startswith("plush:") and art.split(":")[1].startswith(PEOPLE)


def _act(draft: _Draft, last: int | None, art: str) -> None:
    """A person who does something becomes the picture of a person doing it."""
    if last is None:
        return
    if art == "air":
        draft.subjects[last] = replace(draft.subjects[last], kind="air")
    elif _is_person(draft.subjects[last].art) and draft.subjects[last].colour is None:
        draft.subjects[last] = replace(draft.subjects[last], art=art, kind="water" if art.startswith(("1f3c4", "1f3ca", "1f6a3")) else "ground")


def _decoration_of(noun: Noun) -> set[str]:
    found = set()
    if noun.kind == "plant":
        found.add("trees")
    if noun.kind == "flower":
        found.add("flowers")
    if noun.art == "1f426":
        found.add("birds")
    if _is_person(noun.art):
        found.add("people")
    return found


def _lettering(prompt: str) -> tuple[str, str]:
    """The words to be lettered, and the prompt without them. A prompt that is one quotation is a prompt."""
    bare = prompt.strip()
    if len(bare) > 2 and bare[0] in "\"'“「" and bare[-1] in "\"'”」" and not re.search(r"[\"“”「」]", bare[1:-1]):
        return "", bare[1:-1]
    match = _QUOTED.search(prompt)
    if match is None:
        return "", prompt
    text = next(group for group in match.groups() if group)
    return " ".join(text.split()), f"{prompt[: match.start()]} . {prompt[match.end() :]}"


_INFERRED: tuple[tuple[str, frozenset[str]], ...] = (
    ("room", frozenset({"furniture"})),
    ("underwater", frozenset({"undersea"})),
    ("space", frozenset({"space"})),
    ("table", frozenset({"food"})),
)
_PLACES_OF = {
    "sea": ("26f5", "1f6a2", "1f433", "1f42c", "1facd", "own:lighthouse", "own:island", "own:junk", "1f3c4-200d-2640-fe0f", "1f3ca-200d-2640-fe0f"),
    "snow": ("1f427", "plush:1f43b-200d-2744-fe0f:polar", "26c4", "26f7", "1f6f7", "own:igloo", "own:iceberg", "1f9ad", "plush:1f385:santa"),
    "desert": ("1f42b", "own:cactus", "1f982"),
    "beach": ("own:palm", "1f980", "26f1", "own:starfish", "1f41a"),
    "lake": ("1f986", "1f9a2", "own:bridge", "own:boat", "1fab7", "1f6a3-200d-2642-fe0f", "own:waterfall", "1f6f6"),
    "city": ("1f695", "1f68c", "1f693", "1f3cd", "1f6f5", "own:streetlamp", "own:cafe", "1f68b", "1f3ea", "1f6a5", "1f5fc", "1f697"),
    "forest": (
        "1f405",
        "1f412",
        "1f98d",
        "plush:1f98a:fox",
        "plush:1f43b:bear",
        "1f344",
        "plush:1f43a:wolf",
        "1f989",
        "own:deer",
        "own:bamboo",
        "plush:1f43c:panda",
    ),
    "space": ("1f680", "1f6f8", "own:astronaut", "plush:1f47d:alien"),
    "farm": ("1f69c", "own:barn", "1f404", "1f416", "1f413", "own:scarecrow"),
    "sky": ("2708", "own:hotair", "1f681", "own:eagle"),
    "mountains": ("own:pagoda", "own:greatwall", "1f3ef", "own:pavilion"),
    "table": (),
}
"""Where a thing is found when the prompt does not say."""


def _infer_place(subjects: tuple[Subject, ...], without: set[str]) -> str:
    standing = [s for s in subjects if s.kind in ("ground", "structure", "plant", "flower")]
    for subject in subjects:
        for place, kinds in _INFERRED:
            crowded = place in ("table", "underwater", "space") and standing
            if subject.kind in kinds and place not in without and not crowded:
                return place
        for place, arts in _PLACES_OF.items():
            if subject.art in arts and place not in without and not (place in ("sky", "space") and standing and standing[0] is not subject):
                return place
    if subjects and all(s.kind == "thing" for s in subjects):
        return "table"
    if (
        subjects
        and all(s.kind == "air" for s in subjects)
        and subjects[0].art not in ("1f98b", "1f41d", "1f388", "1fa81", "own:firework", "own:skylantern")
    ):
        return "sky"
    return "meadow"


def _choose_place(places: list[str], without: set[str]) -> str | None:
    """The place named first, with what the others add: a lake among mountains is a lake, the sky over a city is the city."""
    named = [place for place in dict.fromkeys(places) if place not in without]
    if not named:
        return None
    if len(named) > 1 and named[0] == "sky":
        return named[1]
    for strong in ("moon", "underwater", "room", "space", "table"):
        if strong in named:
            return strong
    if "snow" in named and set(named) <= {"snow", "meadow", "forest", "village", "mountains"}:
        return next((place for place in named if place != "snow"), "snow")
    if "mountains" in named:
        return next(
            (place for place in ("lake", "sea", "beach", "village", "snow", "forest", "city", "farm", "desert") if place in named), "mountains"
        )
    return named[0]


def read(prompt: str, negative: str = "") -> Scene:
    """The scene that a prompt describes; words of the negative prompt are left out of it."""
    draft = _Draft()
    lettering, rest = _lettering(prompt[:MAX_READ])
    for group, things in words.EXPANSIONS.items():
        rest = re.sub(re.escape(group), things, rest, flags=re.IGNORECASE)
    _read_words(rest, draft)
    unwanted = _Draft()
    _read_words(negative[:MAX_READ], unwanted)
    draft.without |= (
        unwanted.without | {subject.art for subject in unwanted.subjects} | {value for values in unwanted.found.values() for value in values}
    )
    for subject in unwanted.subjects:
        draft.without |= _decoration_of(Noun(art=subject.art, kind=subject.kind, height=1))
    if {"cloudy", "sky"} & draft.without:
        draft.without.add("clouds")
    if _place(draft) == "table":  # seen from so near, the table is the place
        draft.without.add("own:table")
    return _finish(draft, lettering)


def _place(draft: _Draft) -> str:
    named = _choose_place(draft.found.get("place", []), draft.without)
    return named or _infer_place(tuple(draft.subjects), draft.without)


def _finish(draft: _Draft, lettering: str) -> Scene:
    found, without = draft.found, draft.without
    kept = [
        index
        for index, subject in enumerate(draft.subjects)
        if subject.art not in without
        and not ("people" in without and _is_person(subject.art))
        and not ("trees" in without and subject.kind == "plant")
    ]
    place_of = {old: new for new, old in enumerate(kept)}
    subjects = tuple(draft.subjects[index] for index in kept)
    relations = tuple(
        Relation(kind=r.kind, of=place_of[r.of], to=tuple(place_of[t] for t in r.to))
        for r in dict.fromkeys(draft.relations)
        if r.of in place_of and all(t in place_of for t in r.to) and r.of not in r.to
    )
    first = {kind: next((v for v in found.get(kind, []) if v not in without), "") for kind in ("time", "season", "mood", "style")}
    weather = frozenset(found.get("weather", [])) - without
    sky = frozenset(found.get("sky", [])) - without
    place = _choose_place(found.get("place", []), without)
    drawable = bool(subjects or place or weather or sky or first["time"] or first["season"])
    if place is None:
        place = _infer_place(subjects, without) if not (sky and not subjects) else "meadow"
    elif place == "snow":
        first["season"] = "winter"
    season = first["season"] or ("winter" if "snow" in weather or "snow" in found.get("place", []) else "summer")
    night = bool({"moon", "stars"} & sky) or "aurora" in weather or any(s.art.startswith(("own:firework", "own:skylantern")) for s in subjects)
    time = first["time"] or ("night" if night else "day")
    return Scene(
        place=place,
        time=time,
        weather=weather,
        season=season,
        mood=first["mood"],
        sky=sky,
        subjects=subjects,
        relations=relations,
        without=frozenset(without),
        lettering=lettering,
        style=first["style"] or None,
        drawable=drawable,
    )
