"""What the documents say is true: tables, commands, links, examples."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

import gateway.cli
import simulator.cli
from gateway.core.policy import Policy, Retention, Rulebook, parse
from gateway.core.reasons import FIXED_CODES, REASONS
from gateway.core.rules import CERTIFICATE_RULES, RULES
from gateway.keys import open_keys
from gateway.observe import logs
from gateway.observe.metrics import Metrics
from gateway.registry import sources
from gateway.settings import Settings, load_settings
from gateway.store.engine import open_engine
from gateway.store.journal import Batch, Journal
from gateway.store.ledger import Draft
from gateway.store.purge import DAY_MS, Ordered, purge
from gateway.wire.codec import MAX_PAYLOAD_BYTES
from gateway.wire.messages import DecisionMessage
from gateway.wire.tokens import Verifier
from simulator.grants import Expected, check_grant
from tests.docs.pages import DOCS, PAGES, READMES, ROOT, Block, all_blocks, anchors, blocks, headings, links

DEPLOY = ROOT / "deploy"
FORBIDDEN = ("/work/", "/root/", "/home/", "/Users/", "/tmp/", "pypi.", "pythonhosted", "npmjs", "index-url")
"""Paths of somebody's machine and hosts of package registries have no place in a document."""


def test_generated_parts_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- everything is mentioned ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page
    assert f"`WELDGATE_{name.upper()}`" in page


def test_every_reason_is_documented() -> None:
    assert {text for depth, text in headings(DOCS / "reasons.md") if depth == 3} == set(REASONS)


