"""Nothing of ours, and nothing that we bring along, tells anybody what a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import Trained

_PREDICT = """
import sys
from roadworthy.bundle import Bundle
bundle = Bundle(sys.argv[1])
bundle.check_golden()
"""


def test_a_prediction_leaves_nothing_in_the_users_home(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    environment = {name: text for name, text in os.environ.items() if "TELEMETRY" not in name}
    done = subprocess.run(
        [sys.executable, "-c", _PREDICT, str(bundles["binary"].bundle.path)],
        env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())
