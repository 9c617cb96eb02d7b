"""registry.toml: what it may say, and that what cannot hold is refused with line, key, value and remedy."""

from base64 import b64encode
from pathlib import Path

import pytest

from gateway.registry.sources import (
    Auth,
    Sender,
    Sources,
    SourcesError,
    auth_headers,
    load_sources,
    parse,
    push_secrets,
)

SOURCE = """[sources.province]
kind = "http"
base_url = "https://registry.example/v1"
registries = ["operators", "certificates"]
"""
SECRET = "correct-horse-battery-staple"


def test_a_file_that_says_nothing_has_no_source() -> None:
    assert parse("") == Sources()


def test_what_a_source_needs_is_three_lines() -> None:
    source = parse(SOURCE).sources["province"]
    assert (source.path("operators"), source.auth.kind, source.required) == ("/operators", "none", False)


BAD = [
    # added text, line, what the message has to name
    ("typo = 1\n", 5, ["typo"]),
    ("interval_s = 'often'\n", 5, ["interval_s"]),
    ("interval_s = 0\n", 5, ["interval_s"]),
    ("retries = 11\n", 5, ["retries"]),
    ("rate_per_s = 0\n", 5, ["rate_per_s"]),
    ("paging = 'scroll'\n", 5, ["paging"]),
    ("paging = 'page'\n", 5, ["paging", "incremental"]),
    ("incremental = 'always'\n", 5, ["incremental"]),
    ("required = 1\n", 5, ["required"]),
    ("lookup = '/operators'\n", 5, ["lookup", "{operator_id}"]),
    ("lookup = 'operators/{operator_id}'\n", 5, ["lookup", "'/'"]),
    ("breaker = {failures = 0}\n", 5, ["failures"]),
    ("\n[sources.province.breaker]\nopens = 3\n", 7, ["opens"]),
    ("[sources.province.paths]\noperators = 'o'\n", 6, ["'o'", "'/'"]),
    ("[sources.province.paths]\nmachines = '/m'\n", 6, ["'machines'", "registries"]),
    ("[sources.province.fields.operators]\nID = 'id'\n", 6, ["'id'", "operator_id"]),
    ("[sources.province.fields.operators]\na = 'name'\nb = 'name'\n", 6, ["'name'", "keep one"]),
    ("[sources.province.fields.operators]\na = 'name'\nb = 7\n", 7, ["operators.b"]),
    ("[sources.province.values.operators.state]\n'1' = 'active'\n", 5, ["'state'", "status"]),
    ("[sources.province.values.operators.status]\n'1' = 'well'\n", 6, ["'well'", "active"]),
    ("[sources.province.auth]\nkind = 'magic'\n", 6, ["kind"]),
    ("[sources.province.auth]\nkind = 'bearer'\n", 5, ["token_env or token_file"]),
    ("[sources.province.auth]\nkind = 'bearer'\ntoken_env = 'A'\ntoken_file = 'b'\n", 5, ["one of the two"]),
    ("[sources.province.auth]\nkind = 'basic'\ntoken_env = 'A'\n", 5, ["needs user"]),
    ("[sources.province.auth]\nkind = 'header'\ntoken_env = 'A'\nheader = 'a b'\n", 8, ["no header"]),
    ("[sources.province.auth]\nuser = 'me'\n", 6, ["user", "no use"]),
    ("[sources.FILES]\nkind = 'http'\nbase_url = 'https://a.example'\nregistries = ['machines']\n", 5, ["'FILES'"]),
    ("[sources.files]\nkind = 'http'\nbase_url = 'https://a.example'\nregistries = ['machines']\n", 5, ["'files'"]),
    (
        "[sources.other]\nkind = 'ftp'\nbase_url = 'https://a.example'\nregistries = ['machines']\n",
        6,
        ["kind", "other"],
    ),
    ("[sources.other]\nkind = 'http'\nbase_url = 'https://a.example'\n", 5, ["registries", "other"]),
    ("[push.centre]\n", 5, ["secret_env or secret_file"]),
    ("[push.centre]\nsecret_env = 'A'\nsecret_file = 'b'\n", 5, ["one of the two"]),
    ("[precedence]\nwelders = ['files']\n", 6, ["'welders'", "certificates"]),
    ("[precedence]\noperators = ['files', 'nobody']\n", 6, ["'nobody'", "province"]),
    ("[precedence]\noperators = ['files', 'files']\n", 6, ["twice"]),
    ('[precedence]\n"operators.age" = ["files"]\n', 6, ["'age'", "status"]),
    ("[guard]\nshare_percent = 0\n", 6, ["share_percent"]),
    ("[guard]\nat_least = -1\n", 6, ["at_least"]),
    ("[guards]\nat_least = 1\n", 5, ["guards"]),
    ("interval_s = \n", 5, ["TOML"]),
]


