"""`synth-server monitor` in a real browser: it shows what the log says, its buttons work, and it
disturbs nothing, whatever becomes of it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from protocols.documents import EventKind, SessionSettings
from protocols.vocabulary import Role
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_summary import summarize
from tests.control_log import write_control_log
from tests.end_to_end.browser import Viewer, address, chromium, monitor, start_monitor
from tests.end_to_end.processes import (
    Lab,
    Process,
    Recipe,
    check_finished,
    ended,
    eventually,
    opened,
    synth_server,
)
from tests.unit.readers.logged import logged

LONG = Recipe(generations=5000, image_ms=4)
"""Somebody will stop it."""
VISIBLE_JUMP = 0.02
SIZES = ((1280, 800), pytest.param((1920, 1080), marks=pytest.mark.thorough))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def view(browser: Any) -> Iterator[Callable[..., Viewer]]:
    """Opens pages, each as a browser of its own."""
    contexts: list[Any] = []

    def look(url: str, size: tuple[int, int] = SIZES[0], theme: str = "light") -> Viewer:
        viewport = {"width": size[0], "height": size[1]}
        contexts.append(browser.new_context(viewport=viewport, color_scheme=theme))
        return Viewer(contexts[-1].new_page(), url)

    yield look
    for each in contexts:
        each.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A session that is over; for tests that only look at it."""
    lab = Lab(tmp_path_factory.mktemp("finished"), replace(Recipe(), real_clock=False))
    try:
        lab.run_to_end()
    finally:
        lab.clean_up()
    return lab


def controls(log: Path) -> list[tuple[str, str]]:
    with opened(log) as found:
        events = list(found.events(EventKind.CONTROL))
    return [(event.document["command"], event.document["text"]) for event in events]


