"""Where images go, by how much memory is free."""

import torch

from joulelab.learning.placement import Placement, choose_placement, free_memory, scaled


def test_float32_where_it_takes_at_most_half_of_the_free_memory():
    assert choose_placement(1000, 8000, host=False) is Placement.RESIDENT
    assert choose_placement(1000, 7999, host=False) is Placement.RESIDENT_UINT8


def test_uint8_where_float32_does_not_fit():
    assert choose_placement(1000, 2000, host=False) is Placement.RESIDENT_UINT8
    assert choose_placement(1000, 1999, host=False) is Placement.STREAMED


def test_nothing_is_streamed_to_the_host():
    assert choose_placement(1000, 10, host=True) is Placement.RESIDENT_UINT8


def test_the_host_says_how_much_memory_is_free():
    assert free_memory(torch.device("cpu")) > 0


def test_pixels_become_0_to_1():
    images = scaled(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert images.dtype == torch.float32
    assert images.tolist() == [0.0, torch.tensor(0.2).item(), 1.0]
    assert scaled(images) is images
