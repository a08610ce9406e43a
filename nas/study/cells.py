"""The runs of the study as arrays.

Shapes: M mixers, R ratios, S seeds.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from nas.ranking import mean_of_defined
from nas.study.layouts import MIXERS, RATIOS, TRANSFORMER
from nas.trials import Trial
from workers.training import Result

DRAWS = 4000


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Cells:
    """One score of every run.

    Args:
        values: [M, R, S], NaN where a run is missing.
        transformer: [S].
        mixers: the M names.
        ratios: the R names, from no attention to most.
    """

    values: np.ndarray
    transformer: np.ndarray
    mixers: tuple[str, ...]
    ratios: tuple[str, ...]

    @property
    def means(self) -> np.ndarray:
        """[M, R] over seeds; NaN where there is none."""
        return mean_of_defined(self.values, 2)

    @property
    def seeds(self) -> int:
        """Seeds of the cell that has fewest."""
        return int(np.isfinite(self.values).sum(2).min(initial=self.values.shape[2]))

    @property
    def spread(self) -> float:
        """Standard deviation between seeds of a cell, pooled over cells; NaN with one seed each."""
        count = np.isfinite(self.values).sum(2, keepdims=True)
        squares = np.nansum((self.values - self.means[..., None]) ** 2)
        freedom = (count - 1).sum()
        return float(np.sqrt(squares / freedom)) if freedom else float("nan")

    @property
    def error(self) -> float:
        """Standard error of the cell that has fewest seeds, by the pooled spread; NaN with one seed each."""
        return self.spread / self.seeds**0.5

    def draws(self, mixers: bool = False) -> np.ndarray:
        """[DRAWS, M, R]: means of cells as other seeds might have given them, by the pooled spread.

        Args:
            mixers: whether mixers are drawn anew as well, for statements about mixers like these.
        """
        rng = np.random.default_rng(0)
        error = self.spread / np.sqrt(np.isfinite(self.values).sum(2))
        drawn = self.means + error * rng.normal(size=(DRAWS, *self.means.shape))
        if mixers:
            rows = rng.integers(len(self.mixers), size=(DRAWS, len(self.mixers)))
            drawn = np.take_along_axis(drawn, rows[..., None], 1)
        return drawn

    def interval(self, statistic: Callable[[np.ndarray], np.ndarray], mixers: bool = False) -> Interval:
        """A statistic [..., M, R] -> [...] of the means, with the interval that the seeds leave open (flat priors).

        NaN where the statistic is not defined.
        """
        low, high = np.nanquantile(statistic(self.draws(mixers)), [0.025, 0.975])
        return Interval(float(statistic(self.means)), float(low), float(high))

    def __neg__(self) -> "Cells":
        return Cells(-self.values, -self.transformer, self.mixers, self.ratios)

    def attention(self) -> "Cells":
        """The place of each cell's ratio, from no attention to most: what is known without any training."""
        places = np.broadcast_to(np.arange(len(self.ratios))[None, :, None], self.values.shape)
        return Cells(places.astype(float), np.full_like(self.transformer, np.nan), self.mixers, self.ratios)

    def only(self, mixers: Sequence[str], ratios: Sequence[str] | None = None) -> "Cells":
        """Some of the cells."""
        ratios = tuple(self.ratios if ratios is None else ratios)
        rows, columns = [self.mixers.index(m) for m in mixers], [self.ratios.index(r) for r in ratios]
        return Cells(self.values[np.ix_(rows, columns)], self.transformer, tuple(mixers), ratios)


def collect(trials: Sequence[Trial], score: Callable[[Result], float]) -> Cells:
    """One score of every run that ended, diverged ones too, by the names that `study_layouts` gives."""
    results = {t.origin: t.results for t in trials}
    mixers = tuple(m for m in MIXERS if any(results.get(f"{m} {r}") for r in RATIOS))
    ratios = tuple(r for r in RATIOS if any(results.get(f"{m} {r}") for m in MIXERS))
    seeds = sorted({r.seed for found in results.values() for r in found})

    def row(name: str) -> list[float]:
        by_seed = {r.seed: score(r) for r in results.get(name, [])}
        return [by_seed.get(seed, np.nan) for seed in seeds]

    values = np.array([[row(f"{m} {r}") for r in ratios] for m in mixers], float)
    return Cells(values.reshape(len(mixers), len(ratios), len(seeds)), np.array(row(TRANSFORMER)), mixers, ratios)


def published(table: str) -> Cells:
    """A table of the paper ("ruler_1p3b" or "lm_average"), one seed a cell; the Transformer is not in it."""
    rows = list(csv.DictReader(files("nas.study").joinpath(f"{table}.csv").read_text().splitlines()))
    by_ratio = {row["ratio"]: row for row in rows}
    mixers = tuple(m for m in MIXERS if m in rows[0])
    values = np.array([[[float(by_ratio[r][m])] for r in RATIOS] for m in mixers])
    return Cells(values, np.array([np.nan]), mixers, tuple(RATIOS))
