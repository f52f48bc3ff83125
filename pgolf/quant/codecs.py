"""Lossless compression of a packed file's payload. Decompression is safe for untrusted streams.

none       the payload itself
zlib       level 0 to 9
zstd       level 1 to 22
zstd_best  the smaller one of zstd at level 19 and at the given level: on codes, which hardly repeat, 19 often wins
lzma       LZMA2 at preset 0 to 9, for bytes that do not depend on their position or on the previous byte
brotli     quality 0 to 11; needs the package brotli
entropy    rANS with tables that similar rows share (`row_tables`); at level n there are at most 2^n tables
"""

from __future__ import annotations

import importlib.util
import lzma
import zlib
from collections.abc import Sequence
from typing import Any

import zstandard

from pgolf.errors import ArtifactError, require, require_present
from pgolf.quant.spans import Span

LEVELS = {
    "none": (0, 0),
    "zlib": (0, 9),
    "zstd": (1, 22),
    "zstd_best": (1, 22),
    "lzma": (0, 9),
    "brotli": (0, 11),
    "entropy": (0, 7),
}
# Largest expansion. Deflate makes 258 bytes from 2 bits; zstd makes a run of 128 KiB from 4 bytes. LZMA makes 273 bytes
# from 14 decisions of at least 0.02 bit. Brotli makes a block of 16 MiB from more than 3 bytes. The entropy coder makes
# 2,839 bytes from a bit.
EXPANSION = {
    "none": 1,
    "zlib": 1032,
    "zstd": 32768,
    "zstd_best": 32768,
    "lzma": 8192,
    "brotli": 2**23,
    "entropy": 32768,
}
HEADER_FILTERS: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 2**18}]
ZSTD_OTHER_LEVEL = 19
BROTLI_REMEDY = "the package brotli is missing: python -m pip install 'pgolf[brotli]'"


def check_codec(codec: str, level: int) -> None:
    """Raise OptionError for a codec or level that `write_container` would refuse, or whose package is missing."""
    require(isinstance(codec, str) and codec in LEVELS, "codec", codec, f"give one of {', '.join(sorted(LEVELS))}")
    low, high = LEVELS[codec]
    remedy = f"codec {codec} takes level {low}" if low == high else f"codec {codec} takes a level from {low} to {high}"
    require(type(level) is int and low <= level <= high, "level", level, remedy)
    require_present(codec != "brotli" or importlib.util.find_spec("brotli") is not None, "codec", codec, BROTLI_REMEDY)


def compress(payload: bytes, codec: str, level: int, spans: Sequence[Span] = ()) -> bytes:
    """The payload as one stream; one version of the library always gives the same bytes.

    spans: the payload's arrays from end to end, for the codec entropy.
    """
    if codec == "zlib":
        return zlib.compress(payload, level)
    if codec == "zstd":
        return _zstd(payload, level)
    if codec == "zstd_best":
        return min((_zstd(payload, number) for number in (ZSTD_OTHER_LEVEL, level)), key=len)
    if codec == "lzma":
        return lzma.compress(payload, lzma.FORMAT_RAW, filters=_lzma_filters(len(payload), level))
    if codec == "brotli":
        import brotli

        return bytes(brotli.compress(payload, quality=level, lgwin=24))
    if codec == "entropy":
        from pgolf.quant.row_tables import pack  # numpy code that only this codec needs

        return pack(payload, spans, level)
    return payload


def decompress(packed: bytes, codec: str, n_bytes: int, spans: Sequence[Span] = ()) -> bytes:
    """The payload, which must have exactly n_bytes. Raises ArtifactError.

    Allocates little more than that; four times as much for the codec entropy. spans: as for `compress`.
    """
    if n_bytes > EXPANSION[codec] * len(packed):
        raise ArtifactError(f"declares {n_bytes} payload bytes, more than {len(packed)} bytes of {codec} can hold")
    payload, whole = packed, True
    try:
        if codec == "zlib":
            stream = zlib.decompressobj()
            payload = stream.decompress(packed, n_bytes + 1)
            whole = stream.eof and not stream.unused_data
        elif codec in ("zstd", "zstd_best"):
            if zstandard.get_frame_parameters(packed).content_size != n_bytes:
                raise ArtifactError("the zstd frame and the header disagree about the payload's length")
            payload = zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
        elif codec == "lzma":
            payload, whole = _unlzma(packed, n_bytes, _lzma_filters(n_bytes, 0))
        elif codec == "brotli":
            payload, whole = _unbrotli(packed, n_bytes)
        elif codec == "entropy":
            from pgolf.quant.row_tables import unpack

            payload = unpack(packed, spans)
    except (zlib.error, zstandard.ZstdError, lzma.LZMAError, EOFError, ValueError) as error:
        raise ArtifactError(f"payload is damaged ({error})") from None
    if not whole or len(payload) != n_bytes:
        raise ArtifactError(f"payload does not hold the declared {n_bytes} bytes")
    return payload


def _zstd(payload: bytes, level: int) -> bytes:
    """One frame, made by one thread; it records the content size, but no checksum: the header has one."""
    return zstandard.ZstdCompressor(
        level=level, write_checksum=False, write_content_size=True, write_dict_id=False
    ).compress(payload)


def _lzma_filters(n_bytes: int, level: int) -> list[dict[str, Any]]:
    """A raw stream has no header, so that it cannot ask for a large dictionary: the payload's length decides it."""
    dictionary = 1 << min(26, max(12, n_bytes.bit_length()))
    return [{"id": lzma.FILTER_LZMA2, "preset": level, "dict_size": dictionary, "lc": 0, "lp": 0, "pb": 0}]


def _unlzma(packed: bytes, n_bytes: int, filters: list[dict[str, Any]]) -> tuple[bytes, bool]:
    """At most n_bytes + 1 bytes of the content, and whether the stream ends there. Raises LZMAError and EOFError."""
    reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    content = reader.decompress(packed, n_bytes + 1)
    if not reader.eof and not reader.needs_input and len(content) <= n_bytes:
        content += reader.decompress(b"", 1)  # the end marker, or a byte too many
    return content, reader.eof and not reader.unused_data


def pack_header(text: bytes) -> bytes:
    """The header of a file whose codec is entropy, as a raw LZMA2 stream."""
    return lzma.compress(text, lzma.FORMAT_RAW, filters=HEADER_FILTERS)


def unpack_header(packed: bytes, most: int) -> bytes:
    """The header, of `most` bytes at most. Raises ArtifactError for anything else."""
    try:
        text, whole = _unlzma(packed, most, HEADER_FILTERS)
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise ArtifactError(f"header is damaged ({error})") from None
    if not whole or len(text) > most:
        raise ArtifactError(f"header is cut, has more than {most} bytes, or is followed by something else")
    return text


def _unbrotli(packed: bytes, n_bytes: int) -> tuple[bytes, bool]:
    """The content, of which at most a block beyond n_bytes is made, and whether the stream ends there."""
    try:
        import brotli
    except ImportError:
        raise ArtifactError(BROTLI_REMEDY) from None
    stream = brotli.Decompressor()
    try:
        payload = stream.process(packed, output_buffer_limit=n_bytes + 1)
        while len(payload) <= n_bytes and not stream.is_finished() and not stream.can_accept_more_data():
            more = stream.process(b"", output_buffer_limit=n_bytes + 1 - len(payload))
            if not more:
                break
            payload += more
    except brotli.error as error:
        raise ArtifactError(f"payload is damaged ({error})") from None
    return payload, bool(stream.is_finished())
