"""Lists of batches: read in their order, without going through what was asked for."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds indexes by owner and by time."""
    op.create_index(op.f("ix_batches_principal_created_at_id"), "batches", ["principal", "created_at", "id"], unique=False)
    op.create_index(op.f("ix_batches_created_at_id"), "batches", ["created_at", "id"], unique=False)
