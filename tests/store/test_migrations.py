"""The schema: up, down and up again, and the same as the tables in the code."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect

from gateway.errors import DatabaseUnavailable
from gateway.store.engine import open_engine
from gateway.store.schema import alembic_config, upgrade
from gateway.store.tables import metadata
from tests.store.databases import Databases


def schema(path: Path) -> dict[str, str]:
    """Every table and index as SQLite holds it, in one spelling."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: _spelled(sql) for name, sql in found if not name.startswith("alembic")}


def _spelled(sql: str) -> str:
    parts = re.sub(r"\s+", " ", sql.replace('"', "")).replace("( ", "(").replace(" )", ")").split(", ")
    if not sql.startswith("CREATE TABLE"):
        return ", ".join(parts)
    # a table made anew lists its constraints in any order
    return ", ".join(sorted(part.strip("() ") for part in parts))


def downgrade(engine: Engine) -> None:
    with engine.connect() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")


def test_up_down_and_up_again(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    engine = open_engine(f"sqlite:///{path}")
    first = schema(path)
    downgrade(engine)
    assert schema(path) == {}
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(engine)
    assert schema(path) == first
    engine.dispose()


def test_going_up_twice_changes_nothing(template: Path, tmp_path: Path, databases: Databases) -> None:
    path = databases.file()
    open_engine(f"sqlite:///{path}").dispose()
    assert schema(path) == schema(template)


def test_the_migrations_make_what_the_code_says(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_constraints_and_partial_indexes_are_those_of_the_code_too(template: Path, tmp_path: Path) -> None:
    """What the comparison above does not look at."""
    path = tmp_path / "from-code.db"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    migrated, made = schema(template), schema(path)
    assert set(migrated) == set(made)
    for name in made:
        assert re.findall(r"CHECK \(.*?\)(?:,|\)$)|UNIQUE|WHERE .*", migrated[name]) == re.findall(
            r"CHECK \(.*?\)(?:,|\)$)|UNIQUE|WHERE .*", made[name]
        ), name


def test_a_database_of_a_newer_version_is_refused_with_the_remedy(databases: Databases) -> None:
    path = databases.file()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(DatabaseUnavailable, match="use the version of WeldGate that it was made with"):
        open_engine(f"sqlite:///{path}")


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "",
        "foo://somebody:secret@host/db",
        "postgresql+nodriver://somebody:secret@host/db",
        "postgresql://somebody:secret@host:port/db",
        "somebody:secret@host",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        open_engine(url)
    assert "--database" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gate.db").write_bytes(b"this is not a database, it only has its name. " * 100)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        open_engine(f"sqlite:///{tmp_path}/gate.db")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseUnavailable, match="--database"):
        open_engine(f"sqlite:///{tmp_path}/file/gate.db")


def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    open_engine(f"sqlite:///{tmp_path}/a/b/gate.db", migrate=False).dispose()
    assert (tmp_path / "a/b").is_dir()
