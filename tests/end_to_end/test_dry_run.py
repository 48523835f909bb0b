"""`synth-server dry-run` and `replay`: one seed, one session; and nobody can alter its log unseen."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocols.documents import EventKind
from protocols.errors import LogCorrupted, LogError
from protocols.vocabulary import BlockResponses
from synth_server.campaign.cell_run import run_cell, task_of
from synth_server.campaign.cells import cell_of
from synth_server.dry_run_settings import DryRunSettings
from synth_server.readers.summary.session_summary import Summary
from synth_server.session.log import SessionLog
from synth_server.session.recovery import verify_replay
from tests.end_to_end.processes import (
    Lab,
    Process,
    Recipe,
    blocks_and_responses,
    ended,
    eventually,
    opened,
    synth_server,
)
from tests.thorough import times

SEED = 7
N_ALTERATIONS = times(15, 5)
"""Of each kind; every one on a fresh copy of the log."""


def dry_run(folder: Path, seed: int = SEED, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--seed", str(seed), "--generations", "3", "--population", "12", "--sites", "2"]
    arguments += ["--subject", "gabor_energy", "--generator", "pixels", "--json", *options]
    return synth_server("dry-run", *arguments, "--out", folder, folder=folder.parent)


@dataclass(frozen=True)
class Run:
    """A dry run that is over."""

    folder: Path
    stdout: str
    summary: Summary

    @property
    def log(self) -> Path:
        return self.folder / "session.sqlite"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One dry run for all tests that only look at it."""
    folder = tmp_path_factory.mktemp("dry") / "run"
    done = dry_run(folder)
    assert done.returncode == 0, done.stderr
    return Run(folder, done.stdout, Summary.model_validate_json(done.stdout))


# --- what it prints and leaves ------------------------------------------------------------------


def test_stdout_is_one_json_document(finished: Run) -> None:
    """Nothing before it, nothing after it, and the same as summary.json."""
    document = json.loads(finished.stdout)
    assert Summary.model_validate(document) == finished.summary
    assert json.loads((finished.folder / "summary.json").read_text("utf-8")) == document
    assert finished.summary.state == "finished"
    assert finished.summary.seed == SEED
    assert len(finished.summary.blocks) == 8  # two evolutions of three generations, and their tests
    assert finished.summary.session_digest == ended(finished.log).session_digest


def test_its_files(finished: Run) -> None:
    left = {path.name for path in finished.folder.iterdir()}
    assert {"session.sqlite", "summary.json", "evolution.png", "session.toml", "rig.toml"} <= left
    assert (finished.folder / "evolution.png").read_bytes().startswith(b"\x89PNG")
    assert not {name for name in left if name.endswith(("-wal", "-shm", "-journal"))}
    assert not list(finished.folder.glob("spool/*/*")), "everything was acknowledged"


def test_a_campaigns_cell_is_the_same_session(finished: Run, tmp_path: Path) -> None:
    """Without sockets: same digest; and the log has the same events, but for clocks and the rig's run."""
    settings = DryRunSettings(
        seed=SEED, generations=3, population=12, sites=2, subject="gabor_energy", generator="pixels"
    )
    kept = tmp_path / "cell.sqlite"
    row = run_cell(task_of(cell_of(settings), str(kept)))
    assert row["error"] == ""
    assert row["measures"]["session_digest"] == finished.summary.session_digest
    logs = [SessionLog(path) for path in (finished.log, kept)]
    events = [[(event.kind, event.document) for event in log.events()] for log in logs]
    for log in logs:
        log.close()
    assert [kind for kind, _ in events[0]] == [kind for kind, _ in events[1]]
    for (kind, there), (_, here) in zip(*events, strict=True):
        if kind is EventKind.RIG_ATTACHED:
            for name in ("server", "spool"):
                there["rig"]["settings"].pop(name)
                here["rig"]["settings"].pop(name)
            there, here = there["rig"], here["rig"]
        assert there == here, kind


