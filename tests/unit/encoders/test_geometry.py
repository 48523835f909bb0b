"""How alike two spaces are: against another implementation, against chance, and what must not matter."""

import numpy as np
import pytest

from encoders.geometry import (
    debiased_cka,
    dissimilarities,
    gram,
    of_images,
    rsa,
    standardised,
    u_centred,
)
from protocols.errors import DataError


def patterns(n: int, p: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, p))


@pytest.mark.parametrize(("ours", "theirs"), [("spearman", "spearman"), ("pearson", "corr")])
def test_rdms_and_their_comparisons_are_those_of_rsatoolbox(ours, theirs):
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="pip install 'stimloop[test]'")
    spaces = [patterns(40, p, seed) + 3 for p, seed in ((30, 1), (200, 2))]
    spaces[1][:, :30] += spaces[0]
    rdms = [
        rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(each), method="correlation")
        for each in spaces
    ]
    own = [dissimilarities(each) for each in spaces]
    for mine, other in zip(own, rdms, strict=True):
        np.testing.assert_allclose(mine, other.dissimilarities[0], rtol=0, atol=1e-12)
    expected = rsatoolbox.rdm.compare(rdms[0], rdms[1], method=theirs)[0, 0]
    assert rsa(*own, ours) == pytest.approx(expected, abs=1e-12)
    assert 0.02 < expected < 0.9


def test_ties_rank_as_those_of_rsatoolbox():
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="pip install 'stimloop[test]'")
    rows = np.random.default_rng(0).integers(0, 3, (2, 45)).astype(float)
    rdms = [rsatoolbox.rdm.RDMs(each) for each in rows]
    expected = rsatoolbox.rdm.compare(rdms[0], rdms[1], method="spearman")[0, 0]
    assert rsa(*rows) == pytest.approx(expected, abs=1e-12)


def biased_cka(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    k, m = a @ a.T, b @ b.T
    return float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def test_many_units_alone_do_not_make_spaces_alike():
    a, b = patterns(640, 50, 0), patterns(640, 4000, 1)
    assert biased_cka(a, b) == pytest.approx(0.250, abs=0.005)
    assert debiased_cka(gram(a), gram(b)) == pytest.approx(0.0, abs=0.002)


def test_rotation_scale_and_offset_do_not_matter():
    a = patterns(60, 20, 0)
    b = a[:, :8] + patterns(60, 8, 1)
    rotation, _ = np.linalg.qr(patterns(20, 20, 2))
    cka = debiased_cka(gram(a), gram(b))
    assert 0.2 < cka < 0.9
    for moved in (a @ rotation, 1e3 * a, a + 5, -a):
        assert debiased_cka(gram(moved), gram(b)) == pytest.approx(cka, abs=1e-10)
    assert debiased_cka(gram(a), gram(a)) == pytest.approx(1, abs=1e-12)
    assert rsa(dissimilarities(7 * a), dissimilarities(b)) == pytest.approx(
        rsa(dissimilarities(a), dissimilarities(b)), abs=1e-12
    )


def test_u_centring_is_the_unbiased_estimate():
    """Song et al. 2012, eq. 5, term by term."""
    k, m = gram(patterns(30, 5, 3)), gram(patterns(30, 9, 4))
    n = len(k)
    k0, m0 = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    ones = np.ones(n)
    expected = (
        np.trace(k0 @ m0)
        + (ones @ k0 @ ones) * (ones @ m0 @ ones) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * ones @ k0 @ m0 @ ones
    ) / (n * (n - 3))
    assert (u_centred(k) * u_centred(m)).sum() / (n * (n - 3)) == pytest.approx(expected, rel=1e-10)


def test_units_are_standardised_and_constant_ones_say_nothing():
    a = patterns(30, 4, 0) * [1, 10, 0, 1e-3] + [0, 5, 7, -2]
    z = standardised(a)
    assert z.mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert z.std(axis=0) == pytest.approx([1, 1, 0, 1])


def test_some_images_of_an_rdm_are_the_rdm_of_some_images():
    a, chosen = patterns(12, 6, 0), np.array([7, 2, 11, 3])
    assert of_images(dissimilarities(a), chosen, 12) == pytest.approx(dissimilarities(a[chosen]))


def test_what_cannot_be_compared_says_so():
    a = patterns(20, 5, 0)
    with pytest.raises(DataError, match="different images"):
        debiased_cka(gram(a), gram(a[:-1]))
    with pytest.raises(DataError, match="different images"):
        rsa(dissimilarities(a), dissimilarities(a[:-1]))
    with pytest.raises(DataError, match="too few images"):
        debiased_cka(gram(a[:3]), gram(a[:3]))
    with pytest.raises(DataError, match="at least two units"):
        dissimilarities(a[:, :1])
    a[4] = 2.0
    with pytest.raises(DataError, match="image 4"):
        dissimilarities(a)
    assert np.isnan(debiased_cka(gram(np.ones((9, 3))), gram(patterns(9, 3, 0))))
