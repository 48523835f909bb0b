"""Recordings: what files may hold, and which of it is refused, by name."""

import numpy as np
import pytest

from encoders.recording import Recording, split_images
from protocols.errors import DataError


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 6, 3), dtype=np.uint8)


def counts(n_sites: int = 3, n: int = 20, repeats: int = 4) -> np.ndarray:
    values = np.random.default_rng(1).poisson(4, (n_sites, n, repeats)).astype(float)
    values[:, ::2, 2:] = np.nan
    return values


def test_trials_are_averaged_and_counted():
    values = counts()
    values[1, 3] = np.nan
    recording = Recording.of(images(20), values)
    assert recording.site_ids == ("0", "1", "2")
    assert recording.repetitions[0].tolist() == [2, 2, 2]
    assert recording.repetitions[3].tolist() == [4, 0, 4]
    assert np.isnan(recording.means[3, 1])
    assert recording.means[4, 2] == np.nanmean(values[2, 4])
    assert recording.trials is not None
    assert recording.trials.shape == (20, 3, 4)


def test_means_count_as_measured_once():
    recording = Recording.of(images(20), counts()[:, :, 0], ["a", "b", "c"])
    assert set(recording.repetitions.ravel()) == {1}
    assert recording.trials is None


def test_parts_keep_images_and_sites_together():
    whole = Recording.of(images(20), counts())
    part = whole.of_images(np.array([5, 2])).of_sites(["2", "0"])
    assert part.site_ids == ("2", "0")
    assert part.means[0, 0] == whole.means[5, 2]
    assert np.array_equal(part.images[1], whole.images[2])
    assert part.digest != whole.digest


@pytest.mark.parametrize(
    ("responses", "words"),
    [
        (counts(n=19), "there are 20 images, but responses to 19"),
        (counts().transpose(1, 0, 2), "transpose them"),
        (counts()[0, :, 0], "wrong shape"),
        (np.full((3, 20), np.inf), "infinite"),
        (np.full((3, 20), "x"), "wrong shape or type"),
        (np.zeros((0, 20)), "wrong shape"),
    ],
)
def test_responses_that_do_not_fit_are_refused(responses, words):
    with pytest.raises(DataError, match=words):
        Recording.of(images(20), responses)


def test_silent_constant_and_hardly_measured_sites_are_named():
    values = counts(n_sites=4)[:, :, 0]
    values[0] = np.nan
    values[1] = 3
    values[2, 5:] = np.nan
    recording = Recording.of(images(20), values, ["n", "c", "few", "good"])
    assert recording.unusable_sites() == {
        "n": "measured for 0 images",
        "c": "always answers 3",
        "few": "measured for 5 images",
    }
    with pytest.raises(DataError, match=r"3 of 4 sites cannot be fitted(?s:.*)1 sites remain"):
        recording.check_usable()
    recording.of_sites(["good"]).check_usable()


def test_names_must_differ_and_be_known():
    with pytest.raises(DataError, match="one name each"):
        Recording.of(images(20), counts(), ["a", "a", "b"])
    with pytest.raises(DataError, match="no recorded site is called x"):
        Recording.of(images(20), counts()).of_sites(["x"])


def test_a_split_is_seeded_and_disjoint():
    train, test = split_images(640, 480, np.random.default_rng(3))
    assert (len(train), len(test)) == (480, 160)
    assert sorted([*train, *test]) == list(range(640))
    assert np.array_equal(train, split_images(640, 480, np.random.default_rng(3))[0])
    with pytest.raises(DataError, match="split"):
        split_images(10, 10, np.random.default_rng(3))
