"""Opening Zarr arrays and groups of strangers: metadata is looked through before zarr sees it."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import zarr
import zarr.storage

from .limits import free_memory, in_words
from .volume import VolumeError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["open_zarr"]

Node: TypeAlias = "zarr.Array[Any] | zarr.Group"

# Version 2 has numpy's names for its types, version 3 words.
_NUMBERS = re.compile(
    r"[<>|=]?[biufc](?P<bytes>\d{1,2})|bool|(u?int|float|complex)(?P<bits>\d{1,3})"
)
# All that turn bytes into bytes or numbers into numbers; what makes objects (pickle, json2,
# msgpack2, vlen-*, categorize) is not among them, nor what other packages register.
_CODECS = {"adler32", "astype", "bitround", "blosc", "bz2", "crc32", "crc32c", "delta",
           "fixedscaleoffset", "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits",
           "quantize", "shuffle", "zlib", "zstd"}  # fmt: skip
_CODECS_3 = {"blosc", "bytes", "crc32c", "endian", "gzip", "sharding_indexed", "transpose",
             "zstd", *(f"numcodecs.{name}" for name in _CODECS)}  # fmt: skip
_MOST_METADATA = 1 << 26
# A chunk is unpacked in one piece, as Blosc has it; of a shard only the chunks that are asked for.
_MOST_CHUNK = 1 << 31
_MOST_SHARD = 1 << 36
_MOST_ARRAY = 1 << 52
# Voxels along one axis: whoever goes through its chunks counts them.
_LONGEST = 1 << 20


def open_zarr(where: str | os.PathLike[str], mode: Literal["r", "r+"] = "r") -> Node:
    """Open a Zarr array or group, version 2 or 3, so that nothing in it can do harm.

    Of this node and of all that are reached through it, metadata that asks for Python objects,
    for codecs other than the common ones, or for chunks that don't fit in memory is refused
    before a chunk is read. What a node is called in consolidated metadata does not count.

    Parameters
    ----------
    where : str or path
        A folder, a ``.zip`` file or a URL.
    mode : {"r", "r+"}
        "r+" also writes chunks: then nothing in the folder may be a symbolic link, so that
        nothing outside of it is written. The folder itself may be one.

    Raises
    ------
    FileNotFoundError
        If there is none.
    VolumeError
        If it is refused, damaged, or can't be read: the reason alone, to be put after the name.
    """
    store: Store
    if isinstance(where, str) and "://" in where:
        store = zarr.storage.FsspecStore.from_url(where, read_only=True)
    elif Path(where).is_dir():
        if mode != "r":
            _refuse_links(Path(where))
        store = zarr.storage.LocalStore(Path(where), read_only=mode == "r")
    elif Path(where).exists():
        store = zarr.storage.ZipStore(Path(where), mode="r")
    else:
        raise FileNotFoundError(f"{where}: no such file or folder")
    try:
        return zarr.open(_Checked(store), mode=mode, use_consolidated=False)
    except (VolumeError, FileNotFoundError):
        raise
    # Zarr meets damaged metadata with errors of every type.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise VolumeError(f"has Zarr metadata that can't be read, {reason[:200]}") from error


class _Checked(zarr.storage.WrapperStore["Store"]):
    """A store whose metadata is checked in the very bytes that zarr gets."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await self._store.get(key, prototype, byte_range)
        name = key.rsplit("/", 1)[-1]
        if found is not None and name in ("zarr.json", ".zarray", ".zgroup", ".zattrs"):
            _check(name, found)
        return found


def _check(name: str, content: Buffer) -> None:
    """Refuse the metadata of a node, in one sentence."""
    if len(content) > _MOST_METADATA:
        raise VolumeError(f"has {in_words(len(content))} of metadata in {name}")
    try:
        values = json.loads(content.to_bytes())
    except (ValueError, RecursionError):
        raise VolumeError(f"is damaged: its {name} is no JSON") from None
    if not isinstance(values, dict):
        raise VolumeError(f"is damaged: its {name} holds no object")
    _object(values.get("attributes", {}))
    if name == ".zarray":
        filters = values.get("filters") or []
        _check_array(values, values.get("dtype"), values.get("chunks"))
        for codec in [*_list(filters), *_list([values.get("compressor")])]:
            if codec is not None:
                _check_codec(codec, _object(codec).get("id"), _object(codec), _CODECS)
        if values.get("dimension_separator", ".") not in (".", "/"):
            raise VolumeError("is damaged: it names its chunks in no known way")
    elif name == "zarr.json" and values.get("node_type") == "array":
        chunks = _configuration(values.get("chunk_grid")).get("chunk_shape")
        codecs = _list(values.get("codecs"))
        _check_array(values, values.get("data_type"), chunks, _check_codecs_3(codecs))
        keys = _configuration(values.get("chunk_key_encoding"))
        if keys.get("separator", "/") not in (".", "/"):
            raise VolumeError("is damaged: it names its chunks in no known way")


