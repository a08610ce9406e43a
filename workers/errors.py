"""What can go wrong with workers, apart from the jobs that they run."""


class WorkersLost(Exception):
    """The workers are gone and cannot be had again; what was recorded stays, and the search can be resumed."""
