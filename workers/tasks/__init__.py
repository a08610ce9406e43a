"""The catalogue of recall tasks. A new task is a file beside this one and a line here."""

from search_space.catalogue import Catalogue, subclass_of

TASKS = Catalogue(
    "task",
    {
        "mqar": "workers.tasks.mqar:MQAR",
        "recall": "workers.tasks.recall:Recall",
        "noisy_recall": "workers.tasks.noisy_recall:NoisyRecall",
        "fuzzy_recall": "workers.tasks.fuzzy_recall:FuzzyRecall",
        "selective_copying": "workers.tasks.selective_copying:SelectiveCopying",
        "needle": "workers.tasks.needle:Needle",
        "variable_tracking": "workers.tasks.variable_tracking:VariableTracking",
        "multi_key": "workers.tasks.multi_key:MultiKey",
        "overwrites": "workers.tasks.overwrites:Overwrites",
        "multi_query": "workers.tasks.multi_query:MultiQuery",
        "text": "workers.tasks.text:Text",
    },
    subclass_of("workers.suite.task:Task"),
)

__all__ = ["TASKS"]
