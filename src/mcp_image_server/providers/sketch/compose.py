"""Scene → placements: where each thing stands, how large and in front of what. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from .artwork import Art
from .read import Relation, Scene, Subject
from .scenery import Stage

Ground = Literal["stands", "floats", "hovers", "rests"]
"""Stands on land (with a shadow), floats on water (with a reflection), hovers, or rests on another thing."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One piece of artwork on the canvas: feet at (x, y), in canvas units."""

    subject: int
    art: str
    x: float
    y: float
    width: float
    height: float
    depth: float
    """What is drawn later has the larger depth."""
    ground: Ground = "stands"
    flip: bool = False
    colour: str | None = None
    tone: str = ""
    tether: tuple[float, float] | None = None
    """The hand that holds its string."""
    turn: float = 0.0
    """Degrees clockwise."""
    mound: bool = False
    """Needs an islet, floe or cloud of its own to stand on."""

    @property
    def top(self) -> float:
        return self.y - self.height


Loader = Callable[[str, str], Art]

_TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3fc", "1f3fb")
_FIREWORKS = ("own:firework", "own:firework2", "own:firework3")
_LOW_FLIERS = ("1f98b", "1f41d")
_BOTTOM = ("1f980", "1fab8", "1f41a", "own:starfish", "1f99e", "1f40c")
_FACES_LEFT_IN_TWEMOJI = ("own:deer", "own:unicorn", "own:zebra", "own:eagle")


