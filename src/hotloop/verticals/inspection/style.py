"""What the boards of one product have in common. A style is drawn from the seed of the site that makes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAMILIES = ("routed", "bus", "pour", "power", "fingers", "sparse")
_FAMILY_SHARES = (0.28, 0.2, 0.2, 0.14, 0.08, 0.1)
_PITCHES_PX = {
    "routed": (14, 36),
    "bus": (16, 44),
    "pour": (26, 90),
    "power": (56, 130),
    "fingers": (80, 170),
    "sparse": (24, 60),
}


@dataclass(frozen=True)
class Style:
    """What the boards of one product share: their layout rules and the scanner that looks at them."""

    family: str
    pitch_px: int
    """From the middle of one trace to the next."""
    fill: float
    """Trace width as a share of the pitch."""
    diagonal: bool
    """Whether traces bend by 45 degrees (else by 90)."""
    bend: float
    """Probability of a bend at each step of a trace."""
    density: float
    """How much of the routing grid traces try to fill: 0.25 sparse, 1.4 nearly all."""
    pad_ratio: float
    """Pad radius in pitches."""
    pad_shape: str
    """`round`, `square`, `oblong` or `mixed`."""
    hole: float
    """Share of the pads that are drilled."""
    clearance_px: int
    """Bare channel cut into a plane."""
    marks: float
    """Probability of a text-like mark."""
    blur_px: float
    """Sharpness of the scanner."""
    roughness: float
    """Edge roughness in grey levels (about 100 a pixel)."""
    agreement: float
    """Share of the roughness that the test and the template have in common (0 to 1)."""
    shift_px: float
    """Scale of the misregistration between a test and its template."""
    growth: float
    """Scale of the over- and under-etching, in grey levels."""

    @classmethod
    def of(cls, site_seed: int) -> Style:
        """The product that one site makes: the same seed gives the same style."""
        rng = np.random.default_rng((site_seed, 7))
        family = str(rng.choice(FAMILIES, p=_FAMILY_SHARES))
        low, high = _PITCHES_PX[family]
        return cls(
            family=family,
            pitch_px=round(low * (high / low) ** rng.random()),
            fill=float(rng.uniform(0.34, 0.6)),
            diagonal=bool(rng.random() < 0.75),
            bend=float(rng.uniform(0.04, 0.25)),
            density=float(rng.uniform(0.25, 1.4)),
            pad_ratio=float(rng.uniform(0.45, 1.1)),
            pad_shape=str(rng.choice(("round", "square", "oblong", "mixed"), p=(0.35, 0.15, 0.1, 0.4))),
            hole=float(rng.choice((0.0, 0.3, 0.7, 1.0))),
            clearance_px=int(rng.integers(6, 17)),
            marks=float(rng.choice((0.0, 0.3, 0.8))),
            blur_px=float(rng.uniform(0.6, 1.8)),
            roughness=float(rng.uniform(8.0, 65.0)),
            agreement=float(rng.uniform(0.0, 0.7)),
            shift_px=float(0.05 * 10 ** rng.uniform(0.0, 1.0)),
            growth=float(rng.uniform(2.0, 40.0)),
        )
