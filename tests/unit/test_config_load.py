from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from gristmill.config import (
    ALIASES,
    SECTIONS,
    TABLES,
    ChannelConfig,
    Config,
    ConfigBootstrap,
    NodeConfig,
    PoolConfig,
)
from gristmill.errors import ConfigError, UsageError
from gristmill_orders.config import OrderProcessorConfig, bootstrap

RELEASE = Path(__file__).parents[2] / "release.toml"


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[tuple[str, str], object] | None = None,
) -> Config:
    file = Path("release.toml")
    if text is None:
        file.unlink(missing_ok=True)
    else:
        file.write_text(text)
    return bootstrap().load(environ=environ or {}, overrides=overrides)


def origin(config: Config, section: str, key: str) -> str:
    (found,) = [s for s in config.settings if (s.section, s.key) == (section, key)]
    return found.origin


def error(
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[tuple[str, str], object] | None = None,
) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, environ, overrides)
    return str(caught.value)


# -- merging -------------------------------------------------------------------------------------


def test_defaults_need_no_file() -> None:
    config = load()
    assert config.file is None
    assert config.section(NodeConfig).node_id == "order-node-1"
    assert config.section(OrderProcessorConfig) == OrderProcessorConfig()
    assert config.section(ChannelConfig) == ChannelConfig()
    assert {setting.origin for setting in config.settings} == {"default"}


def test_shipped_file_says_the_defaults_and_every_key() -> None:
    shipped = bootstrap().load(RELEASE, environ={})
    values = [(s.section, s.key, s.value) for s in shipped.settings]
    assert values == [(s.section, s.key, s.value) for s in load().settings]
    assert all(s.origin.startswith(f"{RELEASE}:") for s in shipped.settings)


def test_commented_pools_of_the_shipped_file_are_valid() -> None:
    text = RELEASE.read_text().replace("# [pools", "[pools")
    for key in ("size", "min", "max"):
        text = text.replace(f"# {key} =", f"{key} =")
    pools = load(text).table(PoolConfig)
    assert pools["payment"] == PoolConfig(size=2, min=1, max=8)
    assert pools["shipping"] == PoolConfig(size=2)
    assert set(pools) == {"payment", "inventory", "shipping"}


def test_each_key_is_taken_from_the_strongest_source() -> None:
    config = load(
        "[node]\nnode_id = 'f'\nworkers = 2\ngrpc_port = 7001\n",
        {"NODE_WORKERS": "3", "NODE_GRPC_PORT": "7002"},
        {("node", "grpc_port"): 7003, ("node", "pin_cpus"): None},
    )
    assert config.section(NodeConfig) == bootstrap().load(
        environ={},
        overrides={
            ("node", "node_id"): "f",
            ("node", "workers"): "3",
            ("node", "grpc_port"): "7003",
        },
    ).section(NodeConfig)
    assert origin(config, "node", "node_id") == "release.toml:2"
    assert origin(config, "node", "workers") == "environment NODE_WORKERS"
    assert origin(config, "node", "grpc_port") == "command line"
    assert origin(config, "node", "pin_cpus") == "default"


def test_pools_come_from_every_source() -> None:
    config = load(
        "[pools.payment]\nsize = 2\n[pools.order-export]\nmax = 3\n",
        {"POOLS_PAYMENT_MAX": "5", "POOLS_SHIPPING_SIZE": "4", "POOLS_ORDER_EXPORT_SIZE": "2"},
        {("pools.inventory", "size"): 3},
    )
    assert config.table(PoolConfig) == {
        "payment": PoolConfig(size=2, min=2, max=5),
        "order-export": PoolConfig(size=2, max=3),
        "shipping": PoolConfig(size=4, min=4, max=4),
        "inventory": PoolConfig(size=3),
    }
    assert origin(config, "pools.payment", "max") == "environment POOLS_PAYMENT_MAX"


# -- the file ------------------------------------------------------------------------------------


