"""Schedules of the learning rate beside those of torch, and what is refused."""

import pytest
import torch
from torch.optim import lr_scheduler

from joulelab.errors import UsageError
from joulelab.learning.learning_rate import EXAMPLES, learning_rate_factor, parse_schedule

STEPS, EPOCHS = 5, 6
EVERY = STEPS * EPOCHS


def _warm_up(optimiser):
    warm = lr_scheduler.LinearLR(optimiser, 1 / 3, total_iters=2)
    wave = lr_scheduler.CosineAnnealingLR(optimiser, EVERY - 3)
    return lr_scheduler.SequentialLR(optimiser, [warm, wave], [3])


TORCHS = {
    "step(2)": lambda o: lr_scheduler.StepLR(o, 2 * STEPS, 0.1),
    "step(3, 0.5)": lambda o: lr_scheduler.StepLR(o, 3 * STEPS, 0.5),
    "exponential(0.9)": lambda o: lr_scheduler.StepLR(o, STEPS, 0.9),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, EVERY),
    "cosine(0.1)": lambda o: lr_scheduler.CosineAnnealingLR(o, EVERY, eta_min=0.02),
    "warmup-cosine(0.1)": _warm_up,
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("schedule", TORCHS)
def test_a_schedule_is_torchs(schedule):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = TORCHS[schedule](optimiser)
    rates = []
    for _ in range(EVERY):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    factor = learning_rate_factor(schedule, STEPS, EPOCHS)
    assert [0.2 * factor(t) for t in range(EVERY)] == pytest.approx(rates, rel=1e-6, abs=1e-9)


def test_a_constant_rate_has_no_factor_and_all_examples_are_schedules():
    assert learning_rate_factor("constant", STEPS, EPOCHS) is None
    assert learning_rate_factor("warmup-cosine(0.01)", 1, 1)(0) == 1.0, "one step warms up"
    for example in EXAMPLES:
        parse_schedule(example)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("cosin", "unknown schedule 'cosin'", "did you mean"),
        ("step", "has 0 arguments", "write step(epochs, factor)"),
        ("step(2.5)", "epochs = '2.5' is not possible", "a whole number"),
        ("step(2, 0)", "factor = '0' is not possible", "above 0"),
        ("constant(1)", "has 1 arguments", "write constant"),
        ("exponential(x)", "factor = 'x'", "above 0 and at most 1"),
        ("cosine(nan)", "lowest = 'nan'", "from 0 to 1"),
        ("cosine(0.1", "unknown schedule", "step(30, 0.1)"),
    ],
)
def test_what_is_not_a_schedule_is_refused(text, message, hint):
    with pytest.raises(UsageError) as refused:
        parse_schedule(text)
    assert message in refused.value.message
    assert hint in refused.value.hint
