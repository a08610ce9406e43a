"""A mixer that nobody announced: reached by its dotted path."""

from torch import Tensor, nn

from search_space.parts.base import Cache, Dims, Mixer, PartCost, State

ECHO = "tests.search_space.stubs:Echo"


class Echo(Mixer):
    """Repeats its input through a matrix; its costs are round numbers."""

    source = "none"

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

    def cost(self) -> PartCost:
        return PartCost(
            **self.weights(),
            caches=(Cache(elements=10, flops=4.0, window=self.window),),
            state_elements=self.state,
            conv_elements=7,
            decode_flops=100.0,
            prefill_flops=50.0,
        )
