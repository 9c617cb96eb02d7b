"""Bytes on the wire to and from the core's structs: topics, messages, signed tokens. Pure."""
