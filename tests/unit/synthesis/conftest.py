"""Torch on one thread: the images are small, and a test machine's cores are shared."""

from collections.abc import Iterator

import pytest

from encoders.backbones.one_thread import one_thread


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    with one_thread():
        yield
