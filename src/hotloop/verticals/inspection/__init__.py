"""inspection: images of pieces -> defects with their places, or a kind of the whole piece."""

from hotloop.verticals.inspection.task import vertical

__all__ = ["vertical"]
