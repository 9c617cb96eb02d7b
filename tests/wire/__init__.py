"""The wire: bytes to structs and back, signed tokens, topics."""
