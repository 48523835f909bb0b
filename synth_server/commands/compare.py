"""`synth-server compare`: which network's layers see images as the recorded sites do."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from protocols.command_line import progress_bar, stderr
from synth_server.commands.recording_options import (
    ArrayOption,
    AxesOption,
    ImagesOption,
    OverwriteOption,
    RecordingOptions,
    ResponsesOption,
    SessionOption,
    SiteNamesOption,
    SizeOption,
    WindowOption,
)

WRITTEN = ("comparison.*",)
"""What `compare` leaves in its folder."""


class ReadoutName(StrEnum):
    """What is fitted for predictivity."""

    ridge = "ridge"
    two_stage = "two_stage"
    pls = "pls"


def compare(
    images: ImagesOption = None,
    responses: ResponsesOption = None,
    session: SessionOption = None,
    axes: AxesOption = "",
    array: ArrayOption = "",
    site_names: SiteNamesOption = "",
    window_ms: WindowOption = "",
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:WEIGHTS]",
            help="default (pretrained), robust, random, or a weights file; repeatable. Not given: "
            "the bundled networks with robust, pretrained and random weights.",
        ),
    ] = None,
    layers: Annotated[
        str, typer.Option(help="Names, separated by commas (synth-server backbones NAME); or all.")
    ] = "all",
    readout: Annotated[
        ReadoutName,
        typer.Option(help="For predictivity; two_stage and pls take some minutes a layer."),
    ] = ReadoutName.ridge,
    size_px: SizeOption = 112,
    splits: Annotated[int, typer.Option(min=1, help="90 / 10 splits of predictivity.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of splits, halves and shuffles.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder for comparison.json and the figure; made if not there.")
    ] = Path("comparison"),
    overwrite: OverwriteOption = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print comparison.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Compare networks with recorded sites, layer by layer: predictivity, CKA, RSA.

    Predictivity asks what a readout fitted to the sites finds in a layer; CKA and RSA ask whether the
    same images lie alike in both spaces, and fit nothing. They often disagree about the best layer:
    choose an encoder's layer by predictivity. A layer is chosen on one half of the images and scored
    on the other. Ceilings (one half of the trials against the other) are shown, not divided by.

    Try it:

        synth-server dry-run --protocol map_responses --out mapping

        synth-server compare --session mapping/session.sqlite --network efficientnet_lite0:random
    """
    from encoders.backbones.choice import network_choice
    from protocols.outputs import check_new_folder
    from synth_server.compare.comparison import compare as compared
    from synth_server.compare.figure import draw_comparison
    from synth_server.compare.layer_scores import CompareSettings
    from synth_server.compare.networks import default_networks

    networks = [network_choice(name) for name in network or ()] or default_networks()
    wanted = () if layers == "all" else tuple(layers.split(","))
    check_new_folder(out, WRITTEN, overwrite=overwrite)
    recording = RecordingOptions(
        images, responses, session, size_px, axes, array, site_names, window_ms
    ).read()
    settings = CompareSettings(readout=readout.value, n_splits=splits, seed=seed)
    with progress_bar("comparing") as step:
        found = compared(
            recording,
            networks,
            settings,
            layers=wanted,
            progress=lambda done, total, _: step(done, total),
        )
    out.mkdir(parents=True, exist_ok=True)
    text = found.model_dump_json(indent=2) + "\n"
    (out / "comparison.json").write_text(text, "utf-8")
    draw_comparison(found, out / "comparison")
    if json:
        sys.stdout.write(text)
    else:
        _tell(found)
    stderr.print(f"figure   {out / 'comparison.png'}", highlight=False)
    stderr.print(f"numbers  {out / 'comparison.json'}", highlight=False)


def _tell(found: Any) -> None:
    table = Table(box=None, title=f"{found.n_sites} sites, {found.n_images} images")
    table.add_column("layer", no_wrap=True)
    for name in ("units", "noise-corr. r", "Brain-Score", "CKA", "RSA"):
        table.add_column(name, justify="right", no_wrap=True)
    for network in found.networks:
        best = {choice.layer for choice in network.best.values()}
        table.add_row(f"[bold]{network.label}[/]")
        for each in network.layers:
            corrected = each.r if each.r_noise_corrected is None else each.r_noise_corrected
            figures = (corrected, each.brain_score, each.cka, each.rsa)
            table.add_row(
                f"  [bold]{each.layer} *[/]" if each.layer in best else f"  {each.layer}",
                "–" if each.n_units is None else f"{each.n_units:,}",
                *("–" if value is None else f"{value:.3f}" for value in figures),
            )
    ceiling = [f"{b.mean:.3f}" if (b := found.ceilings.get(m)) else "–" for m in ("cka", "rsa")]
    table.add_row("halves of the trials", "", "–", "–", *ceiling)
    console = Console()
    console.print(table)
    console.print(
        "\nChosen on one half of the images, scored on the other (* above):",
        highlight=False,
    )
    for network in found.networks:
        texts = [
            f"{measure} {choice.layer} "
            + ("–" if choice.scored is None else f"{choice.scored:.3f}")
            for measure, choice in network.best.items()
        ]
        console.print(f"  {network.label}: {'; '.join(texts)}", highlight=False)
    for note in (
        f"{n.label} {each.layer}: {each.note}"
        for n in found.networks
        for each in n.layers
        if each.note
    ):
        console.print(f"[yellow]{note}[/]", highlight=False)
    for site, why in found.left_out.items():
        console.print(f"[yellow]site {site} is left out:[/] {why}", highlight=False)
    if found.n_images_left_out:
        console.print(
            f"[yellow]{found.n_images_left_out} images are left out:[/] a site lacks them"
        )
    if all(each.rsa is None for network in found.networks for each in network.layers):
        console.print("RSA needs more sites: over so few, two images' patterns hardly differ.")
    if found.reliability is None:
        console.print(
            "Without single trials r is not corrected for noise, and nothing has a ceiling."
        )


def register(app: typer.Typer) -> None:
    """Add this command to `synth-server`."""
    app.command()(compare)
