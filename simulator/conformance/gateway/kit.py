"""The kit that every case of a gateway is added to."""

from simulator.conformance.cases import Kit
from simulator.conformance.gateway.stand import Stand

GATEWAY = Kit[Stand]()
case = GATEWAY.case
