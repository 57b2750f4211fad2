"""The audit draw: the stated share, whatever is on the piece, the same whoever asks."""

from __future__ import annotations

import numpy as np

from hotloop.feedback import drawn


def test_the_share_is_kept_and_the_draw_is_repeatable():
    """Of 20,000 ids, 5 % within chance; a larger share includes the smaller one; another seed draws others."""
    names = [f"line-{k % 7}:{k}" for k in range(20_000)]
    chosen = {name for name in names if drawn(name, 1, 0.05)}
    assert abs(len(chosen) / len(names) - 0.05) < 0.006
    assert chosen == {name for name in names if drawn(name, 1, 0.05)}
    assert chosen <= {name for name in names if drawn(name, 1, 0.2)}
    others = {name for name in names if drawn(name, 2, 0.05)}
    assert len(chosen & others) < 0.2 * len(chosen)
    assert not any(drawn(name, 1, 0.0) for name in names[:500])
    assert all(drawn(name, 1, 1.0) for name in names[:500])


def test_it_does_not_depend_on_the_line():
    """Each line is audited alike."""
    shares = [np.mean([drawn(f"line-{line}:{k}", 0, 0.1) for k in range(4000)]) for line in range(4)]
    assert max(shares) - min(shares) < 0.03
