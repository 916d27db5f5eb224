"""A training by Lightning, in each of two processes, with a budget of 3 s."""

import json
import time
from pathlib import Path

import lightning.pytorch as lightning
import torch

from joulelab.callbacks.lightning import EnergyCallback


class Slow(lightning.LightningModule):
    """Takes at least 0.02 s a step."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, _):
        """The loss."""
        time.sleep(0.02)
        return self.layer(batch[0]).square().mean()

    def train_dataloader(self):
        """Two batches for each process."""
        data = torch.utils.data.TensorDataset(torch.zeros(16, 4))
        return torch.utils.data.DataLoader(data, batch_size=4)

    def configure_optimizers(self):
        """Plain descent."""
        return torch.optim.SGD(self.parameters(), 0.1)


callback = EnergyCallback(budget="3 s")
trainer = lightning.Trainer(
    max_epochs=1000,
    callbacks=[callback],
    logger=False,
    accelerator="cpu",
    devices=2,
    strategy="ddp",
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Slow())
measured = callback.measurement
told = {
    "rank": trainer.global_rank,
    "steps": trainer.global_step,
    "measured_s": measured and measured.duration_s,
}
Path(f"told-{told['rank']}.json").write_text(json.dumps(told))
