"""The docs say what the code does: names, defaults, examples and recipes are compared or run."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image
from pydantic import BaseModel

import rig_client.cli
import synth_server.cli
from protocols import conformance, plugins
from protocols.digests import array_digest, image_id
from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.errors import PluginError
from protocols.experiments.check import CheckSettings
from protocols.experiments.continued import ContinuedSettings
from protocols.experiments.control import ComparisonSettings
from protocols.experiments.guide import GuideSettings
from protocols.experiments.mapping import MappingSettings
from protocols.experiments.normalisation import NormalisationSettings
from protocols.experiments.rounds import LearningSettings
from protocols.experiments.warm_start import StartSettings
from protocols.fields import FieldPlace
from protocols.rig_description import RigDescription
from protocols.settings import PluginChoice, validated
from protocols.vocabulary import (
    BlockResponses,
    GazeTrace,
    Outcome,
    Presentation,
    RecorderClock,
    RigEvent,
    Timing,
)
from protocols.wire import encoder_messages
from protocols.wire import messages as msg
from protocols.wire.codec import decode
from rig_client.settings import RigSettings
from synth_server.campaign.document import CampaignSettings, Compare
from synth_server.readers.control import gains, learning
from synth_server.readers.evolution import stability
from synth_server.readers.export.nwb_subject import SubjectSettings
from synth_server.readers.statistics.bootstrap import N_RESAMPLES, Estimate
from synth_server.readers.summary import session_summary as summary
from synth_server.session.apparatus import ThreadApparatus
from synth_server.session.build import new_session, resolved
from synth_server.session.conductor import Conductor
from synth_server.session.equipment import Equipment
from synth_server.session.log import SessionLog
from synth_server.session.recovery import verify_replay

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"])
REFERENCE = DOCS / "reference"
REQUESTS = (*msg.WORK_REQUESTS, *msg.CONTROL_REQUESTS, *encoder_messages.ENCODER_REQUESTS)
ALL_MESSAGES = tuple(
    dict.fromkeys((*REQUESTS, *msg.REPLIES, *msg.PUBLISHED, *encoder_messages.ENCODER_REPLIES))
)
GROUP_HEADINGS = {
    "stimloop.protocols": "Protocols",
    "stimloop.generators": "Generators",
    "stimloop.optimizers": "Optimizers",
    "stimloop.objectives": "Objectives",
    "stimloop.backbones": "Backbones",
    "stimloop.subjects": "Subjects",
    "stimloop.displays": "Displays",
    "stimloop.acquisitions": "Acquisitions",
    "stimloop.fixations": "Fixations",
    "stimloop.triggers": "Triggers",
    "stimloop.rewards": "Rewards",
    "stimloop.rigs": "Rigs",
}
OUR_PLUGINS = [
    (group, point.name)
    for group in plugins.GROUPS
    for point in entry_points(group=group)
    if point.dist is not None and point.dist.name == "stimloop"
]


def text(page: Path) -> str:
    return page.read_text("utf-8")


def fenced(page: Path, language: str) -> list[str]:
    found: list[str] = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text(page), re.S | re.M)
    return found


def sections(page: Path, level: int) -> dict[str, str]:
    """Heading → the text up to the next heading of this level or above."""
    whole = text(page)
    masked = re.sub(r"```.*?```", lambda code: "`" * len(code[0]), whole, flags=re.S)
    headings = list(re.finditer(rf"^(#{{1,{level}}}) (.+)$", masked, re.M))
    ends = [heading.start() for heading in headings[1:]] + [len(whole)]
    return {
        heading[2]: whole[heading.end() : end]
        for heading, end in zip(headings, ends, strict=True)
        if len(heading[1]) == level
    }


def table_rows(part: str) -> dict[str, list[str]]:
    """First cell (a name in backticks) → the other cells; of all tables in `part`."""
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", part, re.M)
    return {name: [cell.strip() for cell in cells.split(" | ")] for name, cells in rows}


# --- the wire ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ALL_MESSAGES, ids=lambda body: body.kind)
def test_every_message_has_a_section_that_names_its_fields(body):
    direction = ">" if body in REQUESTS else "<"
    found = sections(REFERENCE / "wire.md", 3)
    part = found[f"`{body.kind}` {direction}"]
    missing = [name for name in body.model_fields if f'"{name}"' not in part]
    assert not missing, f"docs/reference/wire.md, {body.kind}: {missing}"


@pytest.mark.parametrize("example", fenced(REFERENCE / "wire.md", "json"))
def test_every_example_message_is_one(example):
    message = decode([json.dumps(json.loads(example)).encode()], ALL_MESSAGES)
    assert message.header.kind == message.body.kind


def test_the_example_of_each_message_is_there():
    shown = {json.loads(example)["kind"] for example in fenced(REFERENCE / "wire.md", "json")}
    assert shown == {body.kind for body in ALL_MESSAGES}


def test_every_refusal_reason_has_its_row():
    part = sections(REFERENCE / "wire.md", 2)["Refusals"]
    assert set(table_rows(part)) - {"reason"} == set(msg.RefusalReason)


def test_the_header_table_is_complete():
    part = sections(REFERENCE / "wire.md", 2)["Messages"]
    assert set(table_rows(part)) == set(msg.Header.model_fields)


@pytest.mark.parametrize("model", [Timing, Presentation])
def test_the_fields_of_a_block_and_of_a_presentation_are_explained(model):
    page = text(REFERENCE / "wire.md")
    assert [name for name in model.model_fields if f"`{name}`" not in page] == []


def test_every_outcome_has_its_row():
    part = sections(REFERENCE / "wire.md", 2)["Showing a block"]
    assert set(Outcome) <= set(table_rows(part))


def test_the_worked_hash_is_right():
    part = sections(REFERENCE / "wire.md", 3)["The image hash"]
    cells = dict(re.findall(r"^\| ([a-z, ]+) \| `([^`]+)` \|$", part, re.M))
    frame = bytes.fromhex(cells["frame, hexadecimal"])
    hashed = bytes.fromhex(cells["bytes hashed, hexadecimal"])
    assert hashed == cells["text"].replace("\\n", "\n").encode() + frame
    assert hashlib.sha256(hashed).hexdigest() == cells["image id"]
    image = np.array([[[255, 0, 0], [0, 128, 255]]], np.uint8)
    assert image.tobytes() == frame
    assert image_id(image) == cells["image id"]


# --- the log -----------------------------------------------------------------------------------


def test_every_event_has_its_section():
    found = {heading.strip("`") for heading in sections(REFERENCE / "log.md", 3)}
    assert set(EventKind) == found


def test_the_recipes_verify_a_real_log(tmp_path, small_log):
    recipes = _run(REFERENCE / "log.md")
    log = SessionLog(small_log)
    blocks = _texts(log, EventKind.BLOCK_PROPOSED)
    answers = _texts(log, EventKind.RESPONSES_RECEIVED)
    end = next(log.events(EventKind.SESSION_ENDED)).document
    digests = [
        BlockResponses.model_validate(event.document).digest
        for event in log.events(EventKind.RESPONSES_RECEIVED)
    ]
    n_events = log.last_seq + 1
    log.close()
    assert recipes["verify"](small_log) == n_events
    assert [recipes["responses_digest"](answer) for answer in answers] == digests
    assert recipes["session_digest"](blocks, answers) == end["session_digest"]


def test_the_recipe_finds_an_alteration(small_log):
    import sqlite3

    db = sqlite3.connect(small_log)
    db.execute("UPDATE events SET json = replace(json, 'fixation_break', 'aborted') WHERE seq > 1")
    db.commit()
    db.close()
    with pytest.raises(ValueError, match="is not what was written"):
        _run(REFERENCE / "log.md")["verify"](small_log)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_the_recipe_finds_an_altered_array(small_log, dtype):
    """A pixel, a spike time, and gaze (or a code)."""
    import sqlite3

    db = sqlite3.connect(small_log)
    (n,) = db.execute("SELECT count(*) FROM arrays WHERE dtype = ?", (dtype,)).fetchone()
    assert n
    db.execute("UPDATE arrays SET data = zeroblob(length(data)) WHERE dtype = ?", (dtype,))
    db.commit()
    with pytest.raises(ValueError, match="was altered"):
        _run(REFERENCE / "log.md")["verify"](small_log)
    db.execute("DELETE FROM arrays WHERE dtype = ?", (dtype,))
    db.commit()
    db.close()
    with pytest.raises(ValueError, match="is missing"):
        _run(REFERENCE / "log.md")["verify"](small_log)


# --- the summary -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        summary.Summary,
        summary.ThreadSummary,
        summary.GenerationSummary,
        summary.Scores,
        summary.SiteGain,
        summary.Presentations,
        summary.AtRig,
        summary.EvolutionGain,
        summary.BlockSummary,
        gains.ControlSummary,
        gains.SiteControl,
        learning.LearningSummary,
        learning.RoundSummary,
        learning.RoundAtSite,
        stability.SiteStability,
        gains.PopulationResponse,
        Estimate,
    ],
)
def test_every_field_of_the_summary_is_named(model):
    page = text(REFERENCE / "summary.md")
    assert [name for name in model.model_fields if f"`{name}`" not in page] == []
    assert f"last {summary.FINAL_GENERATIONS} generations" in page
    assert f"percentiles of {N_RESAMPLES} bootstrap resamples" in page


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "level", "model"),
    [
        ("A plug-in and its options", 2, PluginChoice),
        ("Sessions", 3, SessionSettings),
        ("threads", 3, ThreadSettings),
        ("timing", 3, Timing),
        ("start", 3, StartSettings),
        ("guide", 3, GuideSettings),
        ("continued", 3, ContinuedSettings),
        ("check", 3, CheckSettings),
        ("normalisation", 3, NormalisationSettings),
        ("mapping", 3, MappingSettings),
        ("comparison", 3, ComparisonSettings),
        ("learning", 3, LearningSettings),
        ("rig.toml", 2, RigSettings),
        ("Campaigns", 3, CampaignSettings),
        ("compare", 3, Compare),
    ],
)
def test_settings_and_their_defaults_are_listed(heading, level, model):
    _compare(heading, sections(REFERENCE / "settings.md", level)[heading], model)


@pytest.mark.parametrize(("group", "name"), OUR_PLUGINS)
def test_options_of_plugins_and_their_defaults_are_listed(group, name):
    try:
        model = plugins.load(group, name).Settings
    except PluginError as error:
        pytest.skip(f"not installed here: {error.got}")
    part = _plugin_section(GROUP_HEADINGS[group], name)
    assert part is not None, f"docs/reference/settings.md lacks {name} under {group}"
    _compare(name, part, model)


def _plugin_section(group_heading: str, name: str) -> str | None:
    page = text(REFERENCE / "settings.md")
    of_group = re.search(rf"^## {group_heading}$(.*?)(?=^## |\Z)", page, re.S | re.M)
    parts = re.split(r"^### (.+)$", of_group[1] if of_group else "", flags=re.M)
    for heading, part in zip(parts[1::2], parts[2::2], strict=True):
        if name in heading.split(", "):
            return part
    return None


def _compare(where: str, part: str, model: type[BaseModel]) -> None:
    listed = {name: cells[0] for name, cells in table_rows(part).items() if len(cells) == 3}
    actual = {name: _default(name, field) for name, field in model.model_fields.items()}
    assert listed == actual, f"docs/reference/settings.md, {where}"


def _default(name: str, field: Any) -> str:
    """What the column `default` says of a field."""
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        made = {"rig_id": "this computer's name", "port": "by system"}
        return "`{}`" if field.default_factory is dict else made[name]
    if field.default is None:
        return "not given"
    if isinstance(field.default, BaseModel) and not isinstance(field.default, PluginChoice):
        return f"[see there](#{name})"
    return f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | Path():
            return f'"{value}"'
        case PluginChoice(name=name, options=options):
            return _toml({"name": name, **({"options": options} if options else {})})
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(part)}' for key, part in value.items())} }}"
        case tuple() | list():
            return f"[{', '.join(_toml(part) for part in value)}]"
    return repr(value)


def test_presets_are_listed():
    from synth_server.synthesis.optimizers.genetic import PRESETS

    part = _plugin_section("Optimizers", "genetic") or ""
    header = re.search(r"^\| preset \|(.*)\|$", part, re.M)
    assert header is not None
    columns = re.findall(r"`(\w+)`", header[1])
    rows = {name: cells for name, cells in table_rows(part).items() if len(cells) == len(columns)}
    listed = {
        name: {column: float(cell) for column, cell in zip(columns, cells, strict=True)}
        for name, cells in rows.items()
    }
    assert listed == {name: dict(preset) for name, preset in PRESETS.items()}


def _toml_examples() -> Iterator[Any]:
    for page in PAGES:
        for number, example in enumerate(fenced(page, "toml")):
            yield pytest.param(example, id=f"{page.name}-{number}")


OTHER_PARTS = {"display": {"name": "headless"}, "acquisition": {"name": "simulated"}}
"""What a part of a rig.toml does not say."""


@pytest.mark.parametrize("example", list(_toml_examples()))
def test_toml_examples_are_valid(example):
    kind = example.splitlines()[0]
    values = tomllib.loads(example)
    match kind:
        case "# session.toml":
            for thread in values["threads"]:
                if "fields" in thread.get(
                    "place", {}
                ):  # its file is made by the reader's own session
                    validated(FieldPlace, thread.pop("place"), where="docs")
            settings = resolved(validated(SessionSettings, values, where="docs"))
            for thread in settings.threads:
                for name in ("generator", "optimizer", "objective"):
                    _check_choice(f"stimloop.{name}s", thread.settings.get(name))
        case "# rig.toml" | "# rig.toml, in part":
            if kind.endswith("part"):
                values = {**OTHER_PARTS, **values}
            rig = validated(RigSettings, values, where="docs")
            for name in ("display", "acquisition", "fixation", "trigger", "reward"):
                _check_choice(f"stimloop.{name}s", getattr(rig, name))
            subject = rig.acquisition.options.get("subject")
            _check_choice("stimloop.subjects", subject)
        case "# campaign.toml":
            settings = validated(CampaignSettings, values, where="docs")
            assert len(list(settings.dry_runs())) == settings.n_asked
        case "# subject.toml":
            validated(SubjectSettings, values, where="docs")
        case "# pyproject.toml":
            assert set(values["project"]["entry-points"]) <= set(plugins.GROUPS)
        case _:
            pytest.fail(f"the first line must say which file this is, not {kind!r}")


def _check_choice(group: str, choice: Any) -> None:
    if choice is None:
        return
    choice = PluginChoice.model_validate(choice)
    try:
        factory = plugins.load(group, choice.name)
    except PluginError as error:
        pytest.skip(f"not installed here: {error.got}")
    plugins.settings_of(group, choice, factory)


# --- commands ----------------------------------------------------------------------------------


def _commands() -> Iterator[Any]:
    for program, app in (
        ("synth-server", synth_server.cli.app),
        ("rig-client", rig_client.cli.app),
    ):
        group: Any = typer.main.get_command(app)
        for name, command in group.commands.items():
            within = getattr(command, "commands", None)
            named = (
                {name: command} if within is None else {f"{name} {n}": c for n, c in within.items()}
            )
            for whole, one in named.items():
                yield pytest.param(program, whole, one, id=f"{program}-{whole}")


@pytest.mark.parametrize(("program", "name", "command"), list(_commands()))
def test_every_command_and_its_options_are_named(program, name, command):
    found = sections(REFERENCE / "cli.md", 2)
    parts = [
        part
        for heading, part in found.items()
        if heading.startswith(f"{program} ")
        and name in heading.removeprefix(f"{program} ").split(", ")
    ]
    assert len(parts) == 1, f"docs/reference/cli.md must describe {program} {name} once"
    rows = table_rows(parts[0])
    for parameter in command.params:
        option = parameter.opts[0]
        if option == "--help":
            continue
        assert option in rows, f"docs/reference/cli.md, {program} {name}: {option}"
        default = parameter.default
        if isinstance(default, int | str) and not isinstance(default, bool) and default != "":
            assert rows[option][0] == f"`{getattr(default, 'value', default)}`", option


def test_groups_and_checks_are_named_in_the_recipes():
    page = text(ROOT / "CONTRIBUTING.md")
    assert [group for group in plugins.GROUPS if f"`{group}`" not in page] == []
    named = set(re.findall(r"\bcheck_\w+", page))
    offered = {name for name in vars(conformance) if name.startswith("check_")}
    offered -= {"check_images"}
    assert named == offered


# --- recipes of CONTRIBUTING -------------------------------------------------------------------


def test_the_example_optimizer_keeps_its_contract():
    assert "HillClimb" in _run(ROOT / "CONTRIBUTING.md")


def test_the_example_experiment_is_one(tmp_path):
    experiment = _run(ROOT / "CONTRIBUTING.md")["contrast_series"]
    for number in range(2):
        Image.new("RGB", (16, 16), (250 * number, 100, 30)).save(tmp_path / f"im{number}.png")
    options = {"images": str(tmp_path), "n_images": 2, "image_size_px": 8, "repetitions": 2}
    settings = validated(experiment.Settings, options, where="test")
    digests = [_driven(experiment(settings, ThreadApparatus(Equipment(), 1, "t"))) for _ in "ab"]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def _driven(plan: Any) -> list[str]:
    conductor, digests = Conductor({"t": plan}), []
    while (block := conductor.propose()) is not None:
        digests.append(block.digest)
        assert sorted(block.order) == list(range(6))
        shown = tuple(
            Presentation(
                stimulus_id=cue.stimulus_id,
                repetition=cue.repetition,
                attempt=0,
                trial=cue.trial,
                onset_s=0,
                outcome=Outcome.COMPLETED,
                spike_counts=(1,),
            )
            for cue in block.cues()
        )
        responses = BlockResponses(block_index=block.index, site_ids=("a",), presentations=shown)
        conductor.accept(responses)
    return digests


# --- links -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text(page), flags=re.S)):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_file(), f"{page.name}: {target}"
        if anchor:
            anchors = {_anchor(h) for h in re.findall(r"^#+ (.+)$", text(linked), re.M)}
            assert anchor in anchors, f"{page.name}: {target}"


def _anchor(heading: str) -> str:
    """As the usual renderers of Markdown make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# --- helpers -----------------------------------------------------------------------------------


