from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.config import ConfigBootstrap, NodeConfig, Setting, redacted
from gristmill.config.sections import ALIASES, SECTIONS, TABLES
from gristmill.config.sources import TomlFile
from gristmill.config.values import interpolate
from gristmill.errors import ConfigError

BOOTSTRAP = ConfigBootstrap(SECTIONS, tables=TABLES, aliases=ALIASES)
WORKERS = st.one_of(st.none(), st.integers(1, 64), st.just("auto"))
NAMES = st.text("abcdefgh_-", min_size=1, max_size=6)
QUICK = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "c.toml"


def refusal(call: Callable[[], object]) -> str | None:
    try:
        call()
    except ConfigError as error:
        return str(error)
    return None


@QUICK
@given(on_line=WORKERS, in_environment=WORKERS, in_file=WORKERS)
def test_strongest_source_wins(
    file: Path, on_line: object, in_environment: object, in_file: object
) -> None:
    file.write_text("[node]\n" + (f"workers = {json.dumps(in_file)}\n" if in_file else ""))
    environ = {"NODE_WORKERS": str(in_environment)} if in_environment else {}
    config = BOOTSTRAP.load(file, environ, {("node", "workers"): on_line})
    layers = [
        (on_line, "command line"),
        (in_environment, "environment NODE_WORKERS"),
        (in_file, f"{file}:2"),
        ("auto", "default"),
    ]
    value, origin = next((value, origin) for value, origin in layers if value is not None)
    assert config.section(NodeConfig).workers == value
    (setting,) = [s for s in config.settings if s.key == "workers"]
    assert (setting.value, setting.origin) == (value, origin)


@QUICK
@given(environ=st.dictionaries(
    st.sampled_from(["NODE_WORKERS", "NODE_ADDRESS", "KAFKA_BROKERS", "POOLS_A_MIN", "POOLS__MIN",
                     "CHANNEL_USE_REDIS", "NODE_", "POOLS_SIZE"]),
    st.text(max_size=12),
))  # fmt: skip
def test_any_environment_loads_or_is_refused_by_name(file: Path, environ: dict[str, str]) -> None:
    file.write_text("")
    message = refusal(lambda: BOOTSTRAP.load(file, environ))
    assert message is None or any(name in message for name in environ)


@QUICK
@given(text=st.text(max_size=200))
def test_any_text_is_toml_or_is_refused(text: str) -> None:
    message = refusal(lambda: TomlFile("c.toml", text))
    assert message is None or message.startswith("c.toml")


@QUICK
@given(tables=st.dictionaries(NAMES, st.lists(NAMES, unique=True, max_size=4), max_size=4))
def test_lines_point_at_their_keys(tables: dict[str, list[str]]) -> None:
    lines: list[str] = []
    places: dict[tuple[str, str], int] = {}
    for table, keys in tables.items():
        lines += ["# a = 1", f"[ {table} ]  # the table"]
        for key in keys:
            lines += [f'  {key} = [ "=",', '    "x" ]', ""]
            places[table, key] = len(lines) - 2
    file = TomlFile("c.toml", "\n".join(lines))
    for path, line in places.items():
        assert file.origin(*path) == f"c.toml:{line}"


@QUICK
@given(text=st.text(max_size=30))
def test_escaped_text_is_left_as_it_was(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}) == (text, False)


@QUICK
@given(
    user=st.text("abc", max_size=3),
    password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=3, max_size=12),
)
def test_no_password_survives(user: str, password: str) -> None:
    url = f"redis://{user}:{password}@host:6379/0"
    shown = redacted(Setting("channel", "redis_url", url, "default")).value
    assert shown == f"redis://{user}:***@host:6379/0"
