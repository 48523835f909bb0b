"""What people may change while a session runs: each wish is checked here, before it is logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from protocols import plugins
from protocols.amendments import Amendment, DropSite, Finish, Place, Retarget
from protocols.documents import RigAttached, ThreadSettings
from protocols.errors import Refusal, SettingsError, StimloopError
from protocols.interfaces import Objective
from protocols.settings import ObjectiveChoice
from protocols.vocabulary import Placement
from protocols.wire import messages as msg
from protocols.wire.messages import RefusalReason
from synth_server.session.attachment import check_can_show
from synth_server.session.placing import placed_thread

Wish: TypeAlias = msg.Finish | msg.DropSite | msg.Retarget | msg.Place
WAYS = {
    "finish": "finish",
    "drop_site": "drop a site",
    "retarget": "take other targets",
    "place": "show its images elsewhere",
}
"""Kinds of amendments, as something that a protocol can do."""


@dataclass(frozen=True)
class Situation:
    """What wishes are checked against.

    Attributes:
        threads: Name → settings, by all that was wished so far.
        live: Threads that have not ended.
        finishing: Threads that were told to finish.
        dropped: (thread, site) that were dropped.
        rig: None before one attached.
        predicted: Thread → sites that its given encoder predicts, where there is one.
    """

    threads: Mapping[str, ThreadSettings]
    live: Sequence[str]
    finishing: frozenset[str]
    dropped: frozenset[tuple[str, str]]
    rig: RigAttached | None
    predicted: Mapping[str, Sequence[str]]

    @property
    def recorded(self) -> tuple[str, ...]:
        """The rig's sites; `Refusal` before one attached."""
        if self.rig is None:
            raise Refusal(
                RefusalReason.UNKNOWN_SITE,
                "no rig has attached yet: nobody knows which sites are recorded",
                remedy="start the rig, then say it again",
            )
        return self.rig.site_ids


def amendments_for(wish: Wish, now: Situation) -> list[Amendment]:
    """What is to be logged for a wish; nothing if all of it holds already.

    Raises:
        Refusal: If a thread or a site is unknown, or a thread's protocol cannot do it.
    """
    match wish:
        case msg.Finish():
            names = _threads(wish.thread, "finish", now)
            return [Finish(thread=name) for name in names if name not in now.finishing]
        case msg.DropSite():
            return _without_site(wish, now)
        case msg.Retarget():
            return _with_targets(wish, now)
        case msg.Place():
            return _placed(wish, now)


def _threads(name: str, kind: str, now: Situation) -> list[str]:
    """The threads that are meant: the one of that name, or all that live and can do it."""
    if name and name not in now.threads:
        raise Refusal(
            RefusalReason.UNKNOWN_THREAD,
            "this session has no such thread",
            expected=", ".join(now.threads),
            got=name,
        )
    if name and name not in now.live:
        raise Refusal(
            RefusalReason.UNKNOWN_THREAD,
            "this thread has ended",
            expected=", ".join(now.live) or "no thread runs any more",
            got=name,
        )
    able = [each for each in now.live if kind in steers(now.threads[each])]
    if (name and name not in able) or not able:
        one = now.threads[name or next(iter(now.threads))]
        known = sorted(steers(one))
        raise Refusal(
            RefusalReason.NOT_STEERED,
            f"a {one.protocol} thread cannot {WAYS[kind]}",
            expected=f"one of its own: {', '.join(known)}" if known else "nothing: it only runs",
            got=f"{kind} of thread {name or ', '.join(now.threads)}",
            remedy="stop ends the session; add-thread adds another experiment",
        )
    return [name] if name else able


def _one_thread(name: str, kind: str, now: Situation) -> ThreadSettings:
    found = _threads(name, kind, now)
    if len(found) > 1:
        raise Refusal(
            RefusalReason.UNKNOWN_THREAD,
            "which thread? Several could",
            expected=", ".join(found),
            remedy="name one: --thread NAME",
        )
    return now.threads[found[0]]


def steers(thread: ThreadSettings) -> frozenset[str]:
    """The kinds of amendments that a thread's protocol acts on."""
    experiment = plugins.load("stimloop.protocols", thread.protocol)
    found: frozenset[str] = getattr(experiment, "steers", frozenset({"place"}))
    return found


# --- sites -------------------------------------------------------------------------------------


def _check_recorded(sites: Sequence[str], now: Situation) -> None:
    recorded = now.recorded
    unknown = [site for site in sites if site not in recorded]
    if unknown:
        raise Refusal(
            RefusalReason.UNKNOWN_SITE,
            "the rig records no such site",
            expected=", ".join(recorded)[:1000],
            got=", ".join(unknown),
        )


def _without_site(wish: msg.DropSite, now: Situation) -> list[Amendment]:
    _check_recorded((wish.site,), now)
    names = _threads(wish.thread, "drop_site", now)
    found: list[Amendment] = []
    reasons: list[str] = []
    fresh = [name for name in names if (name, wish.site) not in now.dropped]
    for name in fresh:
        try:
            found.append(_dropped(now.threads[name], wish.site, now))
        except SettingsError as error:
            reasons.append(f"{name}: {error.what}")
    if reasons and (wish.thread or not found):
        raise Refusal(
            RefusalReason.NOT_STEERED,
            f"site {wish.site} cannot be dropped",
            got="; ".join(reasons),
            remedy="retarget the thread, or finish it",
        )
    return found


