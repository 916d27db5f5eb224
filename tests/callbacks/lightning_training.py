"""A tiny training with Lightning, imported by the tests that run it: that takes seconds."""

import time

import lightning.pytorch as lightning
import torch


class Slow(lightning.LightningModule):
    """Takes at least 0.05 s an epoch."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        time.sleep(0.025)
        return self.layer(batch[0]).square().mean()

    def train_dataloader(self):
        data = torch.utils.data.TensorDataset(torch.zeros(8, 4))
        return torch.utils.data.DataLoader(data, batch_size=4)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Fails(Slow):
    def training_step(self, batch, index):
        raise RuntimeError("broken")


class Kept(lightning.loggers.logger.DummyLogger):
    def __init__(self):
        super().__init__()
        self.logged = []

    def log_metrics(self, metrics, step=None):
        self.logged.append(dict(metrics))


def trained(callback, tmp_path, epochs=4, fails=False):
    logger = Kept()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[callback],
        logger=logger,
        default_root_dir=tmp_path,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(Fails() if fails else Slow())
    return trainer, logger
