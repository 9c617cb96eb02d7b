"""The core: what the gate decides, as a regulator could check it, and what holds for every decision."""
