"""The document as the tests read it."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATH = ROOT / "docs" / "asyncapi.json"
DOCUMENT: dict[str, Any] = json.loads(PATH.read_bytes())
CHANNELS: dict[str, dict[str, Any]] = DOCUMENT["channels"]
OPERATIONS: dict[str, dict[str, Any]] = DOCUMENT["operations"]
MESSAGES: dict[str, dict[str, Any]] = DOCUMENT["components"]["messages"]
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]
PARAMETERS: dict[str, dict[str, Any]] = DOCUMENT["components"]["parameters"]
COMMANDS = {
    schema["properties"]["cmd"]["const"]: schema
    for schema in SCHEMAS.values()
    if "const" in schema["properties"].get("cmd", {})
}
"""The schema of each command's claims."""


def channel_of(operation: dict[str, Any]) -> dict[str, Any]:
    return CHANNELS[operation["channel"]["$ref"].removeprefix("#/channels/")]


def address_of(operation: dict[str, Any]) -> str:
    """A topic of the operation, with the parameters' examples filled in."""
    address: str = channel_of(operation)["address"]
    for name, parameter in PARAMETERS.items():
        address = address.replace(f"{{{name}}}", parameter["examples"][0])
    return address
