"""Named styles and prompt templates: those that come along, and those that people write into YAML files."""

from .shelves import FOLDER, Library
from .templates import Template, Variable

__all__ = ["FOLDER", "Library", "Template", "Variable"]
