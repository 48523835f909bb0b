"""The how-to's cluster: what it would submit, as text; nothing is submitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

jobqueue = pytest.importorskip("dask_jobqueue")
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "run-a-campaign.md"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("SLURMCluster", ("#SBATCH -p normal", "#SBATCH --cpus-per-task=4", "#SBATCH -t 12:00:00")),
        ("PBSCluster", ("#PBS -q normal", "ncpus=4", "walltime=12:00:00")),
        ("LSFCluster", ("#BSUB -q normal", "#BSUB -n 4", "#BSUB -W 12:00")),
        ("SGECluster", ("#$ -q normal", "h_rt=12:00:00")),
    ],
)
def test_the_job_has_one_thread_a_worker_and_our_environment(
    kind: str, told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = _job_script(kind, monkeypatch)
    for line in told:
        assert line in script, script
    assert "source ~/stimloop/bin/activate" in script
    assert re.search(r"--nworkers 4\b", script)
    assert re.search(r"--nthreads 1\b", script)


def _job_script(kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the page's own cluster, up to where jobs would be submitted."""
    (code,) = re.findall(
        r"^```python\n(# cluster\.py\n.*?)^```$", PAGE.read_text("utf-8"), re.S | re.M
    )
    made, _, rest = code.replace("SLURMCluster", kind).partition("cluster.scale(")
    assert "scheduler_address" in rest
    names: dict[str, Any] = {}
    made = made.replace("import SLURMCluster", f"import {kind}")
    made = made.replace(
        "    queue=",
        '    scheduler_options={"host": "127.0.0.1", "dashboard_address": ":0"},\n    queue=',
    )
    if kind == "LSFCluster":
        made = made.replace('"12:00:00"', '"12:00"').replace(
            "    queue=", "    use_stdin=True,\n    queue="
        )
    exec(compile(made, str(PAGE), "exec"), names)
    with names["cluster"] as cluster:
        return str(cluster.job_script())
