"""The packed model file `.pgolf`: encoded tensors in one compressed payload behind a JSON header. No pickle.

Layout, little-endian:

    bytes   what
    8       magic
    4       version
    4       header length n
    16      sha256 of the header, truncated
    n       header: canonical JSON {"header": the caller's, "payload": {...}, "tensors": [...]}
    rest    payload: all arrays end to end, as one zlib stream, one zstd frame or plain

A tensor's entry holds name, shape, scheme, bits, the crc32 of its arrays and, per array, [dtype, offset, length] in the
payload before compression. Every byte of the file is under a checksum. `read_container` trusts none of it: whatever is
wrong raises ArtifactError. The memory it may take is bounded before anything is decompressed: by the shapes, by
MAX_PAYLOAD_BYTES and by what the codec can possibly expand. One state makes one sequence of bytes (with one version of
the codec's library).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pgolf.errors import ArtifactError
from pgolf.machine.files import read_regular, unwritten, write_whole
from pgolf.machine.limits import memory_bytes
from pgolf.machine.plain import parse_json
from pgolf.quant.codecs import LEVELS, check_codec, compress, decompress
from pgolf.quant.encoding import array_shapes, check_values, decode, uncompressed_bytes
from pgolf.slots import Encoded

__all__ = ["check_codec", "decode", "read_container", "uncompressed_bytes", "write_container"]

MAGIC = b"\x89pgolf\r\n"
VERSION = 1
PREFIX = struct.Struct("<8sII16s")
MAX_HEADER_BYTES = 2**24
MAX_PAYLOAD_BYTES = 2**32
MAX_DIMS = 8
FP32_BYTES = 4
NAME = re.compile(r"[!-~]{1,256}")


def write_container(
    path: Path, header: Mapping[str, Any], encoded: Mapping[str, Encoded], codec: str, level: int
) -> int:
    """Write the file whole or not at all and return its size in bytes.

    header: plain JSON (dicts with string keys, lists, finite numbers, strings, booleans, None).
    Raises ArtifactError, or OptionError for codec and level.
    """
    check_codec(codec, level)
    try:
        text = _to_json(header)
        if _from_json(text) != header:
            raise ArtifactError("header changes when written as JSON: use lists, and string keys")
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"header is not plain JSON ({error})") from None
    entries, payload = _table(encoded)
    packed = compress(payload, codec, level)
    about = {
        "codec": codec,
        "level": level,
        "bytes": len(payload),
        "packed_bytes": len(packed),
        "sha256": _digest(packed).hex(),
    }
    text = _to_json({"header": header, "payload": about, "tensors": entries})
    if len(text) > MAX_HEADER_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise ArtifactError(
            f"{path}: a header of {len(text)} or a payload of {len(payload)} bytes is more than the format holds"
        )
    try:
        return write_whole(Path(path), PREFIX.pack(MAGIC, VERSION, len(text), _digest(text)), text, packed)
    except OSError as error:
        raise ArtifactError(unwritten(error, Path(path))) from error


def read_container(path: Path) -> tuple[dict[str, Any], dict[str, Encoded]]:
    """The caller's header and the tensors, by name. Raises ArtifactError, and nothing else, whatever the file holds."""
    try:
        return _parse(_read_file(Path(path)))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error.__cause__
    except MemoryError:
        raise ArtifactError(f"{path}: needs more memory than there is") from None


# ---- files
# -----------------------------------------------------------------------------------------------------------------


def _read_file(path: Path) -> bytes:
    try:
        return read_regular(path, PREFIX.size + MAX_HEADER_BYTES + 2 * MAX_PAYLOAD_BYTES)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


# ---- writing
# ---------------------------------------------------------------------------------------------------------------


def _to_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _order(at: tuple[str, str], bits: int, array: np.ndarray) -> tuple[Any, ...]:
    """Sort key that puts similar tensors together, for the compressor: type, bits, then one matrix of all layers."""
    name = at[0]
    return array.dtype.str, bits, re.sub(r"\d+", "#", name), [int(digits) for digits in re.findall(r"\d+", name)], at


