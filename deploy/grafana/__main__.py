"""Writes dashboards/*.json from the boards; ``--check`` tells which are not current, exit code 1."""

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import decisions, fleet, gateway
from deploy.grafana.board import dashboard

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = (fleet.BOARD, decisions.BOARD, gateway.BOARD)


def written() -> dict[Path, str]:
    """Each file with what it has to hold."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {
        FOLDER / f"{board.uid.removeprefix('weldgate-')}.json": encoder.encode(dashboard(board)) + "\n"
        for board in BOARDS
    }


def main(arguments: list[str]) -> int:
    files = written()
    old = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    extra = [path for path in FOLDER.glob("*.json") if path not in files]
    if arguments == ["--check"]:
        for path in (*old, *extra):
            print(f"{path.name} is not what the boards say; run: make dashboards")
        return 1 if old or extra else 0
    for path in extra:
        path.unlink()
    for path in old:
        path.write_text(files[path], encoding="utf-8")
        print(f"{path.name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
