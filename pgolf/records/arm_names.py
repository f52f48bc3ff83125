"""The name of an arm that no study names: what was overridden, in one word that a folder can have."""

import hashlib
import re
from collections.abc import Iterable, Sequence

NOT_AN_ARM = ("seed", "launch", "paths", "study", "hydra")
LONGEST_NAME = 120  # bytes: a folder's name may have 255
# An override as Hydra's grammar reads most of them.
SIMPLE = re.compile(r"\+{0,2}([\w./-]+)(?:@([\w.]+))?=(.*)", re.DOTALL)

Override = tuple[str, str, str]  # key or group, package (may be empty), value as written


def name_of_overrides(overrides: Iterable[Override]) -> str:
    """The sorted overrides that make an arm, `head=mos,q_proj=low_rank`; `default` for none. Groups are named by their
    last part.
    """
    parts = []
    for key, package, written in overrides:
        if re.split(r"[./]", key)[0] in NOT_AN_ARM:
            continue
        value = written.strip("'\"/").split("/")[-1]  # of a path, the last part
        parts.append(f"{key.split('/')[-1]}{f'@{package}' if package else ''}={value}")
    parts.sort(key=lambda part: (part.startswith("data"), part))  # where a long name is cut, the corpus goes first
    name = re.sub(r"[^\w=,.@+-]+", "_", ",".join(parts)) or "default"
    if len(name.encode()) > LONGEST_NAME:
        name = f"{name.encode()[:LONGEST_NAME].decode(errors='ignore')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def simple_overrides(texts: Sequence[str]) -> list[Override] | None:
    """The parts of overrides that are read without Hydra's grammar; None where one of them is not of the form
    key=value.
    """
    found = [SIMPLE.fullmatch(text) for text in texts]
    return None if None in found else [(m[1], m[2] or "", m[3]) for m in found if m is not None]
