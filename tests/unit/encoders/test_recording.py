"""Recordings: what files may hold, and which of it is refused, by name."""

import io

import numpy as np
import pytest
from PIL import Image

from encoders.copies import copies, folds
from encoders.recording import Recording, split_images
from protocols.errors import DataError
from synth_server.synthesis.photographs import load_photographs


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


def test_equal_images_are_repetitions_of_one(random: np.random.Generator) -> None:
    different = random.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    order = np.array([0, 1, 0, 2, 3, 1, 0])
    rows = np.arange(7.0) + np.array([[0.0], [100.0]])
    recording = Recording.of(different[order], rows)
    assert np.array_equal(recording.images, different)
    assert recording.repetitions[:, 0].tolist() == [3, 2, 1, 1]
    assert recording.means[:, 0] == pytest.approx([(0 + 2 + 6) / 3, 3, 3, 4])
    assert recording.means[:, 1] == pytest.approx(recording.means[:, 0] + 100)
    assert recording.trials is not None
    assert recording.trials.shape == (4, 2, 3)


def test_repetitions_of_equal_images_are_pooled_with_their_own(random: np.random.Generator) -> None:
    different = random.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    trials = random.poisson(5, (2, 4, 6)).astype(float)
    trials[0, 3, 2:] = np.nan
    recording = Recording.of(different[[0, 1, 2, 0]], trials)
    both = np.concatenate([trials[0, 0], trials[0, 3]])
    assert recording.repetitions[0].tolist() == [8, 12]
    assert recording.means[0, 0] == pytest.approx(np.nanmean(both))


def test_no_picture_is_on_both_sides_of_a_split(random: np.random.Generator) -> None:
    """The same photographs as PNG, as JPEG, and brought to size from twice the size."""
    originals = load_photographs("embedded", 30, 128).images
    images = np.concatenate([_sized(originals), _sized(_as_jpeg(originals)), _halved(originals)])
    recording = Recording.of(images, random.poisson(5, (1, len(images))).astype(float))
    picture = np.arange(recording.n_images) % 30
    assert len(np.unique(recording.copies)) == 30
    for _ in range(10):
        train, test = recording.held_out(27, random)
        assert not set(picture[train]) & set(picture[test])
        assert sorted([*train, *test]) == list(range(recording.n_images))
        assert 27 <= len(test) <= 29
    for part in folds(random.permutation(recording.n_images), 3, recording.copies):
        rest = np.setdiff1d(np.arange(recording.n_images), part)
        assert not set(picture[part]) & set(picture[rest])


def test_different_images_are_no_copies(random: np.random.Generator) -> None:
    noise = random.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    x = np.arange(64)
    faint = [127.5 + 4 * np.sin(x / (3 + i) + i) for i in range(20)]
    gratings = np.stack([np.broadcast_to(g[None, :, None], (64, 64, 3)) for g in faint])
    photographs = load_photographs("embedded", 300, 64).images
    for images in (noise, gratings.round().astype(np.uint8)):
        assert len(np.unique(copies(images))) == len(images)
    assert len(np.unique(copies(photographs))) >= 295, "crops of few photographs, some overlap"


def test_images_that_are_all_copies_are_refused(random: np.random.Generator) -> None:
    one = load_photographs("embedded", 1, 64).images
    images = np.concatenate([np.clip(one.astype(int) + i, 0, 255) for i in range(4)] * 5)
    images = images[:4].astype(np.uint8)
    recording = Recording.of(images, random.random((1, 4)))
    with pytest.raises(DataError, match="no image is left to train on"):
        recording.held_out(1, random)


def _sized(images: np.ndarray) -> np.ndarray:
    sized = [Image.fromarray(i).resize((64, 64), Image.Resampling.LANCZOS) for i in images]
    return np.stack([np.asarray(each) for each in sized])


def _halved(images: np.ndarray) -> np.ndarray:
    """By way of another size."""
    other = [Image.fromarray(i).resize((200, 200), Image.Resampling.BICUBIC) for i in images]
    return _sized(np.stack([np.asarray(each) for each in other]))


def _as_jpeg(images: np.ndarray) -> np.ndarray:
    decoded = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=90)
        decoded.append(np.asarray(Image.open(file)))
    return np.stack(decoded)
