"""The models of Alibaba Cloud Model Studio that draw, and how each wants to be called.

Facts from https://www.alibabacloud.com/help/en/model-studio/image-generation and the pages beneath it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from math import sqrt

from ...models import Catalogue, Model, Operation, Price, Size, SizeList, SizeRange

DEFAULT_MODEL = "qwen-image-2.0"
MAX_SEED = 2**31 - 1

_READS = frozenset({"zh"})
_LETTERS = frozenset({"latin", "han"})
_BOTH = frozenset({Operation.GENERATE, Operation.EDIT})
_EDITS = frozenset({Operation.EDIT})


def area(least: int, most: int, *, ratio: float, multiple: int = 1) -> SizeRange:
    """Sizes with as many pixels as squares with edges from `least` to `most`."""
    longest = int(most * sqrt(ratio))
    return SizeRange(min_edge=1, max_edge=longest, min_pixels=least**2, max_pixels=most**2, multiple=multiple, max_ratio=ratio)


def _edges(shortest: int, longest: int) -> SizeRange:
    return SizeRange(min_edge=shortest, max_edge=longest, max_pixels=longest**2)


def _square(edge: int) -> Size:
    return Size(width=edge, height=edge)


def _usd(amount: float, as_of: date = date(2026, 7, 31)) -> Price:
    """List price of one picture in Singapore."""
    return Price(amount=amount, currency="USD", as_of=as_of)


_ANY = Model(provider="dashscope", id="", operations=_BOTH, max_images=3, seed=True, languages=_READS)
_QWEN = replace(_ANY, negative_prompt=True, writes=_LETTERS)
# Tokens are counted, of which English words take one and a half; what is longer than this is surely too long.
_QWEN_3 = replace(_QWEN, max_count=6, max_prompt_chars=18_000, sizes=area(512, 2048, ratio=8, multiple=16), default_size=_square(2048))
_QWEN_2 = replace(_QWEN_3, max_prompt_chars=5200, sizes=area(512, 2048, ratio=4, multiple=16))
_QWEN_1 = replace(
    _QWEN,
    operations=frozenset({Operation.GENERATE}),
    max_images=0,
    max_prompt_chars=800,
    sizes=SizeList(sizes=tuple(Size(width=w, height=h) for w, h in ((1328, 1328), (1664, 928), (1472, 1104), (1104, 1472), (928, 1664)))),
    default_size=_square(1328),
)
_QWEN_EDIT = replace(_QWEN, operations=_EDITS, max_count=6, max_prompt_chars=800, sizes=_edges(512, 2048))
_WAN_27 = replace(_ANY, max_count=4, max_prompt_chars=5000, max_images=9, writes=_LETTERS, sizes=area(768, 2048, ratio=8), default_size=_square(2048))
_WAN_EDIT = replace(_QWEN, operations=_EDITS, max_count=4, max_prompt_chars=2000, sizes=area(768, 1280, ratio=4), default_size=_square(1280))
_WAN_T2I = replace(
    _QWEN,
    operations=frozenset({Operation.GENERATE}),
    max_images=0,
    max_count=4,
    max_prompt_chars=2000,
    sizes=area(1280, 1440, ratio=4),
    default_size=_square(1280),
)
_WAN_22 = replace(_WAN_T2I, max_prompt_chars=800, writes=frozenset(), sizes=_edges(512, 1440), default_size=_square(1024))
_GROUPS = "Options: thinking_mode, color_palette, bbox_list; enable_sequential draws a set that belongs together."

_OF_3_0 = date(2026, 8, 31)
"""When the prices of Qwen-Image 3.0 were seen, at a reseller."""
_THINKS = "Options: prompt_extend_mode (direct or agent), enable_thinking."

MODELS = (
    replace(_QWEN_3, id="qwen-image-3.0", title="Qwen-Image 3.0", price=_usd(0.03, _OF_3_0), note=_THINKS),
    replace(
        _QWEN_3,
        id="qwen-image-3.0-pro",
        title="Qwen-Image 3.0 Pro",
        price=replace(_usd(0.04, _OF_3_0), above={_square(1024).pixels: 0.075 / 0.04}),
        note=f"Each input picture costs 0.003 dollars more. {_THINKS}",
    ),
    replace(_QWEN_3, id="qwen-image-2.1-pro", title="Qwen-Image 2.1 Pro", max_prompt_chars=5200, max_images=10),
    replace(_QWEN_2, id=DEFAULT_MODEL, title="Qwen-Image 2.0", price=_usd(0.035)),
    replace(_QWEN_2, id="qwen-image-2.0-pro", title="Qwen-Image 2.0 Pro", price=_usd(0.075)),
    replace(_QWEN_1, id="qwen-image-max", title="Qwen-Image Max"),
    replace(_QWEN_1, id="qwen-image-plus", title="Qwen-Image Plus"),
    replace(_QWEN_1, id="qwen-image", title="Qwen-Image"),
    replace(_QWEN_EDIT, id="qwen-image-edit-max", title="Qwen-Image-Edit Max"),
    replace(_QWEN_EDIT, id="qwen-image-edit-plus", title="Qwen-Image-Edit Plus"),
    replace(_QWEN_EDIT, id="qwen-image-edit", title="Qwen-Image-Edit", max_count=1, max_images=1, sizes=None),
    replace(_WAN_27, id="wan2.7-image", title="Wan 2.7", price=_usd(0.03), note=_GROUPS),
    replace(_WAN_27, id="wan2.7-image-pro", title="Wan 2.7 Pro", price=_usd(0.075), note=_GROUPS, sizes=area(768, 4096, ratio=8)),
    replace(_WAN_EDIT, id="wan2.6-image", title="Wan 2.6 Image", max_images=4),
    replace(_WAN_T2I, id="wan2.6-t2i", title="Wan 2.6", max_prompt_chars=2100),
    replace(_WAN_T2I, id="wan2.5-t2i-preview", title="Wan 2.5 (preview)"),
    replace(_WAN_EDIT, id="wan2.5-i2i-preview", title="Wan 2.5 editing (preview)", max_images=2),
    replace(_WAN_22, id="wan2.2-t2i-flash", title="Wan 2.2 Flash"),
    replace(_WAN_22, id="wan2.2-t2i-plus", title="Wan 2.2 Plus"),
    replace(_WAN_22, id="wanx2.1-t2i-turbo", title="Wan 2.1 Turbo"),
    replace(_WAN_22, id="wanx2.1-t2i-plus", title="Wan 2.1 Plus"),
    replace(_WAN_22, id="wanx2.0-t2i-turbo", title="Wan 2.0 Turbo"),
    replace(
        _ANY,
        id="wanx2.1-imageedit",
        title="Wan 2.1 editing",
        operations=frozenset({Operation.EDIT, Operation.INPAINT, Operation.OUTPAINT, Operation.UPSCALE}),
        max_count=4,
        max_prompt_chars=800,
        max_images=1,
        mask=True,
        strength=True,
        price=Price(amount=0.02007, currency="USD", as_of=date(2026, 2, 11)),
        note="In the region Beijing only. The option function chooses what else it can: stylization_all, stylization_local, remove_watermark, "
        "colorization, doodle, control_cartoon_feature.",
    ),
    replace(
        _ANY,
        id="z-image-turbo",
        title="Z-Image Turbo",
        operations=frozenset({Operation.GENERATE}),
        max_images=0,
        max_prompt_chars=800,
        writes=_LETTERS,
        sizes=area(512, 2048, ratio=4),
        default_size=Size(width=1024, height=1536),
        price=_usd(0.015),
        note="The option prompt_extend lets the service rewrite the prompt, at twice the price.",
    ),
)

# How they are called ------------------------------------------------------------------------------------------------------------------------


class Form(Enum):
    """How a body is laid out."""

    MESSAGE = "messages"
    """Pictures and words are the parts of one message."""
    PROMPT = "prompt"
    """The prompt and the pictures are fields."""
    FUNCTION = "function"
    """As before, and a field says what is to be done."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """How a model is called. The service turns away a model that is called in another one's way."""

    path: str
    task: bool = True
    """The work is taken and looked at until it is done; otherwise the answer brings the pictures."""
    form: Form = Form.PROMPT


