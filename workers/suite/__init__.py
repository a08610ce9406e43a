"""What recall tasks are made of: the base class, shared draws and texts, and several tasks in one training run."""
