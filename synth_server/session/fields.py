"""Receptive fields within a session: estimated from its own responses, kept as its products."""

from __future__ import annotations

from pathlib import Path

from protocols.digests import array_digest, combined_digest, document_digest
from protocols.fields import EstimateSettings, FieldMap, FieldShowings
from synth_server.receptive_fields.estimating import estimate_fields
from synth_server.receptive_fields.table import fields_csv
from synth_server.session.products import Products


class SessionFields:
    """Estimates fields (a `FieldEstimation`).

    Args:
        settings: How.
        window_s: In which spikes are counted, after onset.
        edge_deg: Width of the patches' soft edge.
        products: Where estimates are kept.
        name: The file of the result, without `.json`.
    """

    def __init__(
        self,
        settings: EstimateSettings,
        window_s: tuple[float, float],
        edge_deg: float,
        products: Products,
        name: str,
    ) -> None:
        self._settings = settings
        self._window_s = window_s
        self._edge_deg = edge_deg
        self._products = products
        self._name = name

    def __call__(self, shown: FieldShowings, *, intervals: bool) -> FieldMap:
        """See `protocols.interfaces.FieldEstimation`."""
        how = [self._settings.model_dump(mode="json"), self._window_s, self._edge_deg, intervals]
        parts = [document_digest([*how, list(shown.site_ids)])]
        parts += [array_digest(array) for array in shown[:5]]
        made = self._products.file(
            f"field-estimate-{combined_digest(parts)[:32]}.json",
            lambda path: self._estimate(shown, intervals, path),
        )
        return FieldMap.model_validate_json(made.path.read_bytes())

    def _estimate(self, shown: FieldShowings, intervals: bool, path: Path) -> None:
        with self._products.telling("estimating receptive fields") as tell:
            found = estimate_fields(
                shown,
                self._window_s,
                self._edge_deg,
                self._settings,
                intervals=intervals,
                tell=tell,
            )
        path.write_text(found.text(), "utf-8")

    def publish(self, found: FieldMap) -> None:
        """See `protocols.interfaces.FieldEstimation`."""
        self._products.publish(f"{self._name}.json", found.text())
        self._products.publish(f"{self._name}.csv", fields_csv(found))
