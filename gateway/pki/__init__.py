"""The authority that says who is who at the broker: certificates of chips, gateways, readers and the broker."""
