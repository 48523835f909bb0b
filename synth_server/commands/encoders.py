"""`synth-server backbones | fit | evaluate | synthesize`: encoders from the command line."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from protocols.command_line import progress_bar, stderr
from synth_server.commands.encoder_scores import check_figure, draw, tell_scores
from synth_server.commands.recording_options import (
    ArrayOption,
    AxesOption,
    DaysOption,
    ImagesOption,
    MixedOption,
    OverwriteOption,
    RecordingOptions,
    ResponsesOption,
    SessionOption,
    SiteNamesOption,
    WindowOption,
    parts,
)

EncoderFile = Annotated[
    Path,
    typer.Argument(
        help="Written by `synth-server fit`; or units:NETWORK/LAYER@SIZE, a network's own units."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result on stdout and nothing else.")]
SizePx = Annotated[int, typer.Option(min=16, help="Images are brought to this size.")]
FigureFile = Annotated[
    Path | None, typer.Option(help="PNG to draw: masks, predictions of three sites, all scores.")
]


def backbones(
    name: Annotated[str | None, typer.Argument(help="Show this network's layers.")] = None,
    input_px: SizePx = 224,
) -> None:
    """List the pretrained networks, or one network's layers."""
    from encoders.backbones import known_backbones
    from encoders.backbones.catalogue import catalogue

    if name is None:
        sys.stdout.write("\n".join(known_backbones()) + "\n")
        return
    found = catalogue(name, input_px=input_px)
    table = Table(title=f"{name}: {found.parameters / 1e6:.1f} M parameters", box=None)
    table.add_column("layer", no_wrap=True)
    for column in ("shape", "stride", "field, px", "memory, MB", "parameters"):
        table.add_column(column, justify="right")
    for row in found.layers:
        field = row.published_field_px or row.receptive_field_px
        cells = ("×".join(map(str, row.shape)), row.stride, field)
        figures = (f"{row.memory_mb:.2f}", f"{row.parameters:,}")
        table.add_row(row.name, *("–" if c is None else str(c) for c in cells), *figures)
    console = Console()
    console.print(table)
    if found.note:
        console.print(found.note)


