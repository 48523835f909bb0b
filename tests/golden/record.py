"""Records the golden sessions anew: `python -m tests.golden.record`. A change of theirs is a change of
what seeds give, and belongs into the CHANGELOG."""

from __future__ import annotations

from pathlib import Path

from protocols.documents import SessionSettings, ThreadSettings
from synth_server.session.build import new_session
from tests.playing import attach, play

FOLDER = Path(__file__).parent
GENERATORS = {
    "pixels": {"name": "pixels", "options": {"size_px": 16, "grid": 8}},
    "fourier": {"name": "fourier", "options": {"size_px": 16}},
}


def settings(generator: str) -> SessionSettings:
    threads = [
        ThreadSettings(
            name="evolution",
            protocol="evolve",
            settings={
                "n_generations": 4,
                "n_references": 2,
                "test_repetitions": 0,
                "generator": GENERATORS[generator],
                "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 6}},
                "objective": {"name": "site", "options": {"site": "site-00"}},
            },
        ),
        ThreadSettings(
            name="mapping",
            protocol="map_responses",
            settings={"n_images": 3, "image_size_px": 16, "repetitions": 2},
        ),
    ]
    return SessionSettings(session_id=f"golden-{generator}", seed=11, threads=tuple(threads))


def main() -> None:
    for generator in GENERATORS:
        path = FOLDER / f"{generator}.sqlite"
        path.unlink(missing_ok=True)
        session = new_session(settings(generator), path)
        attach(session)
        play(session)
        session.log.close()


if __name__ == "__main__":
    main()
