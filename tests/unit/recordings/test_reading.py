"""Files of responses as laboratories have them: each is read as what it is, or says what to do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from protocols.errors import DataError
from synth_server.recordings.measured import Wanted
from synth_server.recordings.reading import Read, read_recording, told_left_out
from tests.unit.recordings.conftest import N_IMAGES, N_REPEATS, N_SITES, Known

SITES = ("A1", "A2", "B7")


def read(known: Known, path: Path, sites: tuple[str, ...] = (), **said: object) -> Read:
    return read_recording(known.images, path, Wanted(**said), sites)  # type: ignore[arg-type]


def long_table(known: Known, names: list[object] | None = None) -> pd.DataFrame:
    """A row a count, shuffled."""
    labels = names or list(known.images.names)
    rows = [
        {"image": labels[i], "site": SITES[s], "repetition": r, "count": int(known.trials[i, s, r])}
        for i in range(N_IMAGES)
        for s in range(N_SITES)
        for r in range(N_REPEATS)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=1).reset_index(drop=True)


def check(known: Known, found: Read, sites: tuple[str, ...] = ("0", "1", "2")) -> None:
    recording = found.recording
    assert recording.site_ids == sites or set(recording.site_ids) == set(sites)
    order = [recording.site_ids.index(site) for site in sites]
    assert recording.means[:, order] == pytest.approx(known.means)
    assert (recording.repetitions == N_REPEATS).all()
    assert recording.trials is not None
    ours = np.sort(recording.trials[:, order], axis=2)
    assert np.array_equal(ours, np.sort(known.trials, axis=2))
    assert f"{N_SITES} sites" in found.line
    assert f"{N_IMAGES} images" in found.line
    assert f"{N_REPEATS} repetitions of each" in found.line


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "axes", ["sites,images,repeats", "repeats,images,sites", "images,units,trials"]
)
def test_axes_are_as_they_are_named(known: Known, out: Path, axes: str) -> None:
    names = {"images": 0, "sites": 1, "units": 1, "repeats": 2, "trials": 2}
    np.save(out / "r.npy", known.trials.transpose([names[each] for each in axes.split(",")]))
    check(known, read(known, out / "r.npy", axes=tuple(axes.split(","))))


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2), (0, 1, 2)])
def test_three_axes_without_names_are_asked_for(
    known: Known, out: Path, order: tuple[int, ...]
) -> None:
    np.save(out / "r.npy", known.trials.transpose(order))
    with pytest.raises(DataError, match="more than one way") as refused:
        read(known, out / "r.npy")
    assert "--axes repeats,images,sites" in refused.value.remedy


def test_three_axes_are_known_where_the_sites_are_named(known: Known, out: Path) -> None:
    for order in ((2, 0, 1), (1, 0, 2), (0, 1, 2)):
        np.save(out / "r.npy", known.trials.transpose(order))
        check(known, read(known, out / "r.npy", site_names=SITES), SITES)


@pytest.mark.parametrize("transposed", [False, True])
def test_two_axes_are_told_apart_by_their_lengths(
    known: Known, out: Path, transposed: bool
) -> None:
    np.save(out / "r.npy", known.means.T if transposed else known.means)
    found = read(known, out / "r.npy").recording
    assert found.means == pytest.approx(known.means)
    assert found.trials is None


def test_a_square_is_asked_for(known: Known, out: Path) -> None:
    np.save(out / "r.npy", np.random.default_rng(0).random((N_IMAGES, N_IMAGES)))
    with pytest.raises(DataError, match="axes are as long as there are images") as refused:
        read(known, out / "r.npy")
    assert "--axes images,sites" in refused.value.remedy
    assert read(known, out / "r.npy", axes=("images", "sites")).recording.n_images == N_IMAGES


def test_repetitions_of_one_site_can_be_named(known: Known, out: Path) -> None:
    np.save(out / "r.npy", known.trials[:, 0])
    assert "12 images × 4 sites" in read(known, out / "r.npy").line
    found = read(known, out / "r.npy", axes=("images", "repeats")).recording
    assert found.means[:, 0] == pytest.approx(known.means[:, 0])
    assert found.repetitions.tolist() == [[N_REPEATS]] * N_IMAGES


def test_no_axis_as_long_as_there_are_images(known: Known, out: Path) -> None:
    np.save(out / "r.npy", np.zeros((7, 3)))
    with pytest.raises(DataError, match="no axis of the responses is as long") as refused:
        read(known, out / "r.npy")
    assert "(7, 3)" in refused.value.got


def test_a_time_axis_is_not_summed_by_guess(known: Known, out: Path) -> None:
    np.save(out / "r.npy", np.zeros((N_IMAGES, N_SITES, N_REPEATS, 30)))
    with pytest.raises(DataError, match="more axes") as refused:
        read(known, out / "r.npy")
    assert "over the count window" in refused.value.remedy


def test_rows_that_are_presentations_are_repetitions(known: Known, out: Path) -> None:
    """60 images × 5 trials as 300 rows: image names, or equal pixels, say which belong together."""
    rows = known.trials.transpose(0, 2, 1).reshape(-1, N_SITES)
    names = np.repeat(known.images.names, N_REPEATS)
    np.savez(out / "r.npz", responses=rows, image_id=names, site=np.array(SITES))
    check(known, read(known, out / "r.npz"), SITES)
    shown = known.images._replace(
        images=np.repeat(known.images.images, N_REPEATS, axis=0), names=tuple(map(str, names))
    )
    np.save(out / "r.npy", rows)
    check(known, read_recording(shown, out / "r.npy", Wanted()))


# --- files of several arrays ----------------------------------------------------------------------


def test_npz_with_names(known: Known, out: Path) -> None:
    beside = {"site_ids": np.array(SITES), "axes": np.array(["repeats", "images", "sites"])}
    np.savez(out / "r.npz", counts=known.trials.transpose(2, 0, 1), **beside)
    check(known, read(known, out / "r.npz"), SITES)


def test_npz_of_several_arrays_is_asked_for(known: Known, out: Path) -> None:
    np.savez(out / "r.npz", evoked=known.means, late=known.means + 1)
    with pytest.raises(DataError, match="several arrays") as refused:
        read(known, out / "r.npz")
    assert "evoked 12×3 float64" in refused.value.got
    found = read(known, out / "r.npz", array="late").recording
    assert found.means == pytest.approx(known.means + 1)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_matlab(known: Known, out: Path, version: str) -> None:
    """images × sites × repetitions in MATLAB, whichever version saved it."""
    cells = np.array(SITES, dtype=object)
    if version == "5":
        savemat(out / "r.mat", {"data": {"counts": known.trials, "site_names": cells}})
    else:
        matlab_73(out / "r.mat", known.trials)
    check(known, read(known, out / "r.mat", axes=("images", "sites", "repeats")), SITES)
    check(known, read(known, out / "r.mat"), SITES)


def matlab_73(path: Path, trials: np.ndarray) -> None:
    """As MATLAB's `save -v7.3` writes a matrix and a cell array of words: axes in reverse order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        counts = file.create_dataset("counts", data=trials.T)
        counts.attrs["MATLAB_class"] = np.bytes_("double")
        references = []
        for place, name in enumerate(SITES):
            codes = np.array([[ord(letter)] for letter in name], dtype=np.uint16)
            cell = file.create_dataset(f"#refs#/{place}", data=codes)
            cell.attrs["MATLAB_class"] = np.bytes_("char")
            references.append([cell.ref])
        names = file.create_dataset("site_names", data=references, dtype=h5py.ref_dtype)
        names.attrs["MATLAB_class"] = np.bytes_("cell")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Mon Jan  1 00:00:00 2024")


