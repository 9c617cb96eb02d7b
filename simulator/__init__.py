"""A fleet of reference lock chips and their operators, played against any gateway over a real broker."""
