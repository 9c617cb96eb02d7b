"""``python -m gateway`` is ``weldgate``."""

from gateway.cli import app

app()
