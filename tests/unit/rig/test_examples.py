"""Every example is a rig.toml that its plug-ins accept, and there is one for every recorder of ours."""

from __future__ import annotations

import contextlib
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from typer.testing import CliRunner

from protocols import plugins
from protocols.errors import SettingsError
from protocols.settings import PluginChoice, validated
from rig_client import emulators, examples
from rig_client.cli import app
from rig_client.doctor.surroundings import PARTS
from rig_client.examples import emulated
from rig_client.settings import RigSettings

CLI_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def rig(name):
    return validated(RigSettings, tomllib.loads(examples.text(name)), where=name)


@pytest.mark.parametrize("name", examples.names())
@pytest.mark.parametrize(("part", "group"), PARTS.items())
def test_an_example_is_valid(name, part, group):
    choice = getattr(rig(name), part)
    plugins.settings_of(group, choice, plugins.load(group, choice.name))


@pytest.mark.parametrize("name", examples.names())
def test_a_simulated_subject_is_valid(name):
    subject = rig(name).acquisition.options.get("subject")
    if subject is not None:
        choice = PluginChoice.model_validate(subject)
        group = "stimloop.subjects"
        try:
            factory = plugins.load(group, choice.name)
        except plugins.PluginError as error:
            pytest.skip(f"not installed here: {error.got}")
        plugins.settings_of(group, choice, factory)


@pytest.mark.parametrize("name", examples.names())
def test_words_fit_on_both_ends_of_the_cable(name):
    found = rig(name)
    bits = found.trigger.options.get("word_bits", found.word_bits)
    assert bits >= found.word_bits
    lines = found.acquisition.options.get("word_lines")
    assert lines is None or len(lines) == found.word_bits


def test_every_recorder_of_ours_has_one():
    ours = {
        point.name
        for point in entry_points(group="stimloop.acquisitions")
        if point.dist is not None and point.dist.name == "stimloop"
    }
    assert ours == {rig(name).acquisition.name for name in examples.names()}


def test_every_trigger_but_the_rehearsal_s_has_one():
    shown = {rig(name).trigger.name for name in examples.names()}
    assert set(plugins.names("stimloop.triggers")) - shown == {"rehearsal"}


@pytest.mark.parametrize("name", examples.names())
def test_most_lines_are_commented(name):
    assert examples.text(name).startswith("# rig.toml\n# ")
    assert examples.text(name).count("#") >= 5


def test_the_command_lists_and_prints():
    listed = CliRunner().invoke(app, ["example"])
    assert listed.stdout.split() == list(examples.names())
    printed = CliRunner().invoke(app, ["example", "intan"])
    assert printed.stdout == examples.text("intan")


def test_an_unknown_example_is_answered_with_those_that_are():
    with pytest.raises(SettingsError, match="intan"):
        examples.text("neuropixels")


def test_the_page_lists_them_all():
    page = CLI_PAGE.read_text("utf-8").split("## rig-client example")[1]
    assert set(examples.names()) <= set(re.findall(r"`([\w-]+)`", page))


@pytest.mark.parametrize("kind", emulated.kinds())
def test_an_example_for_an_emulator_says_what_the_emulator_says(kind):
    """But for the ports, which are the emulator's default ones; and it records some of its sites."""
    printed = CliRunner().invoke(app, ["example", kind, "--emulated"])
    assert printed.stdout == emulated.text(kind)
    assert printed.stdout.isascii()
    found = validated(RigSettings, tomllib.loads(printed.stdout), where=kind)
    neurons = {"subject": {"name": "gabor_energy", "options": {"n_sites": len(emulated.SITES)}}}
    values = {"any_port": True, "neurons": {"name": "simulated", "options": neurons}}
    made = emulators.made(kind, validated(emulators.loaded(kind).Settings, values, where=kind))
    with contextlib.closing(made):
        announced = made.announcement()
    assert without_ports(found.acquisition.model_dump()) == without_ports(announced["acquisition"])
    assert found.trigger.name == announced["trigger"]["name"]
    settings = plugins.load("stimloop.triggers", "rehearsal").Settings()
    assert found.trigger.options["address"] == settings.address


def without_ports(values):
    """Addresses without their numbers."""
    if isinstance(values, dict):
        kept = {k: v for k, v in values.items() if "port" not in k and k not in ("spikes", "words")}
        return {name: without_ports(value) for name, value in kept.items()}
    return re.sub(r":\d+$", "", values) if isinstance(values, str) else values


def test_what_is_not_emulated_is_answered_with_what_is():
    with pytest.raises(SettingsError, match="cerebus"):
        emulated.text("python-stream")
