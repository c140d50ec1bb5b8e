"""The names of the looks: for listing, without loading anything that draws."""

from __future__ import annotations

from ...models import Style

STYLES = {
    key: Style(key=key, label=label, phrase=phrase)
    for key, label, phrase in (
        ("picture_book", "儿童绘本 Picture book", "children's picture book illustration"),
        ("flat", "扁平插画 Flat illustration", "flat vector illustration"),
        ("watercolor", "水彩 Watercolor", "watercolor painting"),
        ("ink", "水墨画 Chinese ink wash", "Chinese ink wash painting"),
        ("pixel_art", "像素画 Pixel art", "pixel art"),
        ("paper_cut", "纸雕 Layered paper", "layered paper cut art"),
        ("new_year_paper_cut", "新年剪纸 New Year paper-cut", "red Chinese New Year paper-cut"),
        ("poster", "复古海报 Vintage poster", "screen-printed vintage travel poster"),
        ("cyberpunk", "赛博朋克 Cyberpunk", "cyberpunk, neon lights"),
        ("oil_painting", "油画 Oil painting", "oil painting with thick brush strokes"),
        ("impressionist", "印象派 Impressionist", "Impressionist painting"),
        ("sketch", "素描 Pencil sketch", "pencil sketch"),
        ("comic", "漫画 Comic", "comic book illustration"),
        ("manga", "黑白漫画 Black and white manga", "black and white manga"),
        ("minimalist", "极简 Minimalist", "minimalist illustration"),
        ("porcelain", "青花瓷 Blue and white porcelain", "blue and white porcelain painting"),
        ("mosaic", "马赛克 Mosaic", "mosaic of small stones"),
        ("cubist", "立体主义 Cubist", "cubist painting of facets"),
    )
}
"""The looks by key; the first is the default."""

STYLE_OF: dict[str, str | None] = {
    "riman": "comic", "dongman": "comic", "manhua": "comic", "anime": "comic", "cartoon": "comic", "vivid": "comic",
    "heibaimanhua": "manga",
    "xieshi": None, "realistic": None, "photographic": None, "natural": None, "general": None, "3dxuanran": None,
    "ertonghuiben": "picture_book", "fantasy": "picture_book",
    "monai": "impressionist", "artistic": "impressionist",
    "shuimo": "ink", "chinese_painting": "ink",
    "bianping": "flat", "digital_art": "flat",
    "xiangsu": "pixel_art",
    "bijiasuo": "cubist",
    "saibopengke": "cyberpunk", "sci_fi": "cyberpunk",
    "youhua": "oil_painting",
    "masaike": "mosaic",
    "qinghuaci": "porcelain",
    "xinnianjianzhi": "new_year_paper_cut", "xinnianhuayi": "paper_cut",
}  # fmt: skip
"""Style keys of other services, to the nearest look; None: the prompt decides, as it does when no style is asked for."""
