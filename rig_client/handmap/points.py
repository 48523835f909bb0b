"""Kept points on the disk: `handmap.jsonl` at once, `handmap.csv` and `fields.json` after it.

`handmap.jsonl` is only ever added to, and each line is on the disk before the next event is looked at.
The other two are written anew from it; a program that is killed in between loses neither.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protocols.errors import SettingsError
from protocols.fields import SIGMAS, FieldMap, SiteField
from protocols.replacing import replace_file
from protocols.rig_description import Edges
from rig_client.handmap.rates import WINDOW_S, Reading
from rig_client.handmap.state import Kept, Stimulus

LINES, TABLE, FIELDS = "handmap.jsonl", "handmap.csv", "fields.json"
SMALLEST_DEG = 0.5
"""A field kept by hand is never smaller, across."""


class Points:
    """The points of one hand map.

    Args:
        folder: Where they are written; made if it is not there.
        site_ids: Names of the recorded sites.
        bounds_deg: Of the screen.
        about: What else the file's first line says: the rig, its screen, what is simulated.

    Raises:
        SettingsError: If the folder holds a hand map already, or cannot be written.
    """

    def __init__(
        self, folder: Path, site_ids: Sequence[str], bounds_deg: Edges, about: dict[str, Any]
    ) -> None:
        self._site_ids, self._bounds_deg = tuple(site_ids), bounds_deg
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self.kept: tuple[Kept, ...] = ()
        self.trouble = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / LINES).open("x", encoding="utf-8", newline="\n")
        except FileExistsError:
            raise SettingsError(
                "there is a hand map in this folder already",
                where=str(folder / LINES),
                expected="a new folder for each hand map",
                remedy="name another one: --out FOLDER",
            ) from None
        except OSError as error:
            raise SettingsError(
                "the hand map's folder cannot be written",
                where=str(folder),
                got=error.strerror or error,
                remedy="name another one: --out FOLDER",
            ) from None
        self._waiting: list[str] = []
        self._add({"event": "begin", "version": 1, "site_ids": list(site_ids), **about})

    def keep(self, kept: Kept, reading: Reading, at: str) -> None:
        """A point, with what all sites did when it was kept.

        Args:
            kept: The point.
            reading: The rates then.
            at: Date and time.
        """
        row = {
            "number": kept.number,
            "at": at,
            "for_site": kept.site,
            **_rounded(kept.stimulus),
            "trouble": reading.trouble,
            "window_s": round(reading.window_s, 4),
            "lag_s": _finite(reading.lag_s),
            "age_s": _finite(reading.age_s),
            "baseline_s": round(reading.baseline_s, 4),
            "never_fired": [
                site
                for site, fired in zip(self._site_ids, reading.has_fired, strict=False)
                if not fired
            ],
            "rates": self._by_site(reading.rates),
            "smooth": self._by_site(reading.smooth),
            "baseline": self._by_site(reading.baseline),
        }
        self.kept = (*self.kept, kept)
        self._rows.append(row)
        self._add({"event": "point", **row})
        self._rewrite()

    def take_back(self, number: int, at: str) -> None:
        """That point was a slip: it stays in `handmap.jsonl`, and goes from the rest."""
        self.kept = tuple(kept for kept in self.kept if kept.number != number)
        self._rows = [row for row in self._rows if row["number"] != number]
        self._add({"event": "taken_back", "number": number, "at": at})
        self._rewrite()

    def fields(self) -> FieldMap:
        """What the points say of the sites' fields."""
        return hand_map(self.kept, self._site_ids, self._bounds_deg)

    def close(self) -> None:
        """Write what could not be written before.

        Raises:
            SettingsError: If that is still so; the message has the points.
        """
        self._add(None)
        if self._waiting:
            raise SettingsError(
                "kept points could not be written",
                where=str(self._folder),
                got=self.trouble,
                remedy="copy them from here: " + " ".join(self._waiting),
            )
        self._rewrite()
        self._file.close()

    def _add(self, record: dict[str, Any] | None) -> None:
        """Onto the disk; what fails is tried again with the next one, and told until then."""
        if record is not None:
            self._waiting.append(json.dumps(record, ensure_ascii=False, allow_nan=False))
        try:
            while self._waiting:
                self._file.write(self._waiting[0] + "\n")
                self._file.flush()
                os.fsync(self._file.fileno())
                self._waiting.pop(0)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"POINTS NOT WRITTEN: {error.strerror or error} ({self._folder})"

    def _rewrite(self) -> None:
        try:
            self._replace(TABLE, _csv(self._rows, self._site_ids))
            if self.kept:
                self._replace(FIELDS, self.fields().text())
            else:
                (self._folder / FIELDS).unlink(missing_ok=True)
        except OSError as error:
            self.trouble = f"POINTS NOT WRITTEN: {error.strerror or error} ({self._folder})"

    def _replace(self, name: str, text: str) -> None:
        draft = self._folder / f".{name}.part"
        draft.write_text(text, "utf-8", newline="")
        replace_file(draft, self._folder / name)

    def _by_site(self, numbers: Any) -> dict[str, float] | None:
        if numbers is None:
            return None
        rounded = (round(float(number), 3) for number in numbers)
        return dict(zip(self._site_ids, rounded, strict=True))


