"""A cell: one session of a campaign, named by the hash of all that it is made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from protocols import plugins
from protocols.digests import combined_digest, document_digest
from protocols.documents import LOG_VERSION
from protocols.errors import StimloopError
from protocols.settings import PluginChoice, merged
from synth_server.campaign.document import Values, columns_of
from synth_server.campaign.versions import deciding_versions, plugin_versions
from synth_server.dry_run_settings import DryRunSettings, rig_settings, session_settings
from synth_server.session.build import resolved

MEASURES_VERSION = 1
"""Of what is measured in a cell: raised when a result's meaning changes."""
FOLDERS_HAVE_AT_MOST = 100_000


class Cell(NamedTuple):
    """A session to be played.

    Attributes:
        name: Hash of all it is made from; its result's name.
        settings: As `synth-server dry-run` has them; files by absolute paths.
        files: Absolute path → sha256 of every file that the settings name.
    """

    name: str
    settings: DryRunSettings
    files: Mapping[str, str]

    @property
    def columns(self) -> Values:
        """Its settings as columns of the table."""
        return columns_of(self.settings)


def distinct_cells(asked: Iterable[DryRunSettings]) -> list[Cell]:
    """A cell for each of the settings, in their order; those that were asked for twice, once.

    Raises:
        StimloopError: If settings are wrong, or a plug-in is not installed.
    """
    found: dict[str, Cell] = {}
    for settings in asked:
        cell = cell_of(settings)
        found.setdefault(cell.name, cell)
    return list(found.values())


def cell_of(settings: DryRunSettings) -> Cell:
    """The cell with these settings.

    Raises:
        StimloopError: If they are wrong, or a plug-in is not installed.
    """
    settings = DryRunSettings.model_validate(_changed(settings.model_dump(mode="json"), _absolute))
    document = {
        "session": resolved(session_settings(settings)).model_dump(mode="json"),
        "rig": _resolved_rig(rig_settings(settings)),
    }
    files = {text: digest_of(text) for text in sorted(set(_paths(document)))}
    # What a file holds stands for its place: a result survives a move.
    by_content = _changed(document, lambda text: f"sha256:{files[text]}" if text in files else text)
    made_of = {
        **by_content,
        "versions": deciding_versions(),
        "plug-ins": plugin_versions(document),
        "log_version": LOG_VERSION,
        "measures_version": MEASURES_VERSION,
    }
    return Cell(document_digest(made_of)[:32], settings, files)


def _resolved_rig(rig: Mapping[str, Any]) -> Values:
    """With the defaults of the recorder and of the simulated neurons written out."""
    group = "stimloop.acquisitions"
    choice = PluginChoice.model_validate(rig["acquisition"])
    options = plugins.settings_of(group, choice, plugins.load(group, choice.name))
    found = plugins.resolved(options)
    subject = PluginChoice.model_validate(found["subject"])
    group = "stimloop.subjects"
    neurons = plugins.settings_of(group, subject, plugins.load(group, subject.name))
    written = {"name": subject.name, "options": plugins.resolved(neurons)}
    acquisition = {"name": choice.name, "options": merged(found, {"subject": written})}
    return {**rig, "acquisition": acquisition}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def _paths(document: Any) -> Iterator[str]:
    return (text for text in _texts(document) if _is_path(text))


def _is_path(text: str) -> bool:
    """Whether a text names a file or folder that is there; a bare word such as `deep` never does."""
    looks = "/" in text or "\\" in text or "." in text
    try:
        return looks and len(text) < 4096 and Path(text).exists()
    except (OSError, ValueError):
        return False


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """A document with `change` of every text in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _changed(each, change) for name, each in value.items()}
    return [_changed(each, change) for each in value] if isinstance(value, list | tuple) else value


def _absolute(text: str) -> str:
    """Paths relative to this folder mean the same to a worker that was started elsewhere."""
    head, colon, tail = text.partition(":")
    if head == "torch" and colon and _is_path(tail):
        return f"torch:{Path(tail).resolve()}"
    return str(Path(text).resolve()) if _is_path(text) else text


def digest_of(path: str) -> str:
    """Sha256 of a file, or over the names and bytes of all files in a folder.

    Raises:
        StimloopError: If it cannot be read, or a folder has too many files to be one of stimuli.
    """
    try:
        return _digest_of(path, _stamp(Path(path)))
    except OSError as error:
        raise StimloopError(
            "a file that the campaign names cannot be read", where=path, got=error
        ) from None


def _stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when the file does: it is read once, and again only then."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if len(files) > FOLDERS_HAVE_AT_MOST:
        raise StimloopError(
            "a folder that the campaign names is too large",
            where=str(path),
            expected=f"{FOLDERS_HAVE_AT_MOST:,} files at most",
            got=f"{len(files):,}",
            remedy="put the photographs into one zip",
        )
    return tuple((str(p), (s := p.stat()).st_size, s.st_mtime_ns) for p in files)


@cache
def _digest_of(path: str, stamp: tuple[tuple[str, int, int], ...]) -> str:
    digests = []
    for name, _, _ in stamp:
        with Path(name).open("rb") as file:
            digests.append((name, hashlib.file_digest(file, "sha256").hexdigest()))
    if Path(path).is_file():
        return digests[0][1]
    return combined_digest(f"{Path(n).relative_to(path).as_posix()} {d}" for n, d in digests)
