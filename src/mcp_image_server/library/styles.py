"""Styles by name, with what to write into a prompt for a model that has no such style of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ..models import Style

_ROWS = (
    ("natural", "自然 Natural", "", ""),
    ("general", "通用 General", "", ""),
    (
        "vivid",
        "生动 Vivid",
        "vivid look, saturated colours, strong contrast and dramatic light",
        "生动鲜明的风格，色彩饱和，对比强烈，光线富有戏剧性",
    ),
    (
        "realistic xieshi",
        "写实 Realistic",
        "photorealistic, true-to-life detail, natural light and materials",
        "写实风格，细节逼真，光线与质感自然真实",
    ),
    (
        "photographic",
        "摄影 Photographic",
        "professional photograph, sharp focus, natural depth of field",
        "专业摄影风格，对焦清晰，景深自然",
    ),
    ("artistic", "艺术 Artistic", "expressive fine-art painting, considered composition and colour", "艺术绘画风格，构图与用色讲究，富有表现力"),
    ("digital_art", "数字艺术 Digital art", "polished digital art, clean shapes, rich lighting", "精致的数字艺术风格，造型利落，光影丰富"),
    (
        "minimalist",
        "极简 Minimalist",
        "minimalist style, few simple shapes, limited palette, much empty space",
        "极简风格，造型简洁，用色克制，大量留白",
    ),
    (
        "anime riman",
        "日漫 Anime",
        "Japanese anime style, clean line art, cel shading, expressive faces",
        "日本动漫风格，线条干净，赛璐璐上色，表情生动",
    ),
    ("dongman", "动漫 Animation", "animated film style, rounded shapes, bright colours, soft light", "动画片风格，造型圆润，色彩明快，光线柔和"),
    (
        "cartoon",
        "卡通 Cartoon",
        "cartoon illustration, bold outlines, flat bright colours, playful shapes",
        "卡通插画风格，轮廓线醒目，色彩平涂明亮，造型活泼",
    ),
    (
        "manhua comic",
        "漫画 Comic",
        "comic book illustration, inked outlines, halftone shading, dynamic framing",
        "漫画风格，墨线勾勒，网点阴影，画面富有动感",
    ),
    (
        "heibaimanhua manga",
        "黑白漫画 Black and white manga",
        "black and white manga, ink line art, screentone shading, no colour",
        "黑白漫画风格，墨线稿，网点纸阴影，不用彩色",
    ),
    (
        "ertonghuiben picture_book",
        "儿童绘本 Picture book",
        "children's picture book illustration, soft textures, warm colours, gentle shapes",
        "儿童绘本风格，笔触柔和，色彩温暖，造型可爱",
    ),
    (
        "bianping flat",
        "扁平插画 Flat illustration",
        "flat vector illustration, simple geometric shapes, solid colours, no gradients",
        "扁平插画风格，几何造型简洁，纯色填充，无渐变",
    ),
    (
        "xiangsu pixel_art",
        "像素 Pixel art",
        "pixel art, visible square pixels, limited palette, crisp edges",
        "像素画风格，像素方块清晰可见，色数有限，边缘锐利",
    ),
    (
        "3dxuanran",
        "3D 渲染 3D render",
        "3D render, smooth materials, soft studio lighting, subtle reflections",
        "3D 渲染风格，材质光滑，影棚柔光，反射细腻",
    ),
    (
        "youhua oil_painting",
        "油画 Oil painting",
        "oil painting, visible brush strokes, layered colour, canvas texture",
        "油画风格，笔触可见，色彩层次厚重，带画布肌理",
    ),
    (
        "watercolor",
        "水彩 Watercolour",
        "watercolour painting, soft washes, bleeding edges, paper texture",
        "水彩画风格，色彩晕染通透，边缘自然渗化，带纸张纹理",
    ),
    ("sketch", "素描 Pencil sketch", "pencil sketch, hatched shading, graphite on white paper", "铅笔素描风格，排线表现明暗，白纸石墨质感"),
    (
        "shuimo ink",
        "水墨 Chinese ink wash",
        "Chinese ink wash painting, flowing brush lines, graded ink tones, empty space on rice paper",
        "中国水墨画风格，笔意流动，墨分五色，宣纸留白",
    ),
    (
        "chinese_painting",
        "国画 Traditional Chinese painting",
        "traditional Chinese painting, fine brushwork, mineral colours on silk or rice paper",
        "中国画风格，工笔线条细腻，矿物颜料设色，绢本或宣纸质感",
    ),
    (
        "monai impressionist",
        "莫奈印象派 Impressionist",
        "Impressionist painting in the manner of Monet, broken brush strokes, shimmering light",
        "莫奈印象派画风，笔触短促交错，光色闪烁",
    ),
    (
        "bijiasuo cubist",
        "毕加索立体主义 Cubist",
        "Cubist painting in the manner of Picasso, faceted shapes, several viewpoints at once",
        "毕加索立体主义画风，块面分割，多视角并置",
    ),
    (
        "saibopengke cyberpunk",
        "赛博朋克 Cyberpunk",
        "cyberpunk style, neon lights, rain-wet streets, high-tech night city",
        "赛博朋克风格，霓虹灯光，雨夜湿润街道，高科技都市",
    ),
    ("fantasy", "奇幻 Fantasy", "fantasy art, magical atmosphere, epic light, intricate detail", "奇幻艺术风格，魔幻氛围，史诗般的光线，细节繁复"),
    (
        "sci_fi",
        "科幻 Science fiction",
        "science fiction concept art, futuristic technology, cinematic light",
        "科幻概念艺术风格，未来科技感，电影般的光影",
    ),
    (
        "masaike mosaic",
        "马赛克 Mosaic",
        "mosaic of small coloured tiles, visible joints, shimmering surface",
        "马赛克镶嵌风格，彩色小块拼贴，缝隙可见，表面闪烁",
    ),
    (
        "qinghuaci porcelain",
        "青花瓷 Blue and white porcelain",
        "blue and white porcelain painting, cobalt brushwork on glazed white, ornamental borders",
        "青花瓷风格，白釉上钴蓝绘画，纹饰边框",
    ),
    (
        "xinnianjianzhi new_year_paper_cut",
        "新年剪纸 New Year paper-cut",
        "Chinese New Year paper-cut, red paper, symmetrical cut-out patterns, festive motifs",
        "新年剪纸风格，大红纸，对称镂空图案，喜庆纹样",
    ),
    (
        "xinnianhuayi",
        "新年花艺 New Year flowers",
        "Chinese New Year floral arrangement, peonies and plum blossom, red and gold, festive",
        "新年花艺风格，牡丹与梅花，红金配色，喜庆热闹",
    ),
    (
        "paper_cut",
        "纸雕 Layered paper",
        "layered paper-cut art, stacked coloured card, soft shadows between layers",
        "纸雕风格，彩色卡纸层层叠放，层间阴影柔和",
    ),
    (
        "poster",
        "复古海报 Vintage poster",
        "vintage travel poster, screen-printed flat colours, bold simplified shapes",
        "复古旅行海报风格，丝网印刷平涂色块，造型概括有力",
    ),
)
"""Keys of one meaning, label, phrase in English and in Chinese. Nothing is written for a style that asks for no style."""

STYLES: Mapping[str, Style] = {
    key: Style(key=key, label=label, phrase=phrase, phrase_zh=phrase_zh) for keys, label, phrase, phrase_zh in _ROWS for key in keys.split()
}
"""What comes along."""


_KEY = re.compile(r"[\w-]{1,64}")


def check_key(key: str) -> str:
    """The key, when a style or a template can have it.

    Raises:
        ValueError: it cannot.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no name; use letters, digits, - and _, 64 at most")
    return key


class StyleEntry(BaseModel):
    """A style as a file has it."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field("", max_length=100)
    phrase: str = Field(min_length=1, max_length=1000)
    phrase_zh: str = Field("", max_length=1000)


_ENTRIES = TypeAdapter(dict[str, StyleEntry])


def read_styles(path: Path, value: object) -> dict[str, Style]:
    """The styles of a file, by key.

    Raises:
        ValueError: it holds something else.
    """
    return {
        check_key(key): Style(key=key, label=entry.label or key, phrase=entry.phrase, phrase_zh=entry.phrase_zh, source=path)
        for key, entry in _ENTRIES.validate_python(value).items()
    }
