"""What laboratories call images, sites, repetitions and counts in the names of axes and columns."""

from __future__ import annotations

import re
from collections.abc import Iterable

IMAGES, SITES, REPEATS = "images", "sites", "repeats"
ROLES = (IMAGES, SITES, REPEATS)

_IMAGE = """
    image images img imgs image_id image_ids image_name image_names image_file image_file_name
    image_filename image_index image_number image_no image_nr image_sha256 image_hash
    stimulus stimuli stim stims stimulus_id stimulus_ids stimulus_name stimulus_index stimulus_number
    stimulus_presented stimulus_filename stimulus_file stim_id stim_ids stim_name stim_index
    picture pictures photo photos photograph scene natural_scene frame frame_index filename file_name
    presentation presentations
"""
_SITE = """
    site sites site_id site_ids site_name site_names unit units unit_id unit_ids unit_name unit_names
    neuron neurons neuron_id neuron_ids neuron_name neuroid neuroids neuroid_id channel channels
    channel_id channel_ids channel_name channel_names chan chans ch electrode electrodes electrode_id
    cell cells cell_id cell_ids cell_name cell_names roi rois cluster clusters cluster_id multiunit
"""
_REPEAT = """
    repetition repetitions repeat repeats rep reps repetition_number repeat_number rep_number
    repetition_id rep_id trial trials trial_id trial_number trial_index presentation_number
"""
_VALUE = """
    count counts spike_count spike_counts spikecount spikecounts n_spikes num_spikes spikes rate rates
    firing_rate firing_rates response responses resp resps mean_response value values activity psth
    mean_rate y
"""
WORDS = {
    IMAGES: frozenset(_IMAGE.split()),
    SITES: frozenset(_SITE.split()),
    REPEATS: frozenset(_REPEAT.split()),
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
