"""Files as other systems write them: byte-order marks, UTF-16, code page 1252, Windows' paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.errors import SettingsError
from protocols.settings import Frozen, from_command_line, read_toml
from protocols.text_files import read_text
from rig_client import examples
from rig_client.calibration.gamma import read_readings
from rig_client.display.window import read_gamma_table
from synth_server.readers.export.nwb_subject import SUBJECT_TEMPLATE


class Some(Frozen):
    name: str = ""
    folders: tuple[str, ...] = ()


TEXT = '# 1 … 127, “quoted”\r\nname = "Zoë"\r\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_settings_are_read_as_any_editor_writes_them(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "s.toml").write_bytes(TEXT.encode(encoding))
    assert read_toml(Some, tmp_path / "s.toml").name == "Zoë"


def test_lines_end_as_they_do_everywhere(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"a\r\nb\rc\n")
    assert read_text(tmp_path / "t") == "a\nb\nc\n"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes(b"\x89PNG\x00\xff\x00")
    with pytest.raises(SettingsError, match="is no text"):
        read_toml(Some, tmp_path / "s.toml")


def test_examples_are_plain_ascii() -> None:
    """Whatever a console or an editor makes of them, it makes the same of all of them."""
    for name in examples.names():
        assert examples.text(name).isascii(), name
    assert SUBJECT_TEMPLATE.isascii()


@pytest.mark.parametrize(
    "line",
    [r'name = "D:\new\tmp"', r'name = "D:\x"', r'name = "C:\users\lab"', r'folders = ["D:\temp"]'],
)
def test_backslashes_of_windows_are_pointed_out(tmp_path: Path, line: str) -> None:
    """The first of these is valid TOML, and holds a line end and a tab."""
    (tmp_path / "s.toml").write_text(line)
    with pytest.raises(SettingsError) as refused:
        read_toml(Some, tmp_path / "s.toml")
    assert "single quotes" in refused.value.remedy
    with pytest.raises(SettingsError) as refused:
        from_command_line([line])
    assert "single quotes" in refused.value.remedy


def test_what_a_serial_line_is_sent_may_end_with_a_line_end(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(r'name = "R1\r\n"')
    assert read_toml(Some, tmp_path / "s.toml").name == "R1\r\n"


def test_literal_strings_and_slashes_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("name = 'D:\\new\\tmp'\nfolders = [\"D:/new\"]")
    found = read_toml(Some, tmp_path / "s.toml")
    assert found.name == "D:\\new\\tmp"
    assert found.folders == ("D:/new",)


@pytest.mark.parametrize(
    "rows",
    [
        ["0,0.5", "128,20", "255,100"],
        ["level,cd/m2", "0,0.5", "128,20", "255,100"],
        ["Stufe;cd/m²", "0;0,5", "128;20", "255;100"],
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_readings_keep_black(tmp_path: Path, rows: list[str], encoding: str) -> None:
    (tmp_path / "r.csv").write_bytes("\r\n".join(rows).encode(encoding))
    assert read_readings(tmp_path / "r.csv") == ([0, 128, 255], [0.5, 20, 100])


@pytest.mark.parametrize("delimiter", [" ", ",", ";"])
def test_a_gamma_table_with_a_mark_is_whole(tmp_path: Path, delimiter: str) -> None:
    rows = [delimiter.join([f"{i / 255:.6f}"] * 3) for i in range(256)]
    (tmp_path / "g.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    table = read_gamma_table(tmp_path / "g.csv")
    assert table.shape == (3, 256)
    assert table[:, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8", "utf-8-sig", "cp1252"]
)
def test_every_encoding_of_an_editor_is_read(tmp_path, encoding):
    text = 'seed = 7  # für "später"\nname = "é"\n'
    (tmp_path / "s.toml").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert read_text(tmp_path / "s.toml") == text
