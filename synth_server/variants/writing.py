"""Write what a session of variants came to: `variants.json`, and the figures."""

from __future__ import annotations

from pathlib import Path

from synth_server.variants.documents import Variants
from synth_server.variants.figure import draw_variants
from synth_server.variants.reading import read_variants
from synth_server.variants.summary import summarised


def write_variants(log_path: Path, folder: Path) -> tuple[Variants, list[Path]]:
    """Write into `folder`, which is made if it is not there; return the numbers and the figures.

    Raises:
        DataError: If the session shows no variants.
        LogError: If it is no log.
    """
    record = read_variants(log_path)
    found = summarised(record)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "variants.json").write_text(found.model_dump_json(indent=2) + "\n", "utf-8")
    return found, draw_variants(found, record, folder)
