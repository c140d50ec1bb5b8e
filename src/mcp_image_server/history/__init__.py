"""The record of jobs, images, progress and money, in one SQL database. Only this package knows that there is one.

Importing it loads SQLAlchemy (most of a second on a small machine): import it where the record is first used.
"""

from .batches import Order
from .codecs import request_to_json
from .kept import Kept
from .line import Line, Load
from .money import Budget
from .opening import open_history
from .record import Held, History, Standing
from .rows import Entry

__all__ = ["Budget", "Entry", "Held", "History", "Kept", "Line", "Load", "Order", "Standing", "open_history", "request_to_json"]