def hand_map(kept: Sequence[Kept], site_ids: Sequence[str], bounds_deg: Edges) -> FieldMap:
    """Fields as the points say: a site's own ones, or else those that were kept for all sites.

    One point: its centre, as large as the stimulus there was (its longer side). Several: the middle of
    the box around their centres, and as far as its farther side, with half of a stimulus's shorter side.
    `FieldMap.place` then covers them all. Nothing of it is an estimate: p and the like are null.

    Args:
        kept: Points.
        site_ids: The recorder's sites.
        bounds_deg: Of the screen.
    """
    fields = []
    for site in site_ids:
        own = [one.stimulus for one in kept if one.site == site]
        fields.append(_field(site, own or [one.stimulus for one in kept if not one.site]))
    return FieldMap(
        estimator="hand",
        alpha=0.0,
        count_window_s=(-WINDOW_S, 0.0),
        grid_deg=bounds_deg,
        fields=tuple(fields),
    )


def _field(site: str, stimuli: list[Stimulus]) -> SiteField:
    if not stimuli:
        return SiteField(site=site, n=0)
    xs, ys = ([one.x_deg for one in stimuli], [one.y_deg for one in stimuli])
    short, long = (max(sides) for sides in zip(*(one.sides_deg for one in stimuli), strict=True))
    reach = max(max(xs) - min(xs), max(ys) - min(ys), 0.0)
    across = reach + short if len(stimuli) > 1 else long
    return SiteField(
        site=site,
        n=len(stimuli),
        x_deg=round((min(xs) + max(xs)) / 2, 3),
        y_deg=round((min(ys) + max(ys)) / 2, 3),
        sigma_deg=round(max(across, SMALLEST_DEG) / 2 / SIGMAS, 4),
    )


def _csv(rows: list[dict[str, Any]], site_ids: Sequence[str]) -> str:
    """One line for each point and site; a number that is not known is empty."""
    per_site = ("rates", "smooth", "baseline")
    out = io.StringIO()
    names = [name for name in rows[0] if name not in per_site] if rows else ["number"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "site", "rate", "smooth", "baseline"])
    for row in rows:
        for site in site_ids:
            numbers = [(row[name] or {}).get(site, "") for name in per_site]
            values = ["" if row[name] is None else row[name] for name in names]
            writer.writerow([*values, site, *numbers])
    return out.getvalue()


def _rounded(stimulus: Stimulus) -> dict[str, Any]:
    values = {name: value for name, value in stimulus._asdict().items() if name != "is_shown"}
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _finite(number: float) -> float | None:
    return round(number, 4) if abs(number) < float("inf") else None
