"""Chips, broker, network, people and the gateway itself under one virtual clock, with faults and invariants."""