@pytest.mark.parametrize(("added", "line", "named"), BAD, ids=[text.replace("\n", "⏎") for text, _, _ in BAD])
def test_what_cannot_hold_is_refused_with_its_line(added: str, line: int, named: list[str]) -> None:
    with pytest.raises(SourcesError) as refused:
        parse(SOURCE + added)
    message = str(refused.value)
    assert message.startswith("registry.toml")
    assert f"line {line}" in message
    assert [name for name in named if name not in message] == []
    assert "\n" not in message


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("registry.example", "no URL"),
        ("ftp://registry.example", "no URL"),
        ("https://", "no URL"),
        ("https://registry.example:port", "no URL"),
        (f"https://me:{SECRET}@registry.example", "secrets"),
        (f"https://registry.example/?key={SECRET}", "secrets"),
        ("http://registry.example", "plain_http"),
    ],
)
def test_a_base_url_that_cannot_be_used_is_refused_and_not_repeated(url: str, why: str) -> None:
    with pytest.raises(SourcesError, match=why) as refused:
        parse(SOURCE.replace("https://registry.example/v1", url))
    assert "line 3" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9090/v1", "http://localhost", "http://[::1]:80"])
def test_without_tls_a_source_may_be_on_this_machine(url: str) -> None:
    parse(SOURCE.replace("https://registry.example/v1", url))


def test_without_tls_a_source_elsewhere_needs_a_word() -> None:
    parse(SOURCE.replace("https", "http") + "plain_http = true\n")


@pytest.mark.parametrize("section", ["sources.province.auth", "push.centre", "sources.province.breaker", "guard"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(section: str) -> None:
    with pytest.raises(SourcesError, match="unknown field `token`") as refused:
        parse(f"{SOURCE}[{section}]\ntoken = '{SECRET}'\n")
    assert SECRET not in str(refused.value)


# --- secrets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        (Auth(), {}),
        (Auth("bearer", token_env="T"), {"Authorization": f"Bearer {SECRET}"}),
        (Auth("basic", token_env="U", user="me"), {"Authorization": "Basic bWU6eA=="}),
        (Auth("header", token_env="T", header="X-Key"), {"X-Key": SECRET}),
    ],
)
def test_how_a_source_knows_us(auth: Auth, headers: dict[str, str]) -> None:
    assert auth_headers("province", auth, {"T": SECRET, "U": "x"}) == headers


def test_a_secret_in_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first, second = (f"whsec_{b64encode(bytes([number]) * 32).decode()}" for number in (1, 2))
    path.write_text(f"{first} {second}\n")
    path.chmod(0o600)
    sender = Sender(secret_file=str(path))
    assert push_secrets("centre", sender) == (bytes([1]) * 32, bytes([2]) * 32)
    path.chmod(0o640)
    with pytest.raises(SourcesError, match=r"0640.*chmod 600") as refused:
        push_secrets("centre", sender)
    assert first not in str(refused.value)


def test_a_secret_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(SourcesError, match=r"push\.centre\] secret: is no secret: whsec_ and base64") as refused:
        push_secrets("centre", Sender(secret_env="T"), {"T": SECRET})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("auth", [Auth("bearer", token_env="NOT_SET"), Auth("bearer", token_file="/no/such/file")])
def test_a_secret_that_is_not_there_is_named(auth: Auth) -> None:
    with pytest.raises(SourcesError, match=rf"sources\.province\.auth\] token_.*{auth.token_env or auth.token_file}"):
        auth_headers("province", auth, {})


# --- the whole file ---------------------------------------------------------------------------------------------


def test_precedence_and_guard_are_what_every_way_in_goes_by() -> None:
    text = '[precedence]\noperators = ["province", "files"]\n"operators.id_number" = ["files"]\n[guard]\nat_least = 7\n'
    how = parse(SOURCE + text).how()
    assert how.precedence.rank("operators", "status", "files") == 1
    assert how.precedence.rank("operators", "id_number_index", "files") == 0
    assert how.guard is not None
    assert (how.guard.share_percent, how.guard.at_least) == (2.0, 7)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SourcesError, match=r"--registry nowhere.toml"):
        load_sources(Path("nowhere.toml"))
