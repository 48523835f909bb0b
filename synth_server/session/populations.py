"""What an earlier session's evolutions ended with."""

from __future__ import annotations

from protocols.amendments import AddThread, Amended
from protocols.digests import canonical_json
from protocols.documents import EventKind, SessionStarted, ThreadSettings
from protocols.errors import LogError, SettingsError
from protocols.interfaces import LoggedPopulation
from protocols.settings import PluginChoice, validated
from synth_server.session.log import SessionLog, check_log_version


def last_population(log: SessionLog, thread: str, namesake: str) -> LoggedPopulation:
    """The codes of the last generation that was answered.

    Args:
        log: Open for reading.
        thread: Of an evolution; "": the one called `namesake`, or the only one.
        namesake: The thread that asks.

    Raises:
        LogError: If the log is empty, or of another version.
        SettingsError: If there is no such evolution, or nothing of it was answered.
    """
    threads, digests = _threads(log)
    where = f"continued: {log.path}"
    found = _codes(log)
    name = thread or (namesake if namesake in found else "")
    if not name and len(found) == 1:
        name = next(iter(found))
    if name not in found:
        raise SettingsError(
            "that session has no such evolution with an answered generation",
            where=where,
            expected=", ".join(found) or "an evolution that was answered: there is none",
            got=thread or "no thread named",
            remedy='name one: continued = { session = "…", thread = "…" }',
        )
    choice = PluginChoice.model_validate(threads[name].settings["generator"])
    key = f"generator {canonical_json(choice.model_dump(mode='json')).decode()}"
    return LoggedPopulation(name, log.array(found[name]), digests.get(key, "unknown"))


def _threads(log: SessionLog) -> tuple[dict[str, ThreadSettings], dict[str, str]]:
    """Threads, added ones too, and the equipment that they used."""
    first = next(log.events(), None)
    if first is None or first.kind is not EventKind.SESSION_STARTED:
        raise LogError("this is no session log", where=str(log.path))
    check_log_version(first, str(log.path))
    start = validated(SessionStarted, first.document, where=str(log.path))
    threads, digests = {each.name: each for each in start.settings.threads}, dict(start.equipment)
    for event in log.events(EventKind.AMENDED):
        added = Amended.model_validate(event.document).amendment
        if isinstance(added, AddThread):
            threads[added.thread] = added.settings
            digests |= added.equipment
    return threads, digests


def _codes(log: SessionLog) -> dict[str, str]:
    """Thread → digest of the codes of its last whole generation with responses."""
    blocks = {
        event.document["index"]: event.document for event in log.events(EventKind.BLOCK_PROPOSED)
    }
    found: dict[str, str] = {}
    for event in log.events(EventKind.RESPONSES_RECEIVED):
        block = blocks[event.document["block_index"]]
        whole = block["label"] == f"generation {block['generation']}"
        if whole and block["codes_digest"] is not None:
            found[block["thread"]] = block["codes_digest"]
    return found
