"""Receptive fields that a session mapped, from its log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocols.amendments import AddThread, Amended, with_thread
from protocols.documents import EventKind, SessionSettings, SessionStarted
from protocols.experiments.map_fields import MapFieldsSettings
from protocols.fields import FieldMap, FieldShowings
from protocols.settings import validated
from protocols.vocabulary import BlockResponses, Stimulus
from synth_server.receptive_fields.table import fields_csv
from synth_server.session.log import SessionLog
from synth_server.session.products import Products, products_folder

__all__ = ["FIELDS_PROTOCOL", "fields_csv", "mapped_fields"]
FIELDS_PROTOCOL = "map_fields"


def mapped_fields(log_path: Path) -> dict[str, FieldMap]:
    """Thread → its fields, from what was shown so far; nothing of threads without a completed block.

    What the session itself estimated is taken from its products; without them it is computed again.
    """
    log = SessionLog(log_path)
    try:
        start = _start(log)
        shown = _showings(log, set(_mapping(start.settings)))
    finally:
        log.close()
    if not shown:
        return {}
    products = Products(products_folder(log_path), writable=False)
    return {
        thread: _estimated(_settings(start.settings, thread), blocks, products)
        for thread, blocks in shown.items()
    }


def _start(log: SessionLog) -> SessionStarted:
    """With the threads that were added."""
    start = SessionStarted.model_validate(next(log.events()).document)
    for event in log.events(EventKind.AMENDED):
        found = Amended.model_validate(event.document).amendment
        if isinstance(found, AddThread):
            start = with_thread(start, found.settings)
    return start


def _showings(log: SessionLog, mapping: set[str]) -> dict[str, list[FieldShowings]]:
    """Of each thread that maps fields, block by block."""
    shown: dict[str, list[FieldShowings]] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in log.events() if mapping else ():
        if event.kind is EventKind.BLOCK_PROPOSED and event.document["thread"] in mapping:
            blocks[event.document["index"]] = event.document
        elif event.kind is EventKind.RESPONSES_RECEIVED:
            block = blocks.pop(event.document["block_index"], None)
            if block is not None:
                stimuli = [Stimulus.model_validate(each) for each in block["stimuli"]]
                responses = BlockResponses.model_validate(event.document)
                shown.setdefault(block["thread"], []).append(FieldShowings.of(stimuli, responses))
    return shown


def _mapping(settings: SessionSettings) -> Iterator[str]:
    return (each.name for each in settings.threads if each.protocol == FIELDS_PROTOCOL)


def _settings(session: SessionSettings, thread: str) -> MapFieldsSettings:
    found = next(each for each in session.threads if each.name == thread)
    return validated(MapFieldsSettings, found.settings, where=thread)


def _estimated(
    settings: MapFieldsSettings, blocks: list[FieldShowings], products: Products
) -> FieldMap:
    from synth_server.session.fields import SessionFields

    window_s, edge_deg = settings.timing.count_window_s, settings.soft_edge_deg
    estimation = SessionFields(settings.estimate, window_s, edge_deg, products, "fields")
    return estimation(FieldShowings.all_of(blocks), intervals=True)
