"""Stretch: images that drive one site as far as they can (Bashivan, Kar & DiCarlo 2019)."""

from __future__ import annotations

from protocols.experiments.control import CONTROL_STEERS, Aim, ControlSettings, control
from protocols.experiments.experiment import experiment
from protocols.interfaces import Apparatus, Plan
from protocols.settings import ObjectiveChoice
from protocols.vocabulary import Role


class StretchSettings(ControlSettings):
    """Settings of a stretch experiment."""


@experiment(StretchSettings, steers=CONTROL_STEERS)
def stretch(settings: StretchSettings, apparatus: Apparatus) -> Plan:
    """Map, fit, stretch, test."""
    aim = Aim(
        Role.STRETCH, lambda target, _: ObjectiveChoice(name="site", options={"site": target})
    )
    yield from control(settings, apparatus, aim)
