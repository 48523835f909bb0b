"""What the page's "Steer" dialog asks for, as a message to the server."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from protocols.documents import ThreadSettings
from protocols.errors import SettingsError
from protocols.fields import FieldPlace
from protocols.settings import validated
from protocols.vocabulary import Placement
from protocols.wire import messages as msg
from synth_server.session.thread_text import thread_values


class Steered(BaseModel):
    """The dialog's fields; those that a kind does not need are empty.

    Attributes:
        sites: Names, separated by commas.
        fields: A fields.json on the server's computer, instead of x, y and size.
        toml: A thread, as `[[threads]]` of a session.toml says it.
    """

    kind: Literal["finish", "drop_site", "retarget", "place", "add_thread"]
    thread: str = Field(default="", max_length=64)
    sites: str = Field(default="", max_length=10_000)
    x_deg: float | None = None
    y_deg: float | None = None
    size_deg: float | None = None
    fields: str = Field(default="", max_length=4096)
    toml: str = Field(default="", max_length=100_000)


def wish_of(said: Steered) -> msg.Body:
    """The message for what was said.

    Raises:
        SettingsError: If something is missing or wrong.
    """
    sites = tuple(part.strip() for part in said.sites.split(",") if part.strip())
    match said.kind:
        case "finish":
            return msg.Finish(thread=said.thread)
        case "drop_site":
            if len(sites) != 1:
                raise SettingsError("name one site", got=said.sites or "none")
            return validated(
                msg.DropSite, {"site": sites[0], "thread": said.thread}, where="drop site"
            )
        case "retarget":
            return validated(
                msg.Retarget, {"sites": sites, "thread": said.thread}, where="retarget"
            )
        case "place":
            return msg.Place(place=_place(said, sites), thread=said.thread)
    values = thread_values(said.toml, "the new thread")
    return msg.AddThread(thread=validated(ThreadSettings, values, where="the new thread"))


def _place(said: Steered, sites: tuple[str, ...]) -> Placement | FieldPlace:
    if said.fields:
        values = {"fields": said.fields, "sites": sites}
        return validated(FieldPlace, values, where="place")
    where = {"x_deg": said.x_deg, "y_deg": said.y_deg, "size_deg": said.size_deg}
    if None in where.values():
        raise SettingsError(
            "say where the images are to be", expected="x, y and size in degrees, or fields.json"
        )
    return validated(Placement, where, where="place")
