"""Features of a scene, fixed in length."""

from __future__ import annotations

from typing import Final

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.driving.finding import CASES, Finding

NUMBERS: Final = ("severity", "novelty", "surprise", "rarity")


def vector(finding: Finding) -> Floats:
    """What ranking learns from: the finding's features in the order of `names`, each from -1 to 1."""
    known = finding.features
    case = [1.0 if finding.case == one else 0.0 for one in CASES]
    return np.array([*case, *(known.get(name, 0.0) for name in NUMBERS)])
