"""The same models in PyTorch Lightning.

pip install pytorch-lightning
python examples/loops/with_lightning.py [--model expect|sample|mixture|layer] [--epochs 20]
"""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from own_models import MODELS, Choosing, accuracy, asked, digits
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


class Task(pl.LightningModule):
    """A model that says its own loss; Lightning does the rest."""

    def __init__(self, model: Choosing):
        super().__init__()
        self.model = model

    def on_train_epoch_start(self) -> None:
        self.model.set_progress(self.current_epoch / self.trainer.max_epochs)

    def training_step(self, batch: list[Tensor]) -> Tensor:
        loss = self.model(*batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor]) -> None:
        x, y = batch
        self.log("validation_nll", F.nll_loss(self.model(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def main(words: Sequence[str] | None = None) -> float:
    arguments = asked(__doc__, words)
    pl.seed_everything(0, verbose=False)
    x, test_x, y, test_y = digits()
    task = Task(MODELS[arguments.model]())
    trainer = pl.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    train = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    trainer.fit(task, train, DataLoader(TensorDataset(test_x, test_y), batch_size=512))
    found = accuracy(task.model, test_x, test_y)
    nll = float(trainer.callback_metrics["validation_nll"])
    print(f"{arguments.model}: test accuracy {found:.3f}, NLL {nll:.3f}")
    return found


if __name__ == "__main__":
    main()
