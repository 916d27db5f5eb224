"""The model in the server, without a process of its own."""

import pytest
import serving_models
import torch

from joulelab.errors import ServingError, UsageError
from joulelab.serving.served_model import ServedModel, usable_device

CPU = torch.device("cpu")
PHRASES = (
    None,
    "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried",
    "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 7 bytes.",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def images(count):
    return torch.zeros(count, 3, 4, 4)


def sizes(model, count):
    return [part.size for part in model.answer(images(count))]


@pytest.mark.parametrize("words", PHRASES)
def test_each_way_to_say_out_of_memory_halves_the_batch(tiny_model, words):
    model = ServedModel(tiny_model("Cramped", most=3, words=words), CPU)
    assert sizes(model, 13) == [3, 3, 3, 3, 1]
    assert model.limit == 3
    assert model.remarks[:2] == [
        "batches of 13 do not fit in memory: halved to 6",
        "batches of 6 do not fit in memory: halved to 3",
    ]


def test_batches_that_fit_are_left_alone_and_nothing_is_remarked(tiny_model):
    model = ServedModel(tiny_model("Cramped", most=3), CPU)
    assert sizes(model, 3) == [3]
    assert model.limit is None
    assert model.remarks == []


def test_a_limit_that_is_known_is_remarked_only_where_it_is_felt(tiny_model):
    model = ServedModel(tiny_model("Cramped", most=3), CPU)
    sizes(model, 4)
    model.clear_remarks()
    assert sizes(model, 2) == [2]
    assert model.remarks == []
    assert sizes(model, 4) == [2, 2]
    assert model.remarks == ["batches of 4 do not fit in memory: halved to 2"]


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny_model):
    model = ServedModel(tiny_model("Cramped", most=3, words="shapes cannot be multiplied"), CPU)
    with pytest.raises(ServingError, match=r"a batch of 4: RuntimeError: shapes cannot be"):
        sizes(model, 4)
    assert model.limit is None


def test_a_single_image_that_does_not_fit_is_an_error(tiny_model):
    model = ServedModel(tiny_model("Cramped", most=0), CPU)
    with pytest.raises(ServingError, match="a single image does not fit in the memory of cpu"):
        sizes(model, 4)


def test_a_model_answers_in_evaluation_mode_without_gradients(tiny_model, monkeypatch):
    seen = []

    def forward(self, given):
        seen.append((self.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return given

    monkeypatch.setattr(serving_models.Null, "forward", forward)
    sizes(ServedModel(tiny_model("Null"), CPU), 2)
    assert seen == [(False, False, True)]


def test_the_warm_up_is_so_many_batches_of_that_size(tiny_model, monkeypatch):
    shapes = []
    monkeypatch.setattr(
        serving_models.Null, "forward", lambda self, given: shapes.append(tuple(given.shape))
    )
    ServedModel(tiny_model("Null"), CPU).warm_up(3, 5, side=4)
    assert shapes == [(5, 3, 4, 4)] * 3


@pytest.mark.parametrize("name", ["nowhere", "cuda:77"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match=f"the device '{name}' cannot be used"):
        usable_device(name)
