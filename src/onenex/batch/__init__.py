"""Archives of any size, series by series: planned as a stream, each series done once, whole or not at all, and written down in a ledger.

`plan` cuts a source into units, `process` does one unit, `Ledger` remembers; `local.run` does it all on one machine.
"""

from onenex.batch.ledger import Ledger
from onenex.batch.plan import plan
from onenex.batch.process import process
from onenex.batch.unit import Access, Kind, Row, Status, Unit

__all__ = ["Access", "Kind", "Ledger", "Row", "Status", "Unit", "plan", "process"]
