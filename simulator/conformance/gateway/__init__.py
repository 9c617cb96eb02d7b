"""A hostile and unlucky chip, and its broker's tricks, around one gateway: each of its duties as a case."""
