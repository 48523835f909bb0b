"""Report, results, tables and NWB file of a recorded session are what they were, value by value."""

from __future__ import annotations

import pytest

from tests.golden.reader_outputs import RECORDED, outputs

NAMES = sorted(path.relative_to(RECORDED).as_posix() for path in RECORDED.rglob("*.*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return outputs(tmp_path_factory.mktemp("readers"))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_as_it_was_recorded(made, name):
    if name == "nwb.txt":
        pytest.importorskip("pynwb")
    assert made[name] == (RECORDED / name).read_text("utf-8")


def test_nothing_else_is_written(made):
    assert set(made) <= set(NAMES)