@dataclass
class _Composer:
    scene: Scene
    stage: Stage
    width: float
    height: float
    random: Random
    load: Loader
    neighbours: dict[int, int] = field(default_factory=dict)
    """How many things stand beside a subject already."""

    def compose(self) -> list[Placement]:
        scene = self.scene
        dependent = {relation.of: relation for relation in scene.relations}
        for index in list(dependent):  # a circle of relations has no beginning
            seen = {index}
            following = index
            while following in dependent:
                following = dependent[following].to[0]
                if following in seen:
                    del dependent[index]
                    break
                seen.add(following)
        free = [index for index in range(len(scene.subjects)) if index not in dependent]
        placed: dict[int, list[Placement]] = {}
        self._place_free(free, placed)
        waiting = dict(dependent)
        while waiting:
            for index, relation in list(waiting.items()):
                if all(to in placed for to in relation.to):
                    placed[index] = self._place_related(index, relation, placed)
                    del waiting[index]
        return sorted((p for group in placed.values() for p in group), key=lambda p: (p.depth, p.subject))

    # Sizes.

    def _tall(self, subject: Subject) -> float:
        """Height as drawn: differences of nature are kept, but gentler."""
        return self.height * 0.36 * float(subject.height**0.62)

    def _make(self, index: int, x: float, y: float, tall: float, ground: Ground = "stands", depth: float | None = None) -> Placement:
        subject = self.scene.subjects[index]
        tone = self.random.choice(_TONES)
        art = self.load(subject.art, tone)
        widest = self.width * 0.8
        if tall * art.width / art.height > widest:
            tall = widest * art.height / art.width
        flip = (x < self.width * 0.45) != (subject.art in _FACES_LEFT_IN_TWEMOJI)
        return Placement(
            subject=index,
            art=self.random.choice(_FIREWORKS) if subject.art == "own:firework" else subject.art,
            x=x,
            y=y,
            width=tall * art.width / art.height,
            height=tall,
            depth=y if depth is None else depth,
            ground=ground,
            flip=flip and not _symmetric(subject.art),
            colour=subject.colour,
            tone=tone,
        )

    # Things that stand where they like.

    def _habitat(self, subject: Subject) -> str:
        place, stage = self.scene.place, self.stage
        if place == "space" or (place == "moon" and subject.kind in ("air", "space")):
            return "drift"
        if place in ("underwater", "sky"):
            return "bottom" if place == "underwater" and (subject.art in _BOTTOM or subject.kind in ("structure", "furniture", "thing")) else "drift"
        if subject.kind in ("air", "space", "skything"):
            return "row" if place in ("room", "table") and subject.art != "1f388" else "air"
        if subject.kind in ("water", "undersea") and stage.water:
            return "water"
        if (subject.kind == "furniture" and subject.height > 1.15) or (place == "room" and subject.kind in ("structure", "plant")):
            return "wall"
        if subject.kind in ("structure", "plant") and place not in ("room", "table"):
            return "back"
        return "row"

    def _place_free(self, free: Sequence[int], placed: dict[int, list[Placement]]) -> None:
        groups: dict[str, list[int]] = {}
        for index in free:
            subject = self.scene.subjects[index]
            for _ in range(subject.count):
                groups.setdefault(self._habitat(subject), []).append(index)
        for habitat, indices in groups.items():
            place = {
                "drift": self._drift,
                "bottom": self._bottom,
                "air": self._air,
                "water": self._afloat,
                "back": self._behind,
                "wall": self._wall,
                "row": self._row,
            }[habitat]
            for placement in place(indices):
                placed.setdefault(placement.subject, []).append(placement)

    def _row(self, indices: list[int], *, far: float | None = None) -> list[Placement]:
        """The foreground: side by side, in two ranks when there are many."""
        subjects = self.scene.subjects
        w, stage, r = self.width, self.stage, self.random
        talls = [self._tall(subjects[i]) * r.uniform(0.95, 1.05) for i in indices]
        arts = [self.load(subjects[i].art, "") for i in indices]
        tallest = max(talls)
        ceiling = self.height * (0.36 if stage.scale < 2 else 0.34) * (1.15 if len(indices) == 1 else 1.0)
        people_and_pets = [t for t, i in zip(talls, indices, strict=True) if subjects[i].kind in ("ground", "furniture", "food", "thing", "water")]
        grow = min(2.2 if stage.scale < 2 else 6.0, ceiling / max(people_and_pets or [tallest])) * max(
            0.6, min(1.3, max(subjects[i].height for i in indices) ** 0.22)
        )
        talls = [t * grow for t in talls]
        widths = [t * a.width / a.height for t, a in zip(talls, arts, strict=True)]
        if len(indices) > 2:  # none may hide another
            share = min(1.0, w * 0.31 / max(widths))
            talls, widths = [t * share for t in talls], [x * share for x in widths]
        ranks = 1 if sum(widths) < w * 0.94 or len(indices) < 3 else 2 if len(indices) < 9 else 3
        room = w * (0.86 if len(indices) > 1 else 0.9)
        total = sum(widths) / ranks
        if total > room:
            talls = [t * room / total for t in talls]
            widths = [x * room / total for x in widths]
        top, bottom = (stage.far if far is None else far), stage.near
        result = []
        for rank in range(ranks):
            members = list(range(rank, len(indices), ranks))
            wide = sum(widths[m] for m in members)
            gap = min((w * 0.9 - wide) / (len(members) + 1), w * 0.09)
            x = (w - wide - gap * (len(members) - 1)) / 2 + (r.uniform(-0.04, 0.04) * w if ranks == 1 else (rank - (ranks - 1) / 2) * w * 0.05)
            depth = (rank + 1) / ranks if ranks > 1 else 0.62
            for order, m in enumerate(members):
                y = top + (bottom - top) * max(
                    0.1,
                    min(1.0, depth + (r.uniform(-0.16, 0.16) if len(indices) > 1 else 0.08) + (0.12 if order % 2 else -0.06) * (len(members) > 1)),
                )
                result.append(self._make(indices[m], x + widths[m] / 2, y, talls[m] * (0.9 + 0.1 * (y - top) / max(1.0, bottom - top))))
                x += widths[m] + gap
        if self.scene.place == "sea":
            result = [replace(p, mound=True, y=self.height * 0.8, depth=self.height * 0.8) for p in result]
        return result

    def _behind(self, indices: list[int]) -> list[Placement]:
        """Buildings and trees: behind the others, towards the sides when somebody stands before them."""
        w, r, stage = self.width, self.random, self.stage
        alone = not any(s.kind in ("ground", "thing", "food", "flower") for s in self.scene.subjects)
        spots = {1: [0.5 if alone else r.choice((0.3, 0.7))], 2: [0.24, 0.74], 3: [0.18, 0.5, 0.82]}.get(len(indices)) or [
            (i + 0.5) / len(indices) for i in range(len(indices))
        ]
        result = []
        for spot, index in zip(spots, indices, strict=True):
            subject = self.scene.subjects[index]
            tall = min(self._tall(subject) * (0.86 if not alone else 0.98) * r.uniform(0.95, 1.05), self.height * 0.56)
            if subject.height < 1.2:
                tall *= 1.15
            if len(indices) > 3:
                tall *= max(0.5, 3.6 / len(indices))
            y = stage.far + (stage.near - stage.far) * (r.uniform(0.08, 0.3) if not alone else 0.3)
            p = self._make(index, w * (spot + r.uniform(-0.03, 0.03)), y, tall)
            if subject.art == "own:bridge" and stage.water:
                wide = min(w * 0.62, 760.0)
                p = replace(p, x=w * 0.5, y=stage.water[0] + 90, width=wide, height=wide * p.height / p.width, ground="rests", depth=stage.water[0])
            elif self.scene.place == "sea":
                p = replace(
                    p,
                    mound=subject.art != "own:lighthouse",
                    y=self.height * 0.72,
                    depth=self.height * 0.6,
                    x=w * (0.26 if spot < 0.5 else 0.74) if len(indices) == 1 else p.x,
                )
            elif self.stage.water and self.scene.place == "lake" and not any(index in relation.to for relation in self.scene.relations):
                p = replace(p, y=self.stage.water[0] - self.height * 0.09, height=p.height * 0.8, width=p.width * 0.8, depth=0.0)  # on the far bank
            elif self.scene.place == "lake":
                p = replace(p, y=stage.far + self.height * 0.02, depth=stage.far)
            elif self.scene.place == "city":
                p = replace(p, y=stage.far - 2, depth=stage.far - 30)
            result.append(p)
        return result

    def _wall(self, indices: list[int]) -> list[Placement]:
        """Tall furniture along the back wall."""
        spots = {1: [self.random.choice((0.26, 0.76))], 2: [0.2, 0.8]}.get(len(indices)) or [(i + 0.5) / len(indices) for i in range(len(indices))]
        result = []
        for spot, index in zip(spots, indices, strict=True):
            tall = min(self._tall(self.scene.subjects[index]) * 1.15, self.height * 0.52)
            result.append(self._make(index, self.width * spot, self.stage.far - self.height * 0.05, tall))
        return result

    def _air(self, indices: list[int]) -> list[Placement]:
        w, r = self.width, self.random
        low = self.stage.far - self.height * 0.06
        count, result = len(indices), []
        for order, index in enumerate(indices):
            subject = self.scene.subjects[index]
            alone = count == 1 and len(self.scene.subjects) == 1
            tall = self._tall(subject) * (1.5 if alone else 1.0 if count < 4 else 0.8) * r.uniform(0.86, 1.12)
            x = w * ((order + 0.5) / count + r.uniform(-0.06, 0.06)) if count > 1 else w * (0.5 if alone else r.choice((0.3, 0.68)))
            if subject.art in _LOW_FLIERS:
                y = low * r.uniform(0.85, 1.1)
            else:
                y = max(tall + self.height * 0.05, low * (0.5 + 0.28 * (order % 2) + r.uniform(-0.08, 0.1)))
            p = self._make(index, x, y, min(tall, low * 0.8), "hovers", depth=4000.0 if subject.height < 0.6 else y - 1000)
            if subject.art == "1f3ee":  # a lantern hangs
                p = replace(p, y=p.height + self.height * r.uniform(0.05, 0.14), tether=(p.x, -20.0))
            if subject.art in _LOW_FLIERS:
                p = replace(p, depth=5000.0)
            result.append(p)
        return result

    def _drift(self, indices: list[int]) -> list[Placement]:
        w, h, r = self.width, self.height, self.random
        count, result = len(indices), []
        grow = 1.45 if count == 1 else 1.2 if count < 4 else 0.9
        for order, index in enumerate(indices):
            subject = self.scene.subjects[index]
            tall = min(self._tall(subject) * grow * r.uniform(0.9, 1.1), h * 0.5)
            across = (order + 0.5) / count
            x = w * (0.5 + (across - 0.5) * 0.86 + (r.uniform(-0.03, 0.03) if count > 1 else 0))
            y = h * (0.5 + (0.13 if order % 2 else -0.13) * (count > 1) + r.uniform(-0.05, 0.05)) + tall / 2
            p = self._make(index, x, y, tall, "hovers")
            if self.scene.place == "sky" and subject.kind not in ("air", "space", "undersea"):
                p = replace(p, y=h * (0.66 + 0.05 * (order % 2)), mound=True)
            elif self.scene.place == "space":
                p = replace(p, turn=r.uniform(-16, 16))
            result.append(p)
        return result

    def _bottom(self, indices: list[int]) -> list[Placement]:
        return [replace(p, y=self.height * (0.9 + 0.02 * (i % 3)), depth=4000.0 + i) for i, p in enumerate(self._row(indices))]

    def _afloat(self, indices: list[int]) -> list[Placement]:
        assert self.stage.water
        w, r = self.width, self.random
        top, bottom = self.stage.water
        count, result = len(indices), []
        alone = count == 1 and len(self.scene.subjects) <= 2
        for order, index in enumerate(indices):
            subject = self.scene.subjects[index]
            depth = 0.72 if alone else 0.35 + 0.5 * ((order * 0.62) % 1) if count > 1 else 0.6
            tall = min(self._tall(subject) * (0.5 + 0.6 * depth) * (1.25 if alone else 0.9), self.height * 0.46)
            if subject.height < 0.6:
                tall *= 1.25
            own = self.load(subject.art, "")
            tall = min(tall, w * (0.5 if alone else 0.34) * own.height / own.width)
            y = top + (bottom - top) * depth
            x = (
                w * ((order + 0.5) / count + r.uniform(-0.05, 0.05))
                if count > 1
                else w * (r.choice((0.42, 0.58)) if alone else r.choice((0.3, 0.62)))
            )
            result.append(self._make(index, x, y, tall, "floats"))
        return result

    # Things that stand where others are.

    def _place_related(self, index: int, relation: Relation, placed: dict[int, list[Placement]]) -> list[Placement]:
        subject = self.scene.subjects[index]
        targets = [p for to in relation.to for p in placed[to]]
        single = targets[0]
        if relation.kind == "wearing":
            return [self._worn(index, target) for target in targets]
        if relation.kind == "holding":
            holders = targets[: max(1, subject.count)]
            return [self._held(index, holder, outward=len(holders) > 1) for holder in holders]
        if relation.kind == "between" and len(targets) > 1:
            first, last = min(targets[:2], key=lambda p: p.x), max(targets[:2], key=lambda p: p.x)
            y = max(first.y, last.y) + self.height * 0.04
            tall = min(self._tall(subject) * 1.25, self.height * 0.42)
            return [
                self._make(index, (first.x + last.x) / 2 + (i - (subject.count - 1) / 2) * tall * 0.7, min(y, self.stage.near), tall)
                for i in range(subject.count)
            ]
        tall = self._beside_size(subject, single)
        companions = [
            r.of for r in self.scene.relations if r.kind == relation.kind and r.to == relation.to and r.kind in ("on", "in", "under", "over", "front")
        ] or [index]
        count = sum(self.scene.subjects[of].count for of in companions)
        earlier = sum(self.scene.subjects[of].count for of in companions[: companions.index(index)])
        return [self._near(index, relation.kind, single, tall, earlier + order, count) for order in range(subject.count)]

    def _beside_size(self, subject: Subject, target: Placement) -> float:
        """In proportion to what it stands by, within reason."""
        other = self.scene.subjects[target.subject]
        return min(max(target.height * float((subject.height / other.height) ** 0.62), self.height * 0.09), self.height * 0.56)

    def _worn(self, index: int, target: Placement) -> Placement:
        art = self.load(target.art, target.tone)
        hat = self.load(self.scene.subjects[index].art, "")
        plush = target.art.startswith("plush:")
        across, down = art.head
        across = 1 - across if target.flip else across
        wide = target.width * (0.74 if plush else 0.5 if target.height > target.width else 0.34)
        tall = wide * hat.height / hat.width
        x, y = target.x + (across - 0.5) * target.width, target.top + down * target.height
        glasses = self.scene.subjects[index].kind == "glasses"
        y += tall * 0.5 + target.height * (0.2 if plush else 0.06) if glasses else tall * 0.16
        return replace(self._make(index, x, y, tall, "rests", target.depth + 0.5), flip=False)

    def _held(self, index: int, target: Placement, *, outward: bool) -> Placement:
        subject = self.scene.subjects[index]
        art = self.load(target.art, target.tone)
        side = 1 if (target.x > self.width * 0.5 if outward else target.x < self.width * 0.6) else -1
        hand_x, hand_y = target.x + side * target.width * 0.42, target.top + art.hand * target.height
        if subject.art == "2602":
            tall = target.height * 1.05
            return replace(
                self._make(index, target.x + side * target.width * 0.3, hand_y + tall * 0.02, tall, "rests", target.depth - 0.3), flip=False
            )
        tall = min(self._beside_size(subject, target), target.height * (0.85 if subject.kind == "air" else 0.45))
        if subject.kind == "air" and subject.art != "1f3ee":
            y = max(target.top + (tall * 0.3 if subject.art == "1f388" else -tall * 0.1), tall + self.height * 0.03)
            return replace(self._make(index, hand_x + side * tall * 0.5, y, tall, "rests", target.depth + 0.3), flip=False, tether=(hand_x, hand_y))
        own = self.load(subject.art, "")
        tall = min(tall, target.width * 0.6 * own.height / own.width)
        return self._make(index, hand_x, hand_y + tall * 0.6, tall, "rests", target.depth + 0.3)

    def _near(self, index: int, kind: str, target: Placement, tall: float, order: int, count: int) -> Placement:
        subject = self.scene.subjects[index]
        art = self.load(target.art, target.tone)
        spread = (order - (count - 1) / 2) / max(1, count)
        own = self.load(subject.art, "")
        if kind == "in" and not art.mouth:
            kind = "on"
        if kind in ("on", "in"):
            room = target.width * 0.72 / count
            tall = min(tall, room * own.height / own.width) if target.height < self.height * 0.8 else tall
            x = target.x + spread * target.width * 0.8
            if kind == "in":
                y = target.top + art.mouth * target.height + tall * 0.3
                return self._make(index, x, y, tall, "rests", target.depth - 0.5 + order * 0.01)
            y = target.top + art.seat * target.height
            return self._make(index, x, y, tall, "rests", target.depth + 0.5 + order * 0.01)
        if kind == "under":
            x = target.x + spread * target.width * 0.7
            if target.art == "2602":
                return self._make(index, x, target.y + tall * 0.5, tall, "stands", target.depth - 0.5)
            if self.scene.subjects[target.subject].kind == "furniture":
                return self._make(index, x, target.y + 4, min(tall, target.height * 0.72), "stands", target.depth + 0.5)
            if target.ground == "hovers":
                return self._make(index, target.x, self.stage.far + (self.stage.near - self.stage.far) * 0.6, self._tall(subject) * 1.2)
            return self._make(index, x + target.width * 0.2, min(target.y + self.height * 0.03, self.stage.near), tall, "stands")
        if kind == "over":
            tall = min(tall, self.height * 0.32)
            y = max(target.top - self.height * 0.02, tall + self.height * 0.03)
            side = 0.0 if target.top > tall else 0.62 * target.width * (1 if target.x < self.width / 2 else -1)
            return self._make(index, target.x + side + spread * target.width * 1.4, y, tall, "hovers", target.depth + 1)
        if kind == "behind":
            side = 1 if target.x < self.width / 2 else -1
            return self._make(
                index,
                target.x + side * (target.width * 0.5 + spread * target.width),
                target.y - self.height * 0.03,
                max(tall, target.height * 0.5) if subject.kind == "ground" else tall,
                "stands",
                target.depth - 1,
            )
        if kind == "front":
            y = min(target.y + self.height * 0.08, self.stage.near + self.height * 0.02)
            return self._make(index, target.x + spread * target.width * 1.1, y, tall * 1.08, "stands")
        side = 1 if target.x < self.width * 0.55 else -1
        wide = tall * own.width / own.height
        before = self.neighbours.get(target.subject, 0)
        self.neighbours[target.subject] = before + 1
        x = target.x + side * (-1 if before % 2 else 1) * (target.width / 2 + wide * (0.62 + before // 2))
        x = max(wide * 0.5, min(self.width - wide * 0.5, x))
        floats = target.ground == "floats" and subject.kind in ("water", "undersea")
        hovers = subject.kind == "air" and subject.art not in _LOW_FLIERS
        y = target.top + tall * 0.4 if hovers else target.y + (order % 2) * 8
        return self._make(
            index, x, y, tall, "hovers" if hovers else "floats" if floats else "stands" if target.ground != "rests" else "rests", target.depth + 0.2
        )


def _symmetric(art: str) -> bool:
    """Artwork that must not be turned round: it holds letters, or would only look odd."""
    return art.startswith("plush:") and "1f468-200d" in art


def compose(scene: Scene, stage: Stage, width: float, height: float, random: Random, load: Loader) -> list[Placement]:
    """Every piece of artwork with its place, back to front."""
    if not scene.subjects:
        return []
    return _Composer(scene=scene, stage=stage, width=width, height=height, random=random, load=load).compose()
