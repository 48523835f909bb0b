"""The table of receptive fields in an NWB file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.fields import FieldMap
from synth_server.readers.export.libraries import nwb


def receptive_fields(fields: Mapping[str, FieldMap]) -> Any:
    """Receptive fields that the session mapped, a row a thread and site; None if it mapped none."""
    rows = [(thread, field) for thread, found in fields.items() for field in found.fields]
    if not rows:
        return None
    columns = [
        _column("thread", "Thread that mapped it.", np.array([t for t, _ in rows], dtype=object)),
        _column("site_id", "Name of the site.", np.array([f.site for _, f in rows], dtype=object)),
        _column("n_showings", "Completed showings of patches.", np.array([f.n for _, f in rows])),
        _column(
            "at_edge",
            "Whether the centre lies at the edge of the mapped grid or beyond.",
            np.array([f.at_edge for _, f in rows]),
        ),
    ]
    for name, meaning in _FIELD_COLUMNS.items():
        values = [getattr(field, name) for _, field in rows]
        numbers = np.array([np.nan if value is None else value for value in values], np.float64)
        columns.append(_column(name, f"{meaning}; NaN if not estimated.", numbers))
    for name in ("x", "y", "sigma"):
        spans = [getattr(field, f"{name}_interval") or (np.nan, np.nan) for _, field in rows]
        meaning = f"95 % bootstrap interval of {name}_deg; NaN if not estimated."
        columns.append(_column(f"{name}_interval_deg", meaning, np.array(spans, np.float64)))
    return nwb("hdmf.common").DynamicTable(
        name="receptive_fields",
        description="2-D Gaussian receptive fields fitted to counts, by patches of texture at places "
        "of a grid; degrees of visual angle right and up of the screen's centre.",
        columns=columns,
        id=list(range(len(rows))),
    )


_FIELD_COLUMNS = {
    "x_deg": "Centre, to the right",
    "y_deg": "Centre, up",
    "sigma_deg": "Standard deviation of the Gaussian",
    "p": "Of a permutation test that the place of a patch does not matter",
    "reliability": "Split-half correlation of the map, Spearman-Brown corrected",
    "amplitude": "Spikes/s by which a patch over the whole field changes the rate",
    "baseline": "Spikes/s far from the field",
}


def _column(name: str, description: str, values: NDArray[Any]) -> Any:
    data = values.tolist() if values.dtype == object else values
    return nwb("hdmf.common").VectorData(name=name, description=description, data=data)
