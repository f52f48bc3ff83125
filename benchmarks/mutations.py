"""Functions that damage files of every kind: they change bytes, or values of JSON and YAML."""

import copy
import hashlib
import io
import json
import os
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
import yaml

from pgolf.quant.container import MAGIC, PLAIN, PREFIX
from pgolf.training.checkpoint import MAGIC as STATE_MAGIC
from pgolf.training.checkpoint import state_bytes

Damage = Callable[[bytes, random.Random], bytes]

DEEP = "[" * 100_000 + "]" * 100_000
RAW = [
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b'"\\ud800"',
    b'"\\u0000"',
    b"{",
    b"]",
    b"\n",
    b"\r\n",
    b"9" * 5000,
]


def payloads(marker: str) -> list[Any]:
    """Values that create the folder `marker` if a reader runs code that a file names."""
    call = {"_target_": "os.makedirs", "_partial_": False, "name": marker}
    return [
        call,
        {**call, "_partial_": True},
        {"_target_": "os.makedirs", "_args_": [marker]},
        "os.makedirs",
        f"${{oc.create:{{_target_:os.makedirs,_args_:['{marker}']}}}}",
        "${oc.env:HOME}",
        "${oc.decode:${oc.env:HOME}}",
        "${seed}",
        "${nope}",
        f"!!python/object/apply:os.makedirs ['{marker}']",
    ]


ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**30,
    1.5,
    -0.0,
    1e-300,
    1e308,
    "",
    "x",
    "0",
    "文",
    "a\nb",
    "../x",
    "/etc/passwd",
]
ODD += [
    "\u202e",
    "\x1b[31m",
    "<script>",
    "=1+1",
    "[/red]",
    [],
    [1],
    ["x"],
    [[]],
    {},
    {"a": 1},
    "x" * 10_000,
    [0] * 1000,
]


def damaged_bytes(content: bytes, dice: random.Random) -> bytes:
    """The content with one to three random changes of its bytes."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = dice.randrange(len(content) + 1) if content else 0
        end = min(len(content), at + dice.choice((1, 1, 2, 8, 64, 1000)))
        kind = dice.randrange(9)
        if kind == 0 and at < len(content):
            content = content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :]
        elif kind == 1:
            content = content[:at] + dice.randbytes(end - at) + content[end:]
        elif kind == 2:
            content = content[:at] + content[end:]
        elif kind == 3:
            content = content[:at] + content[at:end] * 2 + content[end:]
        elif kind == 4:
            content = content[:at]
        elif kind == 5:
            content = content[:at] + dice.choice(RAW) + content[at:]
        elif kind == 6:
            content = content[:at] + bytes(end - at) + content[end:]
        elif kind == 7:
            other = dice.randrange(len(content) + 1)
            content = content[:at] + content[other : other + end - at] + content[end:]
        elif dice.random() < 0.02:
            content = content[:at] + DEEP.encode() + content[at:]
        else:
            content = content[:at] + str(dice.choice((0, -1, 2**31, 10**25, 1e308))).encode() + content[end:]
    return content


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key or index) of every value inside a node."""
    keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    for key in keys:
        yield node, key
        yield from places(node[key])


def damaged_value(value: Any, dice: random.Random, marker: str) -> Any:
    """A copy of plain data with one to three values changed, moved, added or removed."""
    value = copy.deepcopy(value)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        all_places = list(places(value))
        if not all_places:
            return dice.choice(ODD)
        node, key = dice.choice(all_places)
        kind = dice.randrange(8)
        if kind <= 2:
            node[key] = copy.deepcopy(dice.choice(ODD))
        elif kind == 3:
            node[key] = copy.deepcopy(dice.choice(payloads(marker)))
        elif kind == 4:
            del node[key]
        elif kind == 5 and isinstance(node, dict):
            node[dice.choice((f"{key}x", "_target_", "_args_", "__class__", "", "config.x", "params.x"))] = node.pop(
                key
            )
        elif kind == 6:
            other, there = dice.choice(all_places)
            if (isinstance(other, dict) and there in other) or (isinstance(other, list) and there < len(other)):
                node[key] = copy.deepcopy(other[there])
        elif isinstance(node[key], int | float):
            node[key] = dice.choice(
                (node[key] + 1, -node[key], node[key] * 1.0001, node[key] * 1e6, str(node[key]), [node[key]])
            )
        else:
            node[key] = [node[key]]
    return value


