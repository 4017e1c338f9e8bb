"""What an ONNX model takes: which of the sample's columns goes into which of its inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import onnx
from onnx import TensorProto

from roadworthy.bundle.foreign.onnx_file import OnnxFile
from roadworthy.bundle.foreign.onnx_model import NUMBERS, WHOLE, Input
from roadworthy.errors import InputError


def inputs_of(
    file: OnnxFile, columns: Sequence[str], where: str
) -> tuple[tuple[str, ...], tuple[Input, ...]]:
    """The model's columns and its inputs.

    Args:
        file: The model.
        columns: The sample's columns without the target.
        where: The sample, for messages.

    Raises:
        InputError: An input cannot be fed with rows, or the sample has other columns.
    """
    constants = {each.name for each in file.model.graph.initializer}
    given = [each for each in file.model.graph.input if each.name not in constants]
    shapes = [_shape(each) for each in given]
    if given and all(width == 1 for _, width, _ in shapes):
        names = _named([each.name for each in given], columns)
        if names is not None:
            kinds = zip(given, shapes, strict=True)
            return names, tuple(
                Input(each.name, kind, (place,), flat)
                for place, (each, (kind, _, flat)) in enumerate(kinds)
            )
        missing = [each.name for each in given if each.name not in columns]
        if len(given) > 1 and len(missing) < len(given):
            raise InputError(
                f"the sample lacks columns of the model: {', '.join(map(repr, missing[:10]))}",
                where=where,
                fix="give a sample with a column for each input, by the input's name",
            )
    widths = [width for _, width, _ in shapes]
    if None in widths and len(widths) == 1:
        widths = [len(columns)]
    total = sum(width or 0 for width in widths)
    if None in widths or total != len(columns):
        raise InputError(
            f"the model takes {total or 'any number of'} columns and does not name them; the "
            f"sample has {len(columns)} beside the target",
            where=where,
            fix="give a sample with exactly the model's columns, in its order",
        )
    found, start = [], 0
    for each, (kind, _, flat), width in zip(given, shapes, widths, strict=True):
        found.append(Input(each.name, kind, tuple(range(start, start + (width or 0))), flat))
        start += width or 0
    return tuple(columns), tuple(found)


def _named(inputs: Sequence[str], columns: Sequence[str]) -> tuple[str, ...] | None:
    """The sample's column of each input: of its name, or of the name as exporters write it."""
    plain: dict[str, list[str]] = {}
    for column in columns:
        plain.setdefault(re.sub(r"\W", "_", column), []).append(column)
    found = []
    for name in inputs:
        alike = [name] if name in columns else plain.get(re.sub(r"\W", "_", name), [])
        if len(alike) != 1:
            return None
        found.append(alike[0])
    return tuple(found) if len(set(found)) == len(found) else None


def _shape(value: onnx.ValueInfoProto) -> tuple[int, int | None, bool]:
    """An input's kind, width (None: any) and whether it has one axis only."""
    kind = value.type.tensor_type.elem_type
    if kind not in (*NUMBERS, *WHOLE, TensorProto.STRING):
        raise InputError(
            f"the input {value.name!r} is no tensor of numbers or texts",
            fix="export it with inputs of float, double, int64, int32, bool or string",
        )
    dims = value.type.tensor_type.shape.dim
    if value.type.tensor_type.HasField("shape") and len(dims) not in (1, 2):
        raise InputError(
            f"the input {value.name!r} has {len(dims)} axes; a table's rows have two",
            fix="export it with inputs of [N, columns]",
        )
    if dims and dims[0].HasField("dim_value") and dims[0].dim_value > 0:
        raise InputError(
            f"the input {value.name!r} takes exactly {dims[0].dim_value} rows at a time",
            fix="export it with a free first axis (dynamic_axes, dynamic_shapes)",
        )
    if len(dims) == 1:
        return kind, 1, True
    known = len(dims) == 2 and dims[1].HasField("dim_value") and dims[1].dim_value > 0
    return kind, dims[1].dim_value if known else None, False
