"""What a session computes at length, kept beside its log so that nobody has to wait for it twice.

A fit or a synthesis takes minutes, and a restarted server needs its result to go on. It lies in the
folder `<log>.products` under a name that is a hash of everything that it was made from. A cache, and
never the truth: what is missing or damaged is computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import StimloopError
from protocols.replacing import replace_file

logger = logging.getLogger(__name__)
SUFFIX = ".products"
PROGRESS = "progress.json"
PROGRESS_EVERY_S = 0.2


class Interrupted(StimloopError):
    """The session was told to end while something was computed for it."""


class Product(NamedTuple):
    """A file, and the sha256 of its bytes."""

    path: Path
    digest: str


class Progress(NamedTuple):
    """How far a computation is."""

    what: str
    done: int
    total: int


class Products:
    """The products of one session.

    Args:
        folder: Where they are kept; None for a folder that goes with this object.
        writable: Whether new ones are put there; if not, only those that lie there are used.
        interrupted: Asked between steps of a computation; True ends it.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        writable: bool = True,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._folder = folder
        self._own = folder if writable else None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.interrupted = interrupted
        self.found: list[str] = []

    def file(self, name: str, make: Callable[[Path], None]) -> Product:
        """The product `name`: what lies there whole, or else what `make` writes to a path.

        One that cannot be kept (the disk is full) is used all the same.

        Raises:
            Interrupted: If the session was told to end meanwhile.
        """
        if self._folder is not None and (known := _whole(self._folder / name)) is not None:
            self.found.append(name)
            return known
        made = self._scratch() / name
        make(made)
        product = Product(made, hashlib.sha256(made.read_bytes()).hexdigest())
        if self._own is None:
            return product
        try:
            return _kept(product, self._own)
        except OSError as error:
            logger.warning("%s cannot be kept for a restart: %s", self._own / name, error)
            return product

    def publish(self, name: str, text: str) -> None:
        """Leave a text for people under a name of its own; one that cannot be kept is told of."""
        if self._own is None:
            return
        try:
            self._own.mkdir(parents=True, exist_ok=True)
            part = self._own / f"{name}.part"
            part.write_text(text, "utf-8")
            part.replace(self._own / name)
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._own / name, error)

    @contextmanager
    def telling(self, what: str) -> Iterator[Callable[[int, int, str], None]]:
        """Gives a function that takes (steps done, steps in all, what is being done).

        It says so in `progress.json`, for whoever looks on, and raises `Interrupted` if need be.
        """
        told_s = float("-inf")

        def tell(done: int, total: int, doing: str = "") -> None:
            nonlocal told_s
            if self.interrupted():
                raise Interrupted(f"{what} was broken off: the session was told to end")
            if time.monotonic() - told_s >= PROGRESS_EVERY_S:
                told_s = time.monotonic()
                self._write_progress(Progress(f"{what} {doing}".strip(), done, total))

        began_s = time.monotonic()
        logger.info("%s …", what)
        try:
            tell(0, 1)
            yield tell
            logger.info("%s: done in %.0f s", what, time.monotonic() - began_s)
        finally:
            if self._own is not None:
                with suppress(OSError):
                    (self._own / PROGRESS).unlink(missing_ok=True)

    def _write_progress(self, progress: Progress) -> None:
        if self._own is None:
            return
        with suppress(OSError):  # who looks on must not stop what they look at
            self._own.mkdir(parents=True, exist_ok=True)
            part = self._own / f"{PROGRESS}.part"
            part.write_text(json.dumps(progress._asdict()), "utf-8")
            replace_file(part, self._own / PROGRESS)

    def _scratch(self) -> Path:
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="stimloop-")
        return Path(self._temporary.name)


def products_folder(log: Path) -> Path:
    """Where the products of the session with this log lie: `session.products` for `session.sqlite`."""
    return log.with_suffix(SUFFIX)


def read_progress(folder: Path) -> Progress | None:
    """What the server is computing, if it is."""
    try:
        return Progress(**json.loads((folder / PROGRESS).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def digest_file(path: Path) -> Path:
    """Beside a product: the sha256 of its bytes, written last."""
    return path.with_name(f"{path.name}.sha256")


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays as safetensors, whatever order they have in memory.

    The format knows C order only, and its writer takes an array's memory as it lies: one in another order
    comes back with its numbers in wrong places.
    """
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def _kept(product: Product, folder: Path) -> Product:
    """A copy in `folder`. Its digest is written last: until then, it counts as absent."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / product.path.name
    digest_file(path).unlink(missing_ok=True)
    part = path.with_name(f"{path.name}.part")
    shutil.copyfile(product.path, part)
    replace_file(part, path)
    part = path.with_name(f"{path.name}.sha256.part")
    part.write_text(product.digest + "\n", "utf-8")
    replace_file(part, digest_file(path))
    return Product(path, product.digest)


def _whole(path: Path) -> Product | None:
    """The product at `path`, if all of it is there as it was written."""
    try:
        wanted = digest_file(path).read_text("utf-8").strip()
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return None
    if found != wanted:
        logger.warning("%s is damaged, and is made anew", path)
        return None
    return Product(path, found)
