"""A hostile network and a gateway around one chip: each duty of "What a chip does" as a case."""
