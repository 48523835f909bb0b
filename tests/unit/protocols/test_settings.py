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


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("seed = 7,5", "with a point"),
        ("session_id = “a”", "straight quotation marks"),
        ("seed\u00a0= 7", "special space"),
        ("seed = True", "in small letters"),
        ("seed: 7", "not with :"),
        ("seed =", "give a value"),
        ("size = 4 deg", "the unit stands in the name"),
        ("images = C:/photographs", "between quotation marks"),
        ("seed = 1\nseed = 2", "stands twice"),
        ('{"seed": 7}', "this is JSON"),
    ],
)
def test_what_is_no_toml_says_what_to_write(tmp_path, line, says):
    (tmp_path / "s.toml").write_text(f"# é\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="not TOML") as refused:
        read_toml(SessionSettings, tmp_path / "s.toml")
    assert says in refused.value.remedy
    assert line.rsplit("\n", 1)[-1].strip() in refused.value.got
