"""Which of the pieces that nobody flagged a human looks at all the same: a draw that anyone can repeat.

Verified are mostly pieces that the model flagged, so nobody sees what it passes over. A small share of the others,
drawn without regard to what is on them, gives recall without bias (`measure/audited.py`). The draw is a hash of the
prediction's id and the loop's seed: independent of the content, the same in every replay; its chance is logged
(`Asked.propensity`).
"""

from __future__ import annotations

from hashlib import sha256

_BITS = 64


def drawn(prediction: str, seed: int, share: float) -> bool:
    """Whether a prediction is in the audit sample: true with probability `share` over ids."""
    hashed = sha256(f"audit:{seed}:{prediction}".encode()).digest()
    return int.from_bytes(hashed[: _BITS // 8], "big") < share * float(2**_BITS)
