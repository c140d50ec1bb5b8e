"""Bytes and what is in them. Pure functions for a worker thread: nothing here waits, and nothing but `lettering` reads a file.

What a picture is (`examining`), what is written into its file (`containers`, `provenance`, `signing`) and read back (`inspecting`), pictures on their way
in (`inputs`, `masks`), made ready to be stored (`storing`, `thumbnails`), in other formats (`conversion`), and changed without a service (`transforms`,
`watermarks`, `sheets`, `icons`).
"""

from .conversion import converted, pixels, to_png
from .examining import MAX_PIXELS, Facts, NotAPictureError, examine
from .icons import icon_set
from .inputs import Raw, Received, read_input, read_source
from .inspecting import Inspection, inspect
from .masks import Canvas, black_is_edit, canvas, mask_from_alpha, mask_from_boxes, mask_from_white, read_mask, white_is_edit
from .places import Box, Corner, Gravity
from .provenance import aigc_label, embed, read_labels, read_provenance
from .sheets import Tile, contact_sheet
from .signing import Ingredient, Manifest, Signing, Story, can_sign, read_manifest, sign, try_signing
from .storing import Processed, process
from .thumbnails import Thumbnail, thumbnail
from .transforms import Compress, Convert, Crop, Flip, Resize, Rotate, Step, apply
from .watermarks import AI_LABELS, Watermark

__all__ = [
    "AI_LABELS",
    "MAX_PIXELS",
    "Box",
    "Canvas",
    "Compress",
    "Convert",
    "Corner",
    "Crop",
    "Facts",
    "Flip",
    "Gravity",
    "Ingredient",
    "Inspection",
    "Manifest",
    "NotAPictureError",
    "Processed",
    "Raw",
    "Received",
    "Resize",
    "Rotate",
    "Signing",
    "Step",
    "Story",
    "Thumbnail",
    "Tile",
    "Watermark",
    "aigc_label",
    "apply",
    "black_is_edit",
    "can_sign",
    "canvas",
    "contact_sheet",
    "converted",
    "embed",
    "examine",
    "icon_set",
    "inspect",
    "mask_from_alpha",
    "mask_from_boxes",
    "mask_from_white",
    "pixels",
    "process",
    "read_input",
    "read_labels",
    "read_manifest",
    "read_mask",
    "read_provenance",
    "read_source",
    "sign",
    "thumbnail",
    "to_png",
    "try_signing",
    "white_is_edit",
]
