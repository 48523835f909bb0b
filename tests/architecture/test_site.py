"""The documentation builds as a site, without a warning, and asks nothing of the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="no mkdocs: pip install 'stimloop[docs]'")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return folder


def test_pages_of_docs_and_of_the_project_are_there(site):
    for page in ("index", "tutorials/first-session", "reference/api", "project/CONTRIBUTING"):
        assert (site / page.removesuffix("index") / "index.html").is_file(), page


def test_the_api_reference_has_docstrings(site):
    page = (site / "reference" / "api" / "index.html").read_text("utf-8")
    for name in ("protocols.rig_interfaces.Acquisition.mark", "encoders.fitting.fit"):
        assert f'id="{name}"' in page, name
    assert "half-open window after an onset" in page


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(https?:[^"]+)"',
            page.read_text("utf-8"),
        )
        assert loaded == [], page