def _crc32(buffers: Iterable[Any]) -> int:
    crc = 0
    for buffer in buffers:
        crc = zlib.crc32(buffer, crc)
    return crc


def _table(encoded: Mapping[str, Encoded]) -> tuple[list[dict[str, Any]], bytes]:
    """The tensor table, sorted by name, and the uncompressed payload."""
    little: dict[tuple[str, str], np.ndarray] = {}
    for name, tensor in encoded.items():
        if not NAME.fullmatch(name):
            raise ArtifactError(f"{name!r:.80}: a tensor's name is 1 to 256 printable ASCII characters without spaces")
        if len(tensor.shape) > MAX_DIMS:
            raise ArtifactError(f"{name}: more than {MAX_DIMS} dimensions")
        for key, array in tensor.arrays.items():
            little[name, key] = np.asarray(array, dtype=array.dtype.newbyteorder("<"))
        layout = {key: (little[name, key].dtype.str, array.nbytes) for key, array in tensor.arrays.items()}
        shapes = array_shapes(name, tensor.scheme, tensor.bits, tensor.shape, layout)
        if any(array.shape != shapes[key] for key, array in tensor.arrays.items()):
            raise ArtifactError(f"{name}: the arrays should have the shapes {shapes}")
        check_values(name, tensor)
    spans, chunks, offset = {}, [], 0
    for name, key in sorted(little, key=lambda at: _order(at, encoded[at[0]].bits, little[at])):
        chunks.append(little[name, key].tobytes())
        spans[name, key] = (little[name, key].dtype.str, offset, len(chunks[-1]))
        offset += len(chunks[-1])
    entries = []
    for name, tensor in sorted(encoded.items()):
        arrays = {key: spans[name, key] for key in sorted(tensor.arrays)}
        crc = _crc32(little[name, key].tobytes() for key in arrays)
        entries.append(
            {
                "name": name,
                "shape": tensor.shape,
                "scheme": tensor.scheme,
                "bits": tensor.bits,
                "crc32": crc,
                "arrays": arrays,
            }
        )
    return entries, b"".join(chunks)


# ---- reading
# ---------------------------------------------------------------------------------------------------------------


def _refuse(what: str, value: object) -> NoReturn:
    raise ArtifactError(f"{what} cannot be {value!r:.80}")


