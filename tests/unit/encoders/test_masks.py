"""Masks of encoders and ensembles: all members have their say, and fields are found in them."""

import numpy as np
import pytest
import torch

from encoders.encoder import Scaling, TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureExtractor, Tap
from encoders.masks import estimated_fields, resized, site_masks
from encoders.receptive_field import mask_field
from encoders.two_stage import Readout
from protocols.errors import DataError


def member(layer: str, scale: float, row: int, column: int) -> TwoStageEncoder:
    """One site that looks at one of the 4 × 6 patches into which the image is cut."""
    extractor = FeatureExtractor(Tap(layer=layer, input_px=None, weights="random"), device="cpu")
    channels, h, w = extractor(torch.zeros(1, 3, 64, 96)).shape[1:]
    coarse = torch.zeros(4, 6)
    coarse[row, column] = scale
    mask = coarse.repeat_interleave(h // 4, 0).repeat_interleave(w // 6, 1)
    one = torch.ones(channels)
    readout = Readout(mask[None], one[None], torch.zeros(1))
    unit = Scaling(torch.zeros(1), torch.ones(1))
    return TwoStageEncoder(extractor, Scaling(0 * one, one), readout, unit, ("a",))


def ensemble(*members: TwoStageEncoder) -> EnsembleEncoder:
    unit = Scaling(torch.zeros(1), torch.ones(1))
    return EnsembleEncoder(members, [unit] * len(members), unit)


def test_an_encoders_masks_and_fields_are_its_own():
    alone = member("blocks.2", 1.0, 1, 4)
    masks = alone.readout.masks.numpy()
    assert (site_masks(alone) == masks).all()
    own = mask_field(masks[0].astype(np.float64), "a", (64, 96), 8.0)
    assert estimated_fields(alone, (64, 96), 8.0) == (own,)


def test_members_of_other_maps_and_scales_have_the_same_say():
    fine, coarse = member("blocks.1", 100.0, 0, 0), member("blocks.2", 0.01, 3, 5)
    assert fine.readout.masks.shape[1:] != coarse.readout.masks.shape[1:]
    masks = site_masks(ensemble(fine, coarse))
    assert masks.shape[1:] == fine.readout.masks.shape[1:]
    assert masks[0, 0, 0] == pytest.approx(masks[0, -1, -1], rel=0.2)


def test_an_ensembles_field_is_where_all_members_look():
    both = ensemble(member("blocks.1", 1.0, 2, 1), member("blocks.2", 1.0, 2, 1))
    (field,) = estimated_fields(both, (64, 96), px_per_deg=8)
    assert (field.x_px, field.y_px) == (pytest.approx(24, abs=3), pytest.approx(40, abs=3))
    assert field.x_deg == pytest.approx((field.x_px - 48) / 8)


def test_resizing_keeps_what_is_where():
    mask = np.zeros((1, 4, 6))
    mask[0, 1, 4] = 1.0
    found = resized(mask, 16, 24)
    assert found.shape == (1, 16, 24)
    rows, columns = np.nonzero(found[0] > 0.5)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == (6, 18)


def test_an_encoder_without_masks_is_refused():
    class Flat:
        site_ids, device = ("a",), torch.device("cpu")

    with pytest.raises(DataError, match="no masks"):
        site_masks(Flat())
