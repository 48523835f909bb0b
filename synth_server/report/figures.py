"""The figures of a report: those of other readers, each as PNG and SVG in one folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from protocols.errors import StimloopError
from protocols.fields import FieldMap
from protocols.vocabulary import Role
from synth_server.readers.control.gains import ControlSummary
from synth_server.readers.evolution.categories import category_responses
from synth_server.readers.evolution.results_document import Results
from synth_server.readers.figures.categories import draw_categories
from synth_server.readers.figures.control import draw_control
from synth_server.readers.figures.dry_run import draw_responses
from synth_server.readers.figures.learning import draw_learning
from synth_server.readers.figures.receptive_fields import draw_fields
from synth_server.readers.figures.time_courses import draw_time_courses
from synth_server.readers.log.session_record import EvolutionRecord
from synth_server.readers.summary.session_summary import Summary
from synth_server.readers.summary.sites import Sites
from synth_server.readers.time_courses.psth_and_latency import time_courses
from synth_server.session.products import products_folder

FORMATS = ("png", "svg")


class Figure(NamedTuple):
    """A figure's title, what it says, and its files without `.png` and `.svg`."""

    title: str
    caption: str
    file: Path


def evolution_figures(results: Results, folder: Path) -> Iterator[Figure]:
    """Those that `write_result_set` drew into `folder`."""
    for file in sorted(folder.glob("overview*.png")):
        yield Figure(
            "All evolutions",
            "A: evolved against the best natural image. B: gains. C: curves with the image that "
            "scored highest in the last generation, above the best reference.",
            file.with_suffix(""),
        )
    for result in results.threads:
        yield Figure(
            f"Evolution {result.thread}",
            "A: by generation. B: images on the way. C: references by rank. D: evolved against "
            "natural images. E: resemblance to the evolved images against response.",
            folder / "threads" / result.thread,
        )


def control_figures(
    summaries: tuple[ControlSummary, ...], record: EvolutionRecord, log_path: Path, folder: Path
) -> Iterator[Figure]:
    """One for each thread with synthesised images."""
    for summary in summaries:
        file = folder / f"{summary.aim}-{summary.thread}"
        draw_control(
            summary,
            record.control.threads[summary.thread],
            log_path,
            file,
            formats=FORMATS,
            simulated=bool(record.at_rig.simulated),
        )
        what = "One-hot population" if summary.aim == Role.ONE_HOT_POPULATION else "Stretch"
        yield Figure(
            f"{what}: {summary.thread}",
            "A row a site. Left: mean counts, 95 % confidence intervals (one-hot: z-scored response "
            "of the population, target first). Right: the images and their controls.",
            file,
        )


def learning_figures(
    summary: Summary, record: EvolutionRecord, log_path: Path, folder: Path
) -> Iterator[Figure]:
    """One for each thread with rounds and a test."""
    tests = {each.thread: each for each in summary.control}
    for learning in summary.learning:
        if learning.thread not in tests:
            continue
        file = folder / f"learning-{learning.thread}"
        shown = record.control.threads[learning.thread]
        draw_learning(
            learning,
            tests[learning.thread],
            shown,
            log_path,
            file,
            formats=FORMATS,
            simulated=bool(record.at_rig.simulated),
        )
        yield Figure(
            f"Learning: {learning.thread}",
            "Left: each round's images ÷ the best natural image, over presentations; the last point "
            "is the test. Right: in each round the image that did best, above it its mean count (the "
            "best of several noisy means is high by luck; the test's are fresh).",
            file,
        )


def field_figures(
    fields: Mapping[str, FieldMap], folder: Path, *, simulated: bool
) -> Iterator[Figure]:
    """Receptive fields over the screen, one for each thread that mapped them."""
    for thread, found in fields.items():
        file = folder / f"fields-{thread}"
        draw_fields(found, file, formats=FORMATS, simulated=simulated)
        caption = (
            "Circles: one σ of each site's field, with 95 % intervals of its centre; dashed: at the "
            "edge of the mapped grid (the outer square), never used to place images. Violet: the site "
            "is suppressed. Dotted: the place that covers the fields. Cross: straight ahead."
        )
        yield Figure(f"Receptive fields: {thread}", caption, file)


def time_course_figures(sites: Sites, folder: Path, *, simulated: bool) -> Iterator[Figure]:
    """When sites answer; nothing if no spike times were kept."""
    if sites.course is None or sites.timing is None:
        return
    file = folder / "time-course"
    found = time_courses(sites.course, sites.timing)
    draw_time_courses(sites.course, found, file, formats=FORMATS, simulated=simulated)
    caption = (
        "Lines: mean rate around image onset, by what the image was shown for. Dots: spikes in up to "
        "60 showings, spread over the session. Shaded: the count window. Red: latency. At most 24 sites."
    )
    yield Figure("Time course", caption, file)


def mapping_figures(record: EvolutionRecord, log_path: Path, folder: Path) -> Iterator[Figure]:
    """Natural images by response, and by category where their names have one."""
    file = folder / "responses"
    if draw_responses(record, log_path, file, formats=FORMATS):
        caption = "Mean spikes, images from best to worst; the best and the worst images."
        yield Figure("Responses to natural images", caption, file)
    for thread in record.threads.values():
        found = category_responses(thread)
        if found:
            file = folder / f"categories-{thread.name}"
            draw_categories(found, file, formats=FORMATS, simulated=bool(record.at_rig.simulated))
            caption = "Mean ± SEM over images, by the folder that an image came from."
            yield Figure(f"Categories: {thread.name}", caption, file)


def mask_figures(
    log_path: Path, folder: Path, size_px: int, *, simulated: bool
) -> Iterator[Figure]:
    """The spatial masks of encoders that were fitted in the session, if they are still there.

    Of the encoders of a thread that learned in rounds, the last.
    """
    from encoders.checkpoint import load_encoder
    from synth_server.readers.figures.encoder import draw_masks

    for number, path in enumerate(last_encoders(log_path), start=1):
        file = folder / f"masks-{number}"
        try:
            encoder = load_encoder(path, device="cpu").encoder
            draw_masks(encoder, (size_px, size_px), file, formats=FORMATS, simulated=simulated)
        except StimloopError:
            continue
        caption = "Where each site's encoder looks; circles: estimated receptive fields."
        yield Figure("Spatial masks of the encoder", caption, file)


def last_encoders(log_path: Path) -> list[Path]:
    """Of those for the same sites with the same settings, the one that was fitted to most images."""
    from encoders.checkpoint import read_checkpoint

    last: dict[tuple[object, ...], tuple[int, Path]] = {}
    for path in sorted(products_folder(log_path).glob("encoder-*.safetensors")):
        try:
            about, _ = read_checkpoint(path)
        except StimloopError:
            continue
        key = (about.site_ids, about.provenance.settings)
        n = len(about.provenance.split.train)
        if key not in last or n > last[key][0]:
            last[key] = (n, path)
    return [path for _, path in last.values()]
