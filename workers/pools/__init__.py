"""Pools: one process beside this one, or Ray."""

from workers.pool import Pool, Workers


def open_pool(workers: Workers) -> Pool:
    """The pool that the configuration asks for.

    Raises:
        InputError: there is no such cluster, or it has no room for a run.
        WorkersLost: Ray does not start on this machine.
    """
    if workers.pool == "local":
        from workers.pools.local import LocalPool

        return LocalPool(workers)
    from workers.pools.ray import RayPool

    return RayPool(workers)
