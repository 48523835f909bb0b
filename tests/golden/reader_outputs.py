"""What readers write of the golden sessions; `python -m tests.golden.reader_outputs` records it anew.

Recorded is text: pages without their pictures, tables, JSON, and every value in an NWB file. Numbers
are written with nine digits, since another version of numpy may round the last ones otherwise. A
change here is a change of what laboratories are told, and belongs into the CHANGELOG.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from synth_server.readers.control.gains_table import print_control
from synth_server.readers.export.nwb import export_nwb
from synth_server.readers.export.presentations_file import write_presentations
from synth_server.readers.log.logged_session import read_session
from synth_server.readers.log.presentations import presentation_table
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_summary import summarize
from synth_server.report.page import write_report
from synth_server.session.log import SessionLog
from tests.control_log import write_control_log

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "readers"
SESSION = FOLDER / "pixels.sqlite"
TEXTS = (".html", ".json", ".csv")
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[+-]?\d+)?(?![\w.])")
OF_THE_MOMENT = ("file_create_date", "identifier", "object_id", "source_script", "namespace")
"""What an NWB file says of itself and of the moment when it was written."""
LONGEST = 120
"""Characters of a value that are written; of longer ones the beginning and a hash."""


def outputs(folder: Path) -> dict[str, str]:
    """Every text that readers make, by name."""
    report = folder / "report"
    write_report(SESSION, report, None)
    files = sorted(path for path in report.rglob("*") if path.suffix in TEXTS)
    texts = {path.relative_to(report).as_posix(): path.read_text("utf-8") for path in files}
    texts["files.txt"] = "".join(
        f"{path.relative_to(report).as_posix()}\n"
        for path in sorted(report.rglob("*"))
        if path.is_file()
    )
    texts["presentations.csv"] = _presentations(folder)
    texts["control.txt"] = _control(folder)
    if importlib.util.find_spec("pynwb") is not None:
        texts["nwb.txt"] = _nwb(folder)
    return {name: _steady(text) for name, text in texts.items()}


def _steady(text: str) -> str:
    return NUMBER.sub(lambda found: f"{float(found[0]):.9g}", PICTURE.sub("(picture)", text))


def _presentations(folder: Path) -> str:
    log = SessionLog(SESSION)
    try:
        session = read_session(log)
        out = folder / "presentations.csv"
        write_presentations(presentation_table(session, session.timeline()), out)
    finally:
        log.close()
    return out.read_text("utf-8")


def _control(folder: Path) -> str:
    """What the summary and the terminal say of images that an encoder made."""
    path = folder / "control.sqlite"
    write_control_log(path)
    summary = summarize(read_record(path))
    console = Console(file=StringIO(), width=120)
    for thread in summary.control:
        print_control(thread, console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{each.model_dump_json(indent=1)}\n" for each in summary.control) + written


def _nwb(folder: Path) -> str:
    import h5py

    out = folder / "session.nwb"
    export_nwb(SESSION, out)
    with h5py.File(out) as file:
        lines = [line for name in sorted(_names(file)) for line in _told(name, file[name])]
    return "".join(f"{line}\n" for line in lines)


def _names(file: Any) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return [name for name in names if not name.startswith("specifications")]


def _told(name: str, item: Any) -> Iterator[str]:
    if Path(name).name in OF_THE_MOMENT:
        return
    for key in sorted(item.attrs):
        if key not in OF_THE_MOMENT:
            yield f"{name}@{key} {_short(_value(item.attrs[key]))}"
    if hasattr(item, "shape"):
        yield f"{name} {_short(_value(item[()]))}"


def _short(value: str) -> str:
    steady = _steady(value)
    if len(steady) <= LONGEST:
        return steady
    return f"{steady[:LONGEST]} … {sha256(steady.encode()).hexdigest()}"


def _value(found: Any) -> str:
    values = np.asarray(found)
    if values.dtype == np.uint8 and values.ndim > 1:
        return f"{values.shape} {sha256(values.tobytes()).hexdigest()}"
    if values.dtype.names or values.dtype.kind in "OV":
        return " ".join(_object(each) for each in values.ravel().tolist())
    return f"{values.dtype} {values.ravel().tolist()}"


def _object(each: Any) -> str:
    if isinstance(each, bytes):
        return each.decode()
    return "(reference)" if "Reference" in type(each).__name__ else str(each)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in outputs(Path(folder)).items():
            out = RECORDED / name
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text, "utf-8", newline="\n")
            sys.stdout.write(f"{out}\n")


if __name__ == "__main__":
    main()
