"""The Seedream models: their names at both sites, their sizes, and what they cost. Facts from https://www.volcengine.com/docs/82379/1541523."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import ceil, isqrt
from typing import Any

from ...models import Catalogue, Model, Operation, Price, Size, SizeRange, Style, find_model
from ...negotiate import fits

DEFAULT_MODEL = "doubao-seedream-4.5"
FALLBACK_MODEL = "doubao-seedream-4.0"
"""Draws where the account cannot use the default one."""

_PRICED = date(2026, 10, 1)

LARGE = 2_610_000
"""Pixels above which a picture of the model with two prices costs the higher one."""

GROUP_LIMIT = 15
"""Pictures of a set, input images counted in."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Yuan for one picture (https://www.volcengine.com/docs/82379/1544106). Only pictures that were drawn are billed."""

    picture: float
    large: float | None = None
    """For a picture of more than LARGE pixels, where that differs."""
    input_image: float = 0.0
    """For each input image after the first."""


def _between(lowest: int, highest: int) -> SizeRange:
    """Any size with so many pixels; one edge may be 16 times the other."""
    return SizeRange(min_edge=ceil((lowest / 16) ** 0.5), max_edge=isqrt(highest * 16), min_pixels=lowest, max_pixels=highest, max_ratio=16.0)


_SINGLE = Model(
    provider="doubao",
    id="",
    operations=frozenset({Operation.GENERATE, Operation.EDIT}),
    sizes=_between(921_600, 4_624_220),
    default_size=Size(width=2048, height=2048),
    formats=("png", "jpeg"),
    max_images=10,
    languages=frozenset({"en", "zh"}),
    writes=frozenset({"latin", "han"}),  # https://arxiv.org/abs/2503.07703, and each version since
    note="Options: background (transparent: needs one input picture with transparency, and png), layer_decomposition.",
)
"""Draws one picture at a time, and refuses any request in which a set is so much as mentioned."""

_HURRIES = 'Option optimize_prompt_options ({"mode": "fast"}): less time is spent on the prompt.'

_IN_GROUPS = replace(_SINGLE, sizes=_between(3_686_400, 16_777_216), max_count=GROUP_LIMIT, max_images=14, note="")
"""Draws sets, and sends each picture of a set as soon as it is drawn."""

_UNKNOWN = replace(_SINGLE, sizes=_between(3_686_400, 4_624_220), formats=(), note="")
"""What each of the models takes: for the id of an inference endpoint, which does not tell the model behind it."""

PRICES: Mapping[str, Prices] = {
    "doubao-seedream-5-0-pro-260628": Prices(picture=0.30, large=0.60, input_image=0.02),
    "doubao-seedream-5-0-260128": Prices(picture=0.22),
    "doubao-seedream-4-5-251128": Prices(picture=0.25),
    "doubao-seedream-4-0-250828": Prices(picture=0.20),
}


def _model(like: Model, name: str, title: str, *aliases: str, **facts: Any) -> Model:
    prices = PRICES.get(name)
    above = {LARGE: prices.large / prices.picture} if prices and prices.large else {}
    price = Price(amount=prices.picture, currency="CNY", as_of=_PRICED, above=above) if prices else None
    return replace(like, id=name, title=title, aliases=aliases, price=price, **facts)


MODELS = (
    _model(
        _SINGLE,
        "doubao-seedream-5-0-pro-260628",
        "Seedream 5.0 Pro",
        "doubao-seedream-5.0-pro",
        "doubao-seedream-5-0-pro",
        note=f"{_SINGLE.note} {_HURRIES}",
    ),
    _model(_SINGLE, "doubao-seedream-5-0-flash-260915", "Seedream 5.0 Flash", "doubao-seedream-5.0-flash", "doubao-seedream-5-0-flash"),
    _model(
        _IN_GROUPS,
        "doubao-seedream-5-0-260128",
        "Seedream 5.0 Lite",
        "doubao-seedream-5-0-lite-260128",
        "doubao-seedream-5.0-lite",
        "doubao-seedream-5-0-lite",
        "doubao-seedream-5.0",
        "doubao-seedream-5-0",
        note="The service said in October 2026 that it will close this model; the day is not known. Options: tools ([{type: web_search}]).",
    ),
    _model(
        _IN_GROUPS,
        "doubao-seedream-4-5-251128",
        "Seedream 4.5",
        "doubao-seedream-4.5",
        "doubao-seedream-4-5",
        "doubao-seedream-3-0-t2i-250415",  # both 3.0 models were switched off on 13 May 2026
        "doubao-seedream-3.0-t2i",
        "doubao-seededit-3-0-i2i-250628",
        "doubao-seededit-3.0-i2i",
        formats=(),
    ),
    _model(
        _IN_GROUPS,
        "doubao-seedream-4-0-250828",
        "Seedream 4.0",
        "doubao-seedream-4.0",
        "doubao-seedream-4-0",
        sizes=_between(921_600, 16_777_216),
        formats=(),
        note=f"The service is withdrawing this model; the day is not known. {_HURRIES}",
    ),
)

