"""The cache of measurements: what is damaged is measured again, and what cannot be kept ends no run."""

import os
import time

import pandas as pd
import pytest

from src.evaluation.cache import Cache

ROWS = pd.DataFrame({"problem_id": [f"p{number}" for number in range(40)], "correct": [True, False] * 20, "tokens": range(40)})


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path, warnings) -> Cache:
    cache = Cache(tmp_path / "cache", warnings.append)
    cache.write("key", ROWS)
    return cache


def entry(cache):
    (path,) = cache.folder.glob("key.*.parquet")
    return path


def test_what_was_kept_comes_back_by_its_key_alone(cache, warnings):
    assert cache.read("key").equals(ROWS) and cache.read("ke") is None and not warnings
    assert [path.name for path in cache.folder.iterdir()] == [entry(cache).name]


def test_every_single_bit_is_noticed(cache, warnings):
    data = entry(cache).read_bytes()
    for place in range(0, len(data), 37):
        path = cache.folder / entry(cache).name
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert cache.read("key") is None
        cache.write("key", ROWS)
    assert cache.read("key").equals(ROWS)
    assert all("is damaged; it is measured again" in text for text in warnings)


@pytest.mark.parametrize("damage", ["cut", "empty", "directory", "of another key", "of before the checksums"])
def test_other_damage_counts_as_not_there_and_is_replaced(cache, damage):
    path = entry(cache)
    data = path.read_bytes()
    path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage == "of before the checksums":
        (cache.folder / "key.parquet").write_bytes(data)
    else:
        path.write_bytes({"cut": data[:-9], "empty": b"", "of another key": ROWS.head(3).to_parquet()}[damage])
    assert cache.read("key") is None
    cache.write("key", ROWS)
    assert damage == "directory" or cache.read("key").equals(ROWS)


def test_a_place_that_cannot_be_written_is_said_and_ends_nothing(tmp_path, warnings):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "cache", warnings.append)
    assert cache.read("key") is None
    cache.write("key", ROWS)
    assert len(warnings) == 1 and "nothing can be kept in" in warnings[0]


def test_what_a_kill_left_is_swept_and_what_another_run_writes_stays(cache):
    old, new = (cache.folder / f".key.parquet.abcd123{name}.part" for name in "12")
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    cache.write("other", ROWS)
    assert not old.exists() and new.exists()
