"""What a report says of small changes and parts of images, and of what each site's encoder looks for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from protocols.errors import DataError, StimloopError
from synth_server.report.figures import Figure, last_encoders
from synth_server.report.tables import Table
from synth_server.variants.documents import PROTOCOLS, Interval, Variants
from synth_server.variants.writing import write_variants

logger = logging.getLogger(__name__)
CAPTIONS: Mapping[str, tuple[str, str]] = {
    "sensitivity": (
        "Small changes",
        "Signed change, in SDs of a site's responses to photographs, over the size of the change; beside a "
        "random change and changes made for other sites. Dotted: predicted.",
    ),
    "parts": (
        "Parts of images",
        "What is left of a response when the part that the encoder names is kept or removed, beside a disc "
        "at the field and a random patch; whole image = 1.",
    ),
    "pairs": ("Variants in pairs", "A row a site: a photograph, and its strongest variants."),
}
EXPLAINED = (
    "Left to right: mean responses, sorted; photographs at the minimum, the quartiles and the maximum; what "
    "drives the site on its best three, by its encoder; images made for it; the channels that raise its "
    "predicted rate most. Gray: predicted too badly to explain it. Scores are of {scored_on}."
)


def variants_of(settings: Any, log_path: Path, folder: Path) -> tuple[list[Table], list[Figure]]:
    """Of a session of `perturb` or `reduction`: tables, and figures drawn into `folder`; else nothing."""
    if not any(thread.protocol in PROTOCOLS for thread in settings.threads):
        return [], []
    try:
        found, files = write_variants(log_path, folder)
    except DataError:  # none was shown yet
        return [], []
    figures = [Figure(*CAPTIONS[file.stem], file.with_suffix("")) for file in files]
    return variant_tables(found), figures


def variant_tables(found: Variants) -> list[Table]:
    """Means over sites: a row a radius, a row a part."""
    tables = []
    if found.over_sites:
        head = ("radius, levels", "made for the site", "predicted", "for others", "random change")
        rows = [
            (f"{r.radius_levels:g}", *map(_cell, (r.signed, r.predicted, r.others, r.random)))
            for r in found.over_sites
        ]
        caption = f"Signed change in SD, mean of {len(found.sites)} sites (95 % interval)"
        tables.append(Table(caption, head, rows))
    if found.parts_over_sites:
        parts = [
            (f"{p.share:.0%}", p.kind, _cell(p.left), _cell(p.predicted))
            for p in found.parts_over_sites
        ]
        caption = f"Response left, mean of {len(found.sites)} sites (95 % interval)"
        tables.append(Table(caption, ("share", "part", "left", "predicted"), parts))
    return tables


def explained_figures(log_path: Path, folder: Path) -> Iterator[Figure]:
    """A row a site of every encoder that the session fitted, if they are still there; no image is made.

    What cannot be explained (an encoder of other sites, too few photographs) is said in the program's
    output, and left out.
    """
    paths = last_encoders(log_path)
    for number, path in enumerate(paths, start=1):
        own = folder if len(paths) == 1 else folder / str(number)
        try:
            yield from _explained(log_path, path, own)
        except StimloopError as error:
            logger.warning("%s is not explained in the report: %s", path.name, error)


def _explained(log_path: Path, path: Path, folder: Path) -> Iterator[Figure]:
    from encoders.checkpoint import encoder_digest, load_encoder
    from synth_server.explain.explanation import ExplainSettings, explain
    from synth_server.recordings.measured import Wanted
    from synth_server.recordings.reading import read_recording

    loaded = load_encoder(path)
    recording = read_recording(None, log_path, Wanted(), loaded.encoder.site_ids).recording
    settings = ExplainSettings(synthesis=False, session=log_path)
    found = explain(loaded, encoder_digest(path), recording, folder, settings)
    caption = EXPLAINED.format(scored_on=found.scored_on)
    for site in found.sites:
        file = (folder / site.figure).with_suffix("")
        yield Figure(f"What site {site.site} wants", caption, file)


def _cell(value: Interval | float | None) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if value is None or value.mean is None:
        return "–"
    bounds = "" if value.low is None else f" ({value.low:.3f} to {value.high:.3f})"
    return f"{value.mean:.3f}{bounds}"
