"""Labels to start from, in the layouts people have them: DeepPCB, COCO, YOLO, or folders of kinds with masks.

`read_labels` finds out which. Every record it gives was checked; what is broken is named by file and line.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from hotloop.errors import LayoutError
from hotloop.verticals.inspection import coco, deeppcb, masks, yolo
from hotloop.verticals.inspection.coco import save_coco
from hotloop.verticals.inspection.deeppcb import save_deeppcb
from hotloop.verticals.inspection.pieces import LabelSet, Piece, Truth
from hotloop.verticals.inspection.yolo import save_yolo

__all__ = ["LabelSet", "Piece", "Truth", "read_labels", "save_coco", "save_deeppcb", "save_yolo"]

_LAYOUTS: tuple[ModuleType, ...] = (deeppcb, coco, yolo, masks)
_SHOWN_MAX = 12


def read_labels(path: Path) -> LabelSet:
    """The labelled pieces of a folder, or of a list or JSON file in one.

    LayoutError if no known layout is there (it says what was looked for and what was found); LabelError if
    one is there but a line of it is wrong.
    """
    if not path.exists():
        raise LayoutError(f"{path}: there is nothing there; give a folder with labels")
    for layout in _LAYOUTS:
        found = layout.recognise(path)
        if found is not None:
            labels: LabelSet = layout.read(found)
            return labels
    wanted = "; ".join(layout.LOOKED_FOR for layout in _LAYOUTS)
    raise LayoutError(f"{path}: labels are in no known layout. Looked for: {wanted}. Found: {_listing(path)}")


def _listing(path: Path) -> str:
    if path.is_file():
        return f"a file of {path.stat().st_size} bytes"
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in path.iterdir())
    if not names:
        return "an empty folder"
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return ", ".join(names[:_SHOWN_MAX]) + more