def fit(
    out: Annotated[Path, typer.Option(help="The encoder, .safetensors.")],
    images: ImagesOption = None,
    responses: ResponsesOption = None,
    session: DaysOption = None,
    mixed: MixedOption = False,
    sites: Annotated[
        str,
        typer.Option(
            help="Names, or numbers from 0, separated by commas; or all that can be fitted."
        ),
    ] = "all",
    axes: AxesOption = "",
    array: ArrayOption = "",
    site_names: SiteNamesOption = "",
    window_ms: WindowOption = "",
    backbone: Annotated[
        str, typer.Option(help="Of one network; default: an ensemble of layers and networks.")
    ] = "",
    layer: Annotated[
        str, typer.Option(help="With --backbone; auto: by cross-validation.")
    ] = "auto",
    weights: Annotated[
        str,
        typer.Option(
            help="With --backbone: default (pretrained), robust, random, or a file; if not given, "
            "robust where --layer auto finds that the network has such weights, else default."
        ),
    ] = "",
    size_px: SizePx = 112,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.5, help="Part of the images kept out, to score the fit.")
    ] = 0.1,
    refit_on_all: Annotated[
        bool, typer.Option("--refit-on-all", help="Once scored, fit again, to all images.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    figure: FigureFile = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Fit a two-stage encoder to recorded responses (Bashivan, Kar & DiCarlo 2019).

    What was understood of the files is printed in one line; where they can be read in more than one
    way, the command says so and asks. Equal images are repetitions of one, and copies of a picture
    are never both trained on and held out.

    Try it:

        synth-server dry-run --protocol map_responses --out mapped

        synth-server fit --session mapped/session.sqlite --out v4.safetensors

        synth-server fit --session monday.sqlite --session tuesday.sqlite --out v4.safetensors
    """
    import numpy as np

    from encoders.checkpoint import Provenance, Split, image_marks, save_encoder
    from encoders.features import FeatureStore
    from encoders.fitting import fit as fitted
    from encoders.validation import evaluate as evaluated
    from protocols.errors import SettingsError
    from protocols.outputs import check_new_file
    from protocols.seeds import random_stream

    settings = _fit_settings(backbone, layer, weights, seed)
    check_new_file(out, overwrite=overwrite)
    check_figure(figure, overwrite)
    options = RecordingOptions(
        images, responses, session, size_px, axes, array, site_names, window_ms, mixed
    )
    recording = options.read(() if sites == "all" else parts(sites))
    n_held_out = round(held_out * recording.n_images)
    train, test = recording.held_out(n_held_out, random_stream(seed, "held-out images"))
    if sites == "all":
        recording = _usable_in(recording, train)
    if figure and len(test) <= 2:
        raise SettingsError("a figure needs held-out images", where="--held-out", got=held_out)
    store = FeatureStore()
    with progress_bar("fitting") as progress:
        done = fitted(recording.of_images(train), settings, store, progress)
    scores = None
    if len(test) > 2:
        random = random_stream(seed, "reliability")
        scores = evaluated(done.encoder, recording.of_images(test), random)
        tell_scores(scores)
        draw(done.encoder, recording.of_images(test), scores, figure)
    is_refit = refit_on_all and len(test) > 0
    both = np.concatenate([test, train])
    if is_refit:
        with progress_bar("fitting to all images") as progress:
            done = fitted(recording.of_images(both), settings, store, progress)
    provenance = Provenance(
        data_digest=recording.digest,
        split=Split(train=tuple(map(int, train)), held_out=tuple(map(int, test))),
        refit_on_all=is_refit,
        settings=settings,
        candidates=done.candidates,
        natural=done.natural,
        trained_on=image_marks(recording.images[both if is_refit else train]),
        scores=scores,
    )
    save_encoder(out, done.encoder, provenance)
    stderr.print(f"encoder  {out}", highlight=False)


def evaluate(
    encoder: EncoderFile,
    images: ImagesOption = None,
    responses: ResponsesOption = None,
    session: SessionOption = None,
    axes: AxesOption = "",
    array: ArrayOption = "",
    site_names: SiteNamesOption = "",
    window_ms: WindowOption = "",
    size_px: SizePx = 112,
    seed: Annotated[int, typer.Option(min=0, help="Of the split halves.")] = 0,
    px_per_deg: Annotated[
        float | None,
        typer.Option(help="Of the images as shown; gives receptive fields in degrees."),
    ] = None,
    figure: FigureFile = None,
    overwrite: OverwriteOption = False,
    json: Json = False,
) -> None:
    """Score an encoder on images that it was not fitted to, and say where its sites look."""
    from encoders.checkpoint import load_encoder
    from encoders.masks import estimated_fields
    from encoders.validation import evaluate as evaluated
    from protocols.seeds import random_stream
    from synth_server.readers.control.encoder_report import encoder_report

    check_figure(figure, overwrite)
    loaded = load_encoder(encoder)
    options = RecordingOptions(
        images, responses, session, size_px, axes, array, site_names, window_ms
    )
    recording = options.read(loaded.encoder.site_ids)
    about = loaded.about.provenance
    seen = about.has_seen(recording.images)
    n_seen = int(seen.sum()) if seen is not None else about.n_trained
    if seen is None and about.data_digest != recording.digest:
        n_seen = 0
    if n_seen:
        stderr.print(
            f"warning: the encoder was fitted to {n_seen} of the {recording.n_images} images of this "
            "recording, and their scores are too good"
        )
    shape_px = recording.images.shape[1:3]
    fields = estimated_fields(loaded.encoder, shape_px, px_per_deg)
    scores = evaluated(loaded.encoder, recording, random_stream(seed, "reliability"))
    report = encoder_report(scores, fields)
    if json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    else:
        tell_scores(scores)
        stderr.print(report.fields_text, highlight=False)
    draw(loaded.encoder, recording, scores, figure, px_per_deg)


def synthesize(
    encoder: EncoderFile,
    out: Annotated[Path, typer.Option(help="Folder for the images.")],
    objective: Annotated[
        str,
        typer.Option(help="stretch, one-hot-population, suppress, or an objective plug-in."),
    ] = "stretch",
    sites: Annotated[str, typer.Option(help="Names, separated by commas; or all.")] = "all",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Images for each site.")] = 5,
    recipe: Annotated[
        str, typer.Option(help="stimloop; without a learned prior: fourier, quick, short, npc.")
    ] = "stimloop",
    size_px: SizePx = 112,
    set: Annotated[
        list[str] | None,
        typer.Option(help="A setting of the ascent, NAME=VALUE in TOML: diversity=2; repeatable."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the objective, NAME=VALUE in TOML; repeatable."),
    ] = None,
    overwrite: OverwriteOption = False,
    json: Json = False,
) -> None:
    """Make images that an encoder predicts to drive chosen sites.

    Leaves PNG files, images.npy and index.json (a row of images.npy each) in the output folder. Mean
    luminance and RMS contrast are those of the images that the encoder was fitted to; one-hot scores
    compare sites by z-scores over them.

    A network's own units show what it looks for, a class for instance:

        synth-server synthesize units:efficientnet_lite0/classifier@224 --sites goldfish,pizza
        --size-px 224 --recipe fourier --seeds 1 --out classes
    """
    from encoders.checkpoint import load_encoder, read_checkpoint
    from protocols.outputs import check_new_folder
    from protocols.settings import from_command_line
    from synth_server.synthesis.ascent import synthesize as ascend
    from synth_server.synthesis.recipes import recipe_of
    from synth_server.synthesis.targets import PER_SITE, objectives_for
    from synth_server.synthesis.written import MADE, write_images

    check_new_folder(out, MADE, overwrite=overwrite)
    about, _ = read_checkpoint(encoder)
    natural, site_ids = about.provenance.natural, about.site_ids
    names = site_ids if sites == "all" else tuple(sites.split(","))
    objectives = objectives_for(
        objective,
        names if objective in PER_SITE else (),
        site_ids,
        natural=natural,
        options=from_command_line(option or ()),
    )
    space, settings = recipe_of(
        recipe,
        size_px,
        moments=(natural.mean, natural.rms_contrast) if natural else None,
        changes=from_command_line(set or ()),
        where="--recipe, --set",
    )
    loaded = load_encoder(encoder).encoder
    with progress_bar("synthesizing") as progress:
        made = ascend(
            loaded,
            objectives,
            space,
            settings,
            list(range(seeds)),
            progress=lambda done, total: progress(done, total, ""),
        )
    index = write_images(made, site_ids, out)
    if json:
        sys.stdout.write(json_module.dumps(index, indent=2) + "\n")
    stderr.print(f"{len(index)} images in {out}", highlight=False)


def register(app: typer.Typer) -> None:
    """Add these commands to `synth-server`."""
    for command in (backbones, fit, evaluate, synthesize):
        app.command()(command)


def _usable_in(recording: Any, train: Any) -> Any:
    """Without sites that vary in the images held out only."""
    from synth_server.recordings.reading import told_left_out

    reasons = recording.of_images(train).unusable_sites()
    usable = [site for site in recording.site_ids if site not in reasons]
    if not reasons or not usable:
        return recording
    stderr.print(f"among the training images, {told_left_out(reasons)}", style="yellow")
    return recording.of_sites(usable)


def _fit_settings(backbone: str, layer: str, weights: str, seed: int) -> Any:
    from encoders.candidates import candidate_taps
    from encoders.features import Tap
    from encoders.fitting import FitSettings
    from protocols.errors import SettingsError

    if not backbone:
        ignored = [
            option
            for option, given in (("--layer", layer != "auto"), ("--weights", weights))
            if given
        ]
        if ignored:
            raise SettingsError(
                f"{' and '.join(ignored)} need a network",
                where=ignored[0],
                expected="--backbone NAME; without it, an ensemble of several networks is fitted",
                remedy="synth-server backbones lists the networks",
            )
        return FitSettings(seed=seed)
    if layer != "auto":
        tap = Tap(backbone=backbone, layer=layer, weights=weights or "default")
        return FitSettings(taps=(tap,), seed=seed)
    return FitSettings(taps=candidate_taps(backbone, weights), seed=seed)