def test_file_argument_wins_over_variable_over_default(tmp_path: Path) -> None:
    for name in ("a", "b", "release"):
        (tmp_path / f"{name}.toml").write_text(f"[node]\nnode_id = '{name}'\n")
    environ = {"GRISTMILL_CONFIG": "b.toml"}

    def node_id(file: str | None, environ: dict[str, str]) -> str:
        return bootstrap().load(file, environ).section(NodeConfig).node_id

    assert node_id("a.toml", environ) == "a"
    assert node_id(None, environ) == "b"
    assert node_id(None, {}) == "release"
    assert node_id(None, {"GRISTMILL_CONFIG": ""}) == "release"


def test_named_file_must_exist() -> None:
    with pytest.raises(ConfigError, match="no configuration file gone"):
        bootstrap().load("gone.toml", {})
    assert "GRISTMILL_CONFIG" in error(environ={"GRISTMILL_CONFIG": "gone.toml"})


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read"):
        bootstrap().load(tmp_path, {})
    (tmp_path / "latin.toml").write_bytes(b"[node]\nnode_id = '\xe9'\n")
    with pytest.raises(ConfigError, match=r"latin.toml:2: not valid TOML: .* not UTF-8"):
        bootstrap().load("latin.toml", {})


def test_broken_toml_names_line_and_column() -> None:
    assert error("[node]\nworkers = \n").startswith("release.toml:2:11: not valid TOML: ")
    assert error("[node]\nworkers =").startswith("release.toml")


def test_lines_are_found_behind_multi_line_values() -> None:
    config = load(
        '[other]\ntext = """\n[node]\nworkers = 7\n"""\n[channel]\n'
        'kafka_brokers = [\n  "a:1",\n  "b:2",\n]\n[node]\n"workers" = 2\n'
    )
    assert origin(config, "node", "workers") == "release.toml:12"
    assert origin(config, "channel", "kafka_brokers") == "release.toml:7"
    inline = load("node = { workers = 2 }\nchannel.use_redis = true\n")
    assert origin(inline, "node", "workers") == "release.toml:1"
    assert origin(inline, "channel", "use_redis") == "release.toml:2"


# -- wrong values and keys -----------------------------------------------------------------------


def test_wrong_value_names_source_key_and_type() -> None:
    assert error("[node]\nworkers = 0\n") == (
        'release.toml:2: [node] workers = 0: expected an integer of at least 1 or "auto"'
    )
    assert error(environ={"NODE_WORKERS": "-1"}) == (
        "environment NODE_WORKERS: [node] workers = '-1': "
        'expected an integer of at least 1 or "auto"'
    )
    assert "command line: [node] grpc_port" in error(overrides={("node", "grpc_port"): 70000})
    assert "expected true or false" in error("[channel]\nuse_redis = 'yes'\n")
    assert "$[1]" in error("[channel]\nkafka_brokers = ['a', 5]\n")
    assert "an integer" in error("[order_processor]\nmax_orders = true\n")
    assert "an integer" in error("[order_processor]\nmax_orders = '5'\n")


def test_unknown_key_suggests_the_nearest() -> None:
    text = "[node]\nnode_id = 'a'\nworker = 2\n"
    assert error(text) == "release.toml:3: unknown key 'worker' in [node]; did you mean 'workers'?"
    assert "known keys: size, min, max" in error("[pools.payment]\nzzz = 1\n")
    assert "did you mean 'workers'" in error(overrides={("node", "wrokers"): 1})
    assert "did you mean 'node'" in error(overrides={("nodes", "workers"): 1})


def test_unknown_sections_are_left_alone_unless_misspelt() -> None:
    assert load("title = 'x'\n[tool.other]\nworkers = 0\nurl = '${GONE}'\n").file
    assert error("[nodes]\n") == "release.toml:1: unknown section [nodes]; did you mean [node]?"
    assert "belongs into [node]" in error("workers = 3\n")
    assert "expected a section [node]" in error("node = 3\n")
    assert "expected a section [pools.NAME]" in error("[pools]\nsize = 3\n")


