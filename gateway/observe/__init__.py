"""Watching without touching: frozen events, and what makes metrics, logs and the feed of them."""
