"""Codes for given images, by gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from protocols.errors import DataError
from synth_server.synthesis.generators.fourier import FourierGenerator, FourierSettings
from synth_server.synthesis.inversion import InversionSettings, invert
from synth_server.synthesis.photographs import load_photographs

QUICK = InversionSettings(n_steps=60)


@pytest.fixture(autouse=True)
def one_torch_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def generator():
    return FourierGenerator(FourierSettings(size_px=32, tiles=1))


@pytest.fixture(scope="module")
def photographs():
    return load_photographs("embedded", 4, 32).images


def errors(a, b):
    return np.square(a.astype(np.float64) - b).mean((1, 2, 3))


def test_images_that_it_drew_come_back(generator, random):
    images = generator(generator.sample_codes(3, random))
    again = generator(invert(generator, images, InversionSettings(n_steps=200)))
    assert (errors(again, images) < 0.05 * errors(images, np.roll(images, 1, axis=0))).all()


def test_photographs_are_resembled_by_codes_of_natural_length(generator, photographs, random):
    codes = invert(generator, photographs, QUICK)
    chance = errors(generator(generator.sample_codes(4, random)), photographs)
    assert (errors(generator(codes), photographs) < 0.5 * chance).all()
    assert np.sqrt(np.square(codes).mean(1)) == pytest.approx(1, abs=0.25)


def test_the_penalty_keeps_codes_as_long_as_the_prior(generator, photographs):
    start = np.full((4, generator.code_dim), 3.0, np.float32)
    lengths = [
        np.sqrt(np.square(invert(generator, photographs, settings, start=start)).mean())
        for settings in (
            InversionSettings(n_steps=40, norm_weight=0, learning_rate=0.05),
            InversionSettings(n_steps=40, norm_weight=1, learning_rate=0.05),
        )
    ]
    assert lengths[1] < lengths[0] - 0.3


def test_a_start_is_improved_and_never_spoiled(generator, photographs):
    rough = invert(generator, photographs, InversionSettings(n_steps=20, norm_weight=0))
    finer = invert(
        generator, photographs, InversionSettings(n_steps=20, norm_weight=0), start=rough
    )
    assert (
        errors(generator(finer), photographs).mean() < errors(generator(rough), photographs).mean()
    )


def test_it_repeats_itself_and_seeds_differ(generator, photographs):
    settings = InversionSettings(n_steps=5)
    codes = invert(generator, photographs, settings)
    assert np.array_equal(codes, invert(generator, photographs, settings))
    other = invert(generator, photographs, settings.model_copy(update={"seed": 1}))
    assert not np.allclose(codes, other)


def test_an_image_does_not_depend_on_its_company(generator, photographs):
    together = invert(generator, photographs, QUICK)
    batches = invert(generator, photographs, QUICK.model_copy(update={"batch_size": 3}))
    alone = invert(generator, photographs[2:3], QUICK)
    drawn = [generator(codes).astype(int) for codes in (together, batches)]
    assert np.abs(drawn[0] - drawn[1]).max() <= 2
    assert np.abs(drawn[0][2] - generator(alone)[0]).max() <= 2


def test_progress_is_told_and_can_break_off(generator, photographs):
    told = []
    settings = InversionSettings(n_steps=3, batch_size=2)
    invert(generator, photographs, settings, progress=lambda *what: told.append(what[:2]))
    assert told == [(n, 6) for n in range(1, 7)]

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        invert(generator, photographs, settings, progress=stop)


def test_what_does_not_fit_is_said(generator, photographs):
    with pytest.raises(DataError, match="another size"):
        invert(generator, photographs[:, ::2, ::2])
    with pytest.raises(DataError, match="one code an image"):
        invert(generator, photographs, start=np.zeros((1, generator.code_dim), np.float32))
