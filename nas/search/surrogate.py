"""A Gaussian process over layouts: what an untried layout may score.

Shapes: N observations, M candidates, G groups of layers that decide together, F fields. Layouts are coded as numbers
[N, G, 1 + F]: which block, then one column for each field that some block has (`Space.code`).
"""

import torch
from torch import Tensor

JITTER = 1e-6
LOG_START = torch.tensor([0.3, 0.3, 0.5, 2.0, 1.5, 0.1, 0.5], dtype=torch.float64).log()
"""Where learning starts: weights of the additive, the interaction and the counts part; lengths of the interaction (in
layers) and of the counts (in layers of a kind); noise of one seed; how much the whole range of a field differs, in
layers of another kind."""


class LayoutProcess:
    """Gaussian process regression with a kernel made for layouts.

    Three views of "these layouts are alike" are added up, each with a learnt weight: the share of layers that are the
    same (additive effects of each layer), a steeper decay with the number of layers that differ (interactions), and
    the closeness of the block counts (how much of each kind, wherever it is). Two layers of one kind whose fields have
    other values differ by less than two of different kinds: by the distance of the values, times a learnt weight, at
    most 1. Weights, lengths and noise maximise the marginal likelihood (Rasmussen and Williams 2006, eq. 5.8).
    """

    log_parameters: Tensor = LOG_START

    def _kernel(self, a: Tensor, b: Tensor, log_parameters: Tensor) -> Tensor:
        additive, interaction, counts, length, count_length, _, field = log_parameters.exp()
        other_kind = (a[:, None, :, 0] != b[None, :, :, 0]).double()
        differing = other_kind.sum(-1)
        if a.shape[2] > 1:
            distance = (a[:, None, :, 1:] - b[None, :, :, 1:]).abs().sum(-1)
            differing = differing + ((1 - other_kind) * (field * distance).clamp(max=1.0)).sum(-1)
        kinds = int(max(a[..., 0].max(), b[..., 0].max())) + 1
        count_a, count_b = (torch.nn.functional.one_hot(x[..., 0].long(), kinds).sum(1).double() for x in (a, b))
        count_distance = torch.cdist(count_a, count_b).square()
        return (
            additive * (1 - differing / a.shape[1])
            + interaction * torch.exp(-differing / length)
            + counts * torch.exp(-count_distance / (2 * count_length**2))
        )

    def _negative_evidence(self, log_parameters: Tensor) -> Tensor:
        kernel = self._kernel(self.codes, self.codes, log_parameters)
        factor = torch.linalg.cholesky(kernel + self._noise(log_parameters))
        whitened = torch.linalg.solve_triangular(factor, self.values[:, None], upper=False)
        evidence = 0.5 * whitened.square().sum() + factor.diagonal().log().sum()
        # A weak pull to the starting point keeps a handful of observations from running to extremes.
        return evidence + 0.5 * ((log_parameters - LOG_START) / 1.5).square().sum()

    def _noise(self, log_parameters: Tensor) -> Tensor:
        return torch.diag((log_parameters[5].exp() + JITTER) / self.counts)

    def fit(self, codes: Tensor, values: Tensor, counts: Tensor, steps: int = 25) -> None:
        """Learns from the mean scores `values` [N] of layouts `codes` [N, G, 1 + F], each over `counts` [N] seeds."""
        self.codes = codes
        self.mean, self.scale = values.mean(), values.std().clamp(min=1e-3)
        self.values = (values - self.mean) / self.scale
        self.counts = counts
        parameters = self.log_parameters.clone().requires_grad_()
        optimizer = torch.optim.Adam([parameters], lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            self._negative_evidence(parameters).backward()
            optimizer.step()
        self.log_parameters = parameters.detach().clamp(-7.0, 5.0)
        kernel = self._kernel(codes, codes, self.log_parameters)
        self.factor = torch.linalg.cholesky(kernel + self._noise(self.log_parameters))

    def posterior(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [M] and covariance [M, M] of the noiseless scores of `candidates` [M, G, 1 + F]."""
        cross = self._kernel(self.codes, candidates, self.log_parameters)
        whitened = torch.linalg.solve_triangular(self.factor, cross, upper=False)
        target = torch.linalg.solve_triangular(self.factor, self.values[:, None], upper=False)
        mean = (whitened.T @ target)[:, 0]
        covariance = self._kernel(candidates, candidates, self.log_parameters) - whitened.T @ whitened
        return mean * self.scale + self.mean, covariance * self.scale**2

    def draw(self, candidates: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Posterior mean [M] and one joint draw [M] of the scores of `candidates`."""
        mean, covariance = self.posterior(candidates)
        jitter = JITTER * covariance.diagonal().mean().clamp(min=1e-9)
        for _ in range(6):
            factor, failed = torch.linalg.cholesky_ex(covariance + jitter * torch.eye(len(mean), dtype=mean.dtype))
            if not failed:
                break
            jitter = jitter * 10
        noise = torch.randn(len(mean), generator=generator, dtype=mean.dtype)
        return mean, mean + factor @ noise
