"""Observation: it changes no outcome, and it gives nobody away."""
