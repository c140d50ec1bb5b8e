"""Batches: jobs that are entered together, and found again by what was asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds a table, and to which batch a job belongs."""
    op.create_table(
        "batches",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("sheet", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.add_column("jobs", sa.Column("batch_id", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("position", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_jobs_batch_id_position"), "jobs", ["batch_id", "position"], unique=False)
