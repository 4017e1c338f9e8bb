"""Load an ONNX file of others once and ask it one row, in a process that may fail.

`python -I trying.py FILE` exits with 0 when ONNX Runtime loads it and a row neither kills it nor
takes more memory than there may be; a failure's words go to standard output. That it refuses the
row, which nobody made for it, is no failure.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_MEMORY = 8 << 30
_PROCESSOR_SECONDS = 100
_TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}  # fmt: skip


def main(path: str) -> None:
    """The other process."""
    for limit, most in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _PROCESSOR_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (wanted, hard))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    content = Path(path).read_bytes()  # as bytes: no file beside it is found
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a class of its own for every status
        _end(error)
    try:
        session.run(None, {each.name: _row(each) for each in session.get_inputs()})
    except Exception as error:
        if "alloc" in str(error).lower() or "overflow" in str(error).lower():
            _end(error)


def _row(given: Any) -> Any:
    """One row of zeros, or of empty texts."""
    shape = [size if isinstance(size, int) else 1 for size in given.shape]
    dtype = _TYPES.get(given.type, np.float32)
    return np.full(shape, "") if dtype is np.object_ else np.zeros(shape, dtype)


def _end(error: Exception) -> None:
    print((str(error).strip().splitlines() or [type(error).__name__])[0])
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
