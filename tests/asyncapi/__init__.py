"""The AsyncAPI document says what the code does, and AsyncAPI's own parser reads it."""
