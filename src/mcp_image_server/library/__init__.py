"""Named styles and prompt templates: those that come along, and those that people write into files."""

from .drawer import MAX_KEPT_BYTES, Drawer
from .shelves import FOLDER, Library
from .styles import StyleEntry
from .templates import Template, TemplateEntry, Variable

__all__ = ["FOLDER", "MAX_KEPT_BYTES", "Drawer", "Library", "StyleEntry", "Template", "TemplateEntry", "Variable"]
