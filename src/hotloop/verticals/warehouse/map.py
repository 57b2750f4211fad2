"""Pictures of a floor: what each stretch is thought to take and truly takes, and picking times as they went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hotloop.types import Floats
from hotloop.verticals.warehouse.floor import Trip
from hotloop.verticals.warehouse.layout import Layout
from hotloop.verticals.warehouse.peers import seconds_a_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH: Final = 40  # trips that a point of a curve is the mean of
_SLOWEST: Final = 6.0  # factor at the end of the colours


def warehouse_map(layout: Layout, thought: Floats, true: Floats, path: Path) -> None:
    """Each stretch as a line in the colour of its factor: as hotloop thinks, and as it is."""
    figure, both, plain = _figure(2, (10.0, 4.6))
    for axes, factors, title in ((both[0], thought, "learned"), (both[1], true, "true, at the end")):
        _floor(axes, layout, factors)
        axes.set_title(f"times the planned time: {title}")
        plain(axes)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def picking_times(found: Mapping[str, Sequence[Trip]], marks: Sequence[float], path: Path) -> None:
    """Seconds a line over time, a curve a policy; what changed on the floor as a mark."""
    figure, (axes,), _ = _figure(1, (9.0, 4.6))
    for name, trips in found.items():
        ends = range(_WIDTH, len(trips) + 1, _WIDTH // 8)
        hours = [trips[end - 1].ended / 3600.0 for end in ends]
        seconds = [seconds_a_line(trips[end - _WIDTH : end]) for end in ends]
        axes.plot(hours, seconds, label=name, linewidth=2.2 if name == "hotloop" else 1.0)
    for row, (mark, words) in enumerate(zip(marks, ("two aisles 5 x as slow", "one of them as planned"), strict=False)):
        axes.axvline(mark / 3600.0, color="0.6", linestyle=":")
        axes.text(mark / 3600.0, 1.0 + 1.2 * row, f" {words}", va="bottom", fontsize=8, color="0.4")
    axes.set_xlabel("hours on the floor")
    axes.set_ylabel("seconds of a robot a line")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def _figure(count: int, size: tuple[float, float]) -> tuple[Any, Any, Any]:
    """A figure, its axes, and what makes one of them plain."""
    import matplotlib as mpl  # noqa: PLC0415 - the extra hub; a line needs no pictures

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, count, figsize=size, squeeze=False)

    def plain(one: Axes) -> None:
        one.set_aspect("equal")
        one.set_axis_off()

    return figure, axes[0], plain


def _floor(axes: Axes, layout: Layout, factors: Floats) -> None:
    from matplotlib import colormaps  # noqa: PLC0415

    colours = colormaps["RdYlGn_r"]
    config = layout.config

    def drawn(stretch: int, start: tuple[float, float], end: tuple[float, float]) -> None:
        share = (min(max(float(factors[stretch]), 1.0), _SLOWEST) - 1.0) / (_SLOWEST - 1.0)
        axes.plot(*zip(start, end, strict=True), color=colours(share), linewidth=5, solid_capstyle="butt")

    for aisle in range(config.aisles):
        x = aisle * config.apart_m
        for part in range(layout.parts):
            drawn(layout.part(aisle, part), (x, part * layout.part_m), (x, (part + 1) * layout.part_m))
        axes.text(x, -2.5, str(aisle + 1), ha="center", va="top", fontsize=8)
    for number in range(config.blocks + 1):
        for aisle in range(config.aisles - 1):
            y = number * config.block_m
            drawn(layout.cross(number, aisle), (aisle * config.apart_m, y), ((aisle + 1) * config.apart_m, y))
    axes.plot([config.depot * config.apart_m], [0.0], marker="s", color="black", markersize=8)
