"""A library of images: found by their words in any script, with titles, tags, favourites, a trash, and what was made from what."""

import sqlalchemy as sa
from alembic import op

from mcp_image_server.history.words import words_of

revision = "0003"
down_revision = "0002"

PAGE = 500


def upgrade() -> None:
    """Adds columns and tables, and takes up the images that were there before."""
    op.add_column("images", sa.Column("title", sa.Text(), nullable=False, server_default=""))
    op.add_column("images", sa.Column("favourite", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("images", sa.Column("deleted_at", sa.BigInteger(), nullable=True))
    op.drop_column("images", "prompt_folded")
    there = sa.text("deleted_at IS NOT NULL")
    op.create_index("ix_images_deleted", "images", ["deleted_at"], unique=False, sqlite_where=there, postgresql_where=there)
    op.create_table(
        "image_tags",
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_image_tags_image_id")),
        sa.PrimaryKeyConstraint("image_id", "tag", name=op.f("pk_image_tags")),
    )
    op.create_index(op.f("ix_image_tags_tag_image_id"), "image_tags", ["tag", "image_id"], unique=False)
    op.create_table(
        "image_parents",
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_image_parents_image_id")),
        sa.PrimaryKeyConstraint("image_id", "parent_id", name=op.f("pk_image_parents")),
    )
    op.create_index(op.f("ix_image_parents_parent_id_image_id"), "image_parents", ["parent_id", "image_id"], unique=False)
    op.create_table(
        "image_words",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_image_words_image_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_image_words")),
    )
    op.create_index(op.f("ix_image_words_image_id"), "image_words", ["image_id"], unique=True)
    for statement in SQLITE.split("\n\n") if op.get_bind().dialect.name == "sqlite" else [POSTGRESQL]:
        op.execute(statement)
    take_up(op.get_bind())


def take_up(connection: sa.Connection) -> None:
    """Words and parents of every image, oldest first."""
    images = sa.table("images", *map(sa.column, ("id", "prompt", "revised_prompt", "created_at")), sa.column("parents", sa.JSON))
    image_words = sa.table("image_words", sa.column("image_id"), sa.column("words"))
    image_parents = sa.table("image_parents", sa.column("image_id"), sa.column("parent_id"))
    place = sa.tuple_(images.c.created_at, images.c.id)
    query = sa.select(images).order_by(images.c.created_at, images.c.id).limit(PAGE)
    page = connection.execute(query).all()
    while page:
        words = [{"image_id": row.id, "words": " ".join(words_of(f"{row.prompt}\n{row.revised_prompt or ''}"))} for row in page]
        connection.execute(sa.insert(image_words), words)
        if parents := [{"image_id": row.id, "parent_id": parent} for row in page for parent in dict.fromkeys(row.parents)]:
            connection.execute(sa.insert(image_parents), parents)
        page = connection.execute(query.where(place > (page[-1].created_at, page[-1].id))).all()


# Words come ready made, and only which rows hold one is asked: where in the row, and how long it is, would make the index several times larger.
SQLITE = """
CREATE VIRTUAL TABLE image_index USING fts5
    (words, content='image_words', content_rowid='number', tokenize='ascii', detail=none, columnsize=0, prefix='1 2 3');

CREATE TRIGGER image_words_added AFTER INSERT ON image_words BEGIN
    INSERT INTO image_index (rowid, words) VALUES (new.number, new.words);
END;

CREATE TRIGGER image_words_removed AFTER DELETE ON image_words BEGIN
    INSERT INTO image_index (image_index, rowid, words) VALUES ('delete', old.number, old.words);
END;

CREATE TRIGGER image_words_changed AFTER UPDATE OF words ON image_words BEGIN
    INSERT INTO image_index (image_index, rowid, words) VALUES ('delete', old.number, old.words);
    INSERT INTO image_index (rowid, words) VALUES (new.number, new.words);
END;
"""

POSTGRESQL = "CREATE INDEX image_index ON image_words USING gin (array_to_tsvector(string_to_array(words, ' ')))"
