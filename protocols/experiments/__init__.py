"""Plans: each reads like the Methods section of its paper."""

from protocols.experiments.experiment import Experiment, experiment

__all__ = ["Experiment", "experiment"]
