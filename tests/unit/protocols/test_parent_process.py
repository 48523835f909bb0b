"""A child that asks to end with its parent, and one that asks for nothing."""

import os
import subprocess
import sys

import pytest

from protocols.parent_process import PARENT, end_with_parent, environment_of_child


def test_a_child_is_told_whose_it_is():
    assert environment_of_child() == {PARENT: str(os.getpid())}


def test_without_a_parent_named_nothing_happens(monkeypatch):
    monkeypatch.delenv(PARENT, raising=False)
    end_with_parent()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux' prctl")
@pytest.mark.parametrize("is_there", [True, False])
def test_a_child_whose_parent_has_gone_ends_at_once(is_there):
    """And its own children are not told."""
    named = os.getpid() if is_there else 1 << 22
    code = (
        "import os; from protocols.parent_process import *; "
        "end_with_parent(); assert PARENT not in os.environ"
    )
    environment = {**os.environ, PARENT: str(named)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment)
    assert ended.returncode == (0 if is_there else 1)
