"""Arrays as NumPy, MATLAB and HDF5 hold them: words, structs, cells and objects beside the numbers."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse
from scipy.io import savemat

from protocols.errors import DataError
from tests.unit.recordings.conftest import N_IMAGES, N_REPEATS, N_SITES, Known
from tests.unit.recordings.test_reading import RECORD, SITES, check, long_table, read

BACK = np.arange(N_IMAGES)[::-1]


def in_matlab_73(path: Path, build: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        build(file)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Mon Jan  1 00:00:00 2024")


def stored(file: h5py.File, name: str, values: np.ndarray, kind: str = "double") -> h5py.Dataset:
    item = file.create_dataset(name, data=np.asarray(values).T)
    item.attrs["MATLAB_class"] = np.bytes_(kind)
    return item


def as_characters(words: list[str]) -> np.ndarray:
    width = max(map(len, words))
    return np.array([[ord(c) for c in w.ljust(width)] for w in words], np.uint16)


# --- words beside the numbers ----------------------------------------------------------------------


def test_records_of_bytes(known: Known, out: Path) -> None:
    kinds = [(n, kind.replace("U", "S")) for n, kind in RECORD]
    records = long_table(known).to_records(index=False).astype(kinds)
    np.save(out / "r.npy", records)
    check(known, read(known, out / "r.npy"), SITES)
    with h5py.File(out / "r.h5", "w") as file:
        file["table"] = records
    check(known, read(known, out / "r.h5"), SITES)


def test_records_with_a_vector_over_sites(known: Known, out: Path) -> None:
    records = np.zeros(N_IMAGES, [("image", "U20"), ("counts", "f8", (N_SITES,))])
    records["image"], records["counts"] = np.array(known.images.names)[BACK], known.means[BACK]
    np.save(out / "r.npy", records)
    assert read(known, out / "r.npy").recording.means == pytest.approx(known.means)


@pytest.mark.parametrize("version", ["cells", "characters", "7.3"])
def test_names_of_images_in_matlab(known: Known, out: Path, version: str) -> None:
    """A char matrix pads with spaces; its rows are names, in whatever order."""
    names = [known.images.names[i] + "" for i in BACK]
    if version == "7.3":

        def build(file: h5py.File) -> None:
            stored(file, "resp", known.means[BACK])
            stored(file, "fileNames", as_characters(names), "char")

        in_matlab_73(out / "r.mat", build)
    else:
        words = np.array(names, dtype=object) if version == "cells" else np.array(names)
        savemat(out / "r.mat", {"resp": known.means[BACK], "fn": words})
    assert read(known, out / "r.mat").recording.means == pytest.approx(known.means)


def test_an_order_that_nobody_explains_is_asked_for(known: Known, out: Path) -> None:
    np.savez(out / "r.npz", responses=known.means[BACK], shuffled=BACK)
    with pytest.raises(DataError, match="shuffled numbers the images in another order"):
        read(known, out / "r.npz")
    np.savez(out / "r.npz", responses=known.means[BACK], image_ids=BACK)
    assert read(known, out / "r.npz").recording.means == pytest.approx(known.means)


def test_names_of_images_that_fit_no_axis_are_not_overlooked(known: Known, out: Path) -> None:
    np.savez(out / "r.npz", responses=known.means, image_names=np.array(["a", "b", "c", "d"]))
    with pytest.raises(DataError, match="image_names seems to say which image each row is"):
        read(known, out / "r.npz")
    assert read(known, out / "r.npz", axes=("images", "sites")).recording.n_images == N_IMAGES


def test_pickled_members_stay_closed_and_the_others_are_read(known: Known, out: Path) -> None:
    np.savez(out / "r.npz", responses=known.means, meta=np.array({"a": 1}, dtype=object))
    found = read(known, out / "r.npz")
    assert found.recording.means == pytest.approx(known.means)
    assert "not read: meta" in found.line
    names = np.array(known.images.names, dtype=object)
    np.savez(out / "r.npz", responses=known.means, image_names=names)
    with pytest.raises(DataError, match="image_names seems") as refused:
        read(known, out / "r.npz")
    assert "np.array(names, dtype=str)" in refused.value.remedy


# --- structs, cells, sparse matrices, objects ------------------------------------------------------


def test_an_array_of_structs_a_trial_each(known: Known, out: Path) -> None:
    trials = np.zeros(
        (1, N_IMAGES * N_REPEATS), [(n, object) for n in ("imgName", "trial", "spikes")]
    )
    for place in range(trials.size):
        image, repeat = divmod(place, N_REPEATS)
        trials[0, place] = (known.images.names[image], repeat + 1, known.trials[image, :, repeat])
    savemat(out / "r.mat", {"trials": trials})
    check(known, read(known, out / "r.mat"))


def test_an_array_of_structs_in_version_73(known: Known, out: Path) -> None:
    def build(file: h5py.File) -> None:
        file.create_group("data").attrs["MATLAB_class"] = np.bytes_("struct")
        names = [
            stored(file, f"#refs#/n{i}", as_characters([known.images.names[i]]), "char")
            for i in BACK
        ]
        counts = [stored(file, f"#refs#/c{i}", known.means[i : i + 1]) for i in BACK]
        for name, cells in (("image", names), ("counts", counts)):
            file["data"].create_dataset(name, data=[[c.ref] for c in cells], dtype=h5py.ref_dtype)

    in_matlab_73(out / "r.mat", build)
    assert read(known, out / "r.mat").recording.means == pytest.approx(known.means)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_an_empty_cell_is_no_repetition(known: Known, out: Path, version: str) -> None:
    def repetitions(image: int, site: int) -> np.ndarray:
        n = 0 if (image, site) == (3, 1) else 2 if image == 5 else N_REPEATS
        return known.trials[image, site, :n].reshape(1, -1)

    if version == "5":
        cells = np.empty((N_IMAGES, N_SITES), dtype=object)
        for image, site in np.ndindex(cells.shape):
            each = repetitions(image, site)
            cells[image, site] = each if each.size else np.zeros((0, 0))
        savemat(out / "r.mat", {"counts": cells})
    else:

        def build(file: h5py.File) -> None:
            references = np.empty((N_SITES, N_IMAGES), dtype=object)
            for site, image in np.ndindex(references.shape):
                each = repetitions(image, site)
                held = each if each.size else np.array([0, 0], np.uint64)
                item = stored(file, f"#refs#/{image}_{site}", held)
                if not each.size:
                    item.attrs["MATLAB_empty"] = np.uint8(1)
                references[site, image] = item.ref
            file.create_dataset("counts", data=references, dtype=h5py.ref_dtype).attrs[
                "MATLAB_class"
            ] = np.bytes_("cell")

        in_matlab_73(out / "r.mat", build)
    found = read(known, out / "r.mat").recording
    assert found.repetitions[3].tolist() == [4, 0, 4]
    assert found.repetitions[5].tolist() == [2, 2, 2]
    assert np.isnan(found.means[3, 1])
    assert found.means[4] == pytest.approx(known.means[4])


def test_times_of_spikes_are_not_averaged(known: Known, out: Path) -> None:
    cells = np.empty((N_IMAGES, N_SITES), dtype=object)
    random = np.random.default_rng(0)
    for place in np.ndindex(cells.shape):
        cells[place] = np.sort(random.random(random.integers(3, 9))).reshape(1, -1)
    savemat(out / "r.mat", {"spikes": cells})
    with pytest.raises(DataError, match="look like times of spikes"):
        read(known, out / "r.mat")


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_sparse_matrices(known: Known, out: Path, version: str) -> None:
    sparse = scipy.sparse.csc_matrix(known.means)
    if version == "5":
        savemat(out / "r.mat", {"counts": sparse})
    else:

        def build(file: h5py.File) -> None:
            group = file.create_group("counts")
            group.attrs["MATLAB_class"] = np.bytes_("double")
            group.attrs["MATLAB_sparse"] = np.uint64(N_IMAGES)
            group["data"], group["ir"] = sparse.data, sparse.indices.astype(np.uint64)
            group["jc"] = sparse.indptr.astype(np.uint64)

        in_matlab_73(out / "r.mat", build)
    assert read(known, out / "r.mat").recording.means == pytest.approx(known.means)


def test_an_object_of_matlab_says_how_to_write_it(known: Known, out: Path) -> None:
    def build(file: h5py.File) -> None:
        item = stored(file, "T", np.array([[0xDD000000, 2, 1, 1, 1, 1]], np.uint32), "table")
        item.attrs["MATLAB_object_decode"] = 3

    in_matlab_73(out / "r.mat", build)
    with pytest.raises(DataError) as refused:
        read(known, out / "r.mat")
    assert "writetable" in refused.value.remedy


def test_presentations_numbered_beside_them(known: Known, out: Path) -> None:
    """`stim.resp` and `stim.istim`, as Stringer and others published natural images."""
    rows = known.trials.transpose(0, 2, 1).reshape(-1, N_SITES)
    order = np.random.default_rng(0).permutation(len(rows))
    number = np.repeat(np.arange(1, N_IMAGES + 1), N_REPEATS)[order].reshape(-1, 1)
    spontaneous = np.random.default_rng(1).random((100, N_SITES))
    stim = {"resp": rows[order], "istim": number, "spont": spontaneous}
    savemat(out / "r.mat", {"stim": stim, "med": np.zeros((N_SITES, 3))})
    found = read(known, out / "r.mat")
    check(known, found)
    assert "not read: stim.spont, med" in found.line


# --- packed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_unpacked(known: Known, out: Path, pack: Callable[[bytes], bytes]) -> None:
    raw = io.BytesIO()
    np.save(raw, known.means)
    (out / "r.npy.gz").write_bytes(pack(raw.getvalue()))
    assert read(known, out / "r.npy.gz").recording.means == pytest.approx(known.means)
    (out / "r.npy.gz").write_bytes(pack(raw.getvalue())[:-30])
    with pytest.raises(DataError, match="cannot be"):
        read(known, out / "r.npy.gz")


def test_a_zip_of_one_table(known: Known, out: Path) -> None:
    with zipfile.ZipFile(out / "r.zip", "w") as archive:
        archive.writestr("session/counts.csv", long_table(known).to_csv(index=False))
        archive.writestr("__MACOSX/session/._counts.csv", b"x")
    check(known, read(known, out / "r.zip"), SITES)


@pytest.mark.parametrize("text", ['{"responses": [[1, 2]]}', "<html></html>", "%PDF-1.4"])
def test_text_that_is_no_table(known: Known, out: Path, text: str) -> None:
    (out / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="holds no responses that can be read"):
        read(known, out / "r.json")
