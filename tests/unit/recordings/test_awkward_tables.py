"""Tables as spreadsheets, scripts and other countries write them: read right, or refused with the reason."""

from __future__ import annotations

import gzip
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from protocols.errors import DataError
from protocols.interfaces import PhotographSet
from synth_server.recordings.measured import Wanted
from synth_server.recordings.reading import read_recording
from tests.unit.recordings.conftest import N_IMAGES, N_REPEATS, N_SITES, Known
from tests.unit.recordings.test_reading import SITES, long_table, read

HEAD = ("image", *SITES)


def rows(
    known: Known, names: list[str] | None = None, head: tuple[str, ...] = HEAD, sep: str = ","
) -> list[str]:
    """Lines of a table with a column a site: names of columns first."""
    called = names or list(known.images.names)
    cells = [[called[i], *(f"{v:g}" for v in known.means[i])] for i in range(N_IMAGES)]
    return [sep.join(row) for row in [head, *cells]]


def means(known: Known, path: Path, names: list[str] | None = None) -> np.ndarray:
    images = PhotographSet(known.images.images, tuple(names or known.images.names))
    recording = read_recording(images, path, Wanted()).recording
    return recording.means[:, [recording.site_ids.index(site) for site in SITES]]


def german(lines: list[str]) -> list[str]:
    return [
        line.replace(",", ";").replace(".png", "@").replace(".", ",").replace("@", ".png")
        for line in lines
    ]


def quoted(lines: list[str]) -> list[str]:
    return [",".join(f'"{c}"' for c in line.split(";")) for line in german(lines)]


