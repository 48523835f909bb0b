import pytest

from protocols import plugins
from protocols.errors import PluginError, SettingsError
from protocols.settings import PluginChoice


@pytest.mark.parametrize("group", sorted(plugins.GROUPS))
def test_every_built_in_plug_in_loads_and_has_settings(group):
    assert plugins.names(group)
    for name in plugins.names(group):
        assert hasattr(plugins.load(group, name), "Settings")


def test_an_unknown_plug_in_is_refused_with_those_that_are_known():
    with pytest.raises(PluginError, match=r"'sparkle'[\s\S]*fourier, pixels"):
        plugins.load("stimloop.generators", "sparkle")


def test_wrong_options_are_named():
    with pytest.raises(SettingsError, match=r"pixels[\s\S]*size_pix"):
        plugins.create("stimloop.generators", PluginChoice(name="pixels", options={"size_pix": 3}))
