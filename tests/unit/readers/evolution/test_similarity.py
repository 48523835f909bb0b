"""Similarity of natural to evolved images against responses, from images that are told."""

from __future__ import annotations

import numpy as np
import pytest

from synth_server.readers.evolution.similarity import MIN_IMAGES, last_generation_ids, similarity
from tests.unit.readers.stories import Story, image_id

N = 12


class Album:
    """Images by name, and which were looked at."""

    def __init__(self) -> None:
        self.looked_at: set[str] = set()
        self._random = np.random.default_rng(1)
        self._images: dict[str, np.ndarray] = {}

    def __call__(self, stimulus_id: str) -> np.ndarray:
        self.looked_at.add(stimulus_id)
        pixels = self._random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        return self._images.setdefault(stimulus_id, pixels)

    def features(self, rows: dict[str, np.ndarray]):
        """A network that knows each image's feature vector."""

        def features_of(images):
            known = {
                self._images[key].tobytes(): row for key, row in rows.items() if key in self._images
            }
            return np.array([known[image.tobytes()] for image in images])

        return features_of


def told(*, tested: bool = False):
    """References that drive the site the more, the more their features are like the evolved ones'."""
    story, rows = Story(), {}
    target = np.array([1.0, -1, 1, -1])
    likeness = np.linspace(-1, 1, N)
    references = {}
    for i, r in enumerate(likeness):
        rows[image_id(f"n{i}")] = r * target + np.sqrt(1 - r**2) * np.array([1.0, 1, -1, -1])
        references[f"n{i}"] = [10 + 8 * r]
    for number in range(3):
        name = f"e{number}"
        rows[image_id(name)] = target if number == 2 else -target
        story.generation(number, {name: [5 + number]}, references)
    if tested:
        rows[image_id("t")] = target
        story.test({"t": [20, 20]}, {"n11": [18, 18]}, {"n0": [2, 2]})
    return story, rows


@pytest.mark.parametrize("tested", [False, True])
def test_who_resembles_the_evolved_image_drives_the_site(tested):
    story, rows = told(tested=tested)
    album = Album()
    found = similarity(story.thread, album, album.features(rows), seed=1)
    assert found is not None
    by = {(each.measure, each.natural_set): each for each in found.correlations}
    assert set(by) == {("features", "references"), ("pixels", "references")}
    features = by["features", "references"]
    assert features.n_images == N
    assert features.pearson.value == pytest.approx(1.0)
    assert features.spearman.value == pytest.approx(1.0)
    assert features.p is not None
    assert features.p < 0.001
    pixels = by["pixels", "references"]
    assert pixels.p is not None
    assert pixels.p > 0.01
    assert [each.in_features for each in found.images] == pytest.approx(np.linspace(-1, 1, N))
    assert found.evolved_in == ("test" if tested else "last generation")


def test_only_what_is_compared_is_looked_at():
    story, rows = told()
    album = Album()
    similarity(story.thread, album, album.features(rows), seed=1)
    assert album.looked_at == {image_id(f"n{i}") for i in range(N)} | {image_id("e2")}


def test_photographs_of_a_start_are_reported_apart():
    story, rows = told()
    story.start({f"s{i}": [i] for i in range(MIN_IMAGES)} | {"n3": [1]})
    random = np.random.default_rng(0)
    rows |= {image_id(f"s{i}"): random.normal(size=4) for i in range(MIN_IMAGES)}
    album = Album()
    found = similarity(story.thread, album, album.features(rows), seed=1)
    assert found is not None
    sizes = {each.natural_set: each.n_images for each in found.correlations}
    assert sizes == {"references": N - 1, "start": MIN_IMAGES + 1}


def test_pixels_only():
    story, _ = told()
    found = similarity(story.thread, Album(), None, seed=1)
    assert found is not None
    assert {each.measure for each in found.correlations} == {"pixels"}
    assert {each.in_features for each in found.images} == {None}


def test_a_few_images_say_nothing():
    story = Story()
    story.generation(0, {"e": [3]}, {f"n{i}": [i] for i in range(MIN_IMAGES - 1)})
    assert similarity(story.thread, Album(), None, seed=1) is None


def test_the_last_generation_from_the_highest_score():
    story = Story()
    story.generation(0, {"a": [9]}, {})
    story.generation(1, {"b": [3], "c": [7], "d": [5]}, {})
    assert last_generation_ids(story.thread) == [image_id(name) for name in "cdb"]
    assert last_generation_ids(Story().thread) == []
