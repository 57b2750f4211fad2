"""What the detector is trained on: which location answers for which truth, and the loss of its answers.

Assignment: the locations within 1.5 strides of a truth's centre and inside it (FCOS' centre sampling); where truths
overlap, the smaller takes the location. Classes: focal loss (Lin et al. 2017). Boxes: generalised IoU
(Rezatofighi et al. 2019).
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hotloop.verticals.inspection.nets.detector import STRIDE_PX, locations

_RADIUS = 1.5  # strides around a centre
_BOX_WEIGHT = 1.0
_FOCUS = 2.0
_POSITIVE_SHARE = 0.35  # focal loss' alpha; its paper's 0.25 to 0.5 are all near


@dataclass(frozen=True)
class Truths:
    """The boxes (n, 4) px x1 y1 x2 y2 and class indices (n,) of one image.

    `complete`: there is nothing else. If not, only what is named teaches: the boxes, and the `refuted` (m, 4), which
    are nothing; of all other ground nothing is known.
    """

    boxes: torch.Tensor
    classes: torch.Tensor
    complete: bool = True
    refuted: torch.Tensor | None = None


def assign(points: torch.Tensor, truths: Truths) -> torch.Tensor:
    """For each of the points (m, 2): the index of the truth it answers for, or -1: (m,)."""
    if not len(truths.boxes):
        return torch.full((len(points),), -1, dtype=torch.long, device=points.device)
    low, high = truths.boxes[:, :2], truths.boxes[:, 2:]
    centres = (low + high) / 2
    offsets = (points[:, None] - centres[None]).abs().amax(-1)
    nearest = offsets.amin(0, keepdim=True)  # a truth smaller than a cell still gets its nearest point
    reach = torch.minimum((high - low).amin(-1) / 2, torch.tensor(_RADIUS * STRIDE_PX, device=points.device))
    close = (offsets <= reach[None]) | (offsets == nearest)
    areas = (high - low).prod(-1)[None].expand_as(offsets).masked_fill(~close, torch.inf)
    smallest, index = areas.min(1)
    return torch.where(torch.isfinite(smallest), index, -1)


def overlap_loss(sides: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - generalised IoU of boxes seen from one location: (n, 4) distances each -> (n,)."""
    areas = (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])
    wanted_areas = (wanted[:, 0] + wanted[:, 2]) * (wanted[:, 1] + wanted[:, 3])
    inner, outer = torch.minimum(sides, wanted), torch.maximum(sides, wanted)
    shared = (inner[:, 0] + inner[:, 2]).clamp(min=0) * (inner[:, 1] + inner[:, 3]).clamp(min=0)
    hull = (outer[:, 0] + outer[:, 2]) * (outer[:, 1] + outer[:, 3])
    union = areas + wanted_areas - shared
    return 1 - shared / union + (hull - union) / hull.clamp(min=1e-6)


def known_ground(points: torch.Tensor, owner: torch.Tensor, truths: Truths) -> torch.Tensor:
    """Which of the points (m, 2), answering for `owner` (m,), something is known of: (m,) of 0 and 1."""
    if truths.complete:
        return torch.ones(len(points), device=points.device)
    known = owner >= 0
    if truths.refuted is not None and len(truths.refuted):
        low, high = truths.refuted[None, :, :2], truths.refuted[None, :, 2:]
        known |= ((points[:, None] >= low) & (points[:, None] <= high)).all(2).any(1)
    return known.float()


def focal_loss(logits: torch.Tensor, targets: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The focal loss, summed over what is known: easy locations count little."""
    chance = torch.sigmoid(logits)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    miss = torch.where(targets > 0.5, 1 - chance, chance)
    share = torch.where(targets > 0.5, _POSITIVE_SHARE, 1 - _POSITIVE_SHARE)
    return (share * miss**_FOCUS * entropy * known).sum()


def detection_loss(logits: torch.Tensor, sides: torch.Tensor, truths: Sequence[Truths]) -> torch.Tensor:
    """The mean loss of a batch, a number per positive location.

    logits (n, c, h, w), sides (n, 4, h, w) px, one Truths an image.
    """
    height, width = logits.shape[2:]
    points = locations(height, width, logits.device)
    logits = logits.flatten(2).transpose(1, 2)
    sides = sides.flatten(2).transpose(1, 2)
    wanted_classes = torch.zeros_like(logits)
    known = logits.new_ones(logits.shape[0], logits.shape[1], 1)
    found, wanted = [], []
    for index, truth in enumerate(truths):
        owner = assign(points, truth)
        known[index, :, 0] = known_ground(points, owner, truth)
        mine = torch.nonzero(owner >= 0)[:, 0]
        boxes = truth.boxes[owner[mine]]
        wanted_classes[index, mine, truth.classes[owner[mine]]] = 1.0
        wanted.append(torch.cat((points[mine] - boxes[:, :2], boxes[:, 2:] - points[mine]), 1))
        found.append(sides[index, mine])
    answers, aims = torch.cat(found), torch.cat(wanted)
    positives = max(len(answers), 1)
    inside = aims.amin(1) > 0 if len(aims) else aims.new_zeros(0, dtype=torch.bool)
    boxes_loss = overlap_loss(answers[inside], aims[inside]).sum()
    return (focal_loss(logits, wanted_classes, known) + _BOX_WEIGHT * boxes_loss) / positives
