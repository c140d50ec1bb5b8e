"""Named styles and prompt templates: those that come along, and those that people write into files or keep in the record."""

from .drawer import MAX_KEPT, MAX_KEPT_BYTES, Drawer
from .overlay import KeptEntry, Overlay
from .shelves import FOLDER, Library
from .styles import StyleEntry
from .templates import Template, TemplateEntry, Variable

__all__ = ["FOLDER", "MAX_KEPT", "MAX_KEPT_BYTES", "Drawer", "KeptEntry", "Library", "Overlay", "StyleEntry", "Template", "TemplateEntry", "Variable"]