def test_a_cell_of_repetitions_for_each_image_and_site(known: Known, out: Path) -> None:
    cells = np.empty((N_IMAGES, N_SITES), dtype=object)
    for image in range(N_IMAGES):
        for site in range(N_SITES):
            n = 4 if image else 2
            cells[image, site] = known.trials[image, site, :n].reshape(-1, 1)
    savemat(out / "r.mat", {"spikes": cells, "units": np.array(SITES, dtype=object)})
    found = read(known, out / "r.mat").recording
    assert found.site_ids == SITES
    assert found.repetitions[:, 0].tolist() == [2] + [4] * 11
    assert found.means[0] == pytest.approx(known.trials[0, :, :2].mean(axis=1))


def test_columns_as_vectors_of_a_matlab_file(known: Known, out: Path) -> None:
    table = long_table(known, list(range(1, N_IMAGES + 1)))
    columns = {name: np.array(table[name].tolist()) for name in ("image", "repetition", "count")}
    number = {site: i for i, site in enumerate(SITES)}
    columns["unit"] = np.array([number[site] for site in table["site"]])
    savemat(out / "r.mat", columns)
    check(known, read(known, out / "r.mat"))


def test_hdf5_with_named_axes(known: Known, out: Path) -> None:
    with h5py.File(out / "r.h5", "w") as file:
        stored = file.create_dataset("session1/rates", data=known.trials.transpose(1, 2, 0))
        for axis, name in enumerate(("unit", "trial", "stimulus")):
            stored.dims[axis].label = name
        file["session1/unit_name"] = [name.encode() for name in SITES]
    check(known, read(known, out / "r.h5"), SITES)


