"""Turn prompts into stored images through many services behind one interface."""

__version__ = "1.0.0.dev0"