OVERSEAS_IDS: Mapping[str, str] = {
    "doubao-seedream-5-0-pro-260628": "dola-seedream-5-0-pro-260628",
    "doubao-seedream-5-0-flash-260915": "dola-seedream-5-0-flash-260915",
    "doubao-seedream-5-0-260128": "seedream-5-0-260128",
    "doubao-seedream-4-5-251128": "seedream-4-5-251128",
    "doubao-seedream-4-0-250828": "seedream-4-0-250828",
}
"""The same models at BytePlus (https://docs.byteplus.com/en/docs/ModelArk/1541523)."""

_STYLES = {
    "general": "通用风格",
    "anime": "动漫风格 anime style",
    "realistic": "写实风格 realistic photographic",
    "oil_painting": "油画风格 oil painting",
    "watercolor": "水彩风格 watercolor painting",
    "sketch": "素描风格 pencil sketch",
    "cartoon": "卡通风格 cartoon illustration",
    "chinese_painting": "国画风格 traditional Chinese painting",
    "pixel_art": "像素艺术 pixel art",
    "cyberpunk": "赛博朋克 cyberpunk style",
    "fantasy": "奇幻风格 fantasy art",
    "sci_fi": "科幻风格 sci-fi concept art",
}

_RESOLUTIONS = {
    (2048, 2048): "2K 正方形，推荐",
    (2560, 1440): "2K 16:9 横向",
    (1440, 2560): "2K 9:16 竖向",
    (2304, 1728): "2K 4:3 横向",
    (1728, 2304): "2K 3:4 竖向",
    (2496, 1664): "2K 3:2 横向",
    (1664, 2496): "2K 2:3 竖向",
    (3024, 1296): "2K 21:9 横向",
    (1296, 3024): "2K 9:21 竖向",
    (1024, 1024): "1:1 大正方形",
}
"""Those that neither the default model nor the one in its place draws are not shown."""


def catalogue_of(model: str, fallback: str, *, overseas: bool = False) -> Catalogue:
    """What is offered with that default model, and that one in its place where the account cannot use it.

    Args:
        overseas: at BytePlus.
    """
    models = tuple(map(_overseas, MODELS)) if overseas else MODELS
    default = named(model, models)
    if default not in models:
        models = (default, *models)
    drawing = (default, named(fallback, models))
    sizes = {Size(width=width, height=height): label for (width, height), label in _RESOLUTIONS.items()}
    return Catalogue(
        provider="doubao",
        title="Doubao Seedream",
        models=models,
        default_model=default.id,
        styles={key: Style(key=key, label=label) for key, label in _STYLES.items()},
        resolutions={str(size): f"{size} ({label})" for size, label in sizes.items() if all(fits(size, model.sizes) for model in drawing)},
        variables=("DOUBAO_API_KEY",),
        unknown=_UNKNOWN,
    )


def named(name: str, models: Sequence[Model]) -> Model:
    """The model of that name; one that the table does not have is taken to be an inference endpoint."""
    return find_model(models, name.strip()) or replace(_UNKNOWN, id=name.strip())


def _overseas(model: Model) -> Model:
    """The model as BytePlus names it; its prices there are others."""
    return replace(model, id=OVERSEAS_IDS[model.id], aliases=(model.id, *model.aliases), price=None)


CATALOGUE = catalogue_of(DEFAULT_MODEL, FALLBACK_MODEL)
