"""Contradictions within rows: changes to a copy of the committed rows are named, and the changed rows do not count."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from made_records import put, record, study_of
from pgolf.pages.aggregation import aggregate
from pgolf.records.contradictions import contradiction_of
from pgolf.records.rows import collect
from pgolf.tables.table import tabulate

RESULTS = Path(__file__).resolve().parents[2] / "analysis" / "results"
Row = dict[str, Any]
ROWS: list[Row] = [
    json.loads(line) for line in (RESULTS / "higher_rank_heads.jsonl").read_text(encoding="utf-8").splitlines()
]
ARM = "T9_mos_k4_d4"
MINE = [row for row in ROWS if row["arm"] == ARM]


def one(rows: list[Row], tmp_path: Path) -> Any:
    """The arm's row in the table of these rows, and the warnings."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = tabulate(collect(path))
    return next(row for table in result.families for row in table.rows if row.group.arm == ARM), result.warnings


def at(change: dict[str, Any]) -> Row:
    return {**MINE[0], **change}


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("*.jsonl")), ids=lambda path: path.stem)
def test_no_committed_row_contradicts_itself(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [message for row in rows if "status" in row and (message := contradiction_of(row))] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": "T0_tied"}, f"arm is T0_tied, its choices and overrides make it {ARM}"),
        ({"choices.arm": None, "overrides": ["model/head=mos", "seed=1"]}, "overrides make it head=mos"),
        ({"folder": f"{ARM}/seed2-{MINE[0]['fingerprint'][:8]}"}, "its folder is of seed 2"),
        ({"folder": f"{ARM}/seed1-00000000"}, "its folder is of 00000000"),
        ({"folder": MINE[0]["folder"].replace(ARM, "T0_tied")}, "its folder is of T0_tied"),
        ({"seed": 7, "folder": "copy"}, "an override says seed=1"),
        ({"val_bpb": MINE[0]["val_bpb"] + 2e-8}, "val_bpb is"),
        ({"val_nats": MINE[0]["val_nats"] * 1.001}, "val_nats, val_targets and val_bytes make it"),
        ({"val_bytes": 0}, "val_bytes is 0 beside a score"),
        ({"val_targets": 60_000, "val_nats": MINE[0]["val_nats"] / 1.2}, "config.eval.max_targets is 50000"),
        ({"documents": 1, "documents_cut": 2}, "documents_cut is 2, documents is 1"),
        ({"quant_gap_bpb": 0.0004}, "val_bpb - val_bpb_averaged is"),
        ({"val_bpb_averaged": None}, "val_bpb - val_bpb_live is"),
        ({"total_bytes": 10}, "total_bytes is 10, model_bytes + code_bytes is"),
        ({"under_cap": False}, "under_cap is False"),
        ({"params.trained": 5}, "params.trained + params.frozen is"),
        ({"params.mlp": 5}, "the parts of the model add up to"),
        ({"steps": 100}, "steps is 100, budget.steps is 171"),
        ({"tokens": 1}, "tokens is 1, steps x budget.batch_tokens is 700416"),
        ({"tokens_per_s": 1.0}, "tokens / train_s is"),
        ({"qat_from_step": 172}, "qat_from_step is 172"),
        ({"budget.batch_tokens": 8192}, "config.train.batch_tokens is 4096"),
        ({"threads": 2}, "config.train.threads is 1"),
        ({"precision": "bf16"}, "config.train.precision is 'fp32'"),
        ({"device": "NVIDIA H100"}, "config.device is cpu"),
        ({"config.eval.max_targets": 60_000}, "an override says eval.max_targets=50000"),
        ({"choices.data": "docs"}, "an override says data=shards"),
    ],
)
def test_a_contradiction_is_named_and_in_no_mean(change: Row, message: str, tmp_path: Path) -> None:
    assert message in (contradiction_of(at(change)) or "")
    row, warnings = one([at(change), *MINE[1:]], tmp_path)
    assert row.group.n == 2
    assert any("damaged or foreign" in text and message in text for text in warnings)


