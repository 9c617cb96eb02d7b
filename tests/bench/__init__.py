"""The benchmark: the gateway beside a bare echo, under the same closed-loop load."""
