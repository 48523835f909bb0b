"""The report of `evaluate`: scores and receptive fields side by side, in JSON without NaN."""

import json

import pytest

from encoders.receptive_field import ReceptiveField
from encoders.validation import Scores, SiteScore
from synth_server.readers.control.encoder_report import encoder_report

NAN = float("nan")


def of_sites(*sites: str) -> Scores:
    return Scores(
        n_images=9,
        sites=tuple(
            SiteScore(
                site=s, r=0.5, reliability=0.8, r_noise_corrected=0.56, explained_variance=0.2
            )
            for s in sites
        ),
    )


def test_a_site_has_its_scores_and_its_field():
    fields = [
        ReceptiveField("a", 40, 60, 30, 1.5, -0.8, 0.2),
        ReceptiveField("b", 50, 80, 20, 1.0, -0.3, 0.8),
    ]
    report = encoder_report(of_sites("a", "b"), fields)
    document = json.loads(report.model_dump_json())
    assert document["n_images"] == 9
    assert document["sites"][0]["r"] == 0.5
    assert document["sites"][1]["receptive_field"] == {
        "x_px": 50,
        "y_px": 80,
        "diameter_px": 20,
        "x_deg": -0.3,
        "y_deg": 0.8,
        "diameter_deg": 1.0,
    }
    assert report.fields_text == (
        "receptive fields: median diameter 25 px = 1.2°, median centre (45, 70) px from the top left"
    )


def test_what_is_not_known_is_null():
    fields = [ReceptiveField("a", NAN, NAN, NAN), ReceptiveField("b", 50, 80, 20)]
    report = encoder_report(of_sites("a", "b"), fields)
    document = json.loads(report.model_dump_json())
    assert set(document["sites"][0]["receptive_field"].values()) == {None}
    assert document["sites"][1]["receptive_field"]["diameter_deg"] is None
    assert "°" not in report.fields_text
    assert encoder_report(of_sites("a"), fields[:1]).fields_text == "receptive fields: none"


def test_fields_of_other_sites_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        encoder_report(of_sites("a", "b"), [ReceptiveField("a", 1, 2, 3)])