def test_an_assembly_of_brain_score(known: Known, out: Path) -> None:
    """xarray's netCDF: dimensions presentation, neuroid and one time bin, with coordinates."""
    rows = known.trials.transpose(0, 2, 1).reshape(-1, N_SITES)
    names = np.repeat(known.images.names, N_REPEATS)
    with h5py.File(out / "assembly.nc", "w") as file:
        scales = []
        for dim, length in (("presentation", len(rows)), ("neuroid", N_SITES), ("time_bin", 1)):
            scale = file.create_dataset(dim, data=np.zeros(length))
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable. {length:10d}")
            scales.append(scale)
        stored = file.create_dataset("dicarlo.example", data=rows[:, :, None])
        for axis, scale in enumerate(scales):
            stored.dims[axis].attach_scale(scale)
        text = h5py.string_dtype()
        for name, values, axis in (("stimulus_id", names, 0), ("neuroid_id", SITES, 1)):
            coordinate = file.create_dataset(name, data=list(values), dtype=text)
            coordinate.dims[0].attach_scale(scales[axis])
    check(known, read(known, out / "assembly.nc"), SITES)


# --- tables ---------------------------------------------------------------------------------------


def test_a_row_a_count(known: Known, out: Path) -> None:
    long_table(known).to_csv(out / "r.csv", index=False)
    check(known, read(known, out / "r.csv"), SITES)
    long_table(known).to_parquet(out / "r.parquet")
    check(known, read(known, out / "r.parquet"), SITES)
    np.save(out / "r.npy", long_table(known).to_records(index=False).astype(RECORD))
    check(known, read(known, out / "r.npy"), SITES)


RECORD = [("image", "U20"), ("site", "U4"), ("repetition", "i4"), ("count", "f8")]


@pytest.mark.parametrize(
    ("names", "how"),
    [
        ([f"C:\\images\\scene{i:02d}.bmp" for i in range(1, 13)], "by file name"),
        (list(range(1, 13)), "by the number in the file name"),
        (list(range(12)), "by place, counted from 0"),
        ([f"SCENE{i:02d}" for i in range(1, 13)], "by file name"),
    ],
)
def test_images_are_found_by_what_the_table_calls_them(
    known: Known, out: Path, names: list[object], how: str
) -> None:
    long_table(known, names).to_csv(out / "r.csv", index=False)
    found = read(known, out / "r.csv")
    check(known, found, SITES)
    assert how in found.line


def test_unknown_images_are_refused_by_name(known: Known, out: Path) -> None:
    long_table(known, [f"face{i}.png" for i in range(20, 32)]).to_csv(out / "r.csv", index=False)
    with pytest.raises(DataError, match="not among the images given") as refused:
        read(known, out / "r.csv")
    assert "face20.png" in refused.value.got
    some = [7, 9, 30, *range(40, 49)]
    long_table(known, list(some)).to_csv(out / "r.csv", index=False)
    with pytest.raises(DataError, match="not among the images given"):
        read(known, out / "r.csv")