def json_text(value: Any, dice: random.Random, *, indent: int | None = None) -> bytes:
    """Plain data as JSON, sometimes with a duplicate key, NaN for a number, or nesting that is far too deep."""
    text = json.dumps(value, indent=indent)
    odd = dice.random()
    if odd < 0.02 and text.startswith("{"):
        text = '{"seed": 1,' + text[1:]
    elif odd < 0.04:
        text = text.replace("1", "NaN", 1)
    elif odd < 0.05:
        text = text.replace("null", DEEP, 1)
    return text.encode()


def json_damage(marker: str, *, lines: bool = False, indent: int | None = None) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        if dice.random() < 0.4:
            return damaged_bytes(content, dice)
        if not lines:
            return json_text(damaged_value(json.loads(content), dice, marker), dice, indent=indent)
        texts = content.splitlines()
        at = dice.randrange(len(texts))
        texts[at] = json_text(damaged_value(json.loads(texts[at]), dice, marker), dice)
        return b"\n".join(texts) + b"\n"

    return damage


def yaml_damage(marker: str) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        if dice.random() < 0.3:
            return damaged_bytes(content, dice)
        text = yaml.safe_dump(damaged_value(yaml.safe_load(content), dice, marker), allow_unicode=True)
        tag = f"!!python/object/apply:os.makedirs ['{marker}']"
        return (text.replace(": ", f": {tag}\n  ", 1) if dice.random() < 0.05 else text).encode(
            "utf-8", errors="surrogatepass"
        )

    return damage


def artifact_damage(marker: str) -> Damage:
    """Damages bytes of the file, or, with corrected checksums, values of the header or bytes of the payload."""

    def damage(content: bytes, dice: random.Random) -> bytes:
        kind = dice.randrange(4)
        if kind == 0:
            return damaged_bytes(content, dice)
        size = PREFIX.unpack_from(content)[2]
        whole, packed = json.loads(content[PREFIX.size : PREFIX.size + size]), content[PREFIX.size + size :]
        if kind == 1:
            packed = damaged_bytes(packed, dice)
            whole["payload"] |= {"packed_bytes": len(packed), "sha256": hashlib.sha256(packed).hexdigest()[:32]}
        elif kind == 2:
            whole = damaged_value(whole, dice, marker)
        else:
            whole["header"] = damaged_value(whole["header"], dice, marker)
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", errors="surrogatepass"
        )
        return PREFIX.pack(MAGIC, PLAIN, len(text), hashlib.sha256(text).digest()[:16]) + text + packed

    return damage


class Runs:
    """An object whose pickle creates a folder when it is loaded."""

    def __init__(self, marker: str):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (self.marker,)


def state_damage(marker: str) -> Damage:
    def damage(content: bytes, dice: random.Random) -> bytes:
        start = len(STATE_MAGIC) + 32
        kind = dice.randrange(4)
        if kind == 0:
            return damaged_bytes(content, dice)
        if kind == 1:
            sound = torch.load(io.BytesIO(content[start:]), weights_only=True)
            plain = {name: sound[name] for name in ("key", "trace", "offsets")}
            return state_bytes({**sound, **damaged_value(plain, dice, marker)})
        payload = (
            pickle.dumps(Runs(marker)) if kind == 2 and dice.random() < 0.5 else damaged_bytes(content[start:], dice)
        )
        return STATE_MAGIC + hashlib.sha256(payload).digest() + payload

    return damage