def test_every_metric_is_documented() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    for family in Metrics("0").registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}`" in page or name.startswith(("python_gc_", "process_")), name


def test_every_log_event_is_documented() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    events = re.findall(r'self\._log\.\w+\(\s*"([a-z._]+)"', Path(logs.__file__).read_text(encoding="utf-8"))
    assert events
    assert [event for event in events if f"| `{event}` |" not in page] == []


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from _commands(command.get_command(None, name), f"{path} {name}")
    else:
        yield path, command


COMMANDS: dict[str, Any] = {
    path: command
    for name, app in (("weldgate", gateway.cli.app), ("weldsim", simulator.cli.app))
    for path, command in _commands(typer.main.get_command(app), name)
}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_is_documented(path: str) -> None:
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    section = page.split(f"## `{path}`\n", 1)[1].split("\n## ", 1)[0]
    for parameter in COMMANDS[path].params:
        if parameter.param_type_name == "option":
            assert f"`{parameter.opts[0]}`" in section


@pytest.mark.parametrize(
    "page", [page for page in DOCS.rglob("*.md") if page.name != "README.md"], ids=lambda p: p.name
)
def test_every_page_is_listed(page: Path) -> None:
    index = page.parent / "README.md"
    assert page.name in links(index)


# --- everything that is mentioned exists ------------------------------------------------------------------------


def _command_lines() -> list[tuple[Block, str]]:
    return [(block, line) for block in all_blocks("bash") for line in block.content.splitlines()]


def _known_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def _problem(line: str) -> str | None:
    """What is wrong with a command line of ours; None for a good one and for other programs."""
    words = [word for word in shlex.split(line, comments=True) if word != "sudo"]
    program = words[0].removeprefix(".venv/bin/") if words else ""
    if program == "make":
        return None if len(words) > 1 and words[1] in _known_targets() else "no such target"
    if program == "python":
        return None if (ROOT / words[1]).is_file() else f"no file {words[1]}"
    if program == "cp":
        return None if words[1].startswith("/") or (ROOT / words[1]).is_file() else f"no file {words[1]}"
    if program not in ("weldgate", "weldsim"):
        return None
    path = max((path for path in COMMANDS if [program, *words[1:]][: len(path.split())] == path.split()), default="")
    return _wrong_parameters(COMMANDS[path], words[len(path.split()) :]) if path else "no such command"


def _wrong_parameters(command: Any, words: list[str]) -> str | None:
    options = {name: parameter for parameter in command.params for name in parameter.opts if name.startswith("-")}
    places = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    given: set[str] = set()
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            if word not in options:
                return f"no option {word}"
            given.add(word)
            if not options[word].is_flag:
                next(rest)
        elif places:
            place = places[0]
            given.add(place.opts[0])
            if place.nargs == 1:
                places.pop(0)
        else:
            return f"nothing takes {word}"
    missing = [p.opts[0] for p in command.params if p.required and not given & set(p.opts)]
    return f"{', '.join(missing)} is missing" if missing else None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("weldgate serve --broker mqtt://x --nonsense", "no option --nonsense"),
        ("weldgate audit", "no such command"),
        ("weldgate audit show", "request_id is missing"),
        ("weldgate serve now", "nothing takes now"),
        ("make nonsense", "no such target"),
        ("weldsim run --registry a --jwks b --quiet", None),
        (".venv/bin/weldgate registry import a b --skip-bad-rows", None),
        ("curl http://127.0.0.1:8080/readyz", None),
    ],
)
def test_a_wrong_command_line_would_be_found(line: str, problem: str | None) -> None:
    assert _problem(line) == problem


def test_every_command_line_exists() -> None:
    lines = _command_lines()
    assert len(lines) > 20
    assert [f"{block}: {line}: {wrong}" for block, line in lines if (wrong := _problem(line))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_nothing_forbidden_is_said() -> None:
    deployed = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files = [*PAGES, *deployed, *DOCS.rglob("*.json")]
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in files
        for word in FORBIDDEN
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_both_readmes_say_the_same() -> None:
    english, chinese = READMES
    assert [depth for depth, _ in headings(english)] == [depth for depth, _ in headings(chinese)]
    assert [block.content for block in blocks(english, "bash")] == [block.content for block in blocks(chinese, "bash")]
    assert [block.info for block in blocks(english)] == [block.info for block in blocks(chinese)]
    other_language = {"README.md", "README.zh.md"}
    assert [link for link in links(english) if link not in other_language] == [
        link for link in links(chinese) if link not in other_language
    ]


# --- examples ---------------------------------------------------------------------------------------------------


def _with_examples_switched_on(path: Path) -> str:
    """Lines that begin with ``#`` and no space are examples that a reader may take into use."""
    return re.sub(r"^#(?=[\[a-z])", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("block", all_blocks("toml policy"), ids=str)
def test_policies_in_the_documents_are_valid(block: Block) -> None:
    parse(block.content)


def test_the_example_policy_is_the_default_one() -> None:
    policy = parse((DEPLOY / "policy.example.toml").read_text(encoding="utf-8"))
    default = Policy()
    for name in Policy.__struct_fields__:
        if name not in ("rules", "grace"):
            assert getattr(policy, name) == getattr(default, name)
    assert Rulebook(policy).holds(None, None) == Rulebook(default).holds(None, None)


def test_the_example_policy_has_every_rule_that_may_be_changed() -> None:
    policy = parse((DEPLOY / "policy.example.toml").read_text(encoding="utf-8"))
    checked = {rule.code for group in RULES for rule in group.rules} | {rule.code for rule in CERTIFICATE_RULES}
    assert set(policy.rules) == checked - FIXED_CODES


def test_the_examples_in_the_example_policy_are_valid() -> None:
    policy = parse(_with_examples_switched_on(DEPLOY / "policy.example.toml"))
    assert policy.division
    assert policy.enterprise


@pytest.mark.parametrize("block", all_blocks("toml sources"), ids=str)
def test_sources_in_the_documents_are_valid(block: Block) -> None:
    assert sources.parse(block.content).sources


def test_the_example_sources_are_the_default_ones() -> None:
    example = (DEPLOY / "registry.example.toml").read_text(encoding="utf-8")
    parsed = sources.parse(example)
    (province,) = parsed.sources.values()
    assert province == sources.Source(province.kind, province.base_url, province.registries)
    assert parsed == sources.Sources(sources={"province": province})


def test_the_example_sources_have_every_key() -> None:
    everything = sources.parse(_with_examples_switched_on(DEPLOY / "registry.example.toml"))
    assert everything.push
    assert everything.precedence
    text = (DEPLOY / "registry.example.toml").read_text(encoding="utf-8")
    keys = {name for struct in (sources.Source, sources.Names, sources.Breaker) for name in struct.__struct_fields__}
    assert {key for key in keys if key not in text} == set()


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WELDGATE_{name.upper()}", raising=False)


@pytest.mark.usefixtures("no_environment")
def test_the_example_settings_are_the_default_ones() -> None:
    example = DEPLOY / "weldgate.example.toml"
    default = Settings.model_construct(config=example)
    assert load_settings(config=example).model_dump() == default.model_dump()


@pytest.mark.usefixtures("no_environment")
def test_the_example_settings_have_every_setting(tmp_path: Path) -> None:
    everything = tmp_path / "weldgate.toml"
    everything.write_text(_with_examples_switched_on(DEPLOY / "weldgate.example.toml"), encoding="utf-8")
    assert load_settings(config=everything).model_fields_set == set(Settings.model_fields)


def _run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "example.py"
    script.write_text(block.content, encoding="utf-8")
    return subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=False)


def test_every_python_example_is_run_here() -> None:
    assert [block.page.name for block in all_blocks("python")] == ["ledger.md", "protocol.md"]
    assert [block.page.name for block in all_blocks("python pytest")] == ["simulator.md"]
    assert [block.page.name for block in all_blocks("python push")] == ["api.md"]  # run in tests/api


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A folder with a database of three records where a gateway keeps it."""
    engine = open_engine(f"sqlite:///{tmp_path / 'var' / 'weldgate.db'}")
    journal = Journal(engine.dialect, open_keys(tmp_path / "keys").signer())
    drafts = [Draft("rejected", 1_793_577_600_000 + number, b"{}", "HJ-0001") for number in range(3)]
    with engine.connect() as connection:
        journal.commit(connection, Batch(drafts=drafts))
    engine.dispose()
    return tmp_path


def test_the_independent_check_of_the_ledger_agrees(ledger: Path) -> None:
    (block,) = blocks(DOCS / "ledger.md", "python")
    done = _run(block, ledger)
    assert done.returncode == 0, done.stderr
    head = done.stdout.split()[-1]
    verified = subprocess.run(
        [sys.executable, "-m", "gateway", "audit", "verify", "--expect-head", head],
        cwd=ledger, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (verified.returncode, verified.stdout.split()[-1]) == (0, head)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger SET record = CAST(replace(record, 'HJ-0001', 'HJ-0002') AS BLOB) WHERE seq = 2",
        "DELETE FROM ledger WHERE seq = 2",
        "UPDATE ledger SET hash = zeroblob(32) WHERE seq = 2",
    ],
)
def test_the_independent_check_of_the_ledger_finds_changes(ledger: Path, change: str) -> None:
    engine = open_engine(f"sqlite:///{ledger / 'var' / 'weldgate.db'}", migrate=False)
    with engine.begin() as connection:
        connection.exec_driver_sql(change)
    engine.dispose()
    (block,) = blocks(DOCS / "ledger.md", "python")
    assert "AssertionError" in _run(block, ledger).stderr


def test_the_independent_check_of_the_ledger_begins_where_a_purge_on_record_says(ledger: Path) -> None:
    engine = open_engine(f"sqlite:///{ledger / 'var' / 'weldgate.db'}", migrate=False)
    with engine.connect() as connection:
        later = [Draft("rejected", 1_793_577_600_000 + 20 * DAY_MS, b"{}", "HJ-0001")]
        Journal(engine.dialect, open_keys(ledger / "keys").signer()).commit(connection, Batch(drafts=later))
    policy = Policy(retention=Retention(ledger_days=10))
    purge(engine, policy, Ordered("Wang An", "past its retention", 1_793_577_600_000 + 20 * DAY_MS))
    (block,) = blocks(DOCS / "ledger.md", "python")
    done = _run(block, ledger)
    assert done.returncode == 0, done.stderr
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ledger_anchor SET seq = 4, hash = (SELECT hash FROM ledger WHERE seq = 4)")
        connection.exec_driver_sql("DELETE FROM ledger WHERE seq = 4")
    engine.dispose()
    assert "the purge on record is up to 3" in _run(block, ledger).stderr


def test_the_grant_example_runs(tmp_path: Path) -> None:
    (block,) = blocks(DOCS / "protocol.md", "python")
    (tmp_path / "docs").symlink_to(DOCS)
    done = _run(block, tmp_path)
    assert (done.returncode, done.stdout) == (0, "close the relay for 900 seconds\n"), done.stderr


def test_the_reference_chip_takes_the_test_vector() -> None:
    vector = msgspec.json.decode((DOCS / "vectors" / "grant.json").read_bytes())
    decision = msgspec.json.decode(vector["payload"], type=DecisionMessage)
    expected = Expected(vector["machine_id"], vector["challenge"], decision.at)
    grant = check_grant(decision.grant or "", Verifier(vector["jwks"]).claims, vector["request_id"], expected)
    assert grant.sid == decision.session_id
    assert len(vector["payload"].encode()) < MAX_PAYLOAD_BYTES


def test_the_fixture_example_runs(tmp_path: Path) -> None:
    (block,) = blocks(DOCS / "simulator.md", "python pytest")
    (tmp_path / "test_example.py").write_text(block.content, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