@pytest.mark.parametrize("name", ["NODE_ENV", "NODE_PATH", "NODE_OPTIONS", "NODE_NAME", "NODE_IP"])
def test_variables_of_other_programs_are_ignored(name: str) -> None:
    assert load(environ={name: "x"}).section(NodeConfig).workers == "auto"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("NODE_WORKRES", "NODE_WORKERS"),
        ("NODE_ADRESS", "NODE_ADDRESS"),
        ("ORDER_PROCESSOR_MAX_ORDER", "ORDER_PROCESSOR_MAX_ORDERS"),
        ("POOLS_PAYMENT_SIEZ", "POOLS_PAYMENT_SIZE"),
    ],
)
def test_misspelt_variable_is_refused(name: str, meant: str) -> None:
    message = error("[pools.payment]\nsize = 2\n", {name: "1"})
    assert message == f"environment {name}: no such setting; did you mean {meant}?"


def test_contradictions_name_the_origins() -> None:
    message = error("[node]\ngrpc_port = 7000\n", {"NODE_ADDRESS": "10.0.0.5:7000"})
    assert "both use port 7000" in message
    assert "node_address is from environment NODE_ADDRESS" in message
    assert "grpc_port is from release.toml:2" in message
    message = error("[pools.payment]\nsize = 2\nmin = 3\n")
    assert message.startswith("[pools.payment] a pool needs 1 <= min <= size <= max")
    assert "min is from release.toml:3" in message


@pytest.mark.parametrize("address", ["host", ":7000", "host:0", "host:x", "::1:7000", "h:65536"])
def test_bad_address_is_refused(address: str) -> None:
    assert "no host:port" in error(environ={"NODE_ADDRESS": address})


def test_backend_that_is_on_needs_an_address() -> None:
    assert "needs a redis_url" in error("[channel]\nuse_redis = true\nredis_url = ''\n")
    assert "kafka_brokers" in error("[channel]\nuse_kafka = true\n", {"KAFKA_BROKERS": ""})


# -- the environment -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("YES", True),
        ("1", True),
        (" on ", True),
        ("no", False),
        ("Off", False),
        ("0", False),
        ("false", False),
    ],
)
def test_booleans(text: str, value: bool) -> None:
    assert load(environ={"CHANNEL_USE_REDIS": text}).section(ChannelConfig).use_redis is value


def test_bad_boolean_is_refused() -> None:
    assert "expected true or false" in error(environ={"CHANNEL_USE_REDIS": "maybe"})
    assert "expected true or false" in error(environ={"CHANNEL_USE_REDIS": ""})


@pytest.mark.parametrize("text", ["a:1,b:2", " a:1 , b:2, ", '["a:1", "b:2"]'])
def test_lists(text: str) -> None:
    brokers = load(environ={"KAFKA_BROKERS": text}).section(ChannelConfig).kafka_brokers
    assert brokers == ("a:1", "b:2")


def test_broken_json_list_is_refused() -> None:
    assert "expected a list" in error(environ={"KAFKA_BROKERS": '["a:1", '})


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_numbers_are_finite(value: str) -> None:
    says = "[node] drain_seconds = {}: expected a finite number of at least 0"
    assert says.format(value) in error(f"[node]\ndrain_seconds = {value}\n")
    assert says.format(repr(value)) in error(environ={"NODE_DRAIN_SECONDS": value})


def test_empty_variable_is_a_value() -> None:
    config = load("[node]\nnode_address = 'h:7000'\n", {"NODE_ADDRESS": ""})
    assert config.section(NodeConfig).node_address == ""
    assert origin(config, "node", "node_address") == "environment NODE_ADDRESS"
    assert "not empty" in error(environ={"NODE_ID": ""})


