"""Teams: with whom a picture is shared."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds a column, and an index over the few pictures that are shared."""
    op.add_column("images", sa.Column("team", sa.String(), nullable=True))
    shared = sa.text("team IS NOT NULL")
    op.create_index("ix_images_shared", "images", ["team", "created_at", "id"], unique=False, sqlite_where=shared, postgresql_where=shared)
