import pytest

from protocols.documents import SessionSettings
from protocols.errors import SettingsError
from protocols.settings import read_toml


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot be read[\s\S]*nowhere.toml"):
        read_toml(SessionSettings, tmp_path / "nowhere.toml")


def test_broken_toml_is_named_with_its_place(tmp_path):
    (tmp_path / "s.toml").write_text("seed = = 3")
    with pytest.raises(SettingsError, match=r"not TOML[\s\S]*line 1"):
        read_toml(SessionSettings, tmp_path / "s.toml")


def test_every_wrong_setting_is_named_with_what_was_found(tmp_path):
    (tmp_path / "s.toml").write_text('session_id = "a b"\nseed = -1\ncolour = "red"\n')
    with pytest.raises(SettingsError) as caught:
        read_toml(SessionSettings, tmp_path / "s.toml")
    text = str(caught.value)
    for expected in ("session_id", "seed", "-1", "colour", "threads", "known settings"):
        assert expected in text
