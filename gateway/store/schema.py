"""The schema's revisions. Apart from the engine, since Alembic's 10 MB are needed for a moment only."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine

from gateway.errors import DatabaseUnavailable


def upgrade(engine: Engine) -> None:
    """Bring the schema to the newest revision. Raises DatabaseUnavailable where it is newer than this version."""
    with engine.connect() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise DatabaseUnavailable(
                f"--database: {error}; use the version of WeldGate that it was made with"
            ) from error


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config
