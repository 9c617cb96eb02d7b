"""The kit that every case of a chip is added to."""

from simulator.conformance.cases import Kit
from simulator.conformance.chip.bench import Bench

CHIP = Kit[Bench]()
case = CHIP.case
