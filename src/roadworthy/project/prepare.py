"""`[prepare]`: how cells become numbers."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.project._range import Range

Impute = Literal["auto", "keep", "mean", "median", "most_frequent", "constant", "drop_rows"]
Encode = Literal["auto", "one_hot", "ordinal", "target", "frequency", "hash"]
ScaleChoice = Literal[
    "auto", "none", "standard", "min_max", "robust", "quantile", "log", "power"
]  # fmt: skip
DateChoice = Literal["auto", "parts", "cyclic"]
TextChoice = Literal["auto", "tf_idf", "hash", "drop"]


class ColumnPreparation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user says of one column's preparation (`[prepare.columns.NAME]`).

    Attributes:
        impute: What a blank becomes, in place of what holds for the column's kind.
        fill: The constant that `impute = "constant"` puts in: a number, or a level.
        indicator: Whether a further feature says that the cell was blank.
        encode: How a category becomes numbers.
        order: The levels of an ordinal category, the lowest first.
        scale: How models that need their numbers on one scale bring this one there.
        date: Plain parts of a date, or the cyclic ones as sine and cosine.
        text: How a text becomes numbers.
    """

    impute: Impute | None = None
    fill: float | str | None = None
    indicator: bool | None = None
    encode: Encode | None = None
    order: tuple[str, ...] = ()
    scale: ScaleChoice | None = None
    date: DateChoice | None = None
    text: TextChoice | None = None


class PrepareSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[prepare]`: how cells become numbers; what is `auto` is chosen column by column.

    Attributes:
        number_impute: What a blank number, boolean or date becomes; `keep` leaves it to the model.
        category_impute: What a blank category becomes; `keep` makes it a level of its own.
        indicator: Whether imputed columns get a further feature that says so.
        drop_columns_above: Columns with a larger share of blanks are left out.
        encode: How categories become numbers.
        rare_rows: Levels in fewer rows than this share one entry.
        max_levels: Levels a category keeps; rarer ones count as unseen.
        buckets: Hash buckets of a hashed category.
        scale: How models that need their numbers on one scale bring them there.
        date: Plain parts of dates, or the cyclic ones as sine and cosine.
        text: How texts become numbers, or `drop`.
        text_features: Words or hash buckets that a text column becomes.
        columns: What differs for single columns.
    """

    number_impute: Impute = "auto"
    category_impute: Impute = "auto"
    indicator: bool = False
    drop_columns_above: float = 1.0
    encode: Encode = "auto"
    rare_rows: int = 1
    max_levels: int = 10_000
    buckets: int = 64
    scale: ScaleChoice = "auto"
    date: DateChoice = "auto"
    text: TextChoice = "auto"
    text_features: int = 50
    columns: dict[str, ColumnPreparation] = msgspec.field(default_factory=dict)

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(2 <= self.max_levels <= 1_000_000, "max_levels", "2 to 1000000"),
            Range(1 <= self.rare_rows <= 1_000_000, "rare_rows", "1 to 1000000"),
            Range(2 <= self.buckets <= 4096, "buckets", "2 to 4096"),
            Range(2 <= self.text_features <= 2000, "text_features", "2 to 2000"),
            Range(0 < self.drop_columns_above <= 1, "drop_columns_above", "above 0, at most 1"),
            Range(
                self.number_impute != "constant" and self.category_impute != "constant",
                "number_impute",
                "set column by column when it is a constant: "
                '[prepare.columns.NAME] impute = "constant", fill = …',
            ),
            Range(
                self.category_impute not in ("mean", "median"),
                "category_impute",
                "auto, keep, most_frequent or drop_rows: a category has no mean",
            ),
        ]

    def of(self, column: str) -> ColumnPreparation:
        """What is said of one column."""
        return self.columns.get(column, ColumnPreparation())
