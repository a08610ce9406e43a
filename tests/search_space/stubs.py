"""A mixer that nobody announced: reached by its dotted path."""

from torch import Tensor, nn

from search_space.parts.base import Dims, Mixer, MixerCost, State

ECHO = "tests.search_space.stubs:Echo"


class Echo(Mixer):
    """Repeats its input through a matrix; its costs are round numbers."""

    source = state_formula = flops_formula = "none"

    def __init__(self, dims: Dims, *, window: int | None = None, state: int = 1000):
        super().__init__()
        self.window, self.state = window, state
        self.output = nn.Linear(dims.width, dims.width, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return self.output(x), {}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.output(x), {}

    def initial_state(self, batch: int) -> State:
        return {}

    def cost(self) -> MixerCost:
        return MixerCost(
            **self.parameter_counts(),
            context_elements=10,
            window=self.window,
            state_elements=self.state,
            conv_elements=7,
            decode_flops=100.0,
            decode_flops_per_context=4.0,
            prefill_flops=50.0,
        )