def test_one_seed_one_session(finished: Run, tmp_path: Path) -> None:
    again = dry_run(tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert Summary.model_validate_json(again.stdout).session_digest == (
        finished.summary.session_digest
    )
    other = dry_run(tmp_path / "other", SEED + 1)
    assert other.returncode == 0, other.stderr
    assert Summary.model_validate_json(other.stdout).session_digest != (
        finished.summary.session_digest
    )


def test_a_session_is_never_overwritten(finished: Run) -> None:
    before = {path: path.read_bytes() for path in finished.folder.iterdir() if path.is_file()}
    again = dry_run(finished.folder)
    assert again.returncode == 1
    assert "there is a session in this folder already" in again.stderr
    assert again.stdout == ""
    assert {path: path.read_bytes() for path in before} == before


def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    wrong = dry_run(tmp_path / "x", SEED, "--optimizer", "nonsense")
    assert wrong.returncode == 1
    assert "nonsense" in wrong.stderr
    assert wrong.stdout == ""
    assert "Traceback" not in wrong.stderr


# --- verification -------------------------------------------------------------------------------


def test_replay_verifies(finished: Run) -> None:
    before = finished.log.read_bytes()
    done = synth_server("replay", finished.log, "--verify", folder=finished.folder)
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stdout
    assert "8 blocks" in done.stdout
    assert finished.log.read_bytes() == before, "looking at a log changes nothing"


@contextlib.contextmanager
def altered_log(source: Path, folder: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """A copy of a log, and a connection to alter it with."""
    copy = Path(shutil.copy(source, folder / "altered.sqlite"))
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as db:
        yield copy, db


def naming(log: Path, digest: str) -> set[int]:
    """The events that name an image, codes, spike times or gaze of this digest."""
    with opened(log) as reader:
        blocks = {
            event.seq
            for event in reader.events(EventKind.BLOCK_PROPOSED)
            if digest == event.document["codes_digest"]
            or digest in [stimulus["id"] for stimulus in event.document["stimuli"]]
        }
        return blocks | {
            event.seq
            for event in reader.events(EventKind.RESPONSES_RECEIVED)
            if digest in BlockResponses.model_validate(event.document).array_digests
        }


def flipped(content: bytes, dice: random.Random) -> bytes:
    """One bit of one byte is another."""
    place = dice.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << dice.randrange(8)]) + content[place + 1 :]


def check_noticed(log: Path, events: set[int]) -> None:
    with pytest.raises(LogCorrupted) as caught:
        verify_replay(log)
    assert any(f"event {seq} " in str(caught.value) for seq in events), (caught.value, events)


UNSEEN = (EventKind.CONTROL, EventKind.SERVER_RESUMED, EventKind.AMENDED)
"""Nobody intervened in that run."""


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind not in UNSEEN])
def test_one_altered_byte_of_an_event_is_noticed(
    finished: Run, tmp_path: Path, kind: EventKind
) -> None:
    """In the JSON text of responses, blocks, settings …: the message names the event."""
    with opened(finished.log) as log:
        seqs = [event.seq for event in log.events(kind)]
    dice = random.Random(f"{kind} 1")
    for _ in range(N_ALTERATIONS):
        seq = dice.choice(seqs)
        with altered_log(finished.log, tmp_path) as (copy, db):
            (text,) = db.execute("SELECT json FROM events WHERE seq = ?", (seq,)).fetchone()
            changed = flipped(text.encode(), dice)
            db.execute("UPDATE events SET json = CAST(? AS TEXT) WHERE seq = ?", (changed, seq))
        check_noticed(copy, {seq})


@pytest.mark.parametrize("column", ["t_mono_ns", "t_wall_ns", "kind", "prev_hash", "hash"])
def test_every_column_of_an_event_counts(finished: Run, tmp_path: Path, column: str) -> None:
    """A time moved by a nanosecond, another kind of event, a link of the chain."""
    dice = random.Random(column)
    with opened(finished.log) as log:
        last = log.last_seq
    for seq in dice.sample(range(last + 1), 5):
        with altered_log(finished.log, tmp_path) as (copy, db):
            (value,) = db.execute(f"SELECT {column} FROM events WHERE seq=?", (seq,)).fetchone()
            if isinstance(value, int):
                change = f"{column} = {column} + 1"
            else:
                change = f"{column} = CAST(x'{flipped(value.encode(), dice).hex()}' AS TEXT)"
            db.execute(f"UPDATE events SET {change} WHERE seq = ?", (seq,))
        check_noticed(copy, {seq, seq + 1})


@pytest.mark.parametrize("seq", [1, 4])
def test_a_removed_event_is_noticed(finished: Run, tmp_path: Path, seq: int) -> None:
    with altered_log(finished.log, tmp_path) as (copy, db):
        db.execute("DELETE FROM events WHERE seq = ?", (seq,))
    check_noticed(copy, {seq + 1})


def test_one_altered_byte_of_an_image_or_code_is_noticed(finished: Run, tmp_path: Path) -> None:
    """The message names an event whose block shows that image, or came from those codes."""
    dice = random.Random(3)
    with altered_log(finished.log, tmp_path) as (_, db):
        digests = [digest for (digest,) in db.execute("SELECT digest FROM arrays ORDER BY digest")]
    for _ in range(N_ALTERATIONS):
        digest = dice.choice(digests)
        with altered_log(finished.log, tmp_path) as (copy, db):
            (data,) = db.execute("SELECT data FROM arrays WHERE digest=?", (digest,)).fetchone()
            changed = flipped(data, dice)
            db.execute("UPDATE arrays SET data = ? WHERE digest = ?", (changed, digest))
        check_noticed(copy, naming(finished.log, digest))


