"""A training by Hugging Face's Trainer, in each of two processes, with a budget of 1.5 s."""

import json
import time
from pathlib import Path

import torch
import transformers

from joulelab.callbacks.transformers import EnergyCallback


class Model(torch.nn.Module):
    """Takes at least 0.02 s a step."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x, labels):
        """The loss."""
        time.sleep(0.02)
        return {"loss": (self.layer(x) - labels).square().mean()}


arguments = transformers.TrainingArguments(
    output_dir="out",
    num_train_epochs=1000,
    per_device_train_batch_size=16,
    report_to=[],
    save_strategy="no",
    use_cpu=True,
    disable_tqdm=True,
    ddp_backend="gloo",
)
data = [{"x": torch.zeros(4), "labels": torch.zeros(1)}] * 64
trainer = transformers.Trainer(Model(), arguments, train_dataset=data)
callback = EnergyCallback(trainer, budget="1.5 s")
trainer.add_callback(callback)
trainer.train()
measured = callback.measurement
told = {
    "rank": arguments.process_index,
    "steps": trainer.state.global_step,
    "measured_s": measured and measured.duration_s,
}
Path(f"told-{told['rank']}.json").write_text(json.dumps(told))
