"""A Gaussian process over layouts: what the recall of an untried layout may be.

Shapes: N observations, M candidates, L layers. Layouts are coded as integers [N, L], one for each kind of block.
"""

import torch
from torch import Tensor

JITTER = 1e-6
LOG_START = torch.tensor([0.3, 0.3, 0.5, 2.0, 1.5, 0.1], dtype=torch.float64).log()
"""Where learning starts: weights of the additive, the interaction and the counts part; lengths of the interaction (in
layers) and of the counts (in layers of a kind); noise of one seed."""


class LayoutProcess:
    """Gaussian process regression with a kernel made for layouts.

    Three views of "these layouts are alike" are added up, each with a learnt weight: the share of layers that are the
    same (additive effects of each layer), a steeper decay with the number of layers that differ (interactions), and
    the closeness of the block counts (how much of each kind, wherever it is). Weights, lengths and noise maximise the
    marginal likelihood (Rasmussen and Williams 2006, eq. 5.8).
    """

    log_parameters: Tensor = LOG_START

    def _kernel(self, a: Tensor, b: Tensor, log_parameters: Tensor) -> Tensor:
        additive, interaction, counts, length, count_length, _ = log_parameters.exp()
        differing = (a[:, None] != b[None]).sum(-1).double()
        kinds = int(max(a.max(), b.max())) + 1
        count_a, count_b = (torch.nn.functional.one_hot(x, kinds).sum(1).double() for x in (a, b))
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
        """Learns from the mean recall `values` [N] of layouts `codes` [N, L], each over `counts` [N] seeds."""
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
        """Mean [M] and covariance [M, M] of the noiseless recall of `candidates` [M, L]."""
        cross = self._kernel(self.codes, candidates, self.log_parameters)
        whitened = torch.linalg.solve_triangular(self.factor, cross, upper=False)
        target = torch.linalg.solve_triangular(self.factor, self.values[:, None], upper=False)
        mean = (whitened.T @ target)[:, 0]
        covariance = self._kernel(candidates, candidates, self.log_parameters) - whitened.T @ whitened
        return mean * self.scale + self.mean, covariance * self.scale**2

    def draw(self, candidates: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Posterior mean [M] and one joint draw [M] of the recall of `candidates`."""
        mean, covariance = self.posterior(candidates)
        jitter = JITTER * covariance.diagonal().mean().clamp(min=1e-9)
        for _ in range(6):
            factor, failed = torch.linalg.cholesky_ex(covariance + jitter * torch.eye(len(mean), dtype=mean.dtype))
            if not failed:
                break
            jitter = jitter * 10
        noise = torch.randn(len(mean), generator=generator, dtype=mean.dtype)
        return mean, mean + factor @ noise
