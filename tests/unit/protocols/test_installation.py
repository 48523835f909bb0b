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
