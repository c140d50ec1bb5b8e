"""The ways to a picture at Tencent, as data: which action of which service draws, and what it takes.

Facts from https://cloud.tencent.com/document/product/1729/105846, 1729/105969, 1729/108738, 1668/124632, 1823/130080 and 1823/135745, read in November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum

from ...models import Catalogue, Model, Operation, Price, Size, SizeList, SizeRange, Style

TOKENHUB = "tokenhub"
"""The service that is called with a key of its own; the others are signed."""

LARGEST_SEED = 4_294_967_295
"""Seeds start at 1."""


class Form(StrEnum):
    """How a request is written."""

    ACTION = "parameters of a signed action"
    SNAKE_CASE = "the same parameters in lower case, with underscores"
    PROMPT = "prompt and images"
    MESSAGES = "a conversation"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to a picture."""

    model: Model
    service: str
    """`hunyuan` and `aiart` are signed, with the action in a header."""
    action: str
    """Name of the action; at TokenHub the path."""
    query: str = ""
    """The action that looks at a task. Empty: the picture is in the answer."""
    version: str = ""
    form: Form = Form.ACTION
    styles: Mapping[str, str] = field(default_factory=dict)
    """Our style keys, to the action's codes."""
    no_style: str | None = None
    """The code for no style, where silence means one."""
    rewrites: bool = False
    """The prompt is rewritten unless told otherwise, and a seed means nothing then."""
    reference_sizes: SizeList | None = None
    """The sizes drawn from a reference picture, where they are fewer; the prompt is then always rewritten."""
    webp: bool = False
    """It reads WebP besides PNG and JPEG."""
    response: str | None = None
    """What to ask for where the picture can come in the answer or as a link."""


def _sizes(*texts: str) -> SizeList:
    edges = [text.split(":") for text in texts]
    return SizeList(sizes=tuple(Size(width=int(width), height=int(height)) for width, height in edges))


_PRESETS = ("768:768", "768:1024", "1024:768", "1024:1024", "720:1280", "1280:720", "768:1280", "1280:768")
_SQUARE = Size(width=1024, height=1024)
_MEGAPIXEL = SizeRange(min_edge=512, max_edge=2048, max_pixels=_SQUARE.pixels)
_BOTH = frozenset({Operation.GENERATE, Operation.EDIT})

_STYLES = {
    "riman": "日漫动画风格, Japanese anime style",
    "xieshi": "写实风格, photorealistic style",
    "monai": "莫奈印象派画风, Monet impressionist painting style",
    "shuimo": "水墨画风格, Chinese ink wash painting style",
    "bianping": "扁平插画风格, flat illustration style",
    "xiangsu": "像素插画风格, pixel art style",
    "ertonghuiben": "儿童绘本风格, children's picture book style",
    "3dxuanran": "3D渲染风格, 3D rendering style",
    "manhua": "漫画风格, comic style",
    "heibaimanhua": "黑白漫画风格, black and white comic style",
    "dongman": "动漫风格, animation style",
    "bijiasuo": "毕加索立体主义风格, Picasso cubism style",
    "saibopengke": "赛博朋克风格, cyberpunk style",
    "youhua": "油画风格, oil painting style",
    "masaike": "马赛克风格, mosaic style",
    "qinghuaci": "青花瓷风格, blue and white porcelain style",
    "xinnianjianzhi": "新年剪纸画风格, New Year paper-cut art style",
    "xinnianhuayi": "新年花艺风格, New Year floral art style",
}
"""The keys are the codes of SubmitHunyuanImageJob."""

_LITE_STYLES = {
    "riman": "201",
    "xieshi": "401",
    "monai": "109",
    "shuimo": "101",
    "xiangsu": "105",
    "3dxuanran": "116",
    "saibopengke": "113",
    "youhua": "103",
}
"""Those of the 18 that TextToImageLite has too (https://cloud.tencent.com/document/product/1729/108992)."""

_MODEL = Model(provider="hunyuan", id="", max_prompt_chars=1024, languages=frozenset({"en", "zh"}))  # Tencent advises Chinese
_LITE = replace(_MODEL, negative_prompt=True)
_LETTERS = frozenset({"latin", "han"})
"""What version 3.0 writes (https://arxiv.org/abs/2509.23951); of the others Tencent claims nothing."""

