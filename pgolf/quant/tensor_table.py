"""The tensor table of a packed file: one entry per tensor, and the payload that holds the arrays of all tensors.

An entry holds name, shape, scheme, bits, the crc32 of the tensor's arrays and, per array, [dtype, offset, length] in
the payload before compression. Entries from a file are not trusted. Whatever is wrong with one raises ArtifactError.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from pgolf.errors import ArtifactError
from pgolf.quant.encoding import array_shapes, check_values
from pgolf.quant.spans import Span
from pgolf.slots import Encoded

MAX_PAYLOAD_BYTES = 2**32
MAX_DIMS = 8
NAME = re.compile(r"[!-~]{1,256}")


@dataclass(frozen=True)
class TableEntry:
    """One checked entry. arrays: name -> (numpy dtype, offset, length in bytes)."""

    name: str
    shape: tuple[int, ...]
    scheme: str
    bits: int
    crc32: int
    arrays: dict[str, tuple[str, int, int]]
    array_shapes: dict[str, tuple[int, ...]]

    def read(self, payload: bytes) -> Encoded:
        """The tensor as views of the payload. Raises ArtifactError for a wrong checksum or values out of range."""
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


def build_table(encoded: Mapping[str, Encoded]) -> tuple[list[dict[str, Any]], bytes]:
    """The table, sorted by name, as plain JSON data, and the uncompressed payload. Raises ArtifactError."""
    little_endian: dict[tuple[str, str], np.ndarray] = {}
    for name, tensor in encoded.items():
        if not NAME.fullmatch(name):
            raise ArtifactError(f"{name!r:.80}: a tensor's name is 1 to 256 printable ASCII characters without spaces")
        if len(tensor.shape) > MAX_DIMS:
            raise ArtifactError(f"{name}: more than {MAX_DIMS} dimensions")
        for key, array in tensor.arrays.items():
            little_endian[name, key] = np.asarray(array, dtype=array.dtype.newbyteorder("<"))
        layout = {key: (little_endian[name, key].dtype.str, array.nbytes) for key, array in tensor.arrays.items()}
        shapes = array_shapes(name, tensor.scheme, tensor.bits, tensor.shape, layout)
        if any(array.shape != shapes[key] for key, array in tensor.arrays.items()):
            raise ArtifactError(f"{name}: the arrays should have the shapes {shapes}")
        check_values(name, tensor)
    spans, chunks, offset = {}, [], 0
    for name, key in sorted(little_endian, key=lambda at: _order(at, encoded[at[0]].bits, little_endian[at])):
        chunks.append(little_endian[name, key].tobytes())
        spans[name, key] = (little_endian[name, key].dtype.str, offset, len(chunks[-1]))
        offset += len(chunks[-1])
    entries = []
    for name, tensor in sorted(encoded.items()):
        arrays = {key: spans[name, key] for key in sorted(tensor.arrays)}
        crc = _crc32(little_endian[name, key].tobytes() for key in arrays)
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


def parse_table(values: Sequence[object], payload_bytes: int) -> dict[str, TableEntry]:
    """The checked entries by name; their arrays fill the payload exactly. values: JSON data. Raises ArtifactError."""
    entries = [_parse_entry(value) for value in values]
    table = {entry.name: entry for entry in entries}
    if len(table) != len(entries):
        raise ArtifactError("two tensors have one name")
    _check_spans(entries, payload_bytes)
    return table


def spans_of(table: Mapping[str, TableEntry]) -> list[Span]:
    """The arrays in the order of the payload, as the codec entropy needs them."""
    spans = {}
    for entry in table.values():
        for key, (dtype, offset, n_bytes) in entry.arrays.items():
            size, shape = np.dtype(dtype).itemsize, entry.array_shapes[key]
            spans[offset, n_bytes] = Span(size, n_bytes // size, shape[-1] if shape else 1)
    return [span for _, span in sorted(spans.items())]


def refuse(what: str, value: object) -> NoReturn:
    """Raise ArtifactError for a value in a header."""
    raise ArtifactError(f"{what} cannot be {value!r:.80}")


def check_int(what: str, value: object, low: int, high: int) -> int:
    """The value, if it is an int from low to high. Raises ArtifactError otherwise."""
    if type(value) is not int or not low <= value <= high:
        refuse(what, value)
    return value


def fields_of(what: str, value: object, keys: str) -> list[Any]:
    """The values of a JSON object that has exactly these keys, in the order of `keys`. Raises ArtifactError."""
    if not isinstance(value, dict) or value.keys() != set(keys.split()):
        refuse(what, value)
    return [value[key] for key in keys.split()]


def _order(at: tuple[str, str], bits: int, array: np.ndarray) -> tuple[Any, ...]:
    """Sort key that puts similar tensors together, for the compressor: type, bits, then one matrix of all layers."""
    name = at[0]
    return array.dtype.str, bits, re.sub(r"\d+", "#", name), [int(digits) for digits in re.findall(r"\d+", name)], at


def _crc32(buffers: Iterable[Any]) -> int:
    crc = 0
    for buffer in buffers:
        crc = zlib.crc32(buffer, crc)
    return crc


def _parse_entry(value: object) -> TableEntry:
    name, shape, scheme, bits, crc32, arrays = fields_of("tensor", value, "name shape scheme bits crc32 arrays")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        refuse("tensor name", name)
    if not isinstance(shape, list) or len(shape) > MAX_DIMS:
        refuse(f"{name}: shape", shape)
    sizes = tuple(check_int(f"{name}: shape", size, 0, MAX_PAYLOAD_BYTES) for size in shape)
    if math.prod(max(size, 1) for size in sizes) > MAX_PAYLOAD_BYTES:
        refuse(f"{name}: shape", shape)
    if not isinstance(scheme, str) or not isinstance(arrays, dict):
        refuse(f"{name}: scheme or arrays", (scheme, arrays))
    spans: dict[str, tuple[str, int, int]] = {}
    for key, span in arrays.items():
        if not isinstance(span, list) or len(span) != 3 or not isinstance(span[0], str):
            refuse(f"{name}: array", span)
        spans[key] = (
            span[0],
            check_int(f"{name}: offset", span[1], 0, MAX_PAYLOAD_BYTES),
            check_int(f"{name}: length", span[2], 0, MAX_PAYLOAD_BYTES),
        )
    bits = check_int(f"{name}: bits", bits, 1, 64)
    shapes = array_shapes(
        name, scheme, bits, sizes, {key: (dtype, n_bytes) for key, (dtype, _, n_bytes) in spans.items()}
    )
    return TableEntry(name, sizes, scheme, bits, check_int(f"{name}: crc32", crc32, 0, 2**32 - 1), spans, shapes)


def _check_spans(entries: Sequence[TableEntry], payload_bytes: int) -> None:
    """The arrays fill the payload from end to end, without gaps or overlaps."""
    position = 0
    for offset, length in sorted((offset, length) for entry in entries for _, offset, length in entry.arrays.values()):
        if offset != position:
            raise ArtifactError(f"arrays overlap or leave a gap at byte {min(offset, position)} of the payload")
        position += length
    if position != payload_bytes:
        raise ArtifactError(f"arrays take {position} bytes of a payload of {payload_bytes}")
