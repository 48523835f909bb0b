"""`synth-server explain`: what drives each site, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

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

WRITTEN = ("explain.*", "atlas.*", "sites/*.png")
"""What `explain` leaves in its folder."""


def explain(
    encoder: Annotated[
        Path | None,
        typer.Argument(
            help="Written by `synth-server fit`. With --session: by default what was fitted in it."
        ),
    ] = None,
    images: ImagesOption = None,
    responses: ResponsesOption = None,
    session: SessionOption = None,
    axes: AxesOption = "",
    array: ArrayOption = "",
    site_names: SiteNamesOption = "",
    window_ms: WindowOption = "",
    sites: Annotated[str, typer.Option(help="Names, separated by commas; or all.")] = "all",
    synthesis: Annotated[
        bool,
        typer.Option(
            "--synthesis/--no-synthesis",
            help="Make suppress, stretch and diverse images of sites that the session made none for; "
            "some minutes a site.",
        ),
    ] = True,
    size_px: SizeOption = 112,
    atlas: Annotated[
        bool,
        typer.Option("--atlas", help="Also a map of the photographs, with each site's responses."),
    ] = False,
    atlas_images: Annotated[
        Path | None, typer.Option(help="Zip or folder of further photographs for the map.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Of integrated gradients.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the halves of the trials.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder; made if it is not there.")] = Path("explained"),
    overwrite: OverwriteOption = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print explain.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Explain recorded sites by their encoder: a row a site on one page.

    Its responses, sorted, with the photographs at minimum, quartiles and maximum; what drives it on its
    best three photographs; images made for it, predicted and, if a session showed them, measured;
    where it looks and how well it is predicted; its heaviest channels; the sites most like it. A
    site that is predicted badly is drawn gray.

    Leaves explain.html (self-contained), a PNG for each site, and explain.json; with --atlas also a
    map of the photographs (atlas.png, atlas.json).

    Try it:

        synth-server dry-run --protocol stretch --out first

        synth-server explain --session first/session.sqlite --out first/explained
    """
    import sys

    from encoders.checkpoint import encoder_digest, load_encoder
    from protocols.outputs import check_new_folder
    from synth_server.explain.explanation import ExplainSettings
    from synth_server.explain.explanation import explain as explained

    file = encoder or _fitted_in(session)
    check_new_folder(out, WRITTEN, overwrite=overwrite)
    loaded = load_encoder(file)
    recording = RecordingOptions(
        images, responses, session, size_px, axes, array, site_names, window_ms
    ).read(loaded.encoder.site_ids)
    wanted = () if sites == "all" else tuple(part.strip() for part in sites.split(","))
    settings = ExplainSettings(
        wanted,
        synthesis,
        session,
        steps,
        seed,
        atlas or atlas_images is not None,
        _photographs(atlas_images, recording.images.shape[1]),
    )
    with progress_bar("explaining") as step:
        found = explained(
            loaded,
            encoder_digest(file),
            recording,
            out,
            settings,
            lambda done, total, _: step(done, total),
        )
    if json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        return
    weak = [site.site for site in found.sites if site.is_weak]
    console = Console()
    console.print(f"{len(found.sites)} sites; scores are of {found.scored_on}", highlight=False)
    if weak:
        console.print(
            f"[yellow]drawn gray, predicted too badly:[/] {', '.join(weak)}", highlight=False
        )
    stderr.print(f"page     {out / 'explain.html'}", highlight=False)


def _photographs(source: Path | None, size_px: int) -> Any:
    from synth_server.synthesis.photographs import load_photographs

    return None if source is None else load_photographs(source, None, size_px).images


def _fitted_in(session: Path | None) -> Path:
    from protocols.errors import SettingsError
    from synth_server.session.products import products_folder

    files = sorted(products_folder(session).glob("encoder-*.safetensors")) if session else []
    if len(files) != 1:
        raise SettingsError(
            "which encoder?",
            where="synth-server explain",
            expected="an encoder's file; or --session of a session that fitted one",
            got=f"{len(files)} encoders in {products_folder(session)}" if session else "neither",
            remedy="synth-server fit writes one",
        )
    return files[0]


def register(app: typer.Typer) -> None:
    """Add this command to `synth-server`."""
    app.command()(explain)
