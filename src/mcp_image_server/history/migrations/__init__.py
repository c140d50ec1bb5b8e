"""How the database came to be, step by step. Steps are only ever appended; each says why in its docstring.

Importing this loads alembic; it is only done when there is a step to take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection


def scripts() -> ScriptDirectory:
    """The steps, as alembic sees them."""
    return ScriptDirectory(str(Path(__file__).parent))


def migrate(connection: Connection) -> None:
    """Takes every step that is missing, in the transaction that the connection is in."""
    steps = scripts()

    def missing(revision: Any, context: Any) -> Any:
        return steps._upgrade_revs("head", revision)  # noqa: SLF001 - what alembic's own command does; it has no public name

    with EnvironmentContext(Config(), steps, fn=missing, destination_rev="head") as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
