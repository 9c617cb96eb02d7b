"""Dashboards are what their boards say, can be told apart, and explain themselves in both languages."""

import re
import subprocess
import sys
from typing import Any

import pytest

from tests.deploy.files import BOARDS, GRAFANA, ROOT, boards, panels, read_yaml

BOTH_LANGUAGES = re.compile(r".*[\u4e00-\u9fff].* .*[A-Za-z]{3,}.*")
PANELS = [(board["uid"], panel) for board in boards() for panel in panels(board)]
NAMES = [f"{uid}-{panel['id']}" for uid, panel in PANELS]


def test_the_files_are_what_the_boards_say() -> None:
    command = [sys.executable, "-m", "deploy.grafana", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_and_panels_have_ids_of_their_own() -> None:
    assert {board["uid"] for board in boards()} == {"weldgate-fleet", "weldgate-decisions", "weldgate-gateway"}
    assert len(BOARDS) == 3
    for board in boards():
        numbers = [panel["id"] for panel in board["panels"]]
        assert numbers == list(range(1, len(numbers) + 1))


def test_no_panel_lies_on_another() -> None:
    for board in boards():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            x, y, w, h = (panel["gridPos"][side] for side in "xywh")
            cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
            assert x + w <= 24, panel["title"]
            assert not cells & taken, panel["title"]
            taken |= cells


@pytest.mark.parametrize(("_uid", "panel"), PANELS, ids=NAMES)
def test_a_panel_explains_itself(_uid: str, panel: dict[str, Any]) -> None:
    assert BOTH_LANGUAGES.fullmatch(panel["title"])
    assert BOTH_LANGUAGES.fullmatch(panel["description"])
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])
    references = [target["refId"] for target in panel["targets"]]
    assert references == list("ABCDEFGH"[: len(references)])


def _sources(value: Any) -> list[Any]:
    """Every datasource that is named anywhere in a dashboard."""
    if isinstance(value, list):
        return [found for one in value for found in _sources(one)]
    if not isinstance(value, dict):
        return []
    named = [value["datasource"]] if "datasource" in value else []
    return named + [found for one in value.values() for found in _sources(one)]


def test_there_is_no_datasource_but_the_provisioned_one() -> None:
    (provisioned,) = read_yaml(GRAFANA / "provisioning" / "datasources" / "weldgate.yml")["datasources"]
    known = {"type": provisioned["type"], "uid": provisioned["uid"]}
    for board in boards():
        named = _sources(board)
        assert len(named) > len(panels(board))
        assert all(source == known for source in named)


def test_the_datasource_asks_for_no_less_than_prometheus_reads() -> None:
    (provisioned,) = read_yaml(GRAFANA / "provisioning" / "datasources" / "weldgate.yml")["datasources"]
    scraping = read_yaml(ROOT / "deploy" / "prometheus" / "prometheus.yml")["global"]
    assert provisioned["jsonData"]["timeInterval"] == scraping["scrape_interval"]


def test_every_board_can_be_narrowed_to_gateways_and_divisions() -> None:
    for board in boards():
        assert [variable["name"] for variable in board["templating"]["list"]] == ["instance", "division"]


def test_the_provider_reads_a_folder() -> None:
    (provider,) = read_yaml(GRAFANA / "provisioning" / "dashboards" / "weldgate.yml")["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards/weldgate")