RIGHT: dict[str, Callable[[Known], bytes]] = {
    "a comma behind each row": lambda k: "\n".join(r + "," for r in rows(k)).encode(),
    "decimal commas in quotation marks": lambda k: "\n".join(quoted(rows(k))).encode(),
    "Excel's line about separators": lambda k: "\n".join(["sep=;", *german(rows(k))]).encode(),
    "tabs, decimal commas": lambda k: "\n".join(german(rows(k))).replace(";", "\t").encode(),
    "bars": lambda k: "\n".join(rows(k, sep="|")).encode(),
    "names of columns behind #": lambda k: ("#" + "\n".join(rows(k))).encode(),
    "comments before the table": lambda k: "\n".join(["# x, y", "# z", *rows(k)]).encode(),
    "UTF-16 without a mark": lambda k: "\n".join(rows(k)).encode("utf-16-le"),
    "UTF-16 without a mark, the other way": lambda k: "\n".join(rows(k)).encode("utf-16-be"),
    "old Macintosh": lambda k: "\r".join(rows(k)).encode(),
    "spaces around cells": lambda k: "\n".join(rows(k)).replace(",", " , ").encode(),
    "an omitted flash": lambda k: "\n".join([*rows(k), "omitted,99,99,99"]).encode(),
    "a column of names called otherwise": lambda k: "\n".join(
        [rows(k, head=("what", *SITES))[0], *rows(k)[:0:-1]]
    ).encode(),
    "packed": lambda k: gzip.compress("\n".join(rows(k)).encode()),
    "a running number beside": lambda k: "\n".join(
        f"{r},{'key number' if not i else 700 + i}" for i, r in enumerate(rows(k))
    ).encode(),
    "a column an image": lambda k: (
        "\n".join(",".join(cells) for cells in zip(*(r.split(",") for r in rows(k)), strict=True))
        .replace("image", "site", 1)
        .encode()
    ),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_is_read_as_it_was_meant(known: Known, out: Path, kind: str) -> None:
    (out / "r.csv").write_bytes(RIGHT[kind](known))
    assert means(known, out / "r.csv") == pytest.approx(known.means)


def thousands(known: Known, separator: str, factor: int) -> list[str]:
    cells = [
        [name, *(f"{factor * v:,.0f}".replace(",", separator) for v in known.means[i])]
        for i, name in enumerate(known.images.names)
    ]
    return [";".join(row) for row in [HEAD, *cells]]


REFUSED: dict[str, tuple[Callable[[Known], list[str]], str]] = {
    "a cell too many in each row": (
        lambda k: [rows(k)[0], *(f"{r},7" for r in rows(k)[1:])],
        "more cells than there are names",
    ),
    "a cell too many in one": (lambda k: [*rows(k), rows(k)[1] + ",9"], "more cells"),
    "two columns of one name": (lambda k: rows(k, head=("image", "A1", "A1", "B7")), "same name"),
    "decimal points and commas": (
        lambda k: [*german(rows(k))[:6], *(r.replace(",", ";") for r in rows(k)[6:])],
        "written in two ways",
    ),
    "German thousands": (lambda k: thousands(k, ".", 1000), "whether these are thousands"),
    "thousands among hundreds": (lambda k: thousands(k, ",", 150), "whether these are thousands"),
    "no names of columns": (lambda k: [rows(k)[1], *rows(k)[1:]], "no row of names"),
    "the number of an image under another name": (
        lambda k: [
            ",".join(("key", *SITES)),
            *(r.replace("scene", "").replace(".png", "") for r in rows(k)[:0:-1]),
        ],
        "which image it is about",
    ),
    "−1 for not measured": (
        lambda k: [
            "image,site,count",
            *(
                f"{n},{s},{-1 if n == 'scene03.png' else 4 + len(s)}"
                for n in k.images.names
                for s in (*SITES, "A")
            ),
        ],
        "stands for 'not measured'",
    ),
    "a row without a site": (
        lambda k: ["image,site,count", *(f"{n},{s},5" for n in k.images.names for s in ("a", ""))],
        "name no site",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_is_refused_with_the_reason(known: Known, out: Path, kind: str) -> None:
    lines, says = REFUSED[kind]
    (out / "r.csv").write_text("\n".join(lines(known)), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        means(known, out / "r.csv")


def test_thousands_are_read_where_other_cells_say_what_the_point_is(
    known: Known, out: Path
) -> None:
    """1.234,5 beside 1.234: the comma is the decimal one."""
    lines = thousands(known, ".", 1000)
    (out / "r.csv").write_text("\n".join([*lines, "omitted;1.234,5;7;8"]), encoding="utf-8")
    assert means(known, out / "r.csv") == pytest.approx(known.means * 1000)


NAMES: dict[str, tuple[list[str], list[str]]] = {
    "#": ([f"#{i}.png" for i in range(12)], [f"#{i}.png" for i in range(12)]),
    "two forms of é": (
        [f"café {i}a.png" for i in range(12)],
        [unicodedata.normalize("NFD", f"café {i}a.png") for i in range(12)],
    ),
    "folders of another computer": (
        [f"C:\\stim\\{'faces' if i < 6 else 'toys'}\\{i % 6}.png" for i in range(12)],
        [f"{'faces' if i < 6 else 'toys'}/{i % 6}.png" for i in range(12)],
    ),
    "small and capital letters": (
        [f"{'a' if i < 6 else 'A'}{i % 6}x.png" for i in range(12)],
        [f"{'a' if i < 6 else 'A'}{i % 6}x.png" for i in range(12)],
    ),
    "a PNG and a JPEG of one name": (
        [f"im{i // 2}.{'png' if i % 2 else 'jpg'}" for i in range(12)],
        [f"im{i // 2}.{'png' if i % 2 else 'jpg'}" for i in range(12)],
    ),
    "leading zeros": ([f"{i:04d}" for i in range(1, 13)], [f"{i}.png" for i in range(1, 13)]),
    "an image called blank": (
        ["blank.png", *(f"x{i}.png" for i in range(11))],
        ["blank.png", *(f"x{i}.png" for i in range(11))],
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_images_are_found_under(known: Known, out: Path, kind: str) -> None:
    said, given = NAMES[kind]
    order = np.random.default_rng(3).permutation(N_IMAGES)
    lines = rows(known, said)
    (out / "r.csv").write_text("\n".join([lines[0], *(lines[1 + i] for i in order)]), "utf-8")
    assert means(known, out / "r.csv", given) == pytest.approx(known.means)


@pytest.mark.parametrize(
    ("said", "given", "says"),
    [
        ([f"face{i}" for i in range(12)], [f"toy{i}.png" for i in range(12)], "not among"),
        (
            [f"im{i // 2}" for i in range(12)],
            NAMES["a PNG and a JPEG of one name"][1],
            "several of",
        ),
        ([f"s{i}" for i in range(12)], [f"S_{i}_left.png" for i in range(12)], "not among"),
    ],
)
def test_names_are_not_guessed(
    known: Known, out: Path, said: list[str], given: list[str], says: str
) -> None:
    """The number of a face is not the number of a toy."""
    (out / "r.csv").write_text("\n".join(rows(known, said)), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        means(known, out / "r.csv", given)


def test_columns_that_are_repetitions_are_no_sites(known: Known, out: Path) -> None:
    one = {f"Trial {r + 1}": known.trials[:, 0, r] for r in range(N_REPEATS)}
    pd.DataFrame({"Image": known.images.names, **one}).to_csv(out / "r.csv", index=False)
    found = read(known, out / "r.csv").recording
    assert found.means == pytest.approx(known.means[:, :1])
    assert (found.repetitions == N_REPEATS).all()
    several = {
        f"{site}_rep{r}": known.trials[:, s, r]
        for s, site in enumerate(SITES)
        for r in range(N_REPEATS)
    }
    pd.DataFrame({"image": known.images.names, **several}).to_csv(out / "r.csv", index=False)
    assert means(known, out / "r.csv") == pytest.approx(known.means)
    assert (read(known, out / "r.csv").recording.repetitions == N_REPEATS).all()


def test_an_index_of_pandas_is_read_and_hides_no_row(known: Known, out: Path) -> None:
    table = pd.DataFrame(known.means[::-1], index=known.images.names[::-1], columns=SITES)
    table.to_parquet(out / "r.parquet")
    assert means(known, out / "r.parquet") == pytest.approx(known.means)
    long_table(known).set_index(["image", "site"]).to_parquet(out / "r.parquet")
    assert means(known, out / "r.parquet") == pytest.approx(known.means)
    pd.concat([long_table(known), long_table(known).iloc[:2]]).reset_index().to_csv(out / "r.csv")
    with pytest.raises(DataError, match="2 rows are about what another row is about"):
        read(known, out / "r.csv")


def test_a_vector_in_each_cell(known: Known, out: Path) -> None:
    table = pd.DataFrame({"image": known.images.names[::-1], "response": list(known.means[::-1])})
    table.to_parquet(out / "r.parquet")
    assert read(known, out / "r.parquet").recording.means == pytest.approx(known.means)
    trials = [
        {"image": name, "site": site, "counts": known.trials[i, s, : 4 - (i == 2)]}
        for i, name in enumerate(known.images.names)
        for s, site in enumerate(SITES)
    ]
    pd.DataFrame(trials).to_parquet(out / "r.parquet")
    found = read(known, out / "r.parquet").recording
    assert found.repetitions[2].tolist() == [3] * N_SITES
    assert found.means[3] == pytest.approx(known.means[3])


@pytest.mark.parametrize("word", ["timestamp", "pupil_area", "eye_x", "rt", "category_id", "Block"])
def test_what_else_was_measured_is_no_site(known: Known, out: Path, word: str) -> None:
    table = pd.DataFrame(known.means, columns=list(SITES))
    table.insert(0, "image", known.images.names)
    table[word] = np.random.default_rng(0).random(N_IMAGES)
    table.to_csv(out / "r.csv", index=False)
    found = read(known, out / "r.csv")
    assert found.recording.site_ids == SITES
    assert f"columns not read: {word}" in found.line


def test_names_of_sites_stay_as_they_are_written(known: Known, out: Path) -> None:
    table = long_table(known)
    table["site"] = table["site"].map({"A1": "001", "A2": "NA", "B7": "1.5"})
    table.to_csv(out / "r.csv", index=False)
    with pytest.raises(DataError, match="name no site"):  # NA is how R writes nothing
        read(known, out / "r.csv")
    table["site"] = table["site"].replace("NA", "NAc")
    table.to_csv(out / "r.csv", index=False)
    assert set(read(known, out / "r.csv").recording.site_ids) == {"001", "NAc", "1.5"}
