"""Servers and rigs as processes, to be killed and started again; and what must hold afterwards.

Nothing here waits for a time to pass: `eventually` waits for something to happen, and gives up after
a deadline that only a failure reaches.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from protocols.documents import EventKind, SessionEnded, SessionSettings
from protocols.spike_times import counts_in
from protocols.vocabulary import Block, BlockResponses
from synth_server.endpoint import Endpoint
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog, verify_chain
from synth_server.session.recovery import verify_replay
from tests.end_to_end import forked

DEADLINE_S = 150.0
PLACE = {"x_deg": -2.5, "y_deg": 1.0, "size_deg": 3.0}
"""Of all threads' images but the first's, which are shown where the display shows images."""
PROGRESS = (EventKind.BLOCK_PROPOSED, EventKind.RESPONSES_RECEIVED)
T = TypeVar("T")


def eventually(
    happened: Callable[[], T], what: str, *, alive: Sequence[Process] = (), tick_s: float = 0.002
) -> T:
    """The first true result of `happened`; fails if a process of `alive` dies first."""
    deadline = time.monotonic() + DEADLINE_S
    while not (result := happened()):
        for process in alive:
            if process.returncode is not None and not happened():
                raise AssertionError(f"{process.name} ended before {what}:\n{process.output}")
        if time.monotonic() > deadline:
            outputs = "\n".join(f"{p.name}:\n{p.output}" for p in alive)
            raise AssertionError(f"in vain: {what}\n{outputs}")
        time.sleep(tick_s)
    return result


def busy(duration_s: float) -> None:
    """Let a random moment of a few milliseconds pass, so that a kill lands anywhere."""
    until = time.perf_counter() + duration_s
    while time.perf_counter() < until:
        pass


class Process:
    """A command of ours, run in `folder`, its output in a file."""

    def __init__(self, name: str, module: str, arguments: Sequence[str | Path], folder: Path):
        self.name = name
        self._output = folder / f"{name}.out"
        self._process = forked.start(
            module,
            arguments,
            folder=folder,
            stdout=self._output,
            stderr=self._output,
            environment=_environment(),
        )

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; the negative signal that ended it."""
        return self._process.exitcode

    @property
    def output(self) -> str:
        """Everything that it, and those before it in this place, have said."""
        if not self._output.exists():
            return ""
        return self._output.read_text("utf-8", errors="replace")

    def kill9(self) -> None:
        self._process.kill()
        self._process.join()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self.ended()

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.kill(self.pid, signal.SIGINT)

    def ended(self) -> int:
        """Wait for its end; the exit status."""
        self._process.join(DEADLINE_S)
        if self.returncode is None:
            raise AssertionError(f"{self.name} does not end:\n{self.output}")
        return self.returncode

    def clean_up(self) -> None:
        if self.returncode is None:
            self.kill9()


def _environment() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}


