"""Pretrained networks, each with its own preprocessing, truncated at a named layer."""

from encoders.backbones.backbone import Backbone
from encoders.backbones.loading import known_backbones, load_backbone
from encoders.backbones.preprocessing import Preprocessing, pixels_of, resized
from encoders.backbones.settings import BackboneSettings

__all__ = [
    "Backbone",
    "BackboneSettings",
    "Preprocessing",
    "known_backbones",
    "load_backbone",
    "pixels_of",
    "resized",
]
