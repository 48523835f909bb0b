"""The channels that a site's readout weighs most, and where in the photographs they answer most."""

from __future__ import annotations

import numpy as np

from encoders.backbones.catalogue import catalogue
from encoders.encoder import TwoStageEncoder
from encoders.features import Tap
from encoders.validation import correlations
from synth_server.explain.documents import ChannelUse, Patch
from synth_server.explain.subject import Subject

N_CHANNELS, N_PATCHES = 2, 3
LARGEST, SMALLEST = 0.5, 0.15
"""Sides of a patch, in image sides: a field may be wider than the image, and less shows nothing."""


def heaviest_channels(subject: Subject, site: str) -> tuple[ChannelUse, ...]:
    """Of the member that predicts the site best, the channels that raise its rate most."""
    column = subject.site_ids.index(site)
    member = _best_member(subject, column)
    if member is None:
        return ()
    mixing = member.readout.mixing[column].cpu().double().numpy()
    scale = float(member.readout.masks[column].abs().sum())
    order = np.argsort(-mixing, kind="stable")[:N_CHANNELS]
    features = subject.store.features(member.tap, subject.recording.images)
    side = _window_px(member.tap, subject.recording.images.shape[2])
    height, width = subject.recording.images.shape[1:3]
    used = []
    for channel in order.tolist():
        maps = features[:, channel].double().numpy()
        best = np.argsort(-maps.max(axis=(1, 2)), kind="stable")[:N_PATCHES]
        patches = []
        for image in best.tolist():
            row, place = np.unravel_index(int(maps[image].argmax()), maps[image].shape)
            patches.append(
                Patch(
                    image=image,
                    x_px=(float(place) + 0.5) / maps.shape[2] * width,
                    y_px=(float(row) + 0.5) / maps.shape[1] * height,
                    side_px=side,
                )
            )
        used.append(
            ChannelUse(
                layer=member.tap.label,
                channel=channel,
                weight=float(mixing[channel]) * scale,
                patches=tuple(patches),
            )
        )
    return tuple(used)


def _best_member(subject: Subject, column: int) -> TwoStageEncoder | None:
    measured = subject.recording.means[:, column : column + 1]
    rated = [
        (float(correlations(predicted[:, column : column + 1], measured)[0]), number, member)
        for number, (member, predicted) in enumerate(
            zip(subject.members, subject.by_member, strict=True)
        )
    ]
    known = [each for each in rated if np.isfinite(each[0])]
    return max(known, key=lambda each: (each[0], -each[1]))[2] if known else None


def _window_px(tap: Tap, image_px: int) -> float:
    """Side of what a place of the layer sees, in pixels of the image as shown."""
    input_px = tap.input_px or image_px
    rows = catalogue(tap.backbone, input_px=input_px).layers
    within = [row for row in rows if f"{row.name}.".startswith(f"{tap.layer}.")]
    field = within[-1].receptive_field_px if within else None
    share = LARGEST if field is None else field / input_px
    return image_px * min(max(share, SMALLEST), LARGEST)
