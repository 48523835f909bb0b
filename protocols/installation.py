"""Refuses to run where another distribution owns one of our package names.

Our packages have plain names (`protocols`, `encoders` …). A colliding wheel installs silently, and
removing it deletes our files; so each command looks first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions

from protocols.errors import InstallationError

OUR_DISTRIBUTION = "stimloop"
OUR_PACKAGES = ("protocols", "encoders", "simulated_neurons", "synth_server", "rig_client")


def check_no_name_collision(owners: Mapping[str, Sequence[str]] | None = None) -> None:
    """Raise `InstallationError` naming both distributions if one of our names has another owner.

    Args:
        owners: Package name → distributions that install it; looked up if not given.
    """
    installed = packages_distributions() if owners is None else owners
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
