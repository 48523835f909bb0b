"""House rules that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = ("protocols", "encoders", "simulated_neurons", "synth_server", "rig_client")
MODULES = sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
IDS = [str(path.relative_to(PROJECT)) for path in MODULES]


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_modules_are_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_nothing_pickles_and_randomness_is_explicit(path):
    tree = ast.parse(path.read_text("utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    assert not imported & {"pickle", "random", "shelve", "marshal"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    hidden = [
        ast.unparse(call)
        for call in calls
        if _is_global_stream(ast.unparse(call.func))
        and not any(keyword.arg == "generator" for keyword in call.keywords)
    ]
    assert not hidden or path.relative_to(PROJECT) == FORKED


FORKED = Path("encoders/backbones/weights.py")
"""torchvision's initialisation knows the global stream only; it is forked and seeded there."""


def _is_global_stream(name: str) -> bool:
    if name.startswith("np.random."):
        return name not in {"np.random.Generator", "np.random.PCG64"}
    return name in {"torch.manual_seed", "torch.rand", "torch.randn", "torch.randint"}


def test_no_module_is_a_drawer():
    assert not [i for i in IDS if Path(i).stem in {"utils", "util", "helpers", "misc", "common"}]


def test_tests_wait_for_events_and_not_for_time():
    """One helper polls for a condition, with a deadline; nobody else sleeps."""
    sleeping = {
        path.relative_to(PROJECT / "tests").as_posix()
        for path in (PROJECT / "tests").rglob("*.py")
        if "time.sle" + "ep(" in path.read_text("utf-8")
    }
    assert sleeping <= {"end_to_end/processes.py"}