@pytest.mark.parametrize(
    "change",
    [
        {"overrides": [*MINE[0]["overrides"], "study.arm=mine"], "arm": "mine", "planned": None},
        {"folder": "copy of it", "planned": None},
        {"folder": MINE[0]["folder"].replace(ARM, "first_of_two"), "planned": [["first_of_two", 0, 0], ["T9", 0, 1]]},
        {"folder": MINE[0]["folder"].replace(ARM, "gone"), "planned": []},
        {"overrides": ["~model.x", "seed=1"], "choices.arm": None},
        {"steps": 171.0},
        {"budget.steps": None, "config.train.steps": None, "budget.tokens": 700_500, "config.train.tokens": 700_500},
        {"val_bpb": MINE[0]["val_bpb"] * (1 + 1e-13)},
    ],
)
def test_what_is_no_contradiction(change: Row) -> None:
    assert contradiction_of(at(change)) is None


def swapped(rows: list[Row]) -> list[Row]:
    pair = {"T0_tied": ARM, ARM: "T0_tied"}
    return [{**row, "arm": pair.get(row["arm"], row["arm"])} for row in rows]


def test_swapped_arms_are_in_no_mean(tmp_path: Path) -> None:
    row, warnings = one(swapped(ROWS), tmp_path)
    assert row.group.n == 0
    assert sum("T0_tied" in text and "make it" in text for text in warnings) >= 3


def as_seed(seed: int, row: Row, **change: Any) -> Row:
    """A row changed to look like that of another seed."""
    overrides = [f"seed={seed}" if text.startswith("seed=") else text for text in row["overrides"]]
    name = {
        "overrides": overrides,
        "seed": seed,
        "planned": None,
        "folder": f"{ARM}/seed{seed}-{row['fingerprint'][:8]}",
    }
    return {**row, **name, "config.data.shuffle_seed": seed, **change}


FRESH = {"train_s": 100.0, "tokens_per_s": 7004.16, "eval_s": 1.0, "pack_s": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.data.shuffle_seed": 1}, "seed 4 has config.data.shuffle_seed=1, left out"),
        ({}, "seed 4 took the times of seed 1 to the last digit, left out"),
        (FRESH, "seed 4 has the scores of seed 1 to the last digit, left out"),
    ],
)
def test_a_seed_copied_as_another_is_left_out(change: Row, message: str, tmp_path: Path) -> None:
    row, warnings = one([*MINE, as_seed(4, MINE[0], **change)], tmp_path)
    assert sorted(row.group.used) == [1, 2, 3]
    assert any(message in text for text in warnings)


def test_all_seeds_alike_are_counted_with_a_warning_unless_their_times_are_alike_too(tmp_path: Path) -> None:
    others = [as_seed(seed, MINE[0], train_s=100.0 + seed, tokens_per_s=700416 / (100.0 + seed)) for seed in (2, 3)]
    row, warnings = one([MINE[0], *others], tmp_path)
    assert row.group.n == 3
    assert any("have exactly the same score" in text for text in warnings)
    row, warnings = one([MINE[0], as_seed(2, MINE[0]), as_seed(3, MINE[0])], tmp_path)
    assert row.group.n == 1
    assert any("took the times of seed 1" in text for text in warnings)


def test_one_order_of_the_data_for_all_seeds_is_no_copy(tmp_path: Path) -> None:
    row, _ = one([{**mine, "config.data.shuffle_seed": 1} for mine in MINE], tmp_path)
    assert row.group.n == 3


MANIPULATIONS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "a score": lambda rows: [{**r, "val_bpb": r["val_bpb"] + 0.2} if r is MINE[0] else r for r in rows],
    "bytes": lambda rows: [{**r, "total_bytes": 10} if r is MINE[0] else r for r in rows],
    "a copy": lambda rows: [*rows, as_seed(4, MINE[0])],
}


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_the_study_says_what_was_done_to_its_rows(name: str, tmp_path: Path) -> None:
    for suffix in ("study.json", "curves.jsonl"):
        (tmp_path / f"rows.{suffix}").write_bytes((RESULTS / f"higher_rank_heads.{suffix}").read_bytes())
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in MANIPULATIONS[name](ROWS)), encoding="utf-8"
    )
    result, whole = aggregate(tmp_path / "rows.jsonl"), aggregate(RESULTS / "higher_rank_heads.jsonl")
    assert any(MINE[0]["folder"][:10] in text and ARM in text for text in result.report.warnings)
    if name == "a copy":
        assert [v.label for v in result.verdicts] == [v.label for v in whole.verdicts]


SHARED = [json.loads(line) for line in (RESULTS / "shared_weights.jsonl").read_text(encoding="utf-8").splitlines()]
SHORT = {"budget.steps": 100, "config.train.steps": 100, "steps": 100, "tokens": 409_600, "qat_from_step": None}


