from __future__ import annotations

import pytest

from gristmill.errors import UsageError
from gristmill.facets import ABSENT, VersionConflict, Versioned, VersionedStore


def store_of(**values: int) -> VersionedStore[str, int]:
    return VersionedStore({key: Versioned(value, 1) for key, value in values.items()})


def test_absent_key_has_version_zero() -> None:
    store = store_of()
    assert store.version("a") == ABSENT
    assert "a" not in store
    with pytest.raises(KeyError):
        store.get("a")
    store.put("a", 1, ABSENT)
    with pytest.raises(VersionConflict, match=r"'a' \(expected version 0, stored 1\)"):
        store.put("a", 2, ABSENT)


def test_put_all_writes_every_line() -> None:
    store = store_of(a=10, b=20)
    assert store.put_all({"a": (9, 1), "b": (19, 1), "c": (5, 0)}) == {"a": 2, "b": 2, "c": 1}
    assert {key: item.value for key, item in store.items()} == {"a": 9, "b": 19, "c": 5}
    assert len(store) == 3


def test_conflict_names_all_keys_and_prints_a_few() -> None:
    store = store_of(**{f"sku{n}": 1 for n in range(8)})
    with pytest.raises(VersionConflict, match="and 3 more; read again") as caught:
        store.put_all({f"sku{n}": (0, 7) for n in range(8)})
    assert caught.value.conflicts["sku7"] == (7, 1)
    assert len(caught.value.conflicts) == 8


def test_update_reads_again_after_a_conflict() -> None:
    store = store_of(a=10)
    rivals = [100, 200]

    def take_one(value: int) -> int:
        if rivals:
            store.put("a", rivals.pop(0), store.version("a"))
        return value - 1

    assert store.update("a", take_one) == Versioned(199, 4)


def test_update_gives_up_after_its_retries() -> None:
    store = store_of(a=0)
    calls = 0

    def always_late(value: int) -> int:
        nonlocal calls
        calls += 1
        store.put("a", value + 1, store.version("a"))
        return -1

    with pytest.raises(VersionConflict):
        store.update("a", always_late, retries=2)
    assert calls == 3
    assert store.get("a") == Versioned(3, 4)
    with pytest.raises(UsageError, match="retries is -1"):
        store.update("a", always_late, retries=-1)


def test_update_of_an_absent_key_is_an_error() -> None:
    with pytest.raises(KeyError):
        store_of().update("a", abs)
