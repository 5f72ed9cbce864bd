"""`onenex batch` on many machines: the same units, the same work and the same ledger, on Ray.

`run` is the whole of it, and Ray itself is imported when one begins.
"""

from onenex.cluster.run import run
from onenex.cluster.session import LOCAL, Workers

__all__ = ["LOCAL", "Workers", "run"]
