"""`synth-server finish | drop-site | retarget | place | add-thread`: change a session while it runs."""

from __future__ import annotations

from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any

import typer

from synth_server.commands.recording_options import parts
from synth_server.commands.running_server import CONTROL, Connect, KeysFolder, SessionName, tell

ThreadName = Annotated[
    str, typer.Option("--thread", help="Which thread; needed where several could be meant.")
]
HOLDS = """

It is written into the log, and holds from the thread's next block that is not computed yet; blocks on
screen or ready stay as they are. A server that is killed goes on with it, and `replay` checks it.
"""


def finish(
    thread: ThreadName = "",
    connect: Connect = CONTROL,
    session: SessionName = "",
    keys: KeysFolder = None,
) -> None:
    """Have the test next: show no more of what comes before it.

    An evolution's running generation is its last, and its test follows. A stretch or one-hot thread maps
    no more once every image was shown, makes no further rounds, and tests. map_fields and map_responses
    end; fields are those of what was shown. Without --thread: all threads that can.

    (`stop` ends the session without any test.)

    Try it:

        synth-server finish --thread site-A
    """
    from protocols.wire.messages import Finish

    tell(Finish(thread=thread), connect, session, keys)


def drop_site(
    site: Annotated[str, typer.Argument(help="As the recorder calls it.")],
    thread: ThreadName = "",
    connect: Connect = CONTROL,
    session: SessionName = "",
    keys: KeysFolder = None,
) -> None:
    """Make no more images for a site: its cell is lost, or its electrode is.

    Its counts are recorded on. An evolution of several sites goes on with the others; a stretch or
    one-hot thread fits it no more and shows no more images made for it. Without --thread: in all threads
    that make images for it. A thread's only target cannot be dropped: retarget or finish the thread.

    Try it:

        synth-server drop-site A-017
    """
    from protocols.wire.messages import DropSite

    tell(DropSite(site=site, thread=thread), connect, session, keys)


def retarget(
    sites: Annotated[str, typer.Argument(help="All new targets, separated by commas.")],
    thread: ThreadName = "",
    connect: Connect = CONTROL,
    session: SessionName = "",
    keys: KeysFolder = None,
) -> None:
    """Make images for other sites from now on.

    An evolution goes on from the images that it has; its test compares what was best for the new
    targets. Several sites are driven by their mean. A stretch or one-hot thread makes its next round, or
    its test, for them; a test that has begun stays as it is.

    Try it:

        synth-server retarget A-017,A-018 --thread site-A
    """
    from protocols.wire.messages import Retarget

    names = parts(sites)
    if not names:
        raise typer.BadParameter("name at least one site", param_hint="SITES")
    tell(Retarget(sites=names, thread=thread), connect, session, keys)


def place(
    x_deg: Annotated[
        float | None, typer.Option(help="Of the centre, right of the screen's.")
    ] = None,
    y_deg: Annotated[float | None, typer.Option(help="Of the centre, above the screen's.")] = None,
    size_deg: Annotated[float | None, typer.Option(help="Width and height.")] = None,
    fields: Annotated[
        Path | None,
        typer.Option(help="Instead: a fields.json of map_fields; a size that covers its fields."),
    ] = None,
    sites: Annotated[str, typer.Option(help="With --fields: of these, separated by commas.")] = "",
    thread: ThreadName = "",
    connect: Connect = CONTROL,
    session: SessionName = "",
    keys: KeysFolder = None,
) -> None:
    """Show a thread's images elsewhere on the screen.

    Refused if they would not be whole on the screen, or would cover the photodiode's patch.

    Try it:

        synth-server place --x-deg -3 --y-deg 1.5 --size-deg 4 --thread site-A

        synth-server place --fields session.products/fields.json --sites A-017 --thread site-A
    """
    from protocols.errors import SettingsError
    from protocols.fields import FieldPlace
    from protocols.vocabulary import Placement
    from protocols.wire.messages import Place

    numbers = (x_deg, y_deg, size_deg)
    where: Placement | FieldPlace
    if fields is not None and numbers == (None, None, None):
        where = FieldPlace(fields=str(fields.resolve()), sites=parts(sites))
    elif fields is None and not sites and x_deg is not None and y_deg is not None and size_deg:
        where = Placement(x_deg=x_deg, y_deg=y_deg, size_deg=size_deg)
    else:
        raise SettingsError(
            "say where the images are to be",
            where="place",
            expected="--x-deg, --y-deg and --size-deg; or --fields FILE, with --sites if not all",
            got="both" if fields is not None else "parts of it" if any(numbers) else "neither",
        )
    tell(Place(place=where, thread=thread), connect, session, keys)


def add_thread(
    file: Annotated[
        Path,
        typer.Argument(
            help="TOML: name, protocol, settings, place; or one \\[[threads]] of these."
        ),
    ],
    connect: Connect = CONTROL,
    session: SessionName = "",
    keys: KeysFolder = None,
) -> None:
    """Have another experiment in the running session, in turn with those that are there.

    The file is a part of a session.toml. Paths in it are the server's. The thread is built and its first
    block computed before anything is logged: settings that do not work are refused, and so is a name that
    the session has.

    Try it:

        synth-server add-thread evolve-B.toml
    """
    from protocols.wire.messages import AddThread

    tell(AddThread(thread=thread_in(file)), connect, session, keys)


def thread_in(file: Path) -> Any:
    """The one thread that a TOML file describes.

    Raises:
        SettingsError: If it cannot be read, or describes none or several.
    """
    from protocols.documents import ThreadSettings
    from protocols.errors import SettingsError
    from protocols.settings import validated
    from protocols.text_files import read_text
    from synth_server.session.thread_text import thread_values

    try:
        text = read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            "the thread's file cannot be read", where=str(file), got=error
        ) from None
    return validated(ThreadSettings, thread_values(text, str(file)), where=str(file))


def _help(text: str) -> str:
    """A docstring as help: each paragraph one line, since the terminal breaks them."""
    said = cleandoc(text).replace("\n\nTry it:", f"{HOLDS}\nTry it:", 1)
    paragraphs = said.strip().split("\n\n")
    return "\n\n".join(
        each if each.startswith(" ") else " ".join(each.split()) for each in paragraphs
    )


def register(app: typer.Typer) -> None:
    """Add these commands to `synth-server`."""
    for command in (finish, drop_site, retarget, place, add_thread):
        text = _help(command.__doc__ or "")
        app.command(command.__name__.replace("_", "-"), help=text)(command)
