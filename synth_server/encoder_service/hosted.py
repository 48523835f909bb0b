"""The encoders of this process, by name."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from encoders.checkpoint import Checkpoint, encoder_digest, load_encoder
from encoders.encoder import DifferentiableEncoder
from encoders.natural import NaturalStatistics
from protocols.wire.encoder_messages import EncoderSummary


class Hosted(NamedTuple):
    """An encoder, and what clients are told about it."""

    encoder: DifferentiableEncoder
    summary: EncoderSummary
    natural: NaturalStatistics | None = None


def load_all(files: dict[str, Path]) -> dict[str, Hosted]:
    """Load every encoder.

    Raises:
        DataError: If a file is missing, damaged or no encoder.
        InstallationError: If a network's weights cannot be had.
    """
    hosted = {}
    for name, path in files.items():
        encoder, about = load_encoder(path)
        digest = encoder_digest(path)
        hosted[name] = Hosted(encoder, _summary(name, digest, about), about.provenance.natural)
    return hosted


def _summary(name: str, digest: str, about: Checkpoint) -> EncoderSummary:
    provenance = about.provenance
    return EncoderSummary(
        name=name,
        site_ids=about.site_ids,
        digest=digest,
        networks=tuple(member.tap.label for member in about.members),
        data_digest=provenance.data_digest,
        n_trained=provenance.n_trained,
        n_held_out=len(provenance.split.held_out),
        median_r=provenance.scores.median("r") if provenance.scores else None,
        versions=about.versions,
        notes=provenance.notes[:10_000],
    )