def _dropped(thread: ThreadSettings, site: str, now: Situation) -> DropSite:
    """Raise `SettingsError` if the site is no target, or the only one."""
    if "objective" in thread.settings:
        choice = ObjectiveChoice.model_validate(thread.settings["objective"])
        objective = without(choice, site, now.recorded)
        made: Objective = plugins.create("stimloop.objectives", objective)
        left = tuple(made.sites(now.recorded))
        return DropSite(thread=thread.name, site=site, sites=left, objective=objective)
    targets = thread.settings.get("targets")
    if not isinstance(targets, list | tuple):
        return DropSite(thread=thread.name, site=site)
    left = tuple(each for each in targets if each != site)
    if not left:
        raise SettingsError("it is the only target")
    if len(left) == len(targets) and thread.protocol != "one_hot_population":
        raise SettingsError("it is no target")
    return DropSite(thread=thread.name, site=site, sites=left)


def without(choice: ObjectiveChoice, site: str, recorded: Sequence[str]) -> ObjectiveChoice:
    """An evolution's objective that does without a site.

    Raises:
        SettingsError: If it does not drive the site, or nothing else.
    """
    objective: Objective = plugins.create("stimloop.objectives", choice)
    driven = tuple(objective.sites(recorded))
    left = tuple(each for each in driven if each != site)
    if len(left) == len(driven):
        raise SettingsError("it is no target")
    options = dict(choice.options)
    table = next((name for name in ("weights", "pattern") if name in options), "")
    if not left or options.get("site") == site:
        raise SettingsError("it is the only target")
    if table:
        options[table] = {each: value for each, value in options[table].items() if each != site}
    elif "site" in options or choice.name == "mean_of_sites":
        options["sites"] = list(left)
    else:
        raise SettingsError(f"the objective {choice.name} cannot be told of sites")
    return _checked(ObjectiveChoice(name=choice.name, options=options), recorded)


def _with_targets(wish: msg.Retarget, now: Situation) -> list[Amendment]:
    thread = _one_thread(wish.thread, "retarget", now)
    _check_recorded(wish.sites, now)
    try:
        amendment = _retargeted(thread, tuple(dict.fromkeys(wish.sites)), now)
    except SettingsError as error:
        raise Refusal.of(RefusalReason.NOT_STEERED, error) from None
    settings = thread.settings
    if amendment.objective is not None:
        same = settings["objective"] == amendment.objective.model_dump(mode="json")
    else:
        same = list(settings.get("targets") or ()) == list(amendment.sites)
    came_back = any((thread.name, site) in now.dropped for site in amendment.sites)
    return [] if same and not came_back else [amendment]


def _retargeted(thread: ThreadSettings, sites: tuple[str, ...], now: Situation) -> Retarget:
    if "objective" in thread.settings:
        choice = ObjectiveChoice.model_validate(thread.settings["objective"])
        objective = aimed(choice, sites, now.recorded)
        return Retarget(thread=thread.name, sites=sites, objective=objective)
    able = thread.settings.get("candidates") or now.predicted.get(thread.name, sites)
    missing = [site for site in sites if site not in able]
    if missing:
        raise SettingsError(
            "no images can be made for these sites",
            expected=f"those that the encoder predicts, and candidates name: {', '.join(able)}"[
                :1000
            ],
            got=", ".join(missing),
        )
    return Retarget(thread=thread.name, sites=sites)


def aimed(
    choice: ObjectiveChoice, sites: Sequence[str], recorded: Sequence[str]
) -> ObjectiveChoice:
    """The same kind of objective for other sites; the mean of several, where it drove one.

    Raises:
        SettingsError: If this kind cannot.
    """
    options = dict(choice.options)
    name = choice.name
    if name == "mean_of_sites" or (name == "site" and len(sites) > 1):
        name, options = "mean_of_sites", {"sites": list(sites)}
    elif "site" in options and len(sites) == 1:
        options["site"] = sites[0]
        if options.get("sites"):
            options["sites"] = list(dict.fromkeys((*options["sites"], sites[0])))
    else:
        raise SettingsError(
            f"the objective {choice.name} cannot be retargeted to these sites",
            expected="site, suppress and one_hot_population take one; mean_of_sites any",
            got=", ".join(sites),
            remedy="add-thread adds another evolution",
        )
    return _checked(ObjectiveChoice(name=name, options=options), recorded)


def _checked(choice: ObjectiveChoice, recorded: Sequence[str]) -> ObjectiveChoice:
    """With defaults written out, as the log keeps objectives."""
    factory: Any = plugins.load("stimloop.objectives", choice.name)
    settings = plugins.settings_of("stimloop.objectives", choice, factory)
    plugins.create("stimloop.objectives", choice).sites(recorded)
    return ObjectiveChoice(name=choice.name, options=plugins.resolved(settings))


# --- places ------------------------------------------------------------------------------------


def _placed(wish: msg.Place, now: Situation) -> list[Amendment]:
    thread = _one_thread(wish.thread, "place", now)
    try:
        found = placed_thread(thread.model_copy(update={"place": wish.place, "placed_by": None}))
    except StimloopError as error:
        raise Refusal.of(RefusalReason.SETTINGS_REFUSED, error) from None
    if not isinstance(found.place, Placement) or found.place == thread.place:
        return []
    if now.rig is not None:
        check_can_show(now.rig, [found], [])
    return [Place(thread=thread.name, place=found.place, placed_by=found.placed_by)]
