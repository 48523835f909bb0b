"""Where a session's threads show their images."""

from __future__ import annotations

import logging

from protocols.documents import SessionSettings, ThreadSettings
from protocols.fields import FieldPlace
from protocols.vocabulary import Placement

logger = logging.getLogger(__name__)


def placed_thread(thread: ThreadSettings) -> ThreadSettings:
    """With the place that follows from mapped fields, if it is to; the log keeps both.

    Raises:
        SettingsError: If the fields cannot be read, or give no place.
    """
    if not isinstance(thread.place, FieldPlace):
        return thread
    where = f"thread {thread.name}: place by {thread.place.fields}"
    found, sites = thread.place.read(), thread.place.sites
    place = found.place(sites, where=where)
    for field in found.left_out(sites):
        logger.warning("%s: %s is left out: %s", where, field.site, field.why_not)
    logger.info("thread %s: images %s, by %s", thread.name, place, thread.place.fields)
    return thread.model_copy(update={"place": place, "placed_by": thread.place})


def places_of(settings: SessionSettings) -> dict[str, Placement]:
    """Thread → where its images are shown that have no place of their own."""
    return {
        thread.name: thread.place
        for thread in settings.threads
        if isinstance(thread.place, Placement)
    }
