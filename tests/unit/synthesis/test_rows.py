"""Row by row: what torch says of each row alone."""

import math

import pytest
import torch

from synth_server.synthesis.rows import deviation, finite, rowwise

ROWS = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))


def test_the_deviation_is_torchs():
    far = ROWS + 1000 * torch.arange(5)[:, None, None]
    torch.testing.assert_close(deviation(far), far.flatten(1).std(dim=1), rtol=1e-3, atol=0)
    assert deviation(torch.full((1, 7), 3.0)).tolist() == [0]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_one_value_that_is_not_finite_tells_on_its_row_alone(value):
    rows = ROWS.clone()
    rows[2, 1, 1] = value
    assert finite(rows).tolist() == [True, True, False, True, True]


def test_opposite_infinities_do_not_cancel():
    assert finite(torch.tensor([[math.inf, -math.inf], [1.0, 2.0]])).tolist() == [False, True]


def test_a_value_for_each_row_goes_with_rows_of_any_shape():
    values = torch.arange(5.0)
    scaled = ROWS * rowwise(values, ROWS)
    assert torch.equal(scaled[3], ROWS[3] * 3)
