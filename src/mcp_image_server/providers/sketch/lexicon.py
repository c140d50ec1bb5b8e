"""Which artwork a noun calls for, and what kind of thing that is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

ASSETS = Path(__file__).parent / "assets"

Kind = Literal[
    "ground", "structure", "plant", "flower", "water", "air", "undersea", "space", "furniture", "thing", "food", "hat", "glasses", "skything"
]

_HEIGHTS: dict[str, float] = {
    "ground": 0.7,
    "air": 0.5,
    "undersea": 0.45,
    "flower": 0.45,
    "food": 0.22,
    "structure": 1.9,
    "water": 1.0,
    "thing": 0.32,
}


@dataclass(frozen=True, kw_only=True)
class Noun:
    """One thing that can be drawn: its artwork, where it belongs, and its height beside a grown person."""

    art: str
    kind: Kind
    height: float


@cache
def nouns() -> dict[str, Noun]:
    """Every word or phrase that names something drawable, in lower case; plurals are the reader's business."""
    found: dict[str, Noun] = {}
    names = json.loads((ASSETS / "lexicon.json").read_text("utf-8"))
    kind_of = {code: kind for kind, codes in names["kinds"].items() for code in codes.split()}
    for language in ("zh", "en"):
        for word, code in names[language].items():
            found[word] = Noun(art=code, kind=kind_of[code], height=_HEIGHTS[kind_of[code]])
    for line in (ASSETS / "nouns.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        art, kind, height, english, chinese = (part.strip() for part in line.split("|"))
        noun = Noun(art=art, kind=kind, height=float(height))  # type: ignore[arg-type]
        for word in f"{english}, {chinese}".split(", "):
            found[word.strip()] = noun
    return found