@pytest.mark.parametrize("change", ["shape = '[1, 2, 3]'", "dtype = 'int8'", "dtype = 'O'"])
def test_an_altered_shape_or_type_is_noticed(finished: Run, tmp_path: Path, change: str) -> None:
    with altered_log(finished.log, tmp_path) as (copy, db):
        (digest,) = db.execute("SELECT digest FROM arrays ORDER BY digest LIMIT 1").fetchone()
        db.execute(f"UPDATE arrays SET {change} WHERE digest = ?", (digest,))
    check_noticed(copy, naming(finished.log, digest))


def test_one_altered_byte_of_the_file_is_noticed(finished: Run, tmp_path: Path) -> None:
    """Without SQLite: a byte within the stored text of an event, or within an image's pixels."""
    dice = random.Random(4)
    whole = finished.log.read_bytes()
    with altered_log(finished.log, tmp_path) as (_, db):
        texts = [(text.encode(), {seq}) for seq, text in db.execute("SELECT seq, json FROM events")]
        pixels = [
            (data, naming(finished.log, digest))
            for digest, data in db.execute("SELECT digest, data FROM arrays").fetchall()[::20]
            if len(data) > 100  # a few spikes are too few bytes to be found again in the file
        ]
    copy = tmp_path / "altered.sqlite"
    done = 0
    while done < N_ALTERATIONS:
        content, events = dice.choice([dice.choice(texts), dice.choice(pixels)])
        start = dice.randrange(len(content) - 24)
        place = whole.find(content[start : start + 24])
        if place < 0 or whole.count(content[start : start + 24]) > 1:
            continue  # broken across pages, or not the only one
        spot = place + dice.randrange(24)
        changed = bytearray(whole)
        changed[spot] ^= 1 << dice.randrange(8)
        copy.write_bytes(changed)
        check_noticed(copy, events)
        done += 1


def test_no_byte_of_the_file_makes_verification_fail_otherwise(
    finished: Run, tmp_path: Path
) -> None:
    """Anywhere at all, page headers and indices too: verified as before, or an error of ours."""
    dice = random.Random(5)
    whole = finished.log.read_bytes()
    copy = tmp_path / "altered.sqlite"
    for _ in range(N_ALTERATIONS):
        changed = bytearray(whole)
        changed[dice.choice([dice.randrange(len(whole)), dice.randrange(20_000)])] ^= 1 << (
            dice.randrange(8)
        )
        copy.write_bytes(changed)
        with contextlib.suppress(LogError):
            assert verify_replay(copy).end == "finished"


def test_the_command_says_which_event(finished: Run, tmp_path: Path) -> None:
    with altered_log(finished.log, tmp_path) as (copy, db):
        db.execute("UPDATE events SET json = replace(json, ':1', ':2') WHERE seq = 4")
    done = synth_server("replay", copy, "--verify", folder=tmp_path)
    assert done.returncode == 1
    assert "event 4 " in done.stderr
    assert "verified" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    for content in (b"hello", b"", bytes(8192), b"SQLite format 3\0" + bytes(5000)):
        path.write_bytes(content)
        with pytest.raises(LogError):
            verify_replay(path)
    done = synth_server("replay", path, "--verify", folder=tmp_path)
    assert done.returncode == 1
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr


# --- shown again --------------------------------------------------------------------------------


def test_replay_shows_the_same_images_as_a_new_session(
    finished: Run, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab(Recipe(session_id=f"dry-run-{SEED}-replay", real_clock=False))
    options = ["--out", lab.folder, "--work-port", "0", "--announce", lab.announcement]
    server = Process(
        "server",
        "synth_server.cli",
        ["replay", finished.log, "--serve", *options, "--exit-when-over"],
        lab.folder,
    )
    lab.processes.append(server)
    eventually(lab.announcement.exists, "the server announced itself", alive=[server])
    lab.addresses = json.loads(lab.announcement.read_text("utf-8"))
    rig = lab.rig()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output

    first, second = blocks_and_responses(finished.log), blocks_and_responses(lab.log)
    assert [block.stimulus_ids for block, _ in second] == [b.stimulus_ids for b, _ in first]
    assert [block.order for block, _ in second] == [block.order for block, _ in first]
    assert [block.timing for block, _ in second] == [block.timing for block, _ in first]
    assert verify_replay(lab.log).end == "finished"
    with opened(lab.log) as log:
        start = next(log.events())
    assert start.document["settings"]["session_id"] == f"dry-run-{SEED}-replay"


def test_a_replay_does_not_overwrite(finished: Run) -> None:
    done = synth_server(
        "replay", finished.log, "--serve", "--out", finished.folder, folder=finished.folder
    )
    assert done.returncode == 1
    assert "never overwritten" in done.stderr
