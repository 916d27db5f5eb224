"""Protocols, and augmentation: what a map does to pixels, what is drawn, what trains with it."""

import math
from dataclasses import replace

import pytest
import torch

from joulelab.learning.augmentation import Augmentation, AugmentationDraws, affine_maps, augmented
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.images import load_images, thinned
from joulelab.learning.networks import networks
from joulelab.learning.placement import Placement, Shelf
from joulelab.learning.protocol import Protocol, protocols
from joulelab.learning.reference import ReferenceEngine


def test_all_protocols_are_registered_with_a_line():
    parts = {part.name: part.summary for part in protocols.parts()}
    assert list(parts) == ["default", "yarally2023", "xu2023"]
    assert all(parts.values())
    for name, summary in parts.items():
        protocol = protocols.get(name)
        assert (protocol.name, protocol.summary) == (name, summary)


def test_only_beta2_is_replaced_and_only_where_the_protocol_fixes_it():
    proposed = Hyperparameters(0.01, 0.5, 0.85, 1e-7, 0.1)
    assert protocols.get("default").adjusted(proposed) == proposed
    given = protocols.get("yarally2023").adjusted(proposed)
    assert given == Hyperparameters(0.01, 0.5, 0.999, 1e-7, 0.1)


def test_a_new_protocol_has_the_default_conventions():
    own = Protocol("own", "a test")
    assert own.reshuffle_each_epoch
    assert own.evaluation_mode == "eval"


SIZE = (4, 6)
PAPER = Augmentation(rotation_deg=15, shift=0.1, horizontal_flip=True)


def one_map(angle=0.0, right=0.0, down=0.0, flip=False, size=SIZE):
    shifts = torch.tensor([[right, down]], dtype=torch.float64)
    return affine_maps(
        torch.tensor([angle], dtype=torch.float64), shifts, torch.tensor([flip]), size
    )


def picture(height, width, channels=1):
    generator = torch.Generator().manual_seed(4)
    return torch.rand(1, channels, height, width, generator=generator)


def assert_close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_no_change_changes_nothing():
    image = picture(*SIZE, channels=3)
    assert_close(augmented(image, one_map()), image)


def test_a_flip_mirrors_left_and_right():
    image = picture(*SIZE)
    assert_close(augmented(image, one_map(flip=True)), image.flip(3))


def test_a_shift_by_whole_pixels_moves_them_and_repeats_the_border():
    image = picture(*SIZE)
    moved = augmented(image, one_map(right=2 / 6, down=1 / 4))
    assert_close(moved[..., :3, :4], image[..., 1:, 2:])
    assert_close(moved[0, 0, :3, 5], image[0, 0, 1:, 5])
    assert_close(moved[0, 0, 3, 4:], image[0, 0, 3, 5].expand(2))


def test_a_quarter_turn_of_a_square_is_one():
    image = picture(5, 5)
    turned = augmented(image, one_map(math.pi / 2, size=(5, 5)))
    assert_close(turned, image.rot90(1, (2, 3)))


def test_a_turn_keeps_distances_in_pixels_where_images_are_not_square():
    height, width = 20, 60
    turn = one_map(math.radians(30), size=(height, width))[0, :, :2].double()
    half_sides = torch.diag(torch.tensor([width / 2, height / 2], dtype=torch.float64))
    in_pixels = half_sides @ turn @ half_sides.inverse()
    torch.testing.assert_close(
        in_pixels @ in_pixels.T, torch.eye(2, dtype=torch.float64), atol=1e-6, rtol=0
    )
    assert in_pixels[0, 0] == pytest.approx(math.cos(math.radians(30)), abs=1e-6)
    half = augmented(picture(height, width), one_map(math.pi, size=(height, width)))
    assert_close(half, picture(height, width).flip(2, 3))


def test_draws_are_uniform_within_their_bounds():
    maps = AugmentationDraws(PAPER, 20_000, (32, 32), seed=1).next_epoch().double()
    flipped = maps[:, 1, 1] * maps[:, 0, 0] < 0
    assert flipped.double().mean() == pytest.approx(0.5, abs=0.02)
    angles = torch.rad2deg(torch.atan2(-maps[:, 0, 1], maps[:, 1, 1]))
    assert angles.abs().max() <= 15
    assert angles.std() == pytest.approx(15 / math.sqrt(3), rel=0.02)
    turn = torch.stack([maps[:, 1, 1], maps[:, 0, 1], -maps[:, 0, 1], maps[:, 1, 1]], 1)
    shifts = torch.linalg.solve(turn.view(-1, 2, 2), maps[:, :, 2]) / 2
    assert shifts.abs().max() <= 0.1 + 1e-6
    assert shifts.std(0).tolist() == pytest.approx([0.1 / math.sqrt(3)] * 2, rel=0.03)
    correlations = torch.corrcoef(torch.column_stack([angles, shifts, flipped.double()]).T)
    assert (correlations - torch.eye(4)).abs().max() < 0.05


