"""warehouse: orders -> tours of robots on learned times; the measured times come back."""

from hotloop.verticals.warehouse.task import vertical

__all__ = ["vertical"]
