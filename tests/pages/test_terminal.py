"""The tables of `pgolf.status` for a terminal."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from made_records import plan, study_of
from pgolf.pages.terminal import differing, labels, overview
from pgolf.records.plan import PLAN
from pgolf.records.sweep_state import report


def cell(arm: str, seed: int, state: str, **more: Any) -> dict[str, Any]:
    return {"arm": arm, "seed": seed, "fingerprint": arm + "f", "state": state, "note": "", **more}


def test_only_what_differs_is_shown() -> None:
    cells = [
        cell("a-1", 1, "ok", overrides=["model.layers=2", "model/head=mos", "seed=1"]),
        cell("b-2", 1, "ok", overrides=["model.layers=2", "arm=heads/T0_tied", "seed=1"]),
        cell("model.layers=2,optim.betas=[0.9,0.95]", 1, "waiting"),
    ]
    names = labels({"cells": cells}).values()
    assert list(names) == [
        "head=mos",
        "T0_tied",
        "model.layers=2 optim.betas=[0.9,0.95]",
    ]


def test_names_that_were_cut_show_the_options_that_all_of_them_have() -> None:
    options = ",".join(f"model.option_{n}=1" for n in range(5))
    tied = f"head=tied,{options},train.batch_tokens=1024,tra"[:111]
    mos = f"head=mos,{options},train.batch_tokens=1024,trai"[:111]
    cut = [f"{name:x<111}-{digits}" for name, digits in ((tied, "91a2aa0c"), (mos, "f696796d"))]
    names = labels({"cells": [cell(arm, 1, "running") for arm in cut]})
    assert list(names.values()) == ["head=tied", "head=mos"]


def test_the_only_finished_arm_is_not_named_by_all_its_options() -> None:
    cells = [
        cell("head=tied,width=32", 1, "ok", overrides=["model/head=tied", "model.width=32", "seed=1"]),
        cell("head=mos,width=32", 1, "running"),
    ]
    assert list(labels({"cells": cells}).values()) == ["head=tied", "head=mos"]


def test_a_name_without_differences_stays() -> None:
    assert differing({("x,y", "1"): ["x", "y"], ("x,y", "2"): ["x", "y"]}) == {("x,y", "1"): "x,y", ("x,y", "2"): "x,y"}


def test_the_overview_counts_by_arm_and_lists_what_runs_or_failed() -> None:
    cells = [
        cell("tied", 1, "ok", val_bpb=2.0),
        cell("tied", 2, "ok", val_bpb=3.0),
        cell("tied", 3, "waiting"),
        cell("mos", 1, "running") | {"note": "step 2 of 9"},
        cell("mos", 2, "failed") | {"note": "[red]no memory[/]"},
    ]
    study = {"study": "heads", "left_s": 600.0, "count": {"ok": 2, "failed": 1}, "unplanned": 1, "cells": cells}
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(overview([study]))
    text = console.export_text()
    lines = [line.replace("│", " ").split() for line in text.splitlines()]
    assert "1 more outside every sweep; about 10 min left" in " ".join(text.split())
    assert ["tied", "2", "of", "3", "1", "2.5000"] in lines
    assert ["mos", "0", "of", "2", "1", "1"] in lines
    assert ["mos", "1", "running", "step", "2", "of", "9"] in lines
    assert ["mos", "2", "failed", "[red]no", "memory[/]"] in lines


def test_runs_that_no_sweep_planned_are_counted(tmp_path: Path) -> None:
    folder = study_of(tmp_path, {"tied": [2.0, 2.1], "mos": [1.9]})
    assert report(folder)["unplanned"] == 0
    (folder / PLAN).unlink()
    plan(folder, ["tied"], [1, 2])
    assert (report(folder)["count"], report(folder)["unplanned"]) == ({"ok": 2}, 1)
