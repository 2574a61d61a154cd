"""One load: looks every declared key up in its sources, and refuses what nobody declared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

from gristmill.config.schema import (
    SECTION_CUTOFF,
    VARIABLE_CUTOFF,
    Schema,
    nearest,
    suggestion,
    variable_part,
)
from gristmill.config.settings import Setting, is_secret, redacted
from gristmill.config.sources import TomlFile
from gristmill.config.values import Raw, convert, expected, interpolate
from gristmill.errors import ConfigError

COMMAND_LINE = "command line"

Loaded = tuple[dict[str, object], dict[str, tuple[type[Any], dict[str, Any]]], tuple[Setting, ...]]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """The declarations and the sources of one load; see :class:`ConfigBootstrap`."""

    sections: list[Schema]
    tables: Mapping[str, type[Any]]
    aliases: Mapping[str, tuple[str, str]]
    secrets: frozenset[tuple[str, str]]
    file: TomlFile | None
    environ: Mapping[str, str]
    overrides: Mapping[tuple[str, str], object]

    def load(self) -> Loaded:
        """Give the sections, the tables and all settings.

        Raises:
            ConfigError: a key is unknown, or a value is wrong.
        """
        self._check_top_level()
        entries = {table: list(self._entries(table)) for table in self.tables}
        schemas = self.sections + [schema for found in entries.values() for schema in found]
        self._check_keys(schemas)
        self._check_overrides(schemas)
        self._check_environment(schemas)
        settings: list[Setting] = []
        values = {schema.name: self._build(schema, settings) for schema in schemas}
        tables = {
            table: (kind, {schema.path[1]: values[schema.name] for schema in entries[table]})
            for table, kind in self.tables.items()
        }
        sections = {schema.name: values[schema.name] for schema in self.sections}
        return sections, tables, tuple(settings)

    # -- one section ---------------------------------------------------------------------------

    def _build(self, schema: Schema, settings: list[Setting]) -> object:
        origins: dict[str, str] = {}
        given: dict[str, Any] = {}
        for key in schema.types:
            raw = self._from_overrides(schema, key)
            raw = raw or self._from_environment(schema, key) or self._from_file(schema, key)
            if raw is not None:
                origins[key] = raw.origin
                given[key] = self._typed(schema, key, raw)
            elif key in schema.required:
                raise ConfigError(
                    f"[{schema.name}] {key} has no default and is not set; set it in the file, "
                    f"or with the variable {schema.variable(key)}"
                )
        try:
            section: object = schema.kind(**given)
        except ValueError as error:
            named = [key for key in schema.types if re.search(rf"\b{key}\b", str(error))]
            where = "; ".join(f"{key} is from {origins.get(key, 'default')}" for key in named)
            where = where and f" ({where})"
            raise ConfigError(f"[{schema.name}] {error}{where}") from error
        settings.extend(
            self._setting(schema, key, getattr(section, key), origins.get(key, "default"))
            for key in schema.types
        )
        return section

    def _setting(self, schema: Schema, key: str, value: object, origin: str) -> Setting:
        secret = is_secret(key) or (schema.name, key) in self.secrets
        return Setting(schema.name, key, value, origin, secret)

    def _typed(self, schema: Schema, key: str, raw: Raw) -> object:
        kind = schema.types[key]
        try:
            return convert(raw, kind)
        except msgspec.MsgspecError as error:
            shown = redacted(self._setting(schema, key, raw.value, raw.origin)).value
            # msgspec names the place inside of a nested value; elsewhere the type says it all.
            detail = f" ({error})" if " - at " in str(error) else ""
            raise ConfigError(
                f"{raw.origin}: [{schema.name}] {key} = {shown!r}: "
                f"expected {expected(kind)}{detail}"
            ) from None

    def _from_overrides(self, schema: Schema, key: str) -> Raw | None:
        value = self.overrides.get((schema.name, key))
        return None if value is None else Raw(value, COMMAND_LINE, text=True)

    def _from_environment(self, schema: Schema, key: str) -> Raw | None:
        names = [alias for alias, owner in self.aliases.items() if owner == (schema.name, key)]
        names = [name for name in (*names, schema.variable(key)) if name in self.environ]
        raws = [Raw(self.environ[name], f"environment {name}", text=True) for name in names]
        if len(raws) > 1:
            first, *others = (self._typed(schema, key, raw) for raw in raws)
            if any(other != first for other in others):
                raise ConfigError(
                    f"environment: {' and '.join(names)} all set [{schema.name}] {key}, "
                    "and to different values; unset all but one"
                )
        return raws[0] if raws else None

    def _from_file(self, schema: Schema, key: str) -> Raw | None:
        section = self._in_file(schema)
        if self.file is None or key not in section:
            return None
        origin = self.file.origin(*schema.path, key)
        where = f"{origin}: [{schema.name}] {key}"
        try:
            value, text = interpolate(section[key], self.environ)
        except LookupError as error:
            name = error.args[0]
            raise ConfigError(
                f"{where}: the environment variable {name} is not set; "
                f"set it, or write ${{{name}:-default}}"
            ) from None
        except ValueError as error:
            raise ConfigError(
                f"{where}: {error} is no variable; write ${{VAR}} or ${{VAR:-default}}, "
                "or $$ for a dollar sign"
            ) from None
        return Raw(value, origin, text)

    def _in_file(self, schema: Schema) -> Mapping[str, object]:
        node: Any = self.file.tree if self.file else {}
        for part in schema.path:
            node = node.get(part, {})
        section: Mapping[str, object] = node
        return section

    # -- entries of tables ---------------------------------------------------------------------

    def _entries(self, table: str) -> Iterator[Schema]:
        """Find the entries of a table in every source; a variable names its entry in lower case."""
        names: dict[str, str] = {}
        in_file = self.file.tree.get(table, {}) if self.file else {}
        overridden = (section.partition(".") for section, _ in self.overrides)
        for name in (*in_file, *(entry for head, _, entry in overridden if head == table)):
            names.setdefault(variable_part(name), name)
        template = Schema.of((table,), self.tables[table])
        keys = "|".join(variable_part(key) for key in template.types)
        pattern = re.compile(rf"{variable_part(table)}_([A-Z0-9_]+?)_(?:{keys})")
        for variable in self.environ:
            if found := pattern.fullmatch(variable):
                names.setdefault(found[1], found[1].lower())
        return (template._replace(path=(table, name)) for name in names.values())

    # -- what nobody declared ------------------------------------------------------------------

    def _check_top_level(self) -> None:
        known = [schema.name for schema in self.sections] + list(self.tables)
        for name, value in (self.file.tree if self.file else {}).items():
            if name in known:
                self._expect_table(value, name)
            elif near := nearest(name, known, SECTION_CUTOFF):
                self._refuse((name,), f"unknown section [{name}]; did you mean [{near}]?")
            elif not isinstance(value, dict):
                for schema in self.sections:
                    if name in schema.types:
                        self._refuse(
                            (name,), f"{name} stands in no section; it belongs into [{schema.name}]"
                        )

    def _check_keys(self, schemas: Iterable[Schema]) -> None:
        for schema in schemas:
            section = self._in_file(schema)
            for key in section:
                if key not in schema.types:
                    hint = suggestion(key, schema.types)
                    self._refuse(
                        (*schema.path, key), f"unknown key {key!r} in [{schema.name}]; {hint}"
                    )

    def _expect_table(self, value: object, name: str) -> None:
        if not isinstance(value, dict):
            self._refuse((name,), f"expected a section [{name}], and not {name} = ...")
        for entry, inner in value.items() if name in self.tables else ():
            if not isinstance(inner, dict):
                self._refuse(
                    (name, entry),
                    f"expected a section [{name}.NAME], and not {entry} = ... in [{name}]",
                )

    def _refuse(self, path: tuple[str, ...], problem: str) -> NoReturn:
        where = self.file.origin(*path) if self.file else ""
        raise ConfigError(f"{where}: {problem}")

    def _check_overrides(self, schemas: Iterable[Schema]) -> None:
        by_name = {schema.name: schema for schema in schemas}
        for section, key in self.overrides:
            if section not in by_name:
                hint = suggestion(section, by_name)
                raise ConfigError(f"{COMMAND_LINE}: unknown section [{section}]; {hint}")
            if key not in by_name[section].types:
                hint = suggestion(key, by_name[section].types)
                raise ConfigError(f"{COMMAND_LINE}: unknown key {key!r} in [{section}]; {hint}")

    def _check_environment(self, schemas: Iterable[Schema]) -> None:
        """Refuse a variable that is nearly one of ours; NODE_ENV and its like are none."""
        known = {schema.variable(key) for schema in schemas for key in schema.types}
        known |= set(self.aliases)
        heads = (*(schema.name for schema in self.sections), *self.tables)
        for prefix in (variable_part(head) + "_" for head in heads):
            tails = [name.removeprefix(prefix) for name in known if name.startswith(prefix)]
            for variable in self.environ:
                if variable in known or not variable.startswith(prefix):
                    continue
                if near := nearest(variable.removeprefix(prefix), tails, VARIABLE_CUTOFF):
                    raise ConfigError(
                        f"environment {variable}: no such setting; did you mean {prefix}{near}?"
                    )
