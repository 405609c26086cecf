"""`train`: trains one network on the workers of a Dask cluster, each on the rows that it holds.

Needs Dask with its distributed scheduler: ``pip install "nanostep[dask]"``, also on the workers.
"""

from nanostep._optional import require

require("nanostep.dask", "Dask", "dask.distributed", "dask")

from nanostep.dask.history import RoundHistory
from nanostep.dask.local_sgd import train

__all__ = ["RoundHistory", "train"]