def run(module: str, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, its stdout and stderr apart."""
    with tempfile.TemporaryDirectory() as place:
        stdout, stderr = Path(place) / "stdout", Path(place) / "stderr"
        process = forked.start(
            module,
            arguments,
            folder=folder,
            stdout=stdout,
            stderr=stderr,
            environment=_environment(),
        )
        process.join(DEADLINE_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = [file.read_text("utf-8", errors="replace") for file in (stdout, stderr)]
    assert process.exitcode not in {None, -signal.SIGKILL}, said
    return subprocess.CompletedProcess([module, *map(str, arguments)], process.exitcode, *said)


def synth_server(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """`synth-server …`, awaited."""
    return run("synth_server.cli", *arguments, folder=folder)


@dataclass(frozen=True)
class Recipe:
    """What a session does, and how eventful its rig is."""

    seed: int = 11
    threads: tuple[str, ...] = ("site-00", "site-01")
    generations: int = 4
    population: int = 6
    references: int = 2
    repetitions: int = 2
    size_px: int = 32
    real_clock: bool = True
    image_ms: float = 2
    break_rate: float = 0.1
    drop_rate: float = 0.1
    session_id: str = "session"

    @property
    def n_blocks(self) -> int:
        return len(self.threads) * self.generations

    def session(self) -> dict[str, Any]:
        """`session.toml`."""
        settings = {
            "n_generations": self.generations,
            "test_repetitions": 0,
            "generator": {"name": "pixels", "options": {"size_px": self.size_px, "grid": 8}},
            "optimizer": {
                "name": "genetic",
                "options": {"population": self.population, "n_conserve": 2},
            },
            "n_references": self.references,
            "repetitions": self.repetitions,
            "timing": {
                "on_ms": self.image_ms,
                "off_ms": self.image_ms,
                "count_start_ms": 0,
                "count_stop_ms": 2 * self.image_ms,
                "keep_start_ms": -self.image_ms,
                "keep_stop_ms": 3 * self.image_ms,
                "presentations_per_trial": 3,
                "max_attempts": 100,
            },
        }
        return {
            "session_id": self.session_id,
            "seed": self.seed,
            "threads": [
                {
                    "name": site,
                    "protocol": "evolve",
                    **({"place": PLACE} if site in self.threads[1:] else {}),
                    "settings": {
                        **settings,
                        "objective": {"name": "site", "options": {"site": site}},
                    },
                }
                for site in self.threads
            ],
        }

    def fixation(self) -> dict[str, Any]:
        """Breaks come with the image: on a real clock a later moment is not the same twice."""
        return {"break_rate": self.break_rate, "within_ms": 0}

    def rig(self, server: str) -> dict[str, Any]:
        """`rig.toml`."""
        return {
            "server": server,
            "rig_id": "rig",
            "spool": "spool",
            "resend_s": 0.5,
            "silence_s": 1.5,
            "display": {
                "name": "headless",
                "options": {
                    "clock": "real" if self.real_clock else "virtual",
                    "dropped_frame_rate": self.drop_rate,
                    "refresh_hz": 1000,
                },
            },
            "acquisition": {
                "name": "simulated",
                "options": {
                    "subject": {"name": "gabor_energy", "options": {"n_sites": 2}},
                    "noise": "poisson",
                    "latency_ms": 0,
                    "baseline_rate": 500,
                    "drop_rate": self.drop_rate,
                },
            },
            "fixation": {"name": "simulated", "options": self.fixation()},
        }


@dataclass
class Lab:
    """A folder with one session, its server and its rig. The ports outlive the server."""

    folder: Path
    recipe: Recipe = Recipe()
    server_options: tuple[str, ...] = ("--exit-when-over",)
    rig_overrides: dict[str, Any] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = tomli_w.dumps(self.recipe.session())
        (self.folder / "session.toml").write_text(text, "utf-8")

    @property
    def log(self) -> Path:
        return self.folder / "session.sqlite"

    @property
    def announcement(self) -> Path:
        return self.folder / "server.json"

    @property
    def spool(self) -> Path:
        return self.folder / "spool" / self.recipe.session_id

    def launch_server(self) -> Process:
        """Start the server as a person would: a new session, or `--resume` if there is a log."""
        self.announcement.unlink(missing_ok=True)
        options: list[str | Path]
        options = (
            ["--resume", self.log] if self.log.exists() else ["session.toml", "--log", self.log]
        )
        options += ["--announce", self.announcement, *self.server_options]
        for name in ("work", "control", "events"):
            port = self.addresses.get(name, ":0").rpartition(":")[2]
            options += [f"--{name}-port", port]
        process = Process("server", "synth_server.cli", ["serve", *options], self.folder)
        self.processes.append(process)
        return process

    def serve(self) -> Process:
        """Start the server; returns once it can be reached.

        A port of a server that was killed can be taken by anybody, even by a rig's own attempts to
        connect to it; then it is started again, as a person would.
        """
        process = self.launch_server()
        while not self._announced(process):
            assert "cannot listen here" in process.output.rpartition("error:")[2], process.output
            process = self.launch_server()
        self.addresses = json.loads(self.announcement.read_text("utf-8"))
        return process

    def _announced(self, process: Process) -> bool:
        """Whether the server is ready; False if it ended instead."""

        def settled() -> bool:
            return self.announcement.exists() or process.returncode is not None

        eventually(settled, "the server announced itself")
        return self.announcement.exists()

    def rig(self, name: str = "rig", **overrides: Any) -> Process:
        """Start the rig; `overrides` go into its rig.toml."""
        server = self.addresses["work"]
        settings = {**self.recipe.rig(server), **self.rig_overrides, **overrides}
        config = self.folder / f"{name}.toml"
        config.write_text(tomli_w.dumps(settings), "utf-8")
        process = Process(name, "rig_client.cli", ["run", "--config", config.name], self.folder)
        self.processes.append(process)
        return process

    def control(self, command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """`synth-server pause`, and the like."""
        address = self.addresses["control"]
        return synth_server(command, *arguments, "--connect", address, folder=self.folder)

    def run_to_end(self) -> str:
        """One uninterrupted session; its digest."""
        server = self.serve()
        rig = self.rig()
        assert rig.ended() == 0, rig.output
        assert server.ended() == 0, server.output
        return ended(self.log).session_digest

    def count(self, *kinds: EventKind) -> int:
        """How many events of `kinds` (none given: of all) are in the log by now."""
        return count_events(self.log, *kinds)

    def trials_shown(self) -> int:
        """Trials in the journal of the block that is on screen; 0 if none is."""
        longest = 0
        for path in self.spool.glob("block-*.trials"):
            with contextlib.suppress(FileNotFoundError):
                longest = max(longest, path.read_bytes().count(b"\n") - 1)
        return longest

    def clean_up(self) -> None:
        for process in self.processes:
            process.clean_up()


def count_events(log: Path, *kinds: EventKind) -> int:
    """Events in a log that another process is writing; 0 while there is none."""
    if not log.exists():
        return 0
    chosen = ",".join(f"'{kind.value}'" for kind in kinds or tuple(EventKind))
    with contextlib.closing(sqlite3.connect(f"{log.as_uri()}?mode=ro", uri=True)) as db:
        try:
            (n,) = db.execute(f"SELECT count(*) FROM events WHERE kind IN ({chosen})").fetchone()
        except sqlite3.OperationalError:  # the writer is folding the file at this very moment
            return 0
    return int(n)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[SessionLog]:
    """A log, for reading."""
    log = SessionLog(path)
    try:
        yield log
    finally:
        log.close()


def ended(path: Path) -> SessionEnded:
    """A log's last event."""
    with opened(path) as log:
        events = list(log.events())
    assert events[-1].kind is EventKind.SESSION_ENDED, [event.kind for event in events]
    return SessionEnded.model_validate(events[-1].document)


def blocks_and_responses(path: Path) -> list[tuple[Block, BlockResponses]]:
    """Every block with its one answer; fails if one has none, or several."""
    with opened(path) as log:
        verify_chain(log)
        blocks = [log.block(event) for event in log.events(EventKind.BLOCK_PROPOSED)]
        answers = [log.responses(event) for event in log.events(EventKind.RESPONSES_RECEIVED)]
    assert [block.index for block in blocks] == list(range(len(blocks)))
    assert [answer.block_index for answer in answers] == [block.index for block in blocks]
    return list(zip(blocks, answers, strict=True))


def what_was_counted(lab: Lab) -> list[tuple[Any, ...]]:
    """What was shown and counted, in order, without times."""
    return [
        (one.stimulus_id, one.repetition, one.attempt, one.outcome, one.spike_counts)
        for _, responses in blocks_and_responses(lab.log)
        for one in responses.presentations
    ]


def check_finished(lab: Lab, digest: str) -> None:
    """A session that came to its end: nothing lost, nothing twice, and the digest it should have."""
    for block, responses in blocks_and_responses(lab.log):
        asked = Counter((cue.stimulus_id, cue.repetition) for cue in block.cues())
        counted = Counter((shown.stimulus_id, shown.repetition) for shown in responses.completed())
        assert counted == asked, f"block {block.index}"
        for shown in responses.completed() if responses.tick_hz else ():
            ticks = responses.ticks(shown)
            assert ticks is not None, "spike times are kept, and are those that were named"
            given = counts_in(ticks, block.timing.count_window_s, responses.tick_hz)
            assert tuple(given) == shown.spike_counts
    assert ended(lab.log).session_digest == digest
    report = verify_replay(lab.log)
    assert report.end == "finished"
    assert report.n_blocks == lab.recipe.n_blocks
    assert report.images_within_tolerance == 0
    leftovers = [path.name for path in lab.spool.iterdir()] if lab.spool.exists() else []
    assert leftovers == [], "the spool is empty once everything is acknowledged"


class ServerHere:
    """A server in a thread of this process, for tests that reach into it; a context manager."""

    def __init__(self, lab: Lab) -> None:
        settings = SessionSettings.model_validate(lab.recipe.session())
        self.session = new_session(settings, lab.log)
        self._endpoint = Endpoint({self.session.session_id: self.session}, exit_when_over=True)
        lab.addresses = asdict(self._endpoint.addresses)
        self._thread = threading.Thread(target=self._endpoint.run, name="server", daemon=True)

    def __enter__(self) -> ServerHere:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._endpoint.close()
        self.ended()

    def ended(self) -> None:
        """Wait for its end."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the server does not end"
