"""``ConfigBootstrap``: command line over environment over file over defaults, key by key."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gristmill.config.loading import Loader
from gristmill.config.schema import Schema
from gristmill.config.settings import Setting
from gristmill.config.sources import open_file
from gristmill.errors import UsageError

S = TypeVar("S")


class Config:
    """The configuration that is in effect, checked and typed."""

    def __init__(
        self,
        sections: Mapping[str, object],
        tables: Mapping[str, tuple[type[Any], Mapping[str, Any]]],
        settings: tuple[Setting, ...],
        file: str | None,
    ) -> None:
        """Hold what :meth:`ConfigBootstrap.load` has read."""
        self._sections = sections
        self._tables = tables
        self.settings = settings
        """Every value with its origin, in the order of the declared sections."""
        self.file = file
        """The file that was read, or None."""

    def section(self, kind: type[S]) -> S:
        """Give the section that was declared with ``kind`` or with a subclass of it.

        Raises:
            UsageError: no section or more than one was declared so.
        """
        found = [section for section in self._sections.values() if isinstance(section, kind)]
        if len(found) != 1:
            declared = ", ".join(
                f"[{name}] {type(s).__name__}" for name, s in self._sections.items()
            )
            raise UsageError(
                f"{len(found)} sections are declared with {kind.__name__}, and one is needed; "
                f"declared: {declared}"
            )
        return found[0]

    def table(self, kind: type[S]) -> Mapping[str, S]:
        """Give the entries, by name, of the table that was declared with ``kind``.

        Raises:
            UsageError: no table or more than one was declared so.
        """
        found = [
            entries for declared, entries in self._tables.values() if issubclass(declared, kind)
        ]
        if len(found) != 1:
            raise UsageError(
                f"{len(found)} tables are declared with {kind.__name__}, and one is needed"
            )
        return found[0]


class ConfigBootstrap:
    """Declares the sections of a program's configuration, and loads it.

    The variable of ``[order_processor] max_orders`` is ``ORDER_PROCESSOR_MAX_ORDERS``, and that of
    ``[pools.payment] size`` is ``POOLS_PAYMENT_SIZE``. An empty variable is a value, and not an
    absent one. Sections and variables that nobody declared are left alone, unless they look like
    a slip of the finger.
    """

    def __init__(
        self,
        sections: Mapping[str, type[Any]],
        *,
        tables: Mapping[str, type[Any]] | None = None,
        aliases: Mapping[str, tuple[str, str]] | None = None,
        secrets: Collection[tuple[str, str]] = (),
    ) -> None:
        """Declare what can be configured.

        Args:
            sections: the msgspec Struct or dataclass of each section. A ``ValueError`` from its
                ``__post_init__`` becomes a ConfigError with the origins of the keys it names.
            tables: the type of the entries of each table of sections, such as ``[pools.NAME]``.
            aliases: further variables, each for one (section, key).
            secrets: (section, key) pairs to mask, beside those whose name says it.

        Raises:
            UsageError: an alias or secret names no declared key, or two keys share a variable.
        """
        self._sections = [Schema.of((name,), kind) for name, kind in sections.items()]
        self._tables = dict(tables or {})
        self._aliases = dict(aliases or {})
        self._secrets = frozenset(secrets)
        self._check()

    def _check(self) -> None:
        keys = {(schema.name, key) for schema in self._sections for key in schema.types}
        for section, key in (*self._aliases.values(), *self._secrets):
            if (section, key) not in keys and section.partition(".")[0] not in self._tables:
                raise UsageError(
                    f"an alias or a secret names [{section}] {key}, and it is undeclared"
                )
        owners = dict(self._aliases)
        for schema in self._sections:
            for key in schema.types:
                owner = owners.setdefault(schema.variable(key), (schema.name, key))
                if owner != (schema.name, key):
                    raise UsageError(
                        f"[{schema.name}] {key} and [{owner[0]}] {owner[1]} share the variable "
                        f"{schema.variable(key)}; rename one"
                    )

    def load(
        self,
        file: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[tuple[str, str], object] | None = None,
    ) -> Config:
        """Read every source and merge them.

        Args:
            file: the file to read; None: the one in ``GRISTMILL_CONFIG``, else ``release.toml`` in
                the current folder when it exists.
            environ: the environment; None: that of this process.
            overrides: values of the command line, by (section, key), with ``pools.payment`` for an
                entry of a table. None as a value means not given; a string is read as text.

        Raises:
            ConfigError: a source can't be read, a key is unknown, or a value is wrong.
        """
        environ = os.environ if environ is None else environ
        source = open_file(file, environ)
        loader = Loader(
            sections=self._sections,
            tables=self._tables,
            aliases=self._aliases,
            secrets=self._secrets,
            file=source,
            environ=environ,
            overrides={k: v for k, v in (overrides or {}).items() if v is not None},
        )
        sections, tables, settings = loader.load()
        return Config(sections, tables, settings, source.name if source else None)