def _int(what: str, value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        _refuse(what, value)
    return value


def _keys(what: str, value: object, keys: str) -> list[Any]:
    """The values of a JSON object that has exactly these keys, in the order asked for."""
    if not isinstance(value, dict) or value.keys() != set(keys.split()):
        _refuse(what, value)
    return [value[key] for key in keys.split()]


def _from_json(text: bytes) -> Any:
    """Parse canonical JSON; anything else (NaN, 1e999, doubled keys, spaces, deep nesting) is an ArtifactError."""
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ArtifactError(f"header is not plain JSON: {error}") from None
    if _to_json(value) != text:
        raise ArtifactError("header is not canonical JSON")
    return value


def _parse(data: bytes) -> tuple[dict[str, Any], dict[str, Encoded]]:
    if len(data) < PREFIX.size or not data.startswith(MAGIC):
        raise ArtifactError("is not a pgolf artifact (wrong or cut first bytes)")
    _, version, n_header, digest = PREFIX.unpack_from(data)
    if version != VERSION:
        raise ArtifactError(f"has format version {version}; this program reads version {VERSION}")
    text, packed = data[PREFIX.size : PREFIX.size + n_header], data[PREFIX.size + n_header :]
    if n_header > MAX_HEADER_BYTES or len(text) != n_header or _digest(text) != digest:
        raise ArtifactError("header is damaged or cut (its checksum differs)")
    header, about, entries = _keys("header", _from_json(text), "header payload tensors")
    codec, level, n_bytes, n_packed, sha256 = _keys("header payload", about, "codec level bytes packed_bytes sha256")
    if (
        not isinstance(codec, str)
        or codec not in LEVELS
        or not isinstance(header, dict)
        or not isinstance(entries, list)
    ):
        raise ArtifactError("header lacks a known codec, a model section or a tensor table")
    _int("level", level, *LEVELS[codec])
    if len(packed) != n_packed or _digest(packed).hex() != sha256:
        raise ArtifactError("payload is damaged or cut (its checksum differs)")
    table = {entry.name: entry for entry in map(_entry, entries)}
    if len(table) != len(entries):
        raise ArtifactError("two tensors have one name")
    _check_spans(list(table.values()), _int("payload bytes", n_bytes, 0, MAX_PAYLOAD_BYTES))
    _check_memory(n_bytes + sum(FP32_BYTES * math.prod(entry.shape) for entry in table.values()))
    payload = decompress(packed, codec, n_bytes)
    return header, {name: entry.read(payload) for name, entry in table.items()}


@dataclass(frozen=True)
class _Entry:
    """One checked line of the tensor table; arrays: name -> numpy dtype, offset, length in bytes."""

    name: str
    shape: tuple[int, ...]
    scheme: str
    bits: int
    crc32: int
    arrays: dict[str, tuple[str, int, int]]
    array_shapes: dict[str, tuple[int, ...]]

    def read(self, payload: bytes) -> Encoded:
        if _crc32(payload[offset : offset + n_bytes] for _, offset, n_bytes in self.arrays.values()) != self.crc32:
            raise ArtifactError(f"{self.name}: the checksum differs")
        arrays = {
            key: np.frombuffer(payload, dtype, math.prod(self.array_shapes[key]), offset).reshape(
                self.array_shapes[key]
            )
            for key, (dtype, offset, _) in self.arrays.items()
        }
        encoded = Encoded(self.scheme, self.bits, self.shape, arrays)
        check_values(self.name, encoded)
        return encoded


def _check_memory(needed_bytes: int) -> None:
    """The payload and its tensors as fp32 must fit into half of the memory: a small file can describe a large model."""
    have = memory_bytes()
    if have is not None and needed_bytes > have // 2:
        raise ArtifactError(
            f"unpacks to {needed_bytes:,} bytes, more than half of this computer's memory ({have:,} bytes)"
        )


def _entry(value: object) -> _Entry:
    name, shape, scheme, bits, crc32, arrays = _keys("tensor", value, "name shape scheme bits crc32 arrays")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        _refuse("tensor name", name)
    if not isinstance(shape, list) or len(shape) > MAX_DIMS:
        _refuse(f"{name}: shape", shape)
    sizes = tuple(_int(f"{name}: shape", size, 0, MAX_PAYLOAD_BYTES) for size in shape)
    if math.prod(max(size, 1) for size in sizes) > MAX_PAYLOAD_BYTES:
        _refuse(f"{name}: shape", shape)
    if not isinstance(scheme, str) or not isinstance(arrays, dict):
        _refuse(f"{name}: scheme or arrays", (scheme, arrays))
    spans: dict[str, tuple[str, int, int]] = {}
    for key, span in arrays.items():
        if not isinstance(span, list) or len(span) != 3 or not isinstance(span[0], str):
            _refuse(f"{name}: array", span)
        spans[key] = (
            span[0],
            _int(f"{name}: offset", span[1], 0, MAX_PAYLOAD_BYTES),
            _int(f"{name}: length", span[2], 0, MAX_PAYLOAD_BYTES),
        )
    bits = _int(f"{name}: bits", bits, 1, 64)
    shapes = array_shapes(
        name, scheme, bits, sizes, {key: (dtype, n_bytes) for key, (dtype, _, n_bytes) in spans.items()}
    )
    return _Entry(name, sizes, scheme, bits, _int(f"{name}: crc32", crc32, 0, 2**32 - 1), spans, shapes)


def _check_spans(entries: list[_Entry], n_bytes: int) -> None:
    """The arrays fill the payload from end to end, without gaps or overlaps."""
    position = 0
    for offset, length in sorted((offset, length) for entry in entries for _, offset, length in entry.arrays.values()):
        if offset != position:
            raise ArtifactError(f"arrays overlap or leave a gap at byte {min(offset, position)} of the payload")
        position += length
    if position != n_bytes:
        raise ArtifactError(f"arrays take {position} bytes of a payload of {n_bytes}")
