"""One network trained by the workers of a Dask cluster, each on the rows that it holds: `train`.

Needs Dask with its distributed scheduler: ``pip install "nanostep[dask]"``, on the workers too.
"""

try:
    import dask.distributed as _distributed  # noqa: F401
except ImportError as error:
    raise ImportError('nanostep.dask needs Dask: pip install "nanostep[dask]"') from error

from nanostep.dask.history import RoundHistory
from nanostep.dask.local_sgd import train

__all__ = ["RoundHistory", "train"]
