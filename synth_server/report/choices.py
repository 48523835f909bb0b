"""What a plug-in is called in a Methods section: its name in words, and the few numbers that matter.

All its settings stand in the session's configuration, at the end of the page; here they would hide
what was done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Settings = Mapping[str, Any]
PRESETS = {
    "xdream": "the genetic algorithm of XDREAM (Ponce et al. 2019)",
    "poncelab": "the genetic algorithm of the Ponce laboratory",
    "wang_ponce": "the genetic algorithm of Wang & Ponce (2022)",
}
OPTIMIZERS = {
    "sphere_ascent": "sphere ascent, which follows the fitness's estimated gradient on a sphere of "
    "codes",
    "sphere_cma": "a covariance matrix adaptation on a sphere of codes (Wang & Ponce 2022)",
    "cholesky_cma": "a covariance matrix adaptation (Cholesky CMA-ES)",
    "diagonal_cma": "a covariance matrix adaptation with a diagonal matrix",
    "random_search": "a random search, which learns nothing (a control)",
}


def optimizer(choice: Settings) -> str:
    """`sphere ascent, …, with 30 images a generation`."""
    options = choice.get("options", {})
    words = PRESETS.get(str(options.get("preset", ""))) or OPTIMIZERS.get(choice["name"])
    said = words or f"the laboratory's optimizer {choice['name']}"
    n = options.get("population")
    return f"{said}, with {n} images in a generation" if n else said


def generator(choice: Settings) -> str:
    """`a deep network with codes of 1024 numbers; …`."""
    options = choice.get("options", {})
    words = {
        "deep": "a deep network that draws images from features (bundled with stimloop)",
        "deepsim_fc6": "the deep network DeePSiM-fc6 (Dosovitskiy & Brox 2016)",
        "fourier": "sums of Fourier components",
        "pixels": "pixels",
    }
    said = words.get(choice["name"], f"the laboratory's generator {choice['name']}")
    if dim := options.get("code_dim"):
        said += f", with codes of {dim} numbers"
    tiles = options.get("tiles", 1)
    if tiles > 1:
        said += f", each image one pattern repeated {tiles} × {tiles} times"
    return said


def objective(choice: Settings) -> str:
    """`the count at site-00`."""
    options = choice.get("options", {})
    site, sites = options.get("site", ""), options.get("sites") or ()
    words: Mapping[str, Callable[[], str]] = {
        "site": lambda: f"the count at {site}",
        "mean_of_sites": lambda: (
            f"the mean count over {', '.join(sites)}" if sites else "the mean count over all sites"
        ),
        "weighted_sites": lambda: "a weighted sum of counts",
        "suppress": lambda: f"the negative count at {site}".rstrip(),
        "one_hot_population": lambda: (
            f"the softmax share of {options.get('target', site)} over sites"
        ),
        "target_pattern": lambda: "the negative distance to a target pattern of counts",
    }
    found = words.get(choice["name"])
    return found() if found else f"the laboratory's objective {choice['name']}"


def fit(choice: Settings) -> str:
    """`a two-stage encoder (…) from 8 layers of 3 pretrained networks`."""
    options = choice.get("options", {})
    said = (
        "a two-stage encoder (a spatial mask and a mix of features for each site; Bashivan, Kar & "
    )
    said += "DiCarlo 2019)"
    if choice["name"] == "published":
        return f"{said} as published"
    taps = options.get("taps") or ()
    if not taps:
        return said
    networks = {tap["backbone"] for tap in taps}
    return (
        f"{said} from {_n(len(taps), 'layer')} of {_n(len(networks), 'pretrained network')} "
        f"({', '.join(sorted(networks))})"
    )


def synthesis(choice: Settings) -> str:
    """`gradient ascent through the encoder in 200 steps (recipe stimloop)`."""
    steps = choice.get("options", {}).get("n_steps")
    often = f" in {steps} steps" if steps else ""
    return f"gradient ascent through the encoder{often} (recipe {choice['name']})"


def _n(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