def _check_array(
    values: Mapping[str, Any], dtype: object, chunks: object, shards: list[object] | None = None
) -> None:
    """Refuse types, shapes and chunks that can't be meant; ``shards`` are chunks inside a chunk."""
    found = _NUMBERS.fullmatch(dtype) if isinstance(dtype, str) else None
    if found is None:
        kind = "Python objects" if dtype in ("|O", "O", "object") else f"type {str(dtype)[:40]!r}"
        raise VolumeError(f"holds values of {kind}, only numbers are read")
    item = int(found["bytes"] or int(found["bits"] or 8) // 8)
    sizes = [_bytes(values.get("shape"), item), _bytes(chunks, item)]
    sizes += [_bytes(inner, item) for inner in shards or []]
    lengths = {len(_list(s)) for s in (values.get("shape"), chunks, *(shards or []))}
    if len(lengths) > 1 or sizes[0] > _MOST_ARRAY or 0 in sizes[1:]:
        raise VolumeError("is damaged: its shape or its chunks make no sense")
    most = min(_MOST_CHUNK, free_memory())
    if sizes[-1] > most:
        raise VolumeError(
            f"has chunks of {in_words(sizes[-1])} each, at most {in_words(most)} can be unpacked"
        )
    # The places of the chunks of a shard take 16 bytes each.
    if shards and (sizes[1] > _MOST_SHARD or sizes[1] // sizes[-1] * 16 > _MOST_METADATA):
        raise VolumeError(f"has shards of {in_words(sizes[1])}, too many chunks in one")


def _check_codecs_3(codecs: list[object]) -> list[object]:
    """Refuse codecs of version 3; the chunk shapes inside shards, from outer to inner."""
    shards = []
    for codec in codecs:
        # Without settings, the name alone may stand for it.
        name = codec if isinstance(codec, str) else _object(codec).get("name")
        settings = {} if isinstance(codec, str) else _configuration(codec)
        _check_codec(codec, name, settings, _CODECS_3)
        if name == "sharding_indexed":
            if len(codecs) > 1 or "sharding_indexed" in str(settings):
                raise VolumeError("has shards inside shards or beside other codecs")
            shards.append(settings.get("chunk_shape"))
            _check_codecs_3(_list(settings.get("codecs")))
            _check_codecs_3(_list(settings.get("index_codecs", [])))
    return shards


def _check_codec(codec: object, name: object, settings: Mapping[str, Any], known: set[str]) -> None:
    if name not in known or not isinstance(name, str):
        said = name if isinstance(name, str) else codec
        raise VolumeError(f"is packed with {str(said)[:40]!r}, which is no codec known to be safe")
    for key, value in settings.items():
        if key in ("dtype", "astype", "encode_dtype", "decode_dtype") and not (
            isinstance(value, str) and _NUMBERS.fullmatch(value)
        ):
            raise VolumeError(f"is packed with {name!r} of {str(value)[:40]!r}, which is no number")


def _bytes(shape: object, item: int) -> int:
    """Bytes of an array, exactly."""
    sizes = _list(shape)
    if len(sizes) > 32 or not all(type(n) is int and 0 <= n <= _LONGEST for n in sizes):
        raise VolumeError("is damaged: its shape or its chunks make no sense")
    return math.prod(sizes) * item  # type: ignore[arg-type]


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise VolumeError("is damaged: its metadata is incomplete")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise VolumeError("is damaged: its metadata is incomplete")
    return value


def _configuration(value: object) -> dict[str, Any]:
    return _object(_object(value).get("configuration", {}))


def _refuse_links(folder: Path) -> None:
    """Refuse a store with symbolic links inside: chunks could be written elsewhere through them."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                raise VolumeError(f"has a link inside ({entry.name!r}), it can't be written to")
            if entry.is_dir(follow_symlinks=False):
                _refuse_links(Path(entry.path))