def ask(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """One request, as a program would send it."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=60)
    body = "{}" if method == "POST" else None
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Content-Type": "application/json", **named})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


# --- while a session runs -------------------------------------------------------------------------


def test_curves_grow_and_buttons_work_while_a_session_runs(
    new_lab: Callable[..., Lab], view: Callable[..., Viewer]
) -> None:
    """Without a log being named: the server says where it is."""
    lab = new_lab(LONG)
    server = lab.serve()
    _, url = monitor(lab, "--connect", lab.addresses["control"])
    viewer = view(url)
    viewer.sees_text("#tile-link", "no rig yet", [server])
    rig = lab.rig()
    alive = [server, rig]
    viewer.sees(lambda: viewer.points() >= 2, "a curve", alive)
    viewer.sees_text("#tile-link", "rig rig", alive)
    began = viewer.points()
    viewer.sees(lambda: viewer.points() > began + 1, "the curve grows", alive)
    viewer.sees(lambda: viewer.page.locator("#strip img").count() > began, "the strip grows", alive)
    moved = [each for each in viewer.moved() if each["value"] > VISIBLE_JUMP]
    assert moved == []

    viewer.page.keyboard.press("p")
    viewer.sees_text("#state", "paused", alive)
    assert controls(lab.log) == [("pause", "")]
    assert viewer.text("#pause").startswith("Resume")
    for site, said in (("site-07", "records no such site"), ("site-01", "retargeted to site-01")):
        viewer.page.keyboard.press("f")
        viewer.page.select_option("#steer-kind", "retarget")
        viewer.page.select_option("#steer-thread", "site-00")
        viewer.page.fill("#steer-sites", site)
        viewer.page.click("dialog[open] button[value=steer]")
        viewer.sees_text("#said" if site == "site-07" else "#notes", said, alive)
    assert all("409" in each for each in viewer.complaints), "a browser says so of a refusal"
    viewer.complaints.clear()
    viewer.page.click("#pause")
    viewer.sees_text("#state", "running", alive)
    assert controls(lab.log)[-1] == ("resume", "")

    viewer.page.keyboard.press("a")
    viewer.page.keyboard.type("p moved by 60 µm")
    viewer.page.keyboard.press("Enter")
    viewer.sees_text("#notes", "p moved by 60 µm", alive)
    assert controls(lab.log)[-1] == ("annotate", "p moved by 60 µm")

    viewer.page.click("#stop")
    viewer.page.click("dialog[open] button:not(.danger)")
    viewer.page.keyboard.press("s")
    viewer.page.click("dialog[open] button.danger")
    viewer.sees_text("#state", "stopped")
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    assert ended(lab.log).state == "stopped"
    assert [command for command, _ in controls(lab.log)] == ["pause", "resume", "annotate", "stop"]
    assert viewer.page.is_disabled("#pause")
    viewer.check_calm()


@pytest.mark.thorough
def test_a_dry_run_is_watched_by_its_log_alone(
    tmp_path: Path, new_lab: Callable[..., Lab], view: Callable[..., Viewer]
) -> None:
    """Its server's address is found beside the log, so the buttons work.

    The deep generator sets the pace: without one, a dry run draws curves faster than a browser can.
    """
    lab = new_lab()
    options = ["--seed", "3", "--generations", "5000", "--population", "8", "--sites", "2"]
    options += ["--subject", "gabor_energy", "--generator", "deep", "--out", "run"]
    dry_run = Process("dry-run", "synth_server.cli", ["dry-run", *options], lab.folder)
    lab.processes.append(dry_run)
    log = lab.folder / "run" / "session.sqlite"
    eventually((lab.folder / "run" / "server.json").exists, "the dry run serves", alive=[dry_run])
    _, url = monitor(lab, log)
    viewer = view(url)
    viewer.sees(lambda: viewer.points() >= 3, "a curve", [dry_run])
    viewer.sees_text("#tile-link", "up", [dry_run])
    viewer.page.keyboard.press("s")
    viewer.page.click("dialog[open] button.danger")
    viewer.sees_text("#state", "stopped")
    assert dry_run.ended() == 0, dry_run.output
    viewer.check_calm()


# --- afterwards -----------------------------------------------------------------------------------


def test_a_finished_session_shows_what_its_summary_says(
    finished: Lab, new_lab: Callable[..., Lab], view: Callable[..., Viewer]
) -> None:
    _, url = monitor(new_lab(), finished.log)
    viewer = view(url)
    viewer.sees_text("#state", "finished")
    assert viewer.text("#simulated") == "SIMULATED"
    assert viewer.page.is_visible("#simulated")
    assert viewer.page.title().startswith("SIMULATED finished")
    n = finished.recipe.generations
    viewer.sees(lambda: viewer.points() == n, "the whole curve")
    drawn = viewer.page.evaluate("document.getElementById('figure-main').data.at(-1).y")
    thread = summarize(read_record(finished.log)).threads[0]
    assert drawn == [each.evolved.mean for each in thread.generations]
    assert viewer.page.locator("#strip img").count() == n
    images = viewer.page.locator("#images img")
    viewer.sees(lambda: images.count() == finished.recipe.population + 2, "the block's images")
    viewer.page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    assert all(viewer.page.is_disabled(button) for button in ("#pause", "#stop", "#annotate"))
    viewer.check_calm()


def test_the_slider_goes_through_the_generations(
    finished: Lab, new_lab: Callable[..., Lab], view: Callable[..., Viewer]
) -> None:
    _, url = monitor(new_lab(), finished.log)
    viewer = view(url)
    last = finished.recipe.generations - 1
    viewer.sees_text("#block-title", f"generation {last}")
    viewer.page.keyboard.press("ArrowLeft")
    viewer.sees_text("#block-title", f"generation {last - 1}")
    assert viewer.text("#position") == f"generation {last - 1}"
    with opened(finished.log) as log:
        blocks = [log.block(event) for event in log.events(EventKind.BLOCK_PROPOSED)]
    (block,) = (each for each in blocks if (each.thread, each.generation) == ("site-00", last - 1))
    shown = viewer.page.evaluate("[...document.querySelectorAll('#images img')].map((i) => i.src)")
    assert {src.rpartition("/")[2] for src in shown} == {f"{id_}.png" for id_ in block.stimulus_ids}
    viewer.page.locator("#strip figure").first.click()
    viewer.sees_text("#block-title", "generation 0")
    viewer.page.keyboard.press("l")
    viewer.sees_text("#block-title", f"generation {last}")
    viewer.page.keyboard.press("2")
    viewer.sees_text("#main-title", "site-01")
    viewer.check_calm()


def test_a_stretch_session_shows_responses_to_its_images(
    tmp_path: Path, new_lab: Callable[..., Lab], view: Callable[..., Viewer]
) -> None:
    write_control_log(tmp_path / "control.sqlite")
    _, url = monitor(new_lab(), tmp_path / "control.sqlite")
    viewer = view(url)
    viewer.sees_text("#main-title", "gain × 1.80")
    kinds = viewer.page.evaluate("document.getElementById('figure-main').data.map((t) => t.name)")
    assert kinds == ["made for it", "best natural", "made for others", "natural"]
    assert viewer.page.locator("#strip img").count() == 2 * (1 + 2)

    def counts() -> list[str]:
        found: list[str] = viewer.page.locator("#images figcaption").all_text_contents()
        return found

    viewer.sees(lambda: counts() == ["9", "9", "9", "9", "5", "5"], "counts at each target")
    viewer.page.select_option("#site", "a")
    viewer.sees(lambda: counts() == ["9", "9", "5", "2", "1", "1"], "counts at site a")
    viewer.check_calm()


def test_gaze_juice_and_rests_are_seen(
    tmp_path: Path,
    evolve_settings: SessionSettings,
    new_lab: Callable[..., Lab],
    view: Callable[..., Viewer],
) -> None:
    """Of a rig of which nothing is simulated, and so nothing says so."""
    blocks = logged(evolve_settings, tmp_path / "session.sqlite")
    _, url = monitor(new_lab(), tmp_path / "session.sqlite")
    viewer = view(url)
    viewer.sees_text("#gaze-title", "% on image")
    drawn = viewer.page.evaluate("document.getElementById('figure-gaze').data[0].x.length")
    assert drawn > 100
    images = viewer.page.evaluate("document.getElementById('figure-gaze').layout.images.length")
    assert images == 1
    assert viewer.text("#tile-juice b") == f"{0.3 * len(blocks):.1f} ml"
    assert f"{len(blocks)} rests" in viewer.text("#tile-juice small")
    assert viewer.text("#notes").count("10 misses in a row") == len(blocks)
    assert not viewer.page.is_visible("#simulated")
    viewer.check_calm()


# --- for everybody --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_fits_its_window_in_both_themes(
    finished: Lab, new_lab: Callable[..., Lab], view: Callable[..., Viewer], size: tuple[int, int]
) -> None:
    _, url = monitor(new_lab(), finished.log)
    backgrounds = set()
    for theme in ("light", "dark"):
        viewer = view(url, size, theme)
        viewer.sees(lambda viewer=viewer: viewer.points() > 0, "a curve")
        for _ in range(2):
            backgrounds.add(viewer.page.evaluate("getComputedStyle(document.body).backgroundColor"))
            viewer.page.keyboard.press("t")
        width = viewer.page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0]
        cut = viewer.page.evaluate(
            "[...document.querySelectorAll('.tile b, button, .panel > h2 > span')]"
            ".filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map((e) => e.textContent)"
        )
        assert cut == []
        viewer.page.keyboard.press("v")
        viewer.sees(lambda v=viewer: v.page.is_visible("#panel-course.has-data"), "a time course")
        assert viewer.page.locator("#sites-rows tr").count() == 2
        assert viewer.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        viewer.check_calm()
    assert len(backgrounds) == 2


def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    finished: Lab, new_lab: Callable[..., Lab], view: Callable[..., Viewer]
) -> None:
    _, url = monitor(new_lab(), finished.log)
    viewer = view(url)
    viewer.sees(lambda: viewer.points() > 0, "a curve")
    reached, rings = [], []
    for _ in range(12):
        viewer.page.keyboard.press("Tab")
        name, ring = viewer.page.evaluate(
            "[document.activeElement.id || document.activeElement.getAttribute('role') || '',"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.append(name)
        rings.append(ring)
        if name == "notes":
            break
    assert reached == ["theme", "help", "tab", "view", "site", "strip", "live", "slider", "notes"]
    assert set(rings) == {"solid"}
    unnamed = viewer.page.evaluate(
        "[...document.querySelectorAll('button, input, select, img')].filter((e) => "
        "!(e.getAttribute('aria-label') || e.alt || e.textContent.trim() || e.labels?.length))"
        ".map((e) => e.outerHTML)"
    )
    assert unnamed == []
    viewer.page.focus("[role=tab][aria-selected=true]")
    viewer.page.keyboard.press("ArrowRight")
    viewer.sees_text("#main-title", "site-01")
    viewer.page.keyboard.press("?")
    assert "pause, resume" in viewer.text("dialog[open]")
    viewer.page.keyboard.press("Escape")
    assert viewer.page.locator("dialog[open]").count() == 0


def test_other_pages_and_other_computers_get_nothing(
    finished: Lab, new_lab: Callable[..., Lab]
) -> None:
    """A page of somebody else can send requests here; it cannot say that it is ours."""
    process, url = monitor(new_lab(), finished.log)
    here = url.split("/")[2]
    assert ask(url, "/overview")[0] == 200
    assert ask(url, "/overview", Host="attacker.example")[0] == 403
    for origin in ("http://attacker.example", "null", f"http://{here}.attacker.example"):
        assert ask(url, "/control/pause", "POST", Origin=origin)[0] == 403
    assert ask(url, "/control/pause", "POST")[0] == 403
    assert ask(url, "/control/abort", "POST", Origin=f"http://{here}")[0] == 404
    status, said = ask(url, "/control/pause", "POST", Origin=f"http://{here}")
    assert status == 409
    assert "does not answer" in json.loads(said)["what"]
    for path in ("/threads/nobody", "/blocks/999", "/images/xyz.png", "/static/../app.py"):
        assert ask(url, path)[0] == 404
    assert process.stop() == 0, process.output


def test_with_keys_its_buttons_need_the_keys(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    folder = lab.folder / "keys"
    made = synth_server("keys", folder, "--client", "desk", folder=lab.folder)
    assert made.returncode == 0, made.stderr
    lab.server_options = ("--keys", str(folder))
    lab.serve()
    where = (lab.log, "--connect", lab.addresses["control"])
    _, without = monitor(lab, *where)
    _, admitted = monitor(lab, *where, "--keys", folder / "for-desk", n_before=1)

    def pause(url: str) -> tuple[int, str]:
        return ask(url, "/control/pause", "POST", Origin=url.rstrip("/"))

    def link(url: str) -> str:
        return str(json.loads(ask(url, "/overview")[1])["link"]["state"])

    eventually(lambda: link(without) == "refused", "the one without keys knows it")
    status, said = pause(without)
    assert status == 409
    assert "the server expects keys" in json.loads(said)["what"]
    assert controls(lab.log) == []
    eventually(lambda: link(admitted) == "connected", "the one with keys is admitted")
    assert pause(admitted)[0] == 200
    assert controls(lab.log) == [("pause", "")]


def test_what_cannot_be_watched_is_said(tmp_path: Path, new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    nobody = synth_server("monitor", "--connect", "tcp://127.0.0.1:9", folder=lab.folder)
    assert nobody.returncode == 1
    assert "the server does not answer" in nobody.stderr
    nothing = synth_server("monitor", "nothing.sqlite", folder=lab.folder)
    assert nothing.returncode == 1
    assert "no session log" in nothing.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write_control_log(lab.folder / "c.sqlite")
        port = str(taken.getsockname()[1])
        refused = synth_server(
            "monitor", "c.sqlite", "--no-open", "--port", port, folder=lab.folder
        )
    assert refused.returncode == 1
    assert "cannot listen" in refused.stderr
    assert "Traceback" not in nobody.stderr + nothing.stderr + refused.stderr


# --- it disturbs nothing --------------------------------------------------------------------------


@contextlib.contextmanager
def never_reading(lab: Lab, url: str) -> Iterator[None]:
    """A subscriber and a browser that connect, and never read what they are sent."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    deaf = context.socket(zmq.SUB)
    deaf.setsockopt(zmq.RCVHWM, 1)
    deaf.connect(lab.addresses["events"])
    deaf.subscribe(b"")
    host, port = url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        silent.sendall(f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        yield
    deaf.close(linger=0)
    context.term()


@pytest.mark.thorough
def test_a_monitor_that_is_killed_is_started_again_and_the_page_goes_on(
    new_lab: Callable[..., Lab], view: Callable[..., Viewer], undisturbed: Callable[[Recipe], str]
) -> None:
    recipe = Recipe(generations=12)
    lab = new_lab(recipe)
    server = lab.serve()
    first, url = monitor(lab, lab.log)
    port = url.split(":")[2].strip("/")
    viewer = view(url)
    rig = lab.rig()
    viewer.sees(lambda: viewer.points() >= 2, "a curve", [server, rig])
    first.kill9()
    viewer.sees_text("#said", "the monitor has ended")
    second, again = monitor(lab, lab.log, port=port, n_before=1)
    assert again == url
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    viewer.sees_text("#state", "finished")
    viewer.sees(lambda: viewer.points() == recipe.generations, "the whole curve")
    assert second.stop() == 0, second.output
    assert "Traceback" not in second.output
    check_finished(lab, undisturbed(recipe))


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_ten_monitors_and_two_that_never_read_leave_the_session_as_it_is(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    recipe = Recipe(generations=8)
    lab = new_lab(recipe)
    server = lab.serve()
    started = [start_monitor(lab, lab.log, name=f"monitor-{n}") for n in range(10)]
    monitors = [(process, address(process)) for process in started]
    with never_reading(lab, monitors[0][1]):
        rig = lab.rig()
        assert rig.ended() == 0, rig.output
        assert server.ended() == 0, server.output
        for process, url in monitors:

            def over(url: str = url) -> bool:
                return bool(json.loads(ask(url, "/overview")[1])["state"] == "finished")

            eventually(over, f"{process.name} shows the end", alive=[process])
    found = [ask(url, "/threads/site-00")[1] for _, url in monitors]
    assert len(set(found)) == 1
    assert len(json.loads(found[0])["generations"]) == recipe.generations
    for process, _ in monitors:
        assert process.stop() == 0, process.output
    check_finished(lab, undisturbed(recipe))
    with opened(lab.log) as log:
        roles = {s.role for e in log.events(EventKind.BLOCK_PROPOSED) for s in log.block(e).stimuli}
    assert Role.EVOLVED in roles
