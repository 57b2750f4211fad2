"""The grid on which traces find their way: each cell belongs to one net, and paths bend as a router's do."""

from __future__ import annotations

import numpy as np

from hotloop.verticals.inspection.style import Style

STEPS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
"""The eight headings (x, y), 45 degrees apart."""


class Grid:
    """The routing grid: who owns each cell (0 free, 1 blocked, else the number of a net)."""

    def __init__(self, taken: np.ndarray, rng: np.random.Generator, style: Style) -> None:
        self.owner = taken.astype(np.int32).tolist()
        self.rows, self.columns = taken.shape
        self._rng, self._style = rng, style

    def free(self, x: int, y: int, net: int) -> bool:
        """Whether a net may use a cell."""
        return 0 <= x < self.columns and 0 <= y < self.rows and self.owner[y][x] in (0, net)

    def claim(self, x: int, y: int, reach: int, net: int) -> bool:
        """Take a square of cells for a pad if all of it is free."""
        around = [(i, j) for i in range(x - reach, x + reach + 1) for j in range(y - reach, y + reach + 1)]
        if not all(self.free(i, j, 0) for i, j in around if 0 <= i < self.columns and 0 <= j < self.rows):
            return False
        for i, j in around:
            if 0 <= i < self.columns and 0 <= j < self.rows:
                self.owner[j][i] = net
        return True

    def walk(self, x: int, y: int, net: int, steps_max: int, *, joins: bool) -> list[tuple[int, int]]:
        """A bent path of free cells from (x, y), marked as the net's; its corner cells.

        One that `joins` ends in what blocks its way, the others end before it.
        """
        turn = 1 if self._style.diagonal else 2
        heading = int(self._rng.integers(4)) * 2
        bends = self._rng.random(steps_max)
        sides = self._rng.integers(0, 2, steps_max) * 2 - 1
        path, last = [(x, y)], -1
        for bend, side in zip(bends.tolist(), sides.tolist(), strict=True):
            if bend < self._style.bend:
                heading = (heading + turn * side) % 8
            for attempt in (0, turn * side, -turn * side):
                dx, dy = STEPS[(heading + attempt) % 8]
                if self.free(x + dx, y + dy, net) and (
                    not (dx and dy) or (self.free(x + dx, y, net) and self.free(x, y + dy, net))
                ):
                    heading = (heading + attempt) % 8
                    break
            else:
                x, y = x + STEPS[heading][0], y + STEPS[heading][1]
                if joins and 0 <= x < self.columns and 0 <= y < self.rows:
                    path.append((x, y))
                break
            x, y = x + dx, y + dy
            if self.owner[y][x] == net and last >= 0 and len(path) > 2:
                break
            self.owner[y][x] = net
            if heading == last:
                path.pop()
            path.append((x, y))
            last = heading
        return path
