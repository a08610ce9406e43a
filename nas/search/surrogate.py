"""A Gaussian process over layouts: what an untried layout may score.

Shapes: N runs, M candidates, G groups of layers that decide together, B blocks that a group may be, F fields. Layouts
are coded as integers [N, G]: which of the blocks each group is (`Space.code`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

JITTER = 1e-6
LOG_START = torch.tensor([0.3, 0.3, 0.5, 2.0, 1.5, 0.1, 0.5], dtype=torch.float64).log()
"""Where learning starts: weights of the additive, the interaction and the counts part; lengths of the interaction (in
layers) and of the counts (in layers of a kind); noise of one run; how much the whole range of a field differs, in
layers of another kind."""
MOST_LEARNT = 256
"""Weights and lengths are learnt from so many runs at most, evenly spread over all: there are but seven of them."""


class LayoutProcess:
    """Gaussian process regression with a kernel made for layouts.

    Three views of "these layouts are alike" are added up, each with a learnt weight: the share of layers that are the
    same (additive effects of each layer), a steeper decay with the number of layers that differ (interactions), and
    the closeness of the block counts (how much of each kind, wherever it is). Two layers of one kind whose fields have
    other values differ by less than two of different kinds: by the distance of the values, times a learnt weight, at
    most 1. Weights, lengths and noise maximise the marginal likelihood (Rasmussen and Williams 2006, eq. 5.8).

    Args:
        codebook: the blocks [B, 1 + F]: of which kind each is, then the values of its fields (`Space.codebook`).
    """

    def __init__(self, codebook: Sequence[Sequence[float]]):
        book = torch.tensor(codebook, dtype=torch.float64)
        self._kinds = book[:, 0].long()
        self._other_kind = (book[:, None, 0] != book[None, :, 0]).double()
        self._distance = (book[:, None, 1:] - book[None, :, 1:]).abs().sum(-1)
        self.log_parameters = LOG_START

    def _kernel(self, a: Tensor, b: Tensor, log_parameters: Tensor) -> Tensor:
        additive, interaction, counts, length, count_length, _, field = log_parameters.exp()
        blocks = self._other_kind + (1 - self._other_kind) * (field * self._distance).clamp(max=1.0)
        # Looking one side up and multiplying with the other adds up over the groups without a tensor [N, M, G].
        chosen = torch.nn.functional.one_hot(b, len(blocks)).double()
        differing = blocks[a].flatten(1) @ chosen.flatten(1).T
        distance = torch.cdist(self._counted(a), self._counted(b)).square()
        return (
            additive * (1 - differing / a.shape[1])
            + interaction * torch.exp(differing / -length)
            + counts * torch.exp(distance / (-2 * count_length**2))
        )

    def _counted(self, codes: Tensor) -> Tensor:
        """How many groups are of each kind: [N, G] -> [N, kinds]."""
        return torch.nn.functional.one_hot(self._kinds[codes], int(self._kinds.max()) + 1).sum(1).double()

    def _covariance(self, codes: Tensor, log_parameters: Tensor) -> Tensor:
        """Of the scores of runs, noise included: [N, N]."""
        noise = (log_parameters[5].exp() + JITTER).expand(len(codes))
        return self._kernel(codes, codes, log_parameters) + torch.diag(noise)

    def _negative_evidence(self, codes: Tensor, values: Tensor, log_parameters: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(self._covariance(codes, log_parameters))
        whitened = torch.linalg.solve_triangular(factor, values[:, None], upper=False)
        evidence = 0.5 * whitened.square().sum() + factor.diagonal().log().sum()
        # A weak pull to the starting point keeps a handful of observations from running to extremes.
        return evidence + 0.5 * ((log_parameters - LOG_START) / 1.5).square().sum()

    def fit(self, codes: Tensor, values: Tensor, steps: int = 25) -> None:
        """Learns weights, lengths and noise from runs [N, G] and their scores [N], which are known from then on."""
        few = torch.linspace(0, len(codes) - 1, min(len(codes), MOST_LEARNT)).long()
        shifted = (values - values.mean()) / values.std().clamp(min=1e-3)
        parameters = LOG_START.clone().requires_grad_()
        optimizer = torch.optim.Adam([parameters], lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            self._negative_evidence(codes[few], shifted[few], parameters).backward()
            optimizer.step()
        self.log_parameters = parameters.detach().clamp(-7.0, 5.0)
        self._fitted = torch.linalg.cholesky(self._covariance(codes, self.log_parameters))
        self.update(codes, values)

    def update(self, codes: Tensor, values: Tensor) -> None:
        """Takes in what is known now: the runs that were fitted to, and others behind them; nothing is learnt anew.

        It follows from what was fitted and what is given alone, not from updates in between.
        """
        fitted = len(self._fitted)
        cross = self._kernel(codes[:fitted], codes[fitted:], self.log_parameters)
        across = torch.linalg.solve_triangular(self._fitted, cross, upper=False)
        rest = self._covariance(codes[fitted:], self.log_parameters) - across.T @ across
        self._factor = codes.new_zeros((len(codes), len(codes)), dtype=torch.float64)
        self._factor[:fitted, :fitted] = self._fitted
        self._factor[fitted:, :fitted] = across.T
        self._factor[fitted:, fitted:] = torch.linalg.cholesky(rest)
        self._codes, self._mean, self._scale = codes, values.mean(), values.std().clamp(min=1e-3)
        self._values = (values - self._mean) / self._scale
        self._whitened = torch.linalg.solve_triangular(self._factor, self._values[:, None], upper=False)

    def means(self) -> Tensor:
        """Posterior means [N] of the noiseless scores of the runs that are known."""
        weights = torch.linalg.solve_triangular(self._factor.T, self._whitened, upper=True)[:, 0]
        noise = self.log_parameters[5].exp() + JITTER
        return (self._values - noise * weights) * self._scale + self._mean

    def posterior(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [M] and covariance [M, M] of the noiseless scores of `candidates` [M, G]."""
        cross = self._kernel(self._codes, candidates, self.log_parameters)
        whitened = torch.linalg.solve_triangular(self._factor, cross, upper=False)
        mean = (whitened.T @ self._whitened)[:, 0]
        covariance = self._kernel(candidates, candidates, self.log_parameters) - whitened.T @ whitened
        return mean * self._scale + self._mean, covariance * self._scale**2

    def draw(self, candidates: Tensor, generator: torch.Generator) -> Tensor:
        """One joint draw [M] from the posterior of the scores of `candidates`."""
        mean, covariance = self.posterior(candidates)
        jitter = JITTER * covariance.diagonal().mean().clamp(min=1e-9)
        for _ in range(6):
            factor, failed = torch.linalg.cholesky_ex(covariance + jitter * torch.eye(len(mean), dtype=mean.dtype))
            if not failed:
                break
            jitter = jitter * 10
        noise = torch.randn(len(mean), generator=generator, dtype=mean.dtype)
        return mean + factor @ noise
