"""`explain.html`: all sites on one page, self-contained."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from synth_server.explain.documents import Explanation
from synth_server.readers.export.new_file import new_file

PAGE = "explain.html"


def write_page(document: Explanation, folder: Path) -> Path:
    """Write the page beside its figures."""
    templates = Environment(
        loader=PackageLoader("synth_server.explain"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    data = {
        site.site: base64.b64encode((folder / site.figure).read_bytes()).decode()
        for site in document.sites
    }
    text = templates.get_template(PAGE).render(document=document, data=data)
    page = folder / PAGE
    with new_file(page, ".html", force=True) as unfinished:
        unfinished.write_text(text, "utf-8")
    return page
