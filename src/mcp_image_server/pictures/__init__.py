"""Bytes and what is in them. Pure functions for a worker thread: nothing here waits, and nothing but `lettering` reads a file.

What a picture is (`examining`), what is written into its file (`containers`, `provenance`), pictures on their way in (`inputs`, `masks`), made ready to
be stored (`storing`, `thumbnails`), in other formats (`conversion`), and changed without a service (`transforms`, `watermarks`, `sheets`, `icons`).
"""

from .conversion import converted, pixels, to_png
from .examining import MAX_PIXELS, Facts, NotAPictureError, examine
from .icons import icon_set
from .inputs import Received, read_input
from .masks import Canvas, black_is_edit, canvas, mask_from_alpha, mask_from_boxes, mask_from_white, read_mask, white_is_edit
from .places import Box, Corner, Gravity
from .provenance import embed, read_provenance
from .sheets import Tile, contact_sheet
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
    "NotAPictureError",
    "Processed",
    "Received",
    "Resize",
    "Rotate",
    "Step",
    "Thumbnail",
    "Tile",
    "Watermark",
    "apply",
    "black_is_edit",
    "canvas",
    "contact_sheet",
    "converted",
    "embed",
    "examine",
    "icon_set",
    "mask_from_alpha",
    "mask_from_boxes",
    "mask_from_white",
    "pixels",
    "process",
    "read_input",
    "read_mask",
    "read_provenance",
    "thumbnail",
    "to_png",
    "white_is_edit",
]
