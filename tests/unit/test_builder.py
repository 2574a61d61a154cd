"""Builders, factory, registry and application, without any process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

import gristmill
from gristmill import (
    Actor,
    ActorBuilder,
    ActorFactory,
    ActorNotFoundError,
    Application,
    Breaker,
    Durable,
    Mailbox,
    NodeBuilder,
    ObjectRegistry,
    OverflowPolicy,
    Ref,
)
from gristmill.config import ChannelConfig, Config
from gristmill.errors import ActorTypeError, ConfigError, UsageError
from gristmill.node.building.application import library_bootstrap
from gristmill.supervision import Backoff, ChildSpec, Restart, SupervisorSpec
from gristmill.transport.control import ActorSpec
from support.actors import Worker


class Careful(Worker):
    """Has a facet of its own."""

    facets = (Durable(),)


def actor_of(child: ChildSpec) -> ActorSpec:
    assert child.start is not None
    return msgspec.msgpack.decode(child.start, type=ActorSpec)


def loaded(
    tmp_path: Path,
    text: str = "",
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[tuple[str, str], object] | None = None,
) -> Config:
    file = tmp_path / "release.toml"
    file.write_text(text)
    return library_bootstrap().load(file, environ or {}, overrides)


def tree_of(builder: NodeBuilder) -> tuple[Any, ...]:
    return builder.build()._root.children


class TestActorBuilder:
    def test_every_option_is_in_the_spec(self) -> None:
        child = (
            ActorBuilder(Careful)
            .args(1)
            .kwargs(x="y")
            .name("calc")
            .mailbox(7, "fail")
            .facet(Breaker("gateway"))
            .placement("dedicated")
            .on_restart("drop")
            .restart("transient")
            .shutdown(2.5)
            .backoff(0.1, 3.0, jitter=0.5)
            .child_spec()
        )
        assert (child.id, child.restart, child.shutdown) == ("calc", Restart.TRANSIENT, 2.5)
        assert child.backoff == Backoff(0.1, 3.0, 0.5)
        actor = actor_of(child)
        assert actor.type.endswith("test_builder:Careful")
        assert msgspec.msgpack.decode(actor.args) == [[1], {"x": "y"}]
        assert (actor.name, actor.placement, actor.on_restart) == ("calc", "dedicated", "drop")
        assert actor.mailbox == Mailbox(7, OverflowPolicy.FAIL)
        assert actor.facets == (Durable(), Breaker("gateway"))

    def test_without_options_the_class_decides(self) -> None:
        child = ActorBuilder(Careful).child_spec()
        assert (child.id, child.restart) == ("Careful", Restart.PERMANENT)
        assert actor_of(child).facets == (Durable(),)
        assert actor_of(child).mailbox == Careful.mailbox

    def test_a_builder_serves_as_a_template(self) -> None:
        template = ActorBuilder(Worker).args(1)
        first, second = template.name("a"), template.name("b").args(2)
        assert first.child_spec().id == "a"
        assert msgspec.msgpack.decode(actor_of(first.child_spec()).args)[0] == [1]
        assert msgspec.msgpack.decode(actor_of(second.child_spec()).args)[0] == [2]
        assert template.child_spec().id == "Worker"

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            (lambda: ActorBuilder(Worker).mailbox(0), "1 or more, not 0"),
            (lambda: ActorBuilder(Worker).mailbox(1, "explode"), "wait, fail, drop_oldest"),
            (lambda: ActorBuilder(Worker).restart("often").child_spec(), "permanent, transient"),
            (lambda: ActorBuilder(Worker).on_restart("sell").child_spec(), "'keep' or 'drop'"),
            (lambda: ActorBuilder(Worker).args(object()).child_spec(), "can't travel"),
            (lambda: ActorBuilder(int).child_spec(), "no actor class"),  # type: ignore[type-var]  # the point
        ],
    )
    def test_what_makes_no_sense_is_refused(self, wrong: Any, says: str) -> None:
        with pytest.raises(UsageError, match=says):
            wrong()


class TestNodeBuilder:
    def test_every_option_reaches_the_node(self, tmp_path: Path) -> None:
        node = (
            NodeBuilder("n1")
            .workers(3)
            .journal(tmp_path, durability="power")
            .pin_cpus()
            .trace()
            .preload("json")
            .preload("csv")
            .blas_threads(2)
            .restarts(9, within=1.5)
            .boot_timeout(4.0)
            .build()
        )
        assert (node.workers, node._given_id, node._pin_cpus) == (3, "n1", True)
        assert (node._journal, node._durability) == (str(tmp_path), "power")
        assert (node._preload, node._blas_threads) == (("json", "csv"), 2)
        assert (node._root.max_restarts, node._root.within) == (9, 1.5)
        assert (node._boot_timeout, node._trace) == (4.0, True)

    def test_the_tree_keeps_its_order(self) -> None:
        builder = (
            NodeBuilder()
            .actor(ActorBuilder(Worker).name("a"))
            .pool(Worker, "p", size=2)
            .supervise(SupervisorSpec("s"))
        )
        children = tree_of(builder)
        assert [child.id for child in children] == ["a", "p", "s"]
        assert [child.id for child in children[1].children] == ["p-1", "p-2"]
        assert actor_of(children[1].children[0]).name == "p-1"

    def test_a_builder_is_left_as_it_was(self) -> None:
        builder = NodeBuilder().workers(1)
        builder.workers(2).actor(ActorBuilder(Worker))
        assert builder.build().workers == 1
        assert tree_of(builder) == ()

    @pytest.mark.parametrize("workers", [0, -1, "many", True, 1.5])
    def test_workers_that_make_no_sense(self, workers: Any) -> None:
        with pytest.raises(UsageError, match="whole number from 1 on, or 'auto'"):
            NodeBuilder().workers(workers)

    def test_pools_that_make_no_sense(self) -> None:
        with pytest.raises(UsageError, match="1 actor or more, not 0"):
            NodeBuilder().pool(Worker, "p", size=0)
        with pytest.raises(UsageError, match="a pool 'p' already"):
            NodeBuilder().pool(Worker, "p").pool(Worker, "p")


class TestConfigure:
    def test_file_wins_over_code_and_code_over_defaults(self, tmp_path: Path) -> None:
        builder = NodeBuilder("mine").workers(3).pool(Worker, "p", size=2)
        plain = builder.configure(loaded(tmp_path))
        assert (plain.node_id, plain.build().workers) == ("mine", 3)
        assert len(tree_of(plain)[0].children) == 2
        text = '[node]\nnode_id = "theirs"\nworkers = 5\npin_cpus = true\ntrace = true\n'
        text += "[pools.p]\nsize = 4\n"
        told = builder.configure(loaded(tmp_path, text))
        assert (told.node_id, told.build().workers, told.build()._pin_cpus) == ("theirs", 5, True)
        assert told.build()._trace
        assert len(tree_of(told)[0].children) == 4

    def test_environment_and_command_line_win_over_the_file(self, tmp_path: Path) -> None:
        text = "[node]\nworkers = 5\n[pools.p]\nsize = 4\n"
        environ = {"NODE_WORKERS": "6", "POOLS_P_SIZE": "7"}
        builder = NodeBuilder().pool(Worker, "p")
        told = builder.configure(loaded(tmp_path, text, environ))
        assert told.build().workers == 6
        assert len(tree_of(told)[0].children) == 7
        last = builder.configure(loaded(tmp_path, text, environ, {("pools.p", "size"): "1"}))
        assert len(tree_of(last)[0].children) == 1

    def test_what_would_have_no_effect_is_refused(self, tmp_path: Path) -> None:
        text = '[node]\nnode_address = "10.0.0.1:7000"\n'
        with pytest.raises(
            ConfigError, match=r"release.toml:2: .*joining other nodes.* not in this version"
        ):
            NodeBuilder().configure(loaded(tmp_path, text))

    def test_the_configuration_of_channels_wins_over_the_builders_if_somebody_has_set_it(
        self, tmp_path: Path
    ) -> None:
        given = ChannelConfig(partitions=3)
        builder = NodeBuilder().channels(given)
        assert builder.configure(loaded(tmp_path, ""))._options["channels"] == given
        told = builder.configure(loaded(tmp_path, "[channel]\nuse_redis = true\n"))
        assert told._options["channels"] == ChannelConfig(use_redis=True)
        assert NodeBuilder().configure(loaded(tmp_path, ""))._options["channels"] == ChannelConfig()


class TestApplication:
    def test_takes_builders_and_functions(self, tmp_path: Path) -> None:
        config = loaded(tmp_path, "[node]\nworkers = 2\n")
        builder = NodeBuilder("shop")
        seen: list[Config] = []

        def with_config(config: Config) -> NodeBuilder:
            seen.append(config)
            return builder

        targets: list[object] = [
            builder,
            lambda: builder,
            with_config,
            Application(with_config),
        ]
        for target in targets:
            made = Application.of(target, "m:app").builder(config)
            assert (made.node_id, made.build().workers) == ("shop", 2)
        assert seen == [config, config]

    @pytest.mark.parametrize(
        ("target", "says"),
        [
            (5, "m:app is of type int"),
            (Worker, "m:app is a class; it must be a NodeBuilder"),
            (lambda a, b: None, "takes a, b; it may take one Config"),
            (lambda: 5, "gave a value of type int"),
        ],
    )
    def test_refuses_the_rest(self, tmp_path: Path, target: Any, says: str) -> None:
        with pytest.raises(UsageError, match=says):
            Application.of(target, "m:app").builder(loaded(tmp_path))

    def test_a_size_for_no_pool_is_an_error(self, tmp_path: Path) -> None:
        config = loaded(tmp_path, "[pools.pricer]\nsize = 2\n")
        builder = NodeBuilder().pool(Worker, "pricers")
        with pytest.raises(ConfigError, match=r"release.toml:2: .*did you mean 'pricers'"):
            Application.of(builder, "m:app").builder(config)
        # whoever takes the configuration may read it as they like
        assert Application(lambda _: builder).builder(config).pools == ("pricers",)


class FakeNode:
    """Knows names, as a node does."""

    def __init__(self, node_id: str, *names: str) -> None:
        self.node_id = node_id
        self.refs: dict[str, Ref[Any]] = {name: object() for name in names}  # type: ignore[misc]  # only identity counts

    def lookup(self, name: str) -> Ref[Any]:
        if name not in self.refs:
            raise ActorNotFoundError(f"no actor is named {name!r}")
        return self.refs[name]


class TestRegistryAndFactory:
    def test_actor_types(self) -> None:
        factory = ActorFactory()
        factory.register("pricer", Worker)
        factory.register("pricer", Worker)
        assert factory.builder("pricer").kind is Worker
        assert dict(factory.registry.actor_types) == {"pricer": Worker}

    def test_an_unknown_type_names_the_nearest(self) -> None:
        factory = ActorFactory()
        with pytest.raises(ActorTypeError, match=r"no actor type 'pricr'; \(types: none\)"):
            factory.builder("pricr")
        factory.register("pricer", Worker)
        with pytest.raises(ActorTypeError, match=r"did you mean 'pricer'\? \(types: pricer\)"):
            factory.builder("pricr")

    def test_a_type_can_stand_for_one_class_only(self) -> None:
        registry = ObjectRegistry()
        registry.register_type("pricer", Worker)
        with pytest.raises(UsageError, match=r"is support\.actors\.Worker already"):
            registry.register_type("pricer", Careful)
        with pytest.raises(ActorTypeError, match="no actor class"):
            registry.register_type("number", int)  # type: ignore[arg-type]  # the point

    def test_names_are_looked_up_on_the_nodes(self) -> None:
        registry = ObjectRegistry()
        with pytest.raises(ActorNotFoundError, match="add_node"):
            registry.lookup("a")
        first, second = FakeNode("n1", "a"), FakeNode("n2", "a", "b")
        registry.add_node(first)
        registry.add_node(second)
        assert registry.lookup("a") is first.refs["a"]
        assert registry.lookup("b") is second.refs["b"]
        with pytest.raises(ActorNotFoundError, match=r"n1: .*; n2: "):
            registry.lookup("c")
        registry.remove_node("n2")
        with pytest.raises(ActorNotFoundError):
            registry.lookup("b")

    def test_two_nodes_of_one_name(self) -> None:
        registry = ObjectRegistry()
        registry.add_node(FakeNode("n1"))
        with pytest.raises(UsageError, match="remove it first"):
            registry.add_node(FakeNode("n1"))


def test_every_public_name_can_be_imported() -> None:
    assert {name: hasattr(gristmill, name) for name in gristmill.__all__} == dict.fromkeys(
        gristmill.__all__, True
    )
    assert issubclass(gristmill.Actor, Actor)
    assert not hasattr(gristmill, "NoSuchName")
