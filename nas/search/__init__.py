"""The search: what it needs, what it tries next, and how it runs."""
