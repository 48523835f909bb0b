"""`synth-server export-nwb` and `export-csv`: a session for archives, and as a plain table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from protocols.command_line import stderr

SessionLogFile = Annotated[
    Path, typer.Argument(help="A session log, session.sqlite; it may still be under way.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]
Step = Callable[[str, int, int], None]


def export_nwb(
    session: SessionLogFile,
    out: Annotated[Path, typer.Argument(help="The file to write, OUT.nwb.")],
    subject: Annotated[
        Path | None,
        typer.Option(help="subject.toml: whom it was recorded from; archives insist on it."),
    ] = None,
    _subject_template: Annotated[
        bool,
        typer.Option(
            "--subject-template",
            help="Print a subject.toml to fill in, and end.",
            is_eager=True,
            callback=lambda wanted: _print_template(wanted),
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Write a session as an NWB file, as archives such as DANDI take it.

    Holds every presentation with its image, generation, outcome and counts; the images, each once;
    the codes that they were made from, and their scores; how the clocks ran; and all settings.

    Try it:

        synth-server dry-run --out first

        synth-server export-nwb --subject-template > subject.toml

        synth-server export-nwb first/session.sqlite first.nwb --subject subject.toml
    """
    from protocols.settings import read_toml
    from synth_server.readers.export.nwb import export_nwb as export
    from synth_server.readers.export.nwb_subject import SubjectSettings, still_wanted
    from synth_server.readers.log.rig_record import stamp

    whom = None if subject is None else read_toml(SubjectSettings, subject)
    with _progress() as step:
        found = export(session, out, whom, force=force, step=step)
    n_shown = sum(len(b.responses.presentations) for b in found.answered if b.responses)
    stderr.print(
        f"{out}: {n_shown} presentations of {len(found.shapes)} images; session {found.state}",
        highlight=False,
    )
    if mark := stamp(found.simulated):
        stderr.print(f"[yellow]{mark}[/]; the file says so.", highlight=False)
    if whom is None:
        stderr.print(
            f"[yellow]An archive will still want:[/] {', '.join(still_wanted())}. Fill in what "
            "synth-server export-nwb --subject-template prints, and give it as --subject.",
            highlight=False,
        )


def export_csv(
    session: SessionLogFile,
    out: Annotated[Path, typer.Argument(help="The file to write: OUT.csv or OUT.parquet.")],
    force: Force = False,
) -> None:
    """Write a session's presentations as one table: a row each, a column for each site's counts.

    Try it:

        synth-server export-csv first/session.sqlite first.csv
    """
    from synth_server.readers.export.presentations_file import write_presentations
    from synth_server.readers.log.logged_session import read_session
    from synth_server.readers.log.presentations import presentation_table
    from synth_server.readers.log.rig_record import stamp
    from synth_server.session.log import SessionLog

    log = SessionLog(session)
    try:
        with _progress() as step:
            found = read_session(log, lambda done, total: step("reading the log", done, total))
    finally:
        log.close()
    table = presentation_table(found)
    mark = stamp(found.simulated)
    write_presentations(table, out, force=force)
    stderr.print(f"{out}: {len(table)} presentations; session {found.state}", highlight=False)
    if mark:
        stderr.print(f"[yellow]{mark}[/]; each row says so.", highlight=False)


def register(app: typer.Typer) -> None:
    """Add the commands to `synth-server`."""
    app.command()(export_nwb)
    app.command()(export_csv)


def _print_template(wanted: bool) -> None:
    if wanted:
        from synth_server.readers.export.nwb_subject import SUBJECT_TEMPLATE

        sys.stdout.write(SUBJECT_TEMPLATE)
        raise typer.Exit


@contextmanager
def _progress() -> Iterator[Step]:
    """A bar on standard error; nothing if nobody looks."""
    from rich.progress import Progress

    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        tasks: dict[str, int] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)  # type: ignore[arg-type]

        yield step
