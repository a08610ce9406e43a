"""An objective that is to be high."""

from search_space.cost.objectives import Objective

REPEATED = Objective(description="tokens repeated", better="high", of_run=lambda run: run.accuracy["repeating"])
