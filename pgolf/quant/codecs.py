"""Lossless compression of a packed file's payload: none, zlib or zstd. Decompression is safe for untrusted streams."""

from __future__ import annotations

import zlib

import zstandard

from pgolf.errors import ArtifactError, require

LEVELS = {"none": (0, 0), "zlib": (0, 9), "zstd": (1, 22)}
# Largest expansion. Deflate makes 258 bytes from 2 bits; zstd makes a run of 128 KiB from 4 bytes.
EXPANSION = {"none": 1, "zlib": 1032, "zstd": 32768}


def check_codec(codec: str, level: int) -> None:
    """Raise OptionError for a codec or level that `write_container` would refuse."""
    require(isinstance(codec, str) and codec in LEVELS, "codec", codec, f"give one of {', '.join(sorted(LEVELS))}")
    low, high = LEVELS[codec]
    remedy = f"codec {codec} takes level {low}" if low == high else f"codec {codec} takes a level from {low} to {high}"
    require(type(level) is int and low <= level <= high, "level", level, remedy)


def compress(payload: bytes, codec: str, level: int) -> bytes:
    """The payload as one stream; one version of the library always gives the same bytes."""
    if codec == "zlib":
        return zlib.compress(payload, level)
    if codec == "zstd":  # one thread; the frame records the content size, but no checksum: the header has one
        return zstandard.ZstdCompressor(
            level=level, write_checksum=False, write_content_size=True, write_dict_id=False
        ).compress(payload)
    return payload


def decompress(packed: bytes, codec: str, n_bytes: int) -> bytes:
    """The payload, which must have exactly n_bytes. Allocates little more than that. Raises ArtifactError."""
    if n_bytes > EXPANSION[codec] * len(packed):
        raise ArtifactError(f"declares {n_bytes} payload bytes, more than {len(packed)} bytes of {codec} can hold")
    payload, whole = packed, True
    try:
        if codec == "zlib":
            stream = zlib.decompressobj()
            payload = stream.decompress(packed, n_bytes + 1)
            whole = stream.eof and not stream.unused_data
        elif codec == "zstd":
            if zstandard.get_frame_parameters(packed).content_size != n_bytes:
                raise ArtifactError("the zstd frame and the header disagree about the payload's length")
            payload = zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    except (zlib.error, zstandard.ZstdError, ValueError) as error:
        raise ArtifactError(f"payload is damaged ({error})") from None
    if not whole or len(payload) != n_bytes:
        raise ArtifactError(f"payload does not hold the declared {n_bytes} bytes")
    return payload
