"""What the tests stand on: real brokers on free ports."""
