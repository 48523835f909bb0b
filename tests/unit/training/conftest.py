import pytest

from synth_server.synthesis.photographs import load_photographs
from synth_server.training.photographs import Photographs


@pytest.fixture(scope="module")
def photographs():
    sharp = load_photographs("embedded", 20, 256).images
    small = load_photographs("embedded", 20, 64).images
    return Photographs(sharp, small)
