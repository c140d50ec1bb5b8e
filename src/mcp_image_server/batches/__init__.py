"""Many pictures asked for at once: what a list of rows means, what it would cost, and what became of it.

A batch is a set of jobs that were entered together. Each item is an ordinary job in line, so limits, turns, crashes and money are looked after as for any other.
The id of a batch follows from who asks for what, and the key of each job from the batch and the item: the same batch begun again finds the same jobs.
"""

from .batch import Batch, BatchEstimate, Bill, Piece, Watch
from .batches import Batches
from .items import MAX_ITEMS, Item, Row, Written, batch_id, expand, is_batch_id, numbered, read_rows

__all__ = [
    "MAX_ITEMS",
    "Batch",
    "BatchEstimate",
    "Batches",
    "Bill",
    "Item",
    "Piece",
    "Row",
    "Watch",
    "Written",
    "batch_id",
    "expand",
    "is_batch_id",
    "numbered",
    "read_rows",
]
