"""The metrics of a run folder that was not trained."""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
IDENTITY = {"study": "adhoc", "arm": "head=mos", "fingerprint": "0123456789abcdef"}


def add_steps(folder: Path, *steps: int) -> None:
    """Append training events to the metrics, and one of validation."""
    with (folder / "metrics.jsonl").open("a") as file:
        for step in steps:
            event = {"event": "train", "step": step, "tokens": 64 * step, "elapsed_s": step / 2, "train_bpb": 8 / step}
            file.write(json.dumps(event) + "\n")
        val = {"event": "val", "step": steps[-1], "elapsed_s": steps[-1] / 2, "val_bpb_live": 7 / steps[-1]}
        file.write(json.dumps({"event": "spectra", "step": steps[-1], "top": 3.0}) + "\n" + json.dumps(val) + "\n")
