"""The same models in a loop of Hugging Face Accelerate: on one device here, on several by `accelerate launch`.

pip install accelerate
python examples/loops/with_accelerate.py [--model expect|sample|mixture|layer] [--epochs 20]
"""

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from own_models import MODELS, accuracy, asked, digits
from torch.utils.data import DataLoader, TensorDataset


def main(words: Sequence[str] | None = None) -> float:
    arguments = asked(__doc__, words)
    set_seed(0)
    x, test_x, y, test_y = digits()
    accelerator = Accelerator()
    model = MODELS[arguments.model]()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    model, optimiser, loader = accelerator.prepare(model, optimiser, loader)
    for epoch in range(arguments.epochs):
        accelerator.unwrap_model(model).set_progress(epoch / arguments.epochs)
        model.train()
        for batch_x, batch_y in loader:
            loss = model(batch_x, batch_y)
            optimiser.zero_grad()
            accelerator.backward(loss)
            optimiser.step()
    trained = accelerator.unwrap_model(model)
    found = accuracy(trained, test_x.to(accelerator.device), test_y.to(accelerator.device))
    accelerator.print(f"{arguments.model}: test accuracy {found:.3f}")
    return found


if __name__ == "__main__":
    main()
