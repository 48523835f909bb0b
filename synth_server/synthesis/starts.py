"""Where images begin to climb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from encoders.parallel import in_parallel
from synth_server.synthesis.ascent_settings import AscentSettings
from synth_server.synthesis.climb import Goal, Job, device_of
from synth_server.synthesis.constraints import Constraints
from synth_server.synthesis.image_space import ImageSpace, image_stream, seeded_start


class Starts:
    """Where images begin: of each seed's candidates, the one that scores highest for the target."""

    def __init__(
        self,
        goal: Goal,
        space: ImageSpace,
        settings: AscentSettings,
        tell: Callable[[], None],
        workers: int = 1,
    ) -> None:
        self._encoder, self._space, self._settings = goal.encoder, space, settings
        self._tell, self._workers = tell, workers
        self._scores = {name: goal.score(name) for name in goal.objectives}
        self._best: dict[int, dict[str, Tensor]] = {}

    def screen(self, seeds: Sequence[int]) -> None:
        """Choose the starts of all `seeds` now, some at a time; without, each when it is asked for."""
        if self._settings.n_candidates > 1:
            found = in_parallel([partial(self._screened, seed) for seed in seeds], self._workers)
            self._best |= zip(seeds, found, strict=True)

    def of(self, jobs: Sequence[Job]) -> Tensor:
        """`(len(jobs), …)` on the CPU, each job's own."""
        return torch.cat([self._one(job) for job in jobs])

    def _one(self, job: Job) -> Tensor:
        if self._settings.n_candidates == 1:
            return seeded_start(self._space, job.seed)
        if job.seed not in self._best:
            self._best[job.seed] = self._screened(job.seed)
        return self._best[job.seed][job.target]

    @torch.no_grad()
    def _screened(self, seed: int) -> dict[str, Tensor]:
        n, size = self._settings.n_candidates, self._settings.batch_size
        candidates = self._space.initial(n, image_stream(seed, "candidates"))
        constraints = Constraints(self._settings.constraints, self._space.size_px)
        device = device_of(self._encoder, self._settings)
        rates = []
        for at in range(0, n, size):
            images = self._space.images(candidates[at : at + size].to(device))
            rates.append(self._encoder.rates(constraints(images)).cpu())
            self._tell()
        names, whole = self._encoder.site_ids, torch.cat(rates)
        best = {name: int(score(whole, names).argmax()) for name, score in self._scores.items()}
        return {name: candidates[row : row + 1].clone() for name, row in best.items()}
