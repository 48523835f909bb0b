"""Checks of what a recorder's stream brings: its units, its event channels, its stragglers; a verdict."""

from __future__ import annotations

import threading
import time

from protocols.checkup import Finding
from rig_client.acquisition.survey import Survey, Surveyed
from rig_client.doctor.equipment import Equipment

GLANCE_S = 0.05
N_LISTED = 8


def units(of: Equipment) -> Finding:
    """Every site has had a spike; units of the stream that are no site are listed."""
    name = "units"
    survey = _survey(of)
    if survey is None:
        return Finding(name=name, status="skip", detail="this recorder's stream is not looked into")
    listed = [f"{unit} ({n})" for unit, n in survey.units.items()]
    more = f" and {len(listed) - N_LISTED} more" if len(listed) > N_LISTED else ""
    there = f"spikes came of {', '.join(listed[:N_LISTED])}{more}" if listed else "no spike came"
    missing = [note for note in survey.mismatch if note.startswith("no spike")]
    if not missing:
        return Finding(name=name, status="pass", detail="; ".join([there, *survey.mismatch]))
    return Finding(
        name=name,
        status="warn" if listed else "fail",
        detail="; ".join([there, *survey.mismatch]),
        remedy="are these sites silent? If not, compare sites in rig.toml with the names above",
    )


def channels(of: Equipment) -> Finding:
    """Which event channels there are, and which carries the words."""
    name = "event channels"
    survey = _survey(of)
    if survey is None or not survey.channels:
        return Finding(name=name, status="skip", detail="this recorder has one, or none spoke")
    listed = ", ".join(f"{channel}: {n} changes" for channel, n in survey.channels.items())
    found = f"; words come by {survey.word_channel}" if survey.word_channel else ""
    aligned = f"; streams are {survey.alignment}" if survey.alignment else ""
    detail = listed + found + aligned
    if len(survey.channels) == 1 or survey.word_channel:
        return Finding(name=name, status="pass", detail=detail)
    return Finding(
        name=name,
        status="warn",
        detail=detail,
        remedy="set acquisition.options.word_channel to the one that carries the words",
    )


def stragglers(of: Equipment) -> Finding:
    """How long counts must wait; listens on until that is measured, or `wait_s` is over."""
    name = "stragglers"
    until_s = time.monotonic() + of.wait_s
    clock = threading.Event()
    while (survey := _survey(of)) and not survey.is_measured and time.monotonic() < until_s:
        clock.wait(GLANCE_S)
    if survey is None:
        return Finding(name=name, status="skip", detail="this recorder's stream is not looked into")
    if survey.n_late:
        return Finding(
            name=name,
            status="warn",
            detail=f"{survey.n_late} presentations were counted too early; {survey.disorder}",
            remedy="the wait was raised; shorten the recorder's buffer, or set settle_ms",
        )
    if survey.is_measured:
        return Finding(name=name, status="pass", detail=survey.disorder)
    return Finding(
        name=name,
        status="warn",
        detail=f"too few spikes to measure: {survey.disorder}",
        remedy="counts wait 250 ms until a session has shown 200 spikes; nothing is lost by it",
    )


def verdict(of: Equipment) -> Finding:
    """The whole way in one sentence: may counts be believed?"""
    name = "counts"
    survey = _survey(of)
    if survey is None or not of.n_sent:
        return Finding(name=name, status="skip", detail="no words were sent to a recorder")
    n_lost = of.n_sent - of.n_found
    silent = [note for note in survey.mismatch if note.startswith("no spike")]
    limits = f"; its limit: {survey.limits}" if survey.limits else ""
    if n_lost:
        return Finding(
            name=name,
            status="fail",
            detail=f"do not start: {n_lost} of {of.n_sent} words were not found; each would cost a "
            "showing",
            remedy="see the check 'words arrive'",
        )
    if silent:
        return Finding(
            name=name,
            status="warn",
            detail=f"all words were found, but {silent[0]}{limits}",
            remedy="start only if these sites may be silent: they would be counted as zero",
        )
    return Finding(
        name=name,
        status="pass",
        detail=f"all {of.n_sent} words were found and every site has fired: a count is right, or "
        f"its showing has a fault{limits}",
    )


def _survey(of: Equipment) -> Survey | None:
    return of.acquisition.survey() if isinstance(of.acquisition, Surveyed) else None
