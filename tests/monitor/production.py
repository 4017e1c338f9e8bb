"""What a server leaves behind: a prediction log, and labels that came later."""

from __future__ import annotations

from pathlib import Path

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.bundle.frames import json_rows
from roadworthy.monitor.feedback import LabelStore, Outcomes
from roadworthy.serve.feedback import Label
from roadworthy.serve.prediction_log import Logged


def leave(folder: Path, bundle: Bundle, outcomes: Outcomes) -> None:
    """Write `log/` and `labels.db` as a server of the bundle and its callers would have."""
    (folder / "log").mkdir(parents=True)
    made = outcomes.predictions
    rows = json_rows(made.inputs, bundle.contract)
    names = bundle.contract.target.class_names
    keys = made.keys.iter_rows(named=True)
    with (folder / "log" / "predictions-1.jsonl").open("wb") as log:
        for row, key, scores in zip(rows, keys, made.scores.tolist(), strict=True):
            entry = Logged(
                key["time"], key["request_id"], key["row"], bundle.manifest.name, bundle.version,
                row, names[int(scores[1] > scores[0])], dict(zip(names, scores, strict=True)),
            )  # fmt: skip
            log.write(msgspec.json.encode(entry) + b"\n")
    store = LabelStore(f"sqlite:///{folder / 'labels.db'}")
    ids = made.keys["request_id"]
    store.add(
        Label(name, names[int(label)], 0, moment)
        for name, label, moment in zip(ids, outcomes.labels, outcomes.label_times, strict=True)
        if label == label  # NaN: nobody told
    )
