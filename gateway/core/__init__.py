"""The decision, pure: no I/O, no async, no clock, no logging."""
