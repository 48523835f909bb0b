"""`fields.csv`: receptive fields, a line a site."""

from __future__ import annotations

import csv
import io

from protocols.fields import FieldMap

COLUMNS = (
    "site", "n", "p", "reliability", "x_deg", "y_deg", "sigma_deg", "amplitude", "baseline",
    "x_low", "x_high", "y_low", "y_high", "sigma_low", "sigma_high", "at_edge",
)  # fmt: skip


def fields_csv(found: FieldMap) -> str:
    """A line a site; what is null is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for field in found.fields:
        row = field.model_dump(include=set(COLUMNS))
        for name in ("x", "y", "sigma"):
            low, high = getattr(field, f"{name}_interval") or (None, None)
            row |= {f"{name}_low": low, f"{name}_high": high}
        writer.writerow(row)
    return out.getvalue()
