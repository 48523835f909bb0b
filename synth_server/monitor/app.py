"""The monitor's web server: documents, images, events and buttons, on loopback only.

Nothing that it sends makes a browser ask another computer (`Content-Security-Policy`), and no other
page that is open in the same browser can press its buttons: a request must name this host, and one
that changes something must come from this page.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocols.errors import InstallationError, LogError, StimloopError
from synth_server.monitor.link import BUTTONS, ServerLink
from synth_server.monitor.pictures import png
from synth_server.monitor.steering import Steered, wish_of
from synth_server.monitor.watcher import Watcher

STATIC = Path(__file__).with_name("static")
HOSTS = ("127.0.0.1", "localhost")
GLANCE_S = 0.2
KEEP_ALIVE_S = 10.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
NO_STORE = {"Cache-Control": "no-store"}
FOREVER = {"Cache-Control": "max-age=31536000, immutable"}


class Pressed(BaseModel):
    """What goes with a button."""

    text: str = Field(default="", max_length=10_000)


def plotly_file() -> Path:
    """Plotly's script as the Python package brings it.

    Raises:
        InstallationError: If the package is not there.
    """
    found = find_spec("plotly")
    file = Path(found.origin or "").parent / "package_data" / "plotly.min.js" if found else None
    if file is None or not file.is_file():
        raise InstallationError(
            "the monitor draws with plotly, which is not installed",
            expected="plotly/package_data/plotly.min.js",
            remedy="pip install 'stimloop[monitor]'",
        )
    return file


def monitor_app(watcher: Watcher, link: ServerLink) -> FastAPI:
    """The application; the caller keeps `watcher` and `link` going."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard)
    app.add_exception_handler(StimloopError, _told)
    _add_page(app)
    _add_documents(app, watcher)

    @app.post("/control/{command}")
    def control(command: str, pressed: Pressed) -> Response:
        if command not in BUTTONS:
            return JSONResponse({"what": "there is no such button"}, 404)
        return _document(link.send(command, pressed.text))

    @app.post("/steer")
    def steer(said: Steered) -> Response:
        return _document(link.steer(wish_of(said)))

    return app


def _add_page(app: FastAPI) -> None:
    plotly = plotly_file()

    @app.get("/")
    def page() -> Response:
        return FileResponse(STATIC / "index.html", headers=NO_STORE)

    @app.get("/plotly.min.js")
    def script() -> Response:
        return FileResponse(plotly, media_type="text/javascript")

    app.mount("/static", StaticFiles(directory=STATIC))


def _add_documents(app: FastAPI, watcher: Watcher) -> None:
    @app.get("/events")
    async def events() -> Response:
        return StreamingResponse(_news(watcher), media_type="text/event-stream", headers=NO_STORE)

    @app.get("/overview")
    def overview() -> Response:
        return _document(watcher.overview)

    @app.get("/threads/{name}")
    def thread(name: str) -> Response:
        return _document(watcher.thread(name))

    @app.get("/threads/{name}/distributions")
    def distributions(name: str) -> Response:
        return _document(watcher.distributions(name))

    @app.get("/blocks/{index}")
    def block(index: int, site: str = "") -> Response:
        return _document(watcher.block(index, site))

    @app.get("/blocks/{index}/gaze")
    def gaze(index: int) -> Response:
        return _document(watcher.gaze(index))

    @app.get("/sites")
    def sites() -> Response:
        return _document(watcher.sites().document)

    @app.get("/sites/{name:path}")
    def course(name: str) -> Response:
        return _document(watcher.sites().course(name))

    @app.get("/images/{digest}.png")
    def image(digest: str) -> Response:
        return Response(png(watcher.path, digest), media_type="image/png", headers=FOREVER)


async def _news(watcher: Watcher) -> AsyncIterator[str]:
    """The overview, now and whenever it changes; who reads slowly misses what was in between."""
    sent, silent_s = -1, 0.0
    while not watcher.is_stopped:
        if sent != watcher.revision:
            sent, silent_s = watcher.revision, 0.0
            news = f'{{"now_unix_s":{time.time()},"overview":{watcher.overview.model_dump_json()}}}'
            yield f"retry: 1000\nevent: overview\ndata: {news}\n\n"
        elif silent_s >= KEEP_ALIVE_S:
            silent_s = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(GLANCE_S)
        silent_s += GLANCE_S


def _document(document: BaseModel) -> Response:
    return Response(document.model_dump_json(), media_type="application/json", headers=NO_STORE)


class Guard:
    """Refuses what does not come from this computer's own page; see the module's text.

    Args:
        app: What answers everything else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = _refusal(Request(scope)) or self._app
        await answer(scope, receive, send_with_headers)


def _refusal(request: Request) -> Response | None:
    host = request.headers.get("host", "")
    if urlsplit(f"//{host}").hostname not in HOSTS:
        return JSONResponse({"what": "this page is for this computer only"}, 403)
    origin = request.headers.get("origin", "")
    if request.method not in ("GET", "HEAD") and urlsplit(origin).netloc != host:
        return JSONResponse({"what": "buttons are pressed on this page only"}, 403)
    return None


async def _told(_request: Request, error: Exception) -> Response:
    """An error with a name, for the page to show."""
    if not isinstance(error, StimloopError):
        raise error
    said = {"what": error.what, "expected": error.expected, "got": error.got}
    status = 404 if isinstance(error, LogError | ValueError) else 409
    return JSONResponse({**said, "remedy": error.remedy}, status, headers=NO_STORE)
