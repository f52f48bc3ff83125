"""The packed model file `.pgolf`: encoded tensors in one compressed payload behind a JSON header. No pickle.

Layout, little-endian:

    bytes   what
    8       magic
    4       version: 2 for the codec entropy, 1 for the others
    4       header length n
    16      SHA-256 of the header as it is stored, truncated
    n       header: canonical JSON {"header": the caller's, "payload": {...}, "tensors": the table of `tensor_table`};
            in version 2 it is a raw LZMA2 stream
    rest    payload: all arrays end to end, as one stream of the codec

Every byte of the file is covered by a checksum. `read_container` does not trust the file: whatever is wrong with it
raises ArtifactError. Its memory is bounded before anything is decompressed: by the shapes, by MAX_PAYLOAD_BYTES and by
the largest expansion of the codec. The same state always gives the same bytes, for one version of the codec's library.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgolf.errors import ArtifactError
from pgolf.machine.files import read_regular, unwritten, write_whole
from pgolf.machine.limits import memory_bytes
from pgolf.machine.plain import parse_json
from pgolf.quant.codecs import LEVELS, check_codec, compress, decompress, pack_header, unpack_header
from pgolf.quant.tensor_table import MAX_PAYLOAD_BYTES, build_table, check_int, fields_of, parse_table, spans_of
from pgolf.slots import Encoded

MAGIC = b"\x89pgolf\r\n"
PLAIN, SMALL = 1, 2  # versions: the header as JSON, and compressed
PREFIX = struct.Struct("<8sII16s")
MAX_HEADER_BYTES = 2**24
FP32_BYTES = 4


def write_container(
    path: Path, header: Mapping[str, Any], encoded: Mapping[str, Encoded], codec: str, level: int
) -> int:
    """Write the file whole or not at all and return its size in bytes.

    header: plain JSON (dicts with string keys, lists, finite numbers, strings, booleans, None). encoded: tensors by
    parameter name. Raises ArtifactError, and OptionError for codec and level.
    """
    check_codec(codec, level)
    try:
        text = _to_json(header)
        if _from_json(text) != header:
            raise ArtifactError("header changes when written as JSON: use lists, and string keys")
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"header is not plain JSON ({error})") from None
    entries, payload, packed = _pack(encoded, codec, level)
    payload_entry = {
        "codec": codec,
        "level": level,
        "bytes": len(payload),
        "packed_bytes": len(packed),
        "sha256": _digest(packed).hex(),
    }
    text = _to_json({"header": header, "payload": payload_entry, "tensors": entries})
    if len(text) > MAX_HEADER_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise ArtifactError(
            f"{path}: a header of {len(text)} or a payload of {len(payload)} bytes is more than the format holds"
        )
    version = _version_of(codec)
    text = pack_header(text) if version == SMALL else text
    try:
        return write_whole(Path(path), PREFIX.pack(MAGIC, version, len(text), _digest(text)), text, packed)
    except OSError as error:
        raise ArtifactError(unwritten(error, Path(path))) from error


def _pack(encoded: Mapping[str, Encoded], codec: str, level: int) -> tuple[list[dict[str, Any]], bytes, bytes]:
    """The tensor table, the payload, and the payload as a stream of the codec."""
    entries, payload = build_table(encoded)
    table = parse_table(_from_json(_to_json(entries)), len(payload))
    return entries, payload, compress(payload, codec, level, spans_of(table))


def packed_bytes(encoded: Mapping[str, Encoded], codec: str, level: int) -> int:
    """Bytes of some tensors as one stream of the codec, without a header."""
    return len(_pack(encoded, codec, level)[2])


@dataclass(frozen=True)
class Contents:
    """A packed file that was read: the caller's header, the tensors by name, and the codec with its level."""

    header: dict[str, Any]
    tensors: dict[str, Encoded]
    codec: str
    level: int


def read_container(path: Path) -> tuple[dict[str, Any], dict[str, Encoded]]:
    """The caller's header, and the tensors by name. ArtifactError is the only error, whatever the file holds."""
    contents = read_contents(path)
    return contents.header, contents.tensors


def read_contents(path: Path) -> Contents:
    """`read_container`, with the codec."""
    try:
        return _parse(_read_file(Path(path)))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error.__cause__
    except MemoryError:
        raise ArtifactError(f"{path}: needs more memory than this process can get") from None


def _read_file(path: Path) -> bytes:
    try:
        return read_regular(path, PREFIX.size + MAX_HEADER_BYTES + 2 * MAX_PAYLOAD_BYTES)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _to_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _from_json(text: bytes) -> Any:
    """The value of canonical JSON. Anything else (NaN, 1e999, duplicate keys, spaces, deep nesting) is refused."""
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ArtifactError(f"header is not plain JSON: {error}") from None
    if _to_json(value) != text:
        raise ArtifactError("header is not canonical JSON")
    return value


def _parse(data: bytes) -> Contents:
    """`read_contents` of a file's content; the messages do not name the file yet."""
    if len(data) < PREFIX.size or not data.startswith(MAGIC):
        raise ArtifactError(
            "is not a pgolf artifact (wrong or cut first bytes). Give a packed file, artifact.pgolf of a run"
        )
    _, version, n_header, digest = PREFIX.unpack_from(data)
    if version not in (PLAIN, SMALL):
        raise ArtifactError(f"has format version {version}; this program reads versions {PLAIN} and {SMALL}")
    text, packed = data[PREFIX.size : PREFIX.size + n_header], data[PREFIX.size + n_header :]
    if n_header > MAX_HEADER_BYTES or len(text) != n_header or _digest(text) != digest:
        raise ArtifactError("header is damaged or cut (its checksum differs)")
    text = unpack_header(text, MAX_HEADER_BYTES) if version == SMALL else text
    header, payload_entry, entries = fields_of("header", _from_json(text), "header payload tensors")
    settings = fields_of("header payload", payload_entry, "codec level bytes packed_bytes sha256")
    codec, level, n_bytes, n_packed, sha256 = settings
    if (
        not isinstance(codec, str)
        or codec not in LEVELS
        or not isinstance(header, dict)
        or not isinstance(entries, list)
    ):
        raise ArtifactError("header lacks a known codec, a model section or a tensor table")
    if version != _version_of(codec):
        raise ArtifactError(f"has format version {version}, which the codec {codec} does not have")
    check_int("level", level, *LEVELS[codec])
    if len(packed) != n_packed or _digest(packed).hex() != sha256:
        raise ArtifactError("payload is damaged or cut (its checksum differs)")
    table = parse_table(entries, check_int("payload bytes", n_bytes, 0, MAX_PAYLOAD_BYTES))
    _check_memory(n_bytes + sum(FP32_BYTES * math.prod(entry.shape) for entry in table.values()))
    payload = decompress(packed, codec, n_bytes, spans_of(table))
    return Contents(header, {name: entry.read(payload) for name, entry in table.items()}, codec, level)


def _version_of(codec: str) -> int:
    return SMALL if codec == "entropy" else PLAIN


def _check_memory(needed_bytes: int) -> None:
    """The payload and its tensors as fp32 must fit into half of the memory: a small file can describe a large model."""
    limit_bytes = memory_bytes()
    if limit_bytes is not None and needed_bytes > limit_bytes // 2:
        raise ArtifactError(
            f"unpacks to {needed_bytes:,} bytes, more than half of this computer's memory ({limit_bytes:,} bytes)"
        )
