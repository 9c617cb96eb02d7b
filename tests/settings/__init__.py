"""The settings: where each value comes from, and what is said of one that cannot be used."""
