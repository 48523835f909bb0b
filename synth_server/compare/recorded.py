"""A recording out of files, or out of a session's log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from encoders.recording import Recording
from protocols.documents import EventKind
from protocols.errors import DataError, SettingsError
from protocols.vocabulary import BlockResponses, Role
from synth_server.session.log import SessionLog
from synth_server.synthesis.photographs import load_photographs

NATURAL_ROLES = frozenset({Role.NATURAL, Role.REFERENCE, Role.BEST_NATURAL})
"""What is a photograph, whatever it was shown for."""


def recording_of(
    images: Path | None, responses: Path | None, session: Path | None, size_px: int
) -> Recording:
    """The recording that a command was given: two files, or one log.

    Args:
        images: Zip or folder of images, or `.npy` `(n, h, w, 3) uint8`.
        responses: `.npy`, `(sites, images)` or `(sites, images, repetitions)`, NaN where not measured.
        session: A session's log instead of both.
        size_px: Images of a zip or folder are brought to this size.

    Raises:
        SettingsError: If both are given, or neither is whole.
        DataError: If what is given cannot be read, or does not fit together.
    """
    if (session is None) == (images is None) or (images is None) != (responses is None):
        raise SettingsError(
            "one recording is needed",
            expected="--images and --responses, or --session",
            got=", ".join(
                name
                for name, value in (
                    ("--images", images),
                    ("--responses", responses),
                    ("--session", session),
                )
                if value is not None
            )
            or "none of them",
        )
    if session is not None:
        return from_session(session)
    return from_files(images or Path(), responses or Path(), size_px)


def from_files(images: Path, responses: Path, size_px: int) -> Recording:
    """From what `synth-server fit` is given, too."""
    stored = images.suffix == ".npy"
    pixels = array(images) if stored else load_photographs(images, None, size_px).images
    return Recording.of(pixels, np.asarray(array(responses), dtype=np.float64))


def array(path: Path) -> Any:
    """The array of an `.npy` file.

    Raises:
        DataError: If it cannot be read; pickled objects never are.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError("the array cannot be read", where=str(path), got=error) from None


def from_session(path: Path, roles: Collection[Role] = NATURAL_ROLES) -> Recording:
    """Every completed showing of the images that played one of `roles`, in spikes/s, as single trials.

    Images of another shape than most are left out. The order is that of the first proposal.

    Raises:
        DataError: If the log holds no such images with counts.
        LogError: If it is no log, or was altered.
    """
    log = SessionLog(path)
    try:
        counted, site_ids = _counted(log, roles)
        shapes = Counter(log.array(key).shape for key in counted)
        usual = shapes.most_common(1)[0][0] if shapes else ()
        kept = {key: rows for key, rows in counted.items() if log.array(key).shape == usual}
        if not kept:
            raise DataError(
                "the session shows no photographs that were counted",
                where=str(path),
                expected=f"images of the roles {', '.join(sorted(roles))}",
                got=f"{log.last_seq + 1} events",
                remedy="a mapping of responses gives the most: protocol map_responses",
            )
        images = np.stack([log.array(key) for key in kept])
    finally:
        log.close()
    most = max(len(rows) for rows in kept.values())
    trials = np.full((len(site_ids), len(kept), most), np.nan)
    for image, rows in enumerate(kept.values()):
        trials[:, image, : len(rows)] = np.array(rows).T
    return Recording.of(images, trials, site_ids)


def _counted(
    log: SessionLog, roles: Collection[Role]
) -> tuple[dict[str, list[list[float]]], tuple[str, ...]]:
    """Image id → its showings, each the rates of all sites; and the sites."""
    wanted: dict[str, None] = {}
    window_s: dict[int, float] = {}
    found: dict[str, list[list[float]]] = {}
    site_ids: tuple[str, ...] = ()
    for event in log.events(EventKind.BLOCK_PROPOSED, EventKind.RESPONSES_RECEIVED):
        document = event.document
        if event.kind is EventKind.BLOCK_PROPOSED:
            timing = document["timing"]
            window_s[document["index"]] = (
                timing["count_stop_ms"] - timing["count_start_ms"]
            ) / 1000
            wanted |= {each["id"]: None for each in document["stimuli"] if each["role"] in roles}
            continue
        responses = BlockResponses.model_validate(document)
        site_ids = responses.site_ids
        for shown in responses.completed():
            if shown.stimulus_id in wanted:
                rates = [n / window_s[responses.block_index] for n in shown.spike_counts or ()]
                found.setdefault(shown.stimulus_id, []).append(rates)
    return {key: found[key] for key in wanted if key in found}, site_ids