def test_draws_follow_from_the_seed_and_differ_between_epochs():
    def epochs(seed, images=8):
        draws = AugmentationDraws(PAPER, images, (8, 8), seed)
        return draws.next_epoch(), draws.next_epoch()

    first, second = epochs(1)
    assert first.shape == (8, 2, 3)
    assert not torch.equal(first, second)
    assert torch.equal(first, epochs(1)[0])
    assert torch.equal(second, epochs(1)[1])
    assert not torch.equal(first, epochs(2)[0])


def test_drawing_leaves_torchs_global_generator_alone():
    before = torch.random.get_rng_state()
    AugmentationDraws(PAPER, 8, (8, 8), 1).next_epoch()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.fixture(scope="module")
def digits():
    return thinned(load_images("digits?channels=3"), 70, 30, seed=0)


@pytest.fixture
def unchanging():
    """A registered protocol whose augmentation changes nothing."""
    protocols.register("test-unchanging")(
        Protocol("test-unchanging", "", augmentation=Augmentation())
    )
    yield "test-unchanging"
    del protocols._registered["test-unchanging"]


@pytest.fixture
def seen(own_parts):
    """What a network, registered for one test, is given, and in which mode."""
    given = []

    @networks.register("spy-augmented")
    class Spy(torch.nn.Sequential):
        def __init__(self, shape, classes):
            super().__init__(torch.nn.Flatten(), torch.nn.Linear(shape.size, classes))

        def forward(self, images):
            given.append((images.clone(), self.training))
            return super().forward(images)

    return given


TASK = TrainingTask("spy-augmented", {}, "xu2023", 2, 32, (Member(3),))


def train(task, images, placement=None):
    (result,) = ReferenceEngine(Shelf(placement)).train(task, images, "cpu")
    return result


def test_the_papers_protocol_changes_training_images_and_no_others(digits, seen):
    train(TASK, digits)
    changed = list(seen)
    seen.clear()
    train(replace(TASK, protocol="default"), digits)
    size = (digits.shape.height, digits.shape.width)
    draws = AugmentationDraws(protocols.get("xu2023").augmentation, 70, size, 3)
    maps = [one for _ in range(2) for one in draws.next_epoch().split(32)]
    assert len(changed) == len(seen) == 7
    for (got, training), (plain, _), of_batch in zip(changed, seen, [*maps, None], strict=True):
        assert training == (of_batch is not None)
        expected = plain if of_batch is None else augmented(plain, of_batch)
        assert torch.equal(got, expected)
        assert got.min() >= 0
        assert got.max() <= 1


def test_weights_and_order_are_what_they_are_without_augmentation(digits, unchanging):
    task = replace(TASK, network="SimpleCNN")
    plain = train(replace(task, protocol="default"), digits)
    same = train(replace(task, protocol=unchanging), digits)
    assert same.train_losses == pytest.approx(plain.train_losses, rel=1e-4)
    assert train(task, digits).train_losses != plain.train_losses


def test_every_placement_gives_the_same_augmented_training(digits):
    task = replace(TASK, network="SimpleCNN")
    losses = {placement: train(task, digits, placement).train_losses for placement in Placement}
    assert len(set(losses.values())) == 1


def test_the_fast_engine_leaves_augmentation_to_the_reference(digits, caplog):
    task = replace(TASK, network="SimpleCNN", members=(Member(1), Member(2)))
    engine = FastEngine()
    assert "changes training images at random" in engine.obstacle(task, digits, "cpu")
    assert engine.obstacle(replace(task, protocol="default"), digits, "cpu") is None
    assert ReferenceEngine().obstacle(task, digits, "cpu") is None
    assert not engine.prepare(task, digits, "cpu")
    results = engine.train(task, digits, "cpu")
    assert {result.engine for result in results} == {"reference"}
    assert results == ReferenceEngine().train(task, digits, "cpu")
    assert "xu2023" in caplog.text
