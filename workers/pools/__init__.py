"""The pools: one process beside this one, or Ray."""
