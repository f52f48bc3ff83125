"""Rule `record` of a run: what the record claims about its configuration, held against config.yaml."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pgolf.audit import Check, Verdict
from pgolf.config.identity import SEED_MARK, child_fingerprint, decisive, fingerprint
from pgolf.config.saved import SavedRun
from pgolf.config.schema import plain_config
from pgolf.errors import PgolfError
from pgolf.execution.account import account
from pgolf.execution.auditing.subject import Subject
from pgolf.records.record import flat

RULE = "record"
ONE_CONFIGURATION = "record and config.yaml describe one run"
LIMITS = "config.yaml and record that were changed alike are not seen; both are files of this folder"
MISSING = "missing"
MOST_LEAVES = 6  # values that may have come from the seed; each doubles the number of fingerprints
SHOWN = 6  # contradictions in one line of evidence
Fields = dict[str, Any]


def one_configuration_check(subject: Subject) -> Check:
    """Whether each claim of the record about its configuration is what config.yaml gives, computed again."""
    claimed, expected = dict(subject.record), expected_fields(subject.saved)
    expected |= {key: MISSING for key in claimed if key.startswith(("config.", "choices.")) and key not in expected}
    problems = [
        f"{key}: {shown(claimed.get(key, MISSING))} in result.json, {shown(value)} by config.yaml"
        for key, value in expected.items()
        if not same_value(claimed.get(key, MISSING), value)
    ]
    prints = fingerprints(subject)
    if prints and claimed["fingerprint"] not in prints:
        problems.append(f"fingerprint: {claimed['fingerprint']} in result.json, {prints[0]} computed from config.yaml")
    try:
        counts = account(subject.config).parameter_fields()
    except PgolfError as error:
        counts = {}
        problems.append(" ".join(str(error).split()))
    problems += [
        f"{key}: {claimed[key]:,} in result.json, {count:,} by config.yaml"
        for key, count in counts.items()
        if claimed.get(key) is not None and claimed[key] != count
    ]
    more = f"; and {len(problems) - SHOWN} more contradictions" if len(problems) > SHOWN else ""
    evidence = (
        "; ".join(problems[:SHOWN]) + more
        or f"{len(expected) + len(counts)} fields, and fingerprint {claimed['fingerprint']}"
    )
    if not prints and not problems:
        evidence = f"{len(expected) + len(counts)} fields; the fingerprint includes that of another run"
    verdict = Verdict.FAIL if problems else Verdict.PASS
    return Check(RULE, ONE_CONFIGURATION, verdict, evidence, LIMITS, {"contradictions": len(problems)})


def expected_fields(saved: SavedRun) -> Fields:
    """The fields of a record that config.yaml alone decides, apart from the number of parameters."""
    config, train = saved.config, saved.config.train
    settings = {key: value for key, value in decisive(plain_config(config)).items() if key != "seed"}
    return {
        "seed": config.seed,
        **saved.identity,
        **flat(settings, "config"),
        **{f"budget.{key}": getattr(train, key) for key in ("steps", "tokens", "seconds", "batch_tokens", "seq_len")},
        "threads": train.cpu_threads,
        "precision": train.precision,
        "compile": train.compile,
    }


def same_value(claimed: Any, value: Any) -> bool:
    """Equal as JSON, in which a number that is not finite is null. 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    if isinstance(value, list | tuple) and isinstance(claimed, list):
        return len(value) == len(claimed) and all(map(same_value, claimed, value))
    return bool(claimed == value) and isinstance(claimed, bool) == isinstance(value, bool)


def shown(value: Any) -> str:
    return MISSING if value == MISSING else f"{value!r:.60}"


def fingerprints(subject: Subject) -> list[str]:
    """Every fingerprint that the saved configuration can have: its seed is replaced, and what was made from it.

    A resolved configuration does not say which values were made from the seed, such as `data.shuffle_seed`. Values that
    equal the seed count if their key ends in `seed` or an override makes them from it. A run with `train.from` uses the
    recorded fingerprint of its parent; without it there is none.
    """
    config = subject.config
    if config.train.parent is not None:
        origin = subject.record.get("from.fingerprint")
        return [] if origin is None else [child_fingerprint(replace(config, seed=SEED_MARK), origin)]
    plain = plain_config(replace(config, seed=SEED_MARK))
    texts = [text.split("=", 1) for text in subject.saved.identity["overrides"] if "=" in text and "seed" in text]
    made = {key.lstrip("+") for key, value in texts if "${" in value}
    leaves = [
        path
        for path, value in paths_of(decisive(plain))
        if value == config.seed
        and not isinstance(value, bool)
        and (path[-1].endswith("seed") or ".".join(path) in made)
    ][:MOST_LEAVES]
    chosen = itertools.chain.from_iterable(itertools.combinations(leaves, size) for size in range(len(leaves), -1, -1))
    return [fingerprint(with_marks(plain, paths)) for paths in chosen]


def paths_of(node: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, value) of each value of a nested configuration."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from paths_of(value, (*before, key))
        else:
            yield (*before, key), value


def with_marks(plain: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """A copy of a configuration with SEED_MARK at some paths."""
    copy: dict[str, Any] = json.loads(json.dumps(plain))
    for *parents, last in paths:
        node = copy
        for key in parents:
            node = node[key]
        node[last] = SEED_MARK
    return copy
