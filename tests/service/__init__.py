"""The gateway as a process, with real brokers, seen from outside alone."""
