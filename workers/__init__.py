"""The proxy model, the recall tasks, the trainer, and the pool that spreads runs."""
