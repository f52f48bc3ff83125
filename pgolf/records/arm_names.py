"""The name of an arm that no study names, made from its overrides, and the name of an arm's folder."""

import hashlib
import re
from collections.abc import Iterable, Sequence

NOT_AN_ARM = ("seed", "launch", "paths", "study", "tracker", "hydra")
LONGEST_NAME = 120  # bytes; the rest is replaced by a hash
LONGEST_FOLDER = 60  # bytes, with the hash
CUT_FIRST = ("optim", "train", "quant", "eval", "data")  # in a folder's name, options of the last of these
# The common form of an override in Hydra's grammar.
SIMPLE = re.compile(r"\+{0,2}([\w./-]+)(?:@([\w.]+))?=(.*)", re.DOTALL)

Override = tuple[str, str, str]  # key or group, package (may be empty), value as written


def name_of_overrides(overrides: Iterable[Override]) -> str:
    """The arm's name: its overrides, sorted, as in `head=mos,q_proj=low_rank`; `default` without any. Groups are named
    by their last part. A long name is cut and ends in a hash.
    """
    name = ",".join(parts_of_overrides(overrides)) or "default"
    if len(name.encode()) > LONGEST_NAME:
        name = f"{name.encode()[:LONGEST_NAME].decode(errors='ignore')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def parts_of_overrides(overrides: Iterable[Override]) -> list[str]:
    """The parts of the name of an arm, `key=value` each."""
    parts = []
    for key, package, written in overrides:
        if re.split(r"[./]", key)[0] in NOT_AN_ARM:
            continue
        value = written.strip("'\"/").split("/")[-1]  # the last part of a path
        parts.append(f"{key.split('/')[-1]}{f'@{package}' if package else ''}={value}")
    parts.sort(key=lambda part: (part.startswith("data"), part))  # of a long name, the data options are cut first
    return [re.sub(r"[^\w=,.@+-]+", "_", part) for part in parts]


def parts_of_arm(arm: str, overrides: Sequence[str]) -> list[str]:
    """The parts of an arm's name, all of them also where the name is cut. overrides: those of a run of the arm, if they
    are known. Overrides that do not give this name are not used.
    """
    simple = simple_overrides(overrides)
    return parts_of_overrides(simple) if simple and name_of_overrides(simple) == arm else arm.split(",")


def is_cut(arm: str) -> bool:
    """Whether an arm's name was too long, so that it ends in a hash within its last part."""
    return len(arm.encode()) >= LONGEST_NAME and re.search(r"-[0-9a-f]{8}$", arm) is not None


def folder_of_arm(arm: str) -> str:
    """The name of an arm's folder: that of the arm, or its first options, those of the model before others, and a hash.

    The whole name is in the record, in config.yaml and in the plan. `head=mos,eval=plain,...` becomes
    `head=mos,...-4cf8a232`. At most LONGEST_FOLDER bytes.
    """
    if len(arm.encode()) <= LONGEST_FOLDER:
        return arm
    sections = [(CUT_FIRST.index(name) if name in CUT_FIRST else -1, part) for name, part in sections_of(arm)]
    kept = [part for _, part in sorted(sections, key=lambda each: each[0])]
    end = f",...-{hashlib.sha256(arm.encode()).hexdigest()[:8]}"
    room = LONGEST_FOLDER - len(end)
    while len(kept) > 1 and len(",".join(kept).encode()) > room:
        kept.pop()
    return f"{','.join(kept).encode()[:room].decode(errors='ignore')}{end}"


def sections_of(arm: str) -> list[tuple[str, str]]:
    """(section, `key=value`) of each part of an arm's name."""
    return [(re.split(r"[.=@-]", part)[0], part) for part in arm.split(",")]


def simple_overrides(texts: Sequence[str]) -> list[Override] | None:
    """The parts of overrides, read without Hydra's grammar; None if one of them does not have the form key=value."""
    matches = [SIMPLE.fullmatch(text) for text in texts]
    return None if None in matches else [(m[1], m[2] or "", m[3]) for m in matches if m is not None]
