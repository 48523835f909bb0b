"""mkdocs hooks: pages that lie outside docs/ join the site, and links to and from them hold.

Every page is written to be read in the repository. `CONTRIBUTING.md` is the site's
`project/CONTRIBUTING.md`; a link to a file that is no page of the site is shown as code.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PROJECT = "project"
OUTSIDE = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "benchmarks/RESULTS.md",
    "synth_server/synthesis/generators/weights/MODEL_CARD.md",
    "encoders/backbones/robust_weights/MODEL_CARD.md",
)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
IMAGES = (".png", ".jpg", ".svg")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages, and the pictures beside them."""
    for name in OUTSIDE:
        text = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, f"{PROJECT}/{name}", content=text))
        for picture in sorted((ROOT / name).parent.glob("*")):
            if picture.suffix in IMAGES:
                beside = f"{PROJECT}/{picture.relative_to(ROOT).as_posix()}"
                files.append(File.generated(config, beside, content=picture.read_bytes()))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Links of the repository become links of the site; code stays as it is."""
    del config
    here = page.file.src_uri
    in_repository = (
        here.removeprefix(f"{PROJECT}/") if here.startswith(f"{PROJECT}/") else f"docs/{here}"
    )

    def moved(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        address, hash_sign, anchor = target.partition("#")
        if not address or ":" in address:
            return link[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), address))
        inside = (
            wanted.removeprefix("docs/") if wanted.startswith("docs/") else f"{PROJECT}/{wanted}"
        )
        if files.get_file_from_path(inside) is None and (ROOT / wanted).exists():
            return text if image else f"{text} (`{wanted}`)"
        relative = posixpath.relpath(inside, posixpath.dirname(here))
        # GitHub ends the anchor of "### `hello` >" with a dash, the site does not.
        return f"{image}[{text}]({relative}{hash_sign}{anchor.rstrip('-')})"

    # Links may hold code, so they are looked for in the whole text between code blocks.
    blocks = re.split(r"(```.*?```)", markdown, flags=re.S)
    return "".join(block if block.startswith("```") else LINK.sub(moved, block) for block in blocks)