def shortened(row: Row) -> Row:
    """A record of a run of 100 of the 171 steps, consistent in itself."""
    overrides = [text for text in row["overrides"] if not text.startswith("train.steps=")]
    return {**row, **SHORT, "overrides": overrides, "tokens_per_s": 409_600 / row["train_s"]}


def as_arm(arm: str, row: Row) -> Row:
    """The scores and times of a run under the name and configuration of another arm with the same seed."""
    other = next(r for r in SHARED if (r["arm"], r["seed"]) == (arm, row["seed"]))
    measured = ("val_", "quant_", "train_s", "eval_s", "pack_s", "tokens_per_s")
    return {**other, **{key: value for key, value in row.items() if key.startswith(measured)}}


def planted(root: Path, rows: list[Row], curves: str | None = None) -> Any:
    for suffix in ("study.json", "curves.jsonl"):
        (root / f"rows.{suffix}").write_bytes((RESULTS / f"shared_weights.{suffix}").read_bytes())
    if curves is not None:
        (root / "rows.curves.jsonl").write_text(curves, encoding="utf-8")
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return aggregate(root / "rows.jsonl")


def verdict_on(arm: str, result: Any) -> str:
    return str(next(r.extra["verdict"] for t in result.report.families for r in t.rows if r.label == arm))


@pytest.mark.parametrize(
    ("change", "message", "verdict"),
    [
        (
            lambda rows: [r for r in rows if (r["arm"], r["seed"]) != ("S1_independent_depth", 2)],
            "S1_independent_depth (seed 2 planned, but without a row)",
            "undecided: has 2 of the 3 seeds that a verdict needs",
        ),
        (
            lambda rows: [shortened(r) if r["arm"] == "S0_shared" else r for r in rows],
            "S1_independent_depth (budget: steps 171, baseline 100)",
            "undecided: budget: steps 171, baseline 100",
        ),
        (
            lambda rows: [shortened(r) if (r["arm"], r["seed"]) == ("S1_independent_depth", 1) else r for r in rows],
            "S1_independent_depth (budget not the same for all seeds)",
            "undecided: budget not the same for all seeds",
        ),
        (
            lambda rows: [
                as_arm("S3_short_warmdown", next(s for s in rows if (s["arm"], s["seed"]) == ("S0_shared", r["seed"])))
                if r["arm"] == "S3_short_warmdown"
                else r
                for r in rows
            ],
            "of which one is a copy: S0_shared seed 1 and S3_short_warmdown seed 1",
            "undecided: the baseline has a run that may be a copy (S0_shared seed 3 and S3_short_warmdown seed 3)",
        ),
    ],
    ids=["a row is removed", "a short baseline", "a short seed", "an arm copied as another"],
)
def test_what_no_single_record_shows_is_named(
    change: Callable[[list[Row]], list[Row]], message: str, verdict: str, tmp_path: Path
) -> None:
    result = planted(tmp_path, change(SHARED))
    assert any(message in text for text in result.report.warnings), result.report.warnings
    assert verdict_on("S1_independent_depth", result) == verdict


def test_a_curve_that_ends_elsewhere_than_its_record_is_left_out(tmp_path: Path) -> None:
    lines = (RESULTS / "shared_weights.curves.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    first["val_bpb_live"][-1] += 0.1
    result = planted(tmp_path, SHARED, "\n".join([json.dumps(first), *lines[1:]]))
    assert len(result.curves) == len(lines) - 1
    said = f"the curve of {first['arm']} seed {first['seed']} ends at"
    assert any(said in text for text in result.report.warnings)


def test_an_arm_is_held_against_its_choice_where_its_overrides_cannot_be_read() -> None:
    result = {**record("bar", 1, 2.0), "overrides": ["not an override"], "choices.arm": "heads/foo"}
    assert contradiction_of(result) == "arm is bar, its choices and overrides make it foo"


def test_a_record_copied_as_the_only_other_seed_is_found(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"tied": [2.0, 2.1, 2.2], "mos": [1.9]})
    put(study, record("mos", 4, 1.9, config__data__shuffle_seed=1, train_s=2.001))
    (table,) = tabulate(collect(study)).families
    (row,) = [row for row in table.rows if row.group.arm == "mos"]
    assert sorted(row.group.used) == [1]
