"""The record of jobs, images, progress and money, in one SQL database. Only this package knows that there is one.

Importing it loads SQLAlchemy (most of a second on a small machine): import it where the record is first used.
"""

from .codecs import keeps_inputs
from .opening import open_history
from .record import History, Standing

__all__ = ["History", "Standing", "keeps_inputs", "open_history"]
