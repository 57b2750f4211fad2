"""Whether a frame is a piece."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.sense.frames import changed, is_piece

GREY = np.full((40, 40, 3), 100, np.uint8)


def with_a_spot(share):
    """The grey frame with so much of it bright."""
    frame = GREY.copy()
    frame[: int(40 * share)] = 200
    return frame


def test_the_first_frame_is_a_piece():
    """There is nothing to compare it with."""
    assert is_piece(GREY, None, 0.0, 9.0, 0.5)


@pytest.mark.parametrize(("since_s", "due"), [(0.4, False), (0.5, True), (9.0, True)])
def test_a_piece_has_to_be_due(since_s, due):
    """By the seconds since the last."""
    assert is_piece(with_a_spot(0.5), GREY, since_s, 0.5, 0.0) is due


@pytest.mark.parametrize(("share", "found"), [(0.0, False), (0.1, False), (0.2, True), (1.0, True)])
def test_a_still_belt_makes_no_piece(share, found):
    """What has changed has to be a share of the pixels, if one is asked for."""
    assert is_piece(with_a_spot(share), GREY, 1.0, 0.5, 0.2) is found


def test_without_a_share_each_frame_that_is_due_is_one():
    """A still one too."""
    assert is_piece(GREY, GREY, 1.0, 0.5, 0.0)


def test_noise_is_no_change_darker_is_as_good_as_brighter():
    """Sensors rustle; a difference has no sign."""
    noise = np.random.default_rng(0).integers(-20, 20, GREY.shape)
    assert changed((GREY + noise).astype(np.uint8), GREY) == 0.0
    assert changed(GREY - 60, GREY) == 1.0
    assert changed(GREY + 60, GREY) == 1.0


def test_one_colour_is_enough_and_grey_frames_have_none():
    """A pixel has changed where any of its channels has."""
    red = GREY.copy()
    red[..., 2] = 255
    assert changed(red, GREY) == 1.0
    assert changed(red[..., 2], GREY[..., 2]) == 1.0
    assert changed(red[..., 0], GREY[..., 0]) == 0.0


def test_another_size_is_another_picture():
    """A camera that was set anew."""
    assert changed(GREY[:20], GREY) == 1.0
