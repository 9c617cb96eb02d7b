"""A registry on the network to run a gateway against: real HTTP, paging, faults by switch, pushes."""
