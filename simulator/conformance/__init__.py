"""A conformance kit for both ends of the protocol: each duty of a chip and of a gateway is one named case."""
