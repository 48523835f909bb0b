"""How simulated sites are called."""

from __future__ import annotations


def site_names(n_sites: int) -> tuple[str, ...]:
    """`site-00`, `site-01`, …"""
    return tuple(f"site-{number:02d}" for number in range(n_sites))
