"""Records that were tampered with, and the watch over what lies outside of a folder."""

from __future__ import annotations

import copy
import json
import random
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import SCALE
from .test_headers import little_to_live_on

#: How many: 300 in CI, 5,000 at night.
COUNT = min(5000, round(300 * SCALE))


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def nasty(outside: Path) -> list[Any]:
    """Values that break programs, lead elsewhere, or ask for too much."""
    return [
        None, True, False, 0, 1, -1, 2, 255, 256, 65536, 2**31, 2**40, 2**63, 10**30, 0.5, -0.5,
        1e308, "", "x", "0", "NaN", "Infinity", "\0", "a\nb", "é" * 300, "x" * 100_000, [], {},
        [[]], [None], [0, 0, 0], [-1] * 3, [2**40] * 3, {"a": {}}, nested(200),
        str(outside / "precious"), "../outside/precious", "../outside", "..", "/", ".", "~",
        "file:///etc/passwd", "http://127.0.0.1:9/x", "s3://bucket/x",
        "|O", "object", "<U9", "|V8", "<f2", "<f4", "float64", "uint8", "string", "r*",
        "pickle", "json2", "vlen-utf8", "msgpack2", "zlib", "numcodecs.pickle", "sharding_indexed",
        {"id": "pickle"}, [{"id": "pickle"}], [{"id": "json2"}], {"id": "vlen-utf8"},
        [{"name": "bytes"}], {"name": "bytes", "configuration": {"endian": "little"}},
        [{"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 1, 1]}}],
    ]  # fmt: skip


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a value."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in entries:
            yield (*way, key)
            yield from places(inner, (*way, key))


def mutated(text: str, values: list[Any], number: int) -> str:
    """JSON text that a stranger changed in one to three places; the same for the same number."""
    rng = random.Random(number)
    if rng.random() < 0.1:
        broken = bytearray(text.encode())
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        return broken[: rng.choice([len(broken), rng.randrange(len(broken))])].decode("latin-1")
    if rng.random() < 0.03:
        return rng.choice(["[" * 100_000, '{"a":' * 50_000, "1" * 10_000, "[1e999]", "NaN", "[]"])
    document = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        ways = list(places(document))
        if not ways:
            break
        *way, last = rng.choice(ways)
        holder = document
        for key in way:
            holder = holder[key]
        action = rng.random()
        if action < 0.7:
            holder[last] = copy.deepcopy(rng.choice(values))
        elif action < 0.85:
            del holder[last]
        elif action < 0.9 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        elif isinstance(holder[last], int | float) and not isinstance(holder[last], bool):
            holder[last] = holder[last] * rng.choice([-1, 2, 1000, 10**12])
        else:
            holder[last] = [holder[last]]
    return json.dumps(document)


def content(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@contextmanager
def harmless(outside: Path) -> Iterator[None]:
    """Nothing outside changes, no machine is asked anything, little memory and time are taken."""
    before, asked = content(outside), []

    def no(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network in tests")

    with pytest.MonkeyPatch.context() as patch, little_to_live_on(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(socket.socket, "connect", no)
        patch.setattr(socket, "getaddrinfo", no)
        yield
    assert content(outside) == before
    assert not asked


def fuzz(
    make: Callable[[], Path],
    use: Callable[[Path], object],
    records: list[str],
    outside: Path,
    refusal: type[ValueError] = ValueError,
) -> dict[str, int]:
    """Tamper with records, one a time, and use what they belong to.

    Parameters
    ----------
    make : callable
        Makes a sound folder (or file) anew and gives its path.
    use : callable
        Opens it and reads all of it.
    records : list of str
        The JSON files in the folder, one of which is changed.
    outside : Path
        What must stay as it is.
    refusal : type
        How it may be refused: in a sentence.

    Returns
    -------
    dict
        How often it was "used" and "refused".
    """
    values, tally = nasty(outside), {"used": 0, "refused": 0}
    for number in range(COUNT):
        folder = make()
        record = folder / records[number % len(records)]
        text = mutated(record.read_text(), values, number)
        record.write_text(text, encoding="latin-1", errors="replace")
        try:
            with harmless(outside):
                use(folder)
            tally["used"] += 1
        except refusal as error:
            said = str(error)
            assert said, f"mutation {number}"
            assert "\n" not in said, f"mutation {number}: {said}"
            assert len(said) < 1000, f"mutation {number}: {said[:300]}"
            tally["refused"] += 1
        except BaseException as error:
            error.add_note(f"mutation {number} of {record.name}: {text[:500]}")
            raise
    # A fuzz that only ever sees one of the two outcomes tests little.
    assert min(tally.values()) > 0.02 * COUNT, tally
    return tally