def test_alias_and_long_form_must_agree() -> None:
    same = {"KAFKA_BROKERS": "a,b", "CHANNEL_KAFKA_BROKERS": '["a", "b"]'}
    assert origin(load(environ=same), "channel", "kafka_brokers") == "environment KAFKA_BROKERS"
    assert load(environ={"NODE_NODE_ID": "x"}).section(NodeConfig).node_id == "x"
    message = error(environ={"NODE_ID": "x", "NODE_NODE_ID": "y"})
    assert "NODE_ID and NODE_NODE_ID" in message
    assert "[node] node_id" in message


# -- ${VAR} --------------------------------------------------------------------------------------


def test_variables_inside_of_the_file() -> None:
    text = (
        "[node]\nnode_id = 'n-${ZONE}-$$x-$y'\nworkers = '${N:-4}'\n"
        "[channel]\nuse_redis = '${REDIS:-no}'\nkafka_brokers = ['${HOST:-h}:1']\n"
    )
    config = load(text, {"ZONE": "eu", "N": ""})
    assert config.section(NodeConfig).node_id == "n-eu-$x-$y"
    assert config.section(NodeConfig).workers == 4
    assert config.section(ChannelConfig).use_redis is False
    assert config.section(ChannelConfig).kafka_brokers == ("h:1",)


def test_missing_variable_names_file_key_and_variable() -> None:
    message = error("[channel]\nredis_url = 'redis://${HOST}'\n")
    assert message.startswith("release.toml:2: [channel] redis_url: ")
    assert "HOST is not set" in message
    overridden = load(environ={"REDIS_URL": "redis://x"})
    assert overridden.section(ChannelConfig).redis_url == "redis://x"


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${A-b}", "${1}"])
def test_malformed_variable_is_refused(text: str) -> None:
    assert "is no variable" in error(f"[node]\nnode_id = '{text}'\n", {"A": "x"})


# -- declaring -----------------------------------------------------------------------------------


class Simple(msgspec.Struct, frozen=True):
    token: str
    ratio: float = 0.5


@dataclass(frozen=True)
class Plain:
    folders: list[str]
    name: str | None = None


class Clash(msgspec.Struct):
    b_c: int = 1


class Clash2(msgspec.Struct):
    c: int = 1


def test_required_key_must_be_set() -> None:
    declared = ConfigBootstrap({"simple": Simple})
    with pytest.raises(ConfigError, match="SIMPLE_TOKEN"):
        declared.load(environ={})
    config = declared.load(environ={"SIMPLE_TOKEN": "t", "SIMPLE_RATIO": "2"})
    assert config.section(Simple) == Simple("t", 2.0)


def test_dataclasses_are_sections_too() -> None:
    declared = ConfigBootstrap({"plain": Plain})
    assert declared.load(environ={"PLAIN_FOLDERS": "a,b"}).section(Plain) == Plain(["a", "b"])


def test_wrong_declarations_are_refused() -> None:
    with pytest.raises(UsageError, match="undeclared"):
        ConfigBootstrap(SECTIONS, aliases={"X": ("node", "nothing")})
    with pytest.raises(UsageError, match="A_B_C"):
        ConfigBootstrap({"a": Clash, "a_b": Clash2})
    with pytest.raises(TypeError, match="Struct or a dataclass"):
        ConfigBootstrap({"a": int})


def test_asking_for_what_was_not_declared() -> None:
    config = ConfigBootstrap(SECTIONS, tables=TABLES, aliases=ALIASES).load(environ={})
    with pytest.raises(UsageError, match=r"\[node\] NodeConfig"):
        config.section(OrderProcessorConfig)
    with pytest.raises(UsageError, match="0 tables"):
        config.table(NodeConfig)


def test_pool_that_is_made_directly_is_checked() -> None:
    assert PoolConfig(size=3).min == 3
    with pytest.raises(ValueError, match="1 <= min"):
        PoolConfig(size=3, min=-1)
