"""`explain.html`: all sites on one page, self-contained."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from synth_server.explain.documents import Explanation
from synth_server.readers.export.new_file import new_file
from synth_server.readers.log.rig_record import SIMULATED

PAGE, ATLAS = "explain.html", "atlas.png"


def write_page(document: Explanation, folder: Path, *, with_atlas: bool = False) -> Path:
    """Write the page beside its figures."""
    templates = Environment(
        loader=PackageLoader("synth_server.explain"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    text = templates.get_template(PAGE).render(
        document=document,
        data={site.site: _embedded(folder / site.figure) for site in document.sites},
        atlas=_embedded(folder / ATLAS) if with_atlas else "",
        simulated_word=SIMULATED,
    )
    page = folder / PAGE
    with new_file(page, ".html", force=True) as unfinished:
        unfinished.write_text(text, "utf-8")
    return page


def _embedded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