WAYS = (
    Way(
        model=replace(
            _MODEL,
            id="hunyuan-image",
            title="Hunyuan Image",
            aliases=("SubmitHunyuanImageJob",),
            operations=_BOTH,
            sizes=_sizes(*_PRESETS),
            default_size=_SQUARE,
            max_count=4,
            seed=True,
            seed_is_free=False,
            negative_prompt=True,
            styles=frozenset(_STYLES),
            max_images=1,
            polled=True,
            note="Tencent rewrites the prompt unless a seed is given. options: Clarity x2 or x4 enlarges, LogoAdd 1 adds a visible mark.",
        ),
        service="hunyuan",
        version="2023-09-01",
        action="SubmitHunyuanImageJob",
        query="QueryHunyuanImageJob",
        styles={key: key for key in _STYLES},
        rewrites=True,
        reference_sizes=_sizes(*_PRESETS[:4]),
    ),
    Way(
        model=replace(
            _MODEL,
            id="hunyuan-image-3.0",
            title="Hunyuan Image 3.0",
            aliases=("SubmitTextToImageJob",),
            operations=_BOTH,
            sizes=_MEGAPIXEL,
            default_size=_SQUARE,
            max_prompt_chars=8192,
            seed=True,
            seed_is_free=False,
            max_images=3,
            writes=_LETTERS,
            polled=True,
            note="Tencent rewrites the prompt unless a seed is given. It took this action out of its libraries in 2026 in favour of hy-image-v3.",
        ),
        service="aiart",
        version="2022-12-29",
        action="SubmitTextToImageJob",
        query="QueryTextToImageJob",
        rewrites=True,
        webp=True,
    ),
    Way(
        model=replace(
            _LITE,
            id="hunyuan-image-lite",
            title="Hunyuan Image Lite",
            aliases=("TextToImageLite",),
            sizes=_sizes(*_PRESETS, "1080:1920", "1920:1080"),
            default_size=Size(width=768, height=768),
            max_prompt_chars=256,
            styles=frozenset(_LITE_STYLES),
            note="Answers at once. options: Style takes any code of Tencent's list, such as 104 for watercolour.",
        ),
        service="hunyuan",
        version="2023-09-01",
        action="TextToImageLite",
        styles=_LITE_STYLES,
        no_style="000",
        response="base64",
    ),
    Way(
        model=replace(
            _MODEL,
            id="hunyuan-image-chat",
            title="Hunyuan Image, in rounds",
            aliases=("SubmitHunyuanImageChatJob",),
            polled=True,
            note="The answer names a ChatId; with it in options, the next prompt changes the picture. Up to 100 rounds, for 7 days.",
        ),
        service="hunyuan",
        version="2023-09-01",
        action="SubmitHunyuanImageChatJob",
        query="QueryHunyuanImageChatJob",
    ),
    Way(
        model=replace(
            _MODEL,
            id="hy-image-v3",
            title="Hy-Image 3.0 (TokenHub)",
            aliases=("hy-image-v3.0",),
            operations=_BOTH,
            sizes=_MEGAPIXEL,
            default_size=_SQUARE,
            max_prompt_chars=8192,
            seed=True,
            seed_is_free=False,
            max_images=3,
            writes=_LETTERS,
            price=Price(amount=0.60, currency="CNY", as_of=date(2026, 11, 21)),  # half a credit, as buyers of credits tell
            note="Needs TENCENT_TOKENHUB_API_KEY. The prompt is not rewritten where a seed is given. options: footnote is a mark of up to 16 characters.",
        ),
        service=TOKENHUB,
        action="v1/wand/hunyuan-image/v3-generation",
        form=Form.PROMPT,
        rewrites=True,
    ),
    Way(
        model=replace(
            _MODEL,
            id="hy-image-v3.5-preview",
            title="Hy-Image 3.5 preview (TokenHub)",
            aliases=("hy-image-v3.5",),
            operations=_BOTH,
            sizes=SizeRange(min_edge=256, max_edge=8192, max_pixels=4096 * 4096),
            default_size=Size(width=2048, height=2048),
            max_prompt_chars=32_000,
            seed=True,
            max_images=20,
            price=Price(amount=0.024, currency="USD", as_of=date(2026, 9, 30), above={2048 * 2048: 4 / 3}),  # a reseller's
            note="Needs TENCENT_TOKENHUB_API_KEY. Without a resolution the model chooses one of up to 4 megapixels. options: footnote, generate_max_pixels.",
        ),
        service=TOKENHUB,
        action="v1/wand/hunyuan-image/v35-generation",
        form=Form.MESSAGES,
    ),
    Way(
        model=replace(
            _LITE,
            id="hy-image-lite",
            title="Hy-Image Lite (TokenHub)",
            sizes=_sizes(
                *("768:768", "1024:1024", "768:1024", "1024:768", "720:1280", "1280:720", "1080:1920", "1920:1080"),
                *("2048:2048", "1536:2048", "2048:1536", "1440:2560", "2560:1440"),
            ),
            default_size=_SQUARE,
            seed=True,
            note="Needs TENCENT_TOKENHUB_API_KEY.",
        ),
        service=TOKENHUB,
        action="v1/api/image/lite",
        form=Form.SNAKE_CASE,
        response="url",
    ),
)

CATALOGUE = Catalogue(
    provider="hunyuan",
    title="Tencent Hunyuan",
    models=tuple(way.model for way in WAYS),
    default_model=WAYS[0].model.id,
    styles={key: Style(key=key, label=label) for key, label in _STYLES.items()},
    resolutions={
        "768:768": "768:768 (1:1 正方形)",
        "768:1024": "768:1024 (3:4 竖向)",
        "1024:768": "1024:768 (4:3 横向)",
        "1024:1024": "1024:1024 (1:1 正方形大图)",
        "720:1280": "720:1280 (9:16 竖向)",
        "1280:720": "1280:720 (16:9 横向)",
        "512:1024": "512:1024 (1:2 竖向)",
        "1024:512": "1024:512 (2:1 横向)",
    },
    variables=("TENCENT_SECRET_ID", "TENCENT_SECRET_KEY"),
)
