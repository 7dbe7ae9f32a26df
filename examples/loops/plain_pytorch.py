"""A bare PyTorch loop around a model with a discrete choice.

python examples/loops/plain_pytorch.py [--model expect|sample|mixture|layer] [--epochs 20]
"""

from collections.abc import Sequence

import torch
from own_models import MODELS, accuracy, asked, digits


def main(words: Sequence[str] | None = None) -> float:
    arguments = asked(__doc__, words)
    torch.manual_seed(0)
    x, test_x, y, test_y = digits()
    model = MODELS[arguments.model]()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for epoch in range(arguments.epochs):
        model.set_progress(epoch / arguments.epochs)
        model.train()
        for rows in torch.randperm(len(x)).split(64):
            loss = model(x[rows], y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    found = accuracy(model, test_x, test_y)
    print(f"{arguments.model}: test accuracy {found:.3f}")
    return found


if __name__ == "__main__":
    main()
