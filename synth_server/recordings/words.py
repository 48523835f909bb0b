"""What laboratories call images, sites, repetitions and counts in the names of axes and columns."""

from __future__ import annotations

import re
from collections.abc import Iterable

IMAGES, SITES, REPEATS = "images", "sites", "repeats"
ROLES = (IMAGES, SITES, REPEATS)

_IMAGE = """
    istim iimg image_sha256 image_hash stimulus_presented scene natural_scene
    frame frame_index filename file_name external_image_file presentation presentations
"""
_IMAGE_STEMS = "image img im stimulus stim picture pic photo photograph"
_IMAGE_ENDS = "name names file files filename filenames file_name file_names path paths"
_SITE = "multiunit multiunits"
_SITE_STEMS = "site unit neuron neuroid channel chan ch electrode cell roi cluster"
_REPEAT = "repetition_number presentation_number trial_index"
_REPEAT_STEMS = "repetition repeat rep trial"
_NUMBER_ENDS = "id ids idx index indices number numbers num nr no"
_VALUE = """
    count counts spike_count spike_counts spikecount spikecounts n_spikes nspikes num_spikes spikes
    rate rates spike_rate spike_rates firing_rate firing_rates fr
    response responses resp resps mean_response mean_responses value values activity psth
    mean_rate mean_rates mua y
"""


def _with_ends(stems: str, ends: str) -> set[str]:
    """`image`, `images`, `image_id`, `imageid`, `images_id` … of stems and ends."""
    plural = {"stimulus": "stimuli"}
    bases = {form for stem in stems.split() for form in (stem, plural.get(stem, stem + "s"))}
    joined = {f"{base}{gap}{end}" for base in bases for end in ends.split() for gap in ("_", "")}
    return bases | joined


WORDS = {
    IMAGES: frozenset(
        {*_IMAGE.split(), *_with_ends(_IMAGE_STEMS, _NUMBER_ENDS + " " + _IMAGE_ENDS)}
    ),
    SITES: frozenset({*_SITE.split(), *_with_ends(_SITE_STEMS, _NUMBER_ENDS + " name names")}),
    REPEATS: frozenset({*_REPEAT.split(), *_with_ends(_REPEAT_STEMS, _NUMBER_ENDS)}),
    "values": frozenset(_VALUE.split()),
}
VALUES = "values"


def plain(name: str) -> str:
    """`Image ID`, `imageID`, `image-id` and `image.id` → `image_id`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^0-9a-z]+", "_", spaced.casefold()).strip("_")


def role_of(name: str) -> str | None:
    """Whether `name` says images, sites, repeats or values; None for any other word."""
    word = plain(name)
    return next((role for role, words in WORDS.items() if word in words), None)


def named_as(role: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that say `role`."""
    return [name for name in names if role_of(name) == role]
