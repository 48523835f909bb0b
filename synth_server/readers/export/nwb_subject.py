"""`subject.toml`: subject, laboratory and experimenters, which a session log does not hold."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from protocols.settings import Frozen

DURATION = (
    r"P(?=\d|T\d)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?"
    r"(T(?=\d)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?"
)
"""ISO 8601."""
AGE = rf"{DURATION}(/({DURATION})?)?"
SPECIES = r"[A-Z][a-z]+ [a-z]+|http://purl\.obolibrary\.org/obo/NCBITaxon_\d+"
SUBJECT_TEMPLATE = """\
# subject.toml
subject_id = "M01"                  # no slashes
species = "Macaca mulatta"          # Latin binomial, or http://purl.obolibrary.org/obo/NCBITaxon_9544
sex = "M"                           # M, F, O (other) or U (unknown)
age = "P7Y"                         # at the session, ISO 8601: P7Y3M, P90D; or date_of_birth = 2019-05-01
description = ""
# weight = "7.3 kg"

brain_area = "V4"                   # of the recorded sites
recorder = ""                       # device and its maker, such as "Utah array, Blackrock Cerebus"
experimenter = ["Last, First"]
institution = ""
lab = ""
experiment_description = ""
keywords = ["V4", "closed-loop stimulus synthesis"]
related_publications = []           # "doi:10.1016/j.cell.2019.04.005"
"""
"""Printed by `export-nwb --subject-template`."""

Text = Annotated[str, Field(max_length=10_000)]


def _shaped(pattern: str, hint: str) -> AfterValidator:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(hint)
        return value

    return AfterValidator(check)


SubjectId = Annotated[str, _shaped(r"[^/\\\s]{1,100}", "a name without slashes and spaces")]
Species = Annotated[
    str, _shaped(SPECIES, "Latin, such as 'Macaca mulatta', or a link to an NCBI taxon")
]
Age = Annotated[str, _shaped(AGE, "an ISO 8601 duration: 'P7Y', 'P90D', 'P7Y3M'; or a range")]
Weight = Annotated[str, _shaped(r"\d+(\.\d+)? (kg|g)", "a number and its unit: '7.3 kg'")]
Experimenter = Annotated[str, _shaped(r"[^,]+, [^,]+", "'Last, First'")]


class SubjectSettings(Frozen):
    """`subject.toml`."""

    subject_id: SubjectId
    species: Species
    sex: Literal["M", "F", "O", "U"]
    age: Age | None = Field(default=None, description="at the session")
    date_of_birth: datetime.date | None = None
    description: Text = ""
    weight: Weight | None = None
    brain_area: str = Field(default="unknown", min_length=1, max_length=200)
    recorder: Text = ""
    experimenter: tuple[Experimenter, ...] = ()
    institution: Text = ""
    lab: Text = ""
    experiment_description: Text = ""
    keywords: tuple[Text, ...] = ()
    related_publications: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _age_is_known(self) -> Self:
        if self.age is None and self.date_of_birth is None:
            raise ValueError("age or date_of_birth is needed; age as ISO 8601: P7Y, P90D")
        return self


def still_wanted() -> tuple[str, ...]:
    """What an archive wants to know that no session log can tell: first what it insists on."""
    needed = [name for name, field in SubjectSettings.model_fields.items() if field.is_required()]
    return (*needed, "age or date_of_birth", "brain_area", "experimenter", "institution", "lab")
