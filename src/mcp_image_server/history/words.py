"""Text as words to be found by, the same for every database: none of them knows where a Chinese word begins.

A script that puts spaces between words gives its words, in small letters and without accents. A script that does not gives every character and every pair
of neighbours: a search for two characters then finds them side by side, and one for more finds all their pairs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

MAX_CHARS = 64
"""Of a word; what is longer is no word, and is cut here and in the search alike."""

_DENSE = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul, whose particles cling to the noun
    "\u1780-\u17ff"  # Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3040-\u309f\u30a0-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
    "]"
)

_ACCENTS = re.compile("[\u0300-\u036f]")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Say in which of its forms the character before is drawn."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a text must hold to be found."""

    words: tuple[str, ...] = ()
    prefix: str = ""
    """The beginning of a word, besides; empty: nothing."""

    def __bool__(self) -> bool:
        return bool(self.words or self.prefix)


def tag_of(text: str) -> str:
    """The tag as it is kept: however it is typed, it is the same one."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words_of(text: str) -> list[str]:
    """The words by which the text is found, each once, in the order of their first appearance."""
    words: dict[str, None] = {}
    for run, dense in _runs(text):
        words |= dict.fromkeys((*run, *map("".join, pairwise(run))) if dense else (run,))
    return list(words)


def query_of(text: str) -> Query:
    """What was typed into a search box: all its words, where the last one with spaces around it may be a mere beginning."""
    words: dict[str, None] = {}
    prefix = ""
    for run, dense in _runs(text):
        if dense:
            words |= dict.fromkeys(map("".join, pairwise(run)) if len(run) > 1 else run)
        else:
            words |= dict.fromkeys(filter(None, (prefix,)))
            prefix = run
    words.pop(prefix, None)
    return Query(words=tuple(words), prefix=prefix)


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """Stretches of one kind, and whether their script leaves out the spaces."""
    for kind, characters in groupby(_folded(text), _kind):
        run = "".join(characters)
        match kind:
            case "dense":
                yield run, True
            case "symbol":
                yield from ((character, False) for character in run)
            case "word" if any(map(str.isalnum, run)):
                yield run[:MAX_CHARS], False


def _folded(text: str) -> str:
    """Without what distinguishes only looks: case, accents, full width."""
    for _ in range(2):  # a capital may be made of what is folded in turn
        text = unicodedata.normalize("NFKD", _SELECTORS.sub("", text))
        text = unicodedata.normalize("NFKC", _ACCENTS.sub("", text).casefold())
    return text


def _kind(character: str) -> str:
    if _DENSE.match(character):
        return "dense"
    category = unicodedata.category(character)
    return "word" if category[0] in "LNM" else "symbol" if category == "So" else ""
