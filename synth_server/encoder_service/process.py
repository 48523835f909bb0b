"""The process that hosts a server's encoders: it dies with the server, and not the other way round.

The server holds the other end of its standard input, and lets go of it when it ends, however it ends.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from protocols.errors import SettingsError, StimloopError

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 60.0
STEADY_S = 60.0
"""A process that lived so long is started again without delay."""
END_S = 5.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class EncoderProcess:
    """`synth-server host-encoders` as a child of this process; a context manager.

    Attributes:
        address: Where the encoders can be asked, once `start` has returned.
    """

    def __init__(
        self, encoders: Sequence[str], *, host: str, port: int, keys: Path | None = None
    ) -> None:
        self._encoders, self._host, self._port, self._keys = tuple(encoders), host, port, keys
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._watch = threading.Thread(target=self._restart_when_it_dies, daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the process; returns when its encoders are loaded and can be reached.

        Raises:
            SettingsError: If the encoders are not named as they should be.
            StimloopError: If it ends instead; it has told why on standard error.
        """
        named_files(self._encoders)
        process = self._launch("--loading-niceness", "0")  # no session runs yet
        if not self._is_ready(process):
            self.close()
            raise StimloopError(
                "the encoders cannot be hosted",
                where=", ".join(self._encoders),
                got=f"the process for them ended with {process.wait()}",
                remedy="see its error above",
            )
        self._watch.start()

    def close(self) -> None:
        """End the process; what it computes is abandoned."""
        with self._guard:
            self._closing.set()
            process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _launch(self, *more: str) -> subprocess.Popen[bytes]:
        options = ["--host", self._host, "--port", str(self._port), "--end-with-stdin"]
        if self._keys is not None:
            options += ["--keys", str(self._keys)]
        command = [sys.executable, "-m", "synth_server.cli", "host-encoders"]
        process = subprocess.Popen(
            [*command, *self._encoders, *options, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._process = process
        return process

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the process says where it listens; False if it ends before.

        A process that takes its place has to listen where clients know it.
        """
        if process.stdout is None:
            return False
        with process.stdout as said:
            line = said.readline()
        if not line:
            return False
        self.address = str(json.loads(line)["encoders"])
        self._port = int(self.address.rpartition(":")[2])
        return True

    def _restart_when_it_dies(self) -> None:
        delay_s, process = FIRST_DELAY_S, self._process
        while process is not None:
            started = time.monotonic()
            status = process.wait()
            steady = time.monotonic() - started > STEADY_S
            delay_s = FIRST_DELAY_S if steady else min(2 * delay_s, LONGEST_DELAY_S)
            if self._closing.is_set():
                return
            logger.error(
                "the process that hosts the encoders ended (%s); sessions are not concerned; "
                "it is started again in %g s",
                f"signal {-status}" if status < 0 else f"status {status}",
                delay_s,
            )
            process = self._again(delay_s)

    def _again(self, delay_s: float) -> subprocess.Popen[bytes] | None:
        """The next process, after `delay_s`; None if the server has ended by then."""
        if self._closing.wait(delay_s):
            return None
        with self._guard:
            if self._closing.is_set():
                return None
            process = self._launch()
        if self._is_ready(process):
            logger.warning("the encoders can be asked again")
        return process


def named_files(arguments: Sequence[str]) -> dict[str, Path]:
    """`NAME=FILE` each, as on the command line.

    Raises:
        SettingsError: If one is not of this form, a name is given twice, or there is none.
    """
    files: dict[str, Path] = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not equals or not file or not NAME.fullmatch(name) or name in files:
            raise SettingsError(
                "an encoder needs a name of its own and a file",
                where="--encoder",
                expected="NAME=FILE.safetensors (or NAME=units:NETWORK/LAYER@SIZE), each name once: "
                "letters, digits, . _ -",
                got=argument,
            )
        files[name] = Path(file)
    if not files:
        raise SettingsError("no encoders to host", expected="NAME=FILE.safetensors")
    return files
