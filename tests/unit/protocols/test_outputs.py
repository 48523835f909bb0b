"""Places for results are checked before the work, and names become file names without collision."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from protocols.errors import SettingsError
from protocols.names import file_names, nwb_name
from protocols.outputs import check_new_file, check_new_folder
from synth_server.cli import app


def test_a_free_place_is_fine_and_nothing_is_made(tmp_path: Path) -> None:
    check_new_file(tmp_path / "a" / "b" / "c.png", ".png")
    check_new_folder(tmp_path / "a" / "b", ["*.png"])
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "c.png").write_text("mine")
    with pytest.raises(SettingsError, match="there is a file"):
        check_new_file(tmp_path / "c.png", ".png")
    check_new_file(tmp_path / "c.png", ".png", overwrite=True)
    with pytest.raises(SettingsError, match="holds earlier results"):
        check_new_folder(tmp_path, ["*.png"])
    check_new_folder(tmp_path, ["*.png"], overwrite=True)
    check_new_folder(tmp_path, ["*.csv"])


def test_a_place_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wrong, says in (
        (lambda: check_new_file(tmp_path), "this is a folder"),
        (lambda: check_new_folder(tmp_path / "file"), "this is a file"),
        (lambda: check_new_file(tmp_path / "file" / "x.png"), "cannot be written"),
        (lambda: check_new_folder(tmp_path / "file" / "x"), "cannot be written"),
        (lambda: check_new_file(tmp_path / "x.jpg", ".png"), "ends with .png"),
    ):
        with pytest.raises(SettingsError, match=says):
            wrong()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_without_permission(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(SettingsError, match="cannot be written"):
        check_new_file(tmp_path / "shut" / "x.png")


def test_a_place_that_the_system_refuses() -> None:
    """/proc can be written by nobody, root included."""
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(SettingsError, match="cannot be written"):
        check_new_folder(Path("/proc/stimloop/x"))


def test_names_become_different_files_on_every_system() -> None:
    names = ["a/b", "a:b", "A1", "a1", "CON", "..", "é 1", "nul.txt", ""]
    files = file_names(names)
    assert len({file.casefold() for file in files.values()}) == len(names)
    for file in files.values():
        assert not set(file) & set('/\\:*?"<>| ')
        assert file.split(".")[0].casefold() not in {"con", "nul", ""}
    assert file_names(["V4-12", "site_3"]) == {"V4-12": "V4-12", "site_3": "site_3"}


def test_names_in_nwb() -> None:
    assert nwb_name("lab:rig 2") == "lab-rig 2"
    assert nwb_name("a/b:c\n") == "a-b-c-"
    assert nwb_name(".") == "unnamed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dry-run", "--protocol", "stretch", "--generations", "9"], "--generations"),
        (["dry-run", "--protocol", "map_responses", "--optimizer", "xdream"], "--optimizer"),
        (["replay", "s.sqlite", "--verify", "--out", "x"], "--out"),
        (["replay", "s.sqlite", "--serve", "--recompute"], "--recompute"),
        (["serve", "s.toml", "--encoders-port", "0"], "--encoders-port"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, SettingsError)
    assert done.exception.what == "an option would be ignored"
    assert says in done.exception.where
