"""The result set of a session: figures, tables and numbers in one folder, from its log alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image

from protocols.errors import SettingsError
from synth_server.readers.evolution.network_features import FeatureSettings, NetworkFeatures
from synth_server.readers.evolution.results_document import Results, results_of
from synth_server.readers.evolution.similarity import ImageOf
from synth_server.readers.log.session_record import EvolutionRecord, read_record
from synth_server.readers.log.stimulus_names import logged_images
from synth_server.readers.results.overview_page import draw_overview
from synth_server.readers.results.tables import image_file, write_tables
from synth_server.readers.results.thread_page import draw_thread
from synth_server.session.log import SessionLog

N_IMAGES_KEPT = 512
"""In memory: references are drawn and compared again and again."""


def write_result_set(
    log_path: Path,
    folder: Path,
    features: FeatureSettings | None,
    threads: Sequence[str] = (),
    *,
    record: EvolutionRecord | None = None,
) -> Results:
    """Write `results.json`, CSV tables, images, an overview and a page for each evolution.

    Args:
        log_path: A session's log, finished or not.
        folder: Made if it is not there; files of an earlier call are written anew.
        features: Where images are compared; None: in pixels only.
        threads: Which; all evolutions if none is named.
        record: Of the log, if it has been read before; `threads` leave it with these alone.

    Raises:
        LogError: If there is no log.
        DataError: If no evolution has been measured.
        SettingsError: If there is no such thread, network or layer.
    """
    record = record or read_record(log_path)
    _keep_only(record, threads)
    features_of = None if features is None else NetworkFeatures(features)
    log = SessionLog(log_path)
    try:
        image_of: ImageOf = lru_cache(N_IMAGES_KEPT)(logged_images(log, record.images))
        results = results_of(record, image_of, features, features_of)
        (folder / "threads").mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(results.model_dump_json(indent=2) + "\n", "utf-8")
        write_tables(results, folder)
        _write_images(results, image_of, folder)
        draw_overview(results, image_of, folder)
        for result in results.threads:
            out = folder / "threads" / result.thread
            draw_thread(results, result, record.threads[result.thread], image_of, out)
    finally:
        log.close()
    return results


def _keep_only(record: EvolutionRecord, threads: Sequence[str]) -> None:
    unknown = [name for name in threads if name not in record.threads]
    if unknown:
        raise SettingsError(
            f"there is no thread {unknown[0]!r} in this session",
            where="--thread",
            expected=", ".join(record.threads),
            got=unknown[0],
        )
    for name in [name for name in record.threads if threads and name not in threads]:
        del record.threads[name]


def _write_images(results: Results, image_of: ImageOf, folder: Path) -> None:
    """The last generation of every thread, the highest score first."""
    for result in results.threads:
        for place, image in enumerate(result.last_generation):
            out = folder / image_file(result.thread, place + 1)
            out.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image_of(image.id)).save(out)