_AIGC = "services/aigc"
AT_ONCE = Call(path=f"{_AIGC}/multimodal-generation/generation", task=False, form=Form.MESSAGE)
AS_TASK = Call(path=f"{_AIGC}/image-generation/generation", form=Form.MESSAGE)
FROM_TEXT = Call(path=f"{_AIGC}/text2image/image-synthesis")
FROM_IMAGES = Call(path=f"{_AIGC}/image2image/image-synthesis")
BY_FUNCTION = replace(FROM_IMAGES, form=Form.FUNCTION)

CALLS: Mapping[str, Call] = {
    "qwen-image": FROM_TEXT,
    "qwen-image-plus": FROM_TEXT,
    "wan2.7-image": AS_TASK,
    "wan2.7-image-pro": AS_TASK,
    "wan2.6-image": AS_TASK,
    "wan2.6-t2i": AS_TASK,
    "wan2.5-t2i-preview": FROM_TEXT,
    "wan2.5-i2i-preview": FROM_IMAGES,
    "wan2.2-t2i-flash": FROM_TEXT,
    "wan2.2-t2i-plus": FROM_TEXT,
    "wanx2.1-t2i-turbo": FROM_TEXT,
    "wanx2.1-t2i-plus": FROM_TEXT,
    "wanx2.0-t2i-turbo": FROM_TEXT,
    "wanx2.1-imageedit": BY_FUNCTION,
}
"""As a task wherever there is a choice: a task outlives the question. All other models answer at once."""


def call_for(model: str) -> Call:
    """How the model of that id is called; a dated edition, which knows no tasks even where the line does, at once."""
    return CALLS.get(model, AT_ONCE)


CATALOGUE = Catalogue(
    provider="dashscope",
    title="DashScope",
    models=MODELS,
    default_model=DEFAULT_MODEL,
    styles={},
    resolutions={
        "2048x2048": "2048x2048 (1:1 正方形 square)",
        "2688x1536": "2688x1536 (16:9 横向 landscape)",
        "1536x2688": "1536x2688 (9:16 竖向 portrait)",
        "2368x1728": "2368x1728 (4:3 横向 landscape)",
        "1728x2368": "1728x2368 (3:4 竖向 portrait)",
        "1024x1024": "1024x1024 (1:1 正方形小图 small square)",
    },
    variables=("DASHSCOPE_API_KEY",),
    unknown=_ANY,
)
