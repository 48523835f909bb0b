"""`rig-client`: the rig's commands. Heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from protocols import command_line
from protocols.command_line import stderr
from rig_client import calibrate_command, doctor_command, emulate_command, handmap_command

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Shows what the server proposes, counts spikes, loses nothing.\n\n"
    "Start a server first (synth-server serve session.toml), then: rig-client run.",
)


@app.callback()
def _commands() -> None:
    """Keeps `run` a command of its own, with others to come."""


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="This rig's settings.")] = Path("rig.toml"),
    report: Annotated[
        Path | None, typer.Option(help="Write what the rig did there, in figures (JSON).")
    ] = None,
    accept_display_change: Annotated[
        bool,
        typer.Option(
            help="Let the screen, its distance or the images' place differ from before in this "
            "session; it is logged."
        ),
    ] = False,
) -> None:
    """Serve a session to its end.

    Stop it whenever you must (Ctrl-C, a crash, a power cut): responses lie in the spool until the
    server has them, and the same command goes on where it was, within the block.
    """
    from rig_client.client import RigClient
    from rig_client.settings import read_settings

    settings = read_settings(config)
    done = RigClient(settings, accept_display_change=accept_display_change).run()
    if report is not None:
        report.write_text(done.model_dump_json(indent=2) + "\n", "utf-8")
    stderr.print(
        f"session {done.session_id} {done.state}: {done.blocks} blocks, "
        f"{done.presentations} presentations; waited {done.waited_s:.1f} s",
        highlight=False,
    )


@app.command()
def example(
    name: Annotated[
        str, typer.Argument(help="Which one; without a name they are listed.", show_default=False)
    ] = "",
    emulated: Annotated[
        bool,
        typer.Option(
            "--emulated",
            help="For rig-client emulate NAME on this computer: works as it is. Without a name: "
            "open-ephys-events.",
        ),
    ] = False,
) -> None:
    """Print a commented rig.toml, one for each recorder: rig-client example intan > rig.toml."""
    from rig_client import examples
    from rig_client.examples import emulated as rehearsal

    if emulated:
        typer.echo(rehearsal.text(name), nl=False)
        return
    typer.echo(examples.text(name) if name else "\n".join(examples.names()), nl=not name)


app.command()(doctor_command.doctor)
app.command()(handmap_command.handmap)
app.add_typer(calibrate_command.app, name="calibrate")

app.command()(emulate_command.emulate)


def main() -> None:
    """Entry point of the console script."""
    command_line.run(app)


if __name__ == "__main__":
    main()
