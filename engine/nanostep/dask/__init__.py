"""One network trained by the workers of a Dask cluster, each on the rows that it holds: `train`.

Needs Dask with its distributed scheduler: ``pip install "nanostep[dask]"``, on the workers too.
"""

from nanostep._optional import require

require("nanostep.dask", "Dask", "dask.distributed", "dask")

from nanostep.dask.history import RoundHistory
from nanostep.dask.local_sgd import train

__all__ = ["RoundHistory", "train"]