def test_a_column_a_site_from_a_german_spreadsheet(known: Known, out: Path) -> None:
    """Semicolons, decimal commas, a byte-order mark, CRLF, and an empty cell."""
    rows = ["Bild-ID;Trial;A1;A2;B7".replace("Bild-ID", "Image ID")]
    for image, name in enumerate(known.images.names):
        for repeat in range(N_REPEATS):
            cells = [f"{known.trials[image, s, repeat]:.1f}" for s in range(N_SITES)]
            rows.append(";".join([name, str(repeat), *cells]).replace(".0", ",0"))
    (out / "r.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    check(known, read(known, out / "r.csv"), SITES)
    first, *rest = rows[1].rsplit(";", 1)
    (out / "r.csv").write_text("\n".join([rows[0], first + ";", *rows[2:]]), "utf-16")
    assert rest
    found = read(known, out / "r.csv")
    assert found.recording.repetitions[0].tolist() == [4, 4, 3]


def test_a_matrix_of_numbers_in_a_text_file(known: Known, out: Path) -> None:
    np.savetxt(out / "r.csv", known.means, delimiter=",")
    assert read(known, out / "r.csv").recording.means == pytest.approx(known.means)
    np.savetxt(out / "r.txt", known.means)
    assert read(known, out / "r.txt").recording.means == pytest.approx(known.means)
    pd.DataFrame(known.means, columns=SITES).to_csv(out / "named.csv", index=False)
    found = read(known, out / "named.csv").recording
    assert found.site_ids == SITES
    assert found.means == pytest.approx(known.means)
    pd.DataFrame(known.means, columns=SITES).to_csv(out / "indexed.csv")
    assert read(known, out / "indexed.csv").recording.means == pytest.approx(known.means)


def test_columns_of_times_are_no_sites(known: Known, out: Path) -> None:
    table = pd.DataFrame(known.means, columns=SITES)
    table.insert(0, "onset_s", np.arange(12.0))
    table.insert(0, "stimulus", known.images.names)
    table.to_csv(out / "r.csv", index=False)
    found = read(known, out / "r.csv")
    assert found.recording.site_ids == SITES
    assert "columns not read: onset_s" in found.line
    table.drop(columns="stimulus").to_csv(out / "r.csv", index=False)
    with pytest.raises(DataError, match="which image it is about"):
        read(known, out / "r.csv")


def test_the_same_row_twice_is_refused(known: Known, out: Path) -> None:
    table = long_table(known)
    pd.concat([table, table.iloc[:1]]).to_csv(out / "r.csv", index=False)
    with pytest.raises(DataError, match="1 rows are about what another row is about"):
        read(known, out / "r.csv")


def test_a_word_among_the_counts_is_refused_by_row(known: Known, out: Path) -> None:
    table = long_table(known).astype({"count": object})
    table.loc[4, "count"] = "artefact"
    table.to_csv(out / "r.csv", index=False)
    with pytest.raises(DataError, match="a cell is no number") as refused:
        read(known, out / "r.csv")
    assert "row 5" in refused.value.where


def test_broken_fixations_and_blanks_are_left_out_with_a_word(known: Known, out: Path) -> None:
    table = pd.DataFrame(
        np.concatenate([known.means, known.means[:3] + 900, known.means[:1]]), columns=SITES
    )
    names = [*known.images.names, *known.images.names[:3], "-1"]
    table.insert(0, "image", names)
    table.insert(1, "fixation_correct", [True] * 12 + [False] * 3 + [True])
    table.to_csv(out / "r.csv", index=False)
    found = read(known, out / "r.csv")
    assert found.recording.means == pytest.approx(known.means)
    assert "3 rows left out: fixation_correct" in found.line
    assert "1 rows left out: no image" in found.line


# --- sites that can't be fitted, and files that can't be read -------------------------------------


def test_silent_and_constant_sites_are_left_out_with_a_word(known: Known, out: Path) -> None:
    values = np.concatenate([known.means, np.full((12, 1), np.nan), np.zeros((12, 1))], axis=1)
    np.save(out / "r.npy", values)
    found = read(known, out / "r.npy")
    assert found.recording.site_ids == ("0", "1", "2")
    said = told_left_out(found.left_out)
    assert "2 sites left out" in said
    assert "3 (measured for 0 images)" in said
    assert "4 (always answers 0)" in said
    chosen = read(known, out / "r.npy", sites=("0", "4"))
    assert chosen.recording.unusable_sites() == {"4": "always answers 0"}


def _zip_of_images(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("im1.png", b"x")


def _workbook(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", b"x")


def _pickled(path: Path) -> None:
    np.save(path, np.array([[1], [1, 2]], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("r.zip", _zip_of_images, "--images"),
        ("r.xlsx", _workbook, "save the sheet as CSV"),
        ("r.npy", _pickled, "save numbers"),
        ("r.pkl", lambda path: path.write_bytes(b"\x80\x04abc"), "save numbers"),
        ("r.mat", lambda path: path.write_bytes(b"MATLAB 5.0 cut"), "MATLAB file cannot be read"),
        ("r.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\ncut"), "cannot be read"),
        ("r.npy", lambda path: path.write_bytes(b"\x93NUMPYcut"), "copy it again"),
        ("r.csv", lambda path: path.write_bytes(b""), "empty file"),
        ("r.dat", lambda path: path.write_bytes(b"ab\0\0cd"), "begins with"),
        ("r.npy", lambda path: path.mkdir(), "are a folder"),
        ("r.npy", lambda path: None, "are not there"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(
    known: Known, out: Path, name: str, write: object, says: str
) -> None:
    assert callable(write)
    write(out / name)
    with pytest.raises(DataError) as refused:
        read(known, out / name)
    assert says in str(refused.value)
    assert "allow_pickle" not in str(refused.value)


def test_infinite_responses_are_refused(known: Known, out: Path) -> None:
    values = known.means.copy()
    values[3, 1] = np.inf
    np.save(out / "r.npy", values)
    with pytest.raises(DataError, match="infinite"):
        read(known, out / "r.npy")


def test_a_stream_is_no_matter(known: Known, out: Path) -> None:
    """np.save of a masked array keeps no mask: nothing to refuse, and nothing to invent."""
    file = io.BytesIO()
    np.save(file, known.means.astype(np.float16))
    (out / "r.npy").write_bytes(file.getvalue())
    assert read(known, out / "r.npy").recording.means == pytest.approx(known.means, rel=1e-2)
