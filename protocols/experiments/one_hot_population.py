"""One-hot population: drive one site, keep the others quiet (Bashivan, Kar & DiCarlo 2019)."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from protocols.experiments.control import CONTROL_STEERS, Aim, ControlSettings, Scale, control
from protocols.experiments.experiment import experiment
from protocols.interfaces import Apparatus, Plan
from protocols.settings import ObjectiveChoice
from protocols.vocabulary import Role


class OneHotPopulationSettings(ControlSettings):
    """Settings of a one-hot population experiment."""

    temperature: float = Field(
        default=1.0, gt=0, description="of the softmax over z-scored responses"
    )


@experiment(OneHotPopulationSettings, steers=CONTROL_STEERS)
def one_hot_population(settings: OneHotPopulationSettings, apparatus: Apparatus) -> Plan:
    """Map, fit, make one-hot images, test.

    An image's score is `log softmax` at its target, of rates z-scored over the natural images: as
    predicted in synthesis, as measured when natural images are chosen.
    """

    def objective(target: str, scale: Callable[[], Scale]) -> ObjectiveChoice:
        mean, sd = scale()
        options = {
            "site": target,
            "sites": list(mean),
            "temperature": settings.temperature,
            "mean": dict(mean),
            "sd": dict(sd),
        }
        return ObjectiveChoice(name="one_hot_population", options=options)

    aim = Aim(Role.ONE_HOT_POPULATION, objective, least_sites=2)
    yield from control(settings, apparatus, aim)
