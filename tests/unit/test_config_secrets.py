from __future__ import annotations

import pytest

from gristmill.config import Setting, redacted
from gristmill.config.bootstrap import ConfigBootstrap
from gristmill.config.sections import SECTIONS
from gristmill.errors import ConfigError


def masked(value: object, *, secret: bool = False) -> object:
    return redacted(Setting("s", "k", value, "default", secret)).value


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379", "redis://localhost:6379"),
        ("redis://:hunter2@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://user:hunter2@h", "redis://user:***@h"),
        ("redis://user:hun@ter/2@h", "redis://user:***@h"),
        ("https://hunter2@h/x", "https://***@h/x"),
        ("redis://h?db=1&password=hunter2&x=1", "redis://h?db=1&password=***&x=1"),
        ("redis://a:hunter2@h1,redis://b:hunter2@h2", "redis://a:***@h2"),
    ],
)
def test_passwords_in_urls(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert masked([url]) == [shown]


def test_secret_settings_are_masked_whole() -> None:
    assert masked("x", secret=True) == "***"
    assert masked(1234, secret=True) == "***"
    assert masked("", secret=True) == ""
    assert masked(("a", "b"), secret=True) == ["***", "***"]
    assert masked({"user": "u", "api_key": "x"}) == {"user": "u", "api_key": "***"}
    assert masked(5) == 5


def test_declared_secrets_are_marked() -> None:
    config = ConfigBootstrap(SECTIONS, secrets=[("node", "node_id")]).load(environ={})
    assert [s.key for s in config.settings if s.secret] == ["node_id"]


def test_errors_do_not_leak(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("config") / "c.toml"
    file.write_text("[channel]\nredis_url = ['redis://u:hunter2@h']\n")
    with pytest.raises(ConfigError, match="redis_url") as caught:
        ConfigBootstrap(SECTIONS).load(file, environ={})
    assert "hunter2" not in str(caught.value)