@pytest.fixture
def small_log(tmp_path: Path) -> Path:
    """A session of two blocks, one of which has a failed showing."""
    thread = {
        "n_generations": 2,
        "n_references": 0,
        "generator": {"name": "pixels", "options": {"size_px": 8, "grid": 2}},
        "optimizer": {"name": "random_search", "options": {"population": 2}},
    }
    settings = SessionSettings(
        session_id="small-1",
        seed=5,
        threads=(ThreadSettings(name="t", protocol="evolve", settings=thread),),
    )
    path = tmp_path / "session.sqlite"
    session = new_session(settings, path)
    session.attach(msg.Attach(rig_id="rig-ü", site_ids=("a", '"b",'), rig=RigDescription()))
    session.control("annotate", 'drowsy; "µ" line\n2')
    while not session.is_over:
        _answer(session)
    session.log.close()
    verify_replay(path)
    return path


def _times(n_spikes: int) -> Any:
    """Of two sites: so many spikes at the first, two at the other, within the count window."""
    return np.array([n_spikes, n_spikes + 2, *range(80, 80 + n_spikes), 90, 100], np.int32)


def _answer(session: Any) -> None:
    block = session.block(session.n_answered)
    shown, arrays = [], {}
    for place, cue in enumerate(block.cues()):
        common = {"stimulus_id": cue.stimulus_id, "repetition": 0, "trial": place}
        if place == 0:
            shown.append(
                Presentation(**common, attempt=0, onset_s=1e-7, outcome=Outcome.FIXATION_BREAK)
            )
        shown.append(
            Presentation(
                **common,
                attempt=int(place == 0),
                onset_s=1e17,
                onset_clock="recorder",
                outcome=Outcome.COMPLETED,
                spike_counts=(place, 2.0),
                times=array_digest(times := _times(place)),
                shown_ms=16.7,
                word=place + 1,
            )
        )
        arrays[array_digest(times)] = times
    gaze = np.ones((3, 4), np.float32)
    responses = BlockResponses(
        block_index=block.index,
        site_ids=("a", '"b",'),
        presentations=tuple(shown),
        tick_hz=1000,
        clock=RecorderClock(offset_s=1.5, drift_ppm=2.5, residual_s=1e-5, n_words=2),
        gaze=GazeTrace(digest=array_digest(gaze), start_s=0.5, rate_hz=250),
        events=(RigEvent(kind="reward", at_s=3.0, trial=0, ms=40, ml=0.1, text="µ"),),
        arrays=arrays | {array_digest(gaze): gaze},
    )
    session.record(responses)
    session.learn(responses)
    session.advance()


def _texts(log: SessionLog, kind: EventKind) -> list[str]:
    from protocols.digests import canonical_json

    return [canonical_json(event.document).decode() for event in log.events(kind)]


def _run(page: Path) -> dict[str, Any]:
    """Run all Python on a page, in order; returns its names."""
    names: dict[str, Any] = {"__name__": page.stem}
    for number, code in enumerate(fenced(page, "python")):
        exec(compile(code, f"{page.name}, example {number}", "exec", dont_inherit=True), names)
    return names
