import pytest

from protocols.errors import InstallationError
from protocols.installation import check_no_name_collision


def test_alone_is_fine():
    check_no_name_collision({"encoders": ["stimloop"], "numpy": ["numpy"]})


def test_a_collision_names_both_distributions_and_the_way_out():
    with pytest.raises(InstallationError) as caught:
        check_no_name_collision({"encoders": ["stimloop", "sentence-encoders"]})
    text = str(caught.value)
    assert "'encoders'" in text
    assert "stimloop and sentence-encoders" in text
    assert "pip uninstall sentence-encoders" in text


def test_this_environment_has_none():
    check_no_name_collision()


def test_a_colliding_distribution_is_found_by_its_files(tmp_path, monkeypatch):
    folder = tmp_path / "sentence_encoders-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: sentence-encoders\nVersion: 1\n")
    (folder / "RECORD").write_text("sentences/__init__.py,,\nencoders/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InstallationError, match="'encoders'") as caught:
        check_no_name_collision()
    assert "sentence-encoders" in caught.value.got
    (folder / "RECORD").write_text("my_encoders/__init__.py,,\nx/encoders/__init__.py,,\n")
    check_no_name_collision()
