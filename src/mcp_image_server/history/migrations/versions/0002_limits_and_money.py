"""What several processes must agree on: whose turn it is, what a service asked of us, what money is promised, and which requests are the same."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the columns, with what they mean for jobs that were there before, and two tables."""
    for column in (
        sa.Column("account", sa.String(), nullable=False, server_default=""),
        sa.Column("pictures", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("alternates", sa.JSON(), nullable=False, server_default="[]"),
        sa.Column("fingerprint", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("attended", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("estimate", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("promised", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("promised_currency", sa.String(), nullable=False, server_default=""),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
    ):
        op.add_column("jobs", column)
    op.create_index(op.f("ix_jobs_account_principal_begun_at"), "jobs", ["account", "principal", "begun_at"], unique=False)
    op.create_index(op.f("ix_jobs_account_begun_at"), "jobs", ["account", "begun_at"], unique=False)
    op.create_index(op.f("ix_jobs_principal_idempotency_key"), "jobs", ["principal", "idempotency_key"], unique=True)
    op.add_column("events", sa.Column("preview_key", sa.String(), nullable=True))
    op.create_table(
        "breakers",
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("openings", sa.Integer(), nullable=False),
        sa.Column("open_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("provider", "model", name=op.f("pk_breakers")),
    )
    op.create_table(
        "pauses",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_pauses")),
    )
