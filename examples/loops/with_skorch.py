"""The same models as scikit-learn classifiers, by skorch.

    pip install skorch
    python examples/loops/with_skorch.py [--model expect|sample|mixture|layer] [--epochs 20]

Where the exact likelihood is what you maximise, no class of your own is needed: a `gw.MixtureOfExperts` puts out
log p(y|x) of every class, which `NeuralNetClassifier(mixture, criterion=torch.nn.CrossEntropyLoss)` trains as it is.
"""

from collections.abc import Sequence
from typing import Any

import torch
from own_models import MODELS, asked, digits
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import unpack_data


class Net(NeuralNetClassifier):
    """Trains by the loss that the module says; scores and predicts by log p(y|x)."""

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        self.module_.train()
        x, y = unpack_data(batch)
        loss = self.module_(x, y)
        loss.backward()
        return {"loss": loss, "y_pred": None}


class Progress(Callback):
    """Moves the schedules of the estimators inside."""

    def on_epoch_begin(self, net: Net, **_: Any) -> None:
        net.module_.set_progress(len(net.history) / net.max_epochs)


def main(words: Sequence[str] | None = None) -> float:
    arguments = asked(__doc__, words)
    torch.manual_seed(0)
    x, test_x, y, test_y = digits()
    net = Net(
        MODELS[arguments.model],
        criterion=torch.nn.CrossEntropyLoss,  # of log p, which are logits too
        optimizer=torch.optim.AdamW,
        lr=0.01,
        batch_size=64,
        iterator_train__shuffle=True,
        max_epochs=arguments.epochs,
        callbacks=[Progress()],
        verbose=0,
    )
    net.fit(x, y)
    found = net.score(test_x, test_y.numpy())
    print(f"{arguments.model}: test accuracy {found:.3f}")
    return found


if __name__ == "__main__":
    main()
