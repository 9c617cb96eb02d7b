"""``python -m simulator`` is ``weldsim``."""

from simulator.cli import app

app()
