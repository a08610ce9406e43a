"""The most that input may ask for: files, texts, numbers and sizes. What is beyond is refused before it is used.

All are far beyond what is of use, and far below what hangs a program or floods a machine.
"""

YAML_BYTES = 2**18
"""Of a configuration or layout."""
YAML_NODES = 20_000
"""Values in it, those that aliases repeat counted every time."""
YAML_DEPTH = 32
"""Lists and mappings inside one another; also parentheses of a layout in short."""
RECORD_BYTES = 2**31
"""Of runs.jsonl or audit.jsonl."""
PROFILE_BYTES = 2**26
"""Of a file of `nas profile`."""
TEXT_BYTES = 2**28
"""Read of a user's own text."""
TEXT_ENTRIES = 200_000
"""Files and folders that are looked at for text."""

TEXT = 4096
"""Characters of a single value."""
NAME = 100
"""Characters of the name of a search or experiment."""
REFERENCE = 500
"""Characters of a value with ${...} in it."""
DIGITS = 40
"""Characters of a number."""

INTEGER = 2**63 - 1
NUMBER, SMALLEST = 1e30, 1e-30
"""Largest and smallest magnitude of a number that is not 0."""
COUNT = 10**9
"""Of what is only counted, such as steps and trials."""
TOKENS = 2**30
"""Of a context, and sequences that are decoded at once."""
SIZE = 2**20
"""Of one dimension of a model or a task: widths, heads, vocabularies, sequences of a batch."""
LAYERS = 1000
SEEDS = 1000
SEED = 2**31
"""Seeds are below it."""
WORKERS = 4096
"""Runs at once, and cores for them on one machine."""
PROXY_WIDTH = 2**14
PROXY_PARAMETERS = 2**31
STEP_TOKENS = 2**22
"""Of all sequences of a training step, or of the test sequences of a task."""
LOGITS = 2**32
"""Numbers that the proxy's head gives in a training step, or for the test sequences that are scored in one go."""
