"""What is typical of each expert: the images that the gate gives it most surely, or the values that stand out."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatewise.data import Records
from gatewise.models.model import Model
from gatewise.runs.pictures import Pictures
from gatewise.runs.typical_values import standing_out

MOST_EXPERTS = 64
"""Of more experts, those with the most weight are described."""
MOST_ROWS = 10_000
"""Of more rows, so many at equal distances are looked at."""
MOST_PICTURES = 8
BUDGET = 400_000
"""Characters that all pictures together may take: the page has room for so many."""


@torch.no_grad()
def typical(model: Model, records: Records, x: Tensor, y: Tensor) -> dict[str, Any]:
    """The key `typical` of summary.json.

    Args:
        model: in inference mode.
        records: rows that were not trained on, as read.
        x: the same as the model takes them, `[N, ...]`.
        y: their classes, int64 `[N]`.

    Returns:
        "rows" that were looked at, and of "experts" one entry each: the "expert", its "share" of the gate's weight,
        and "images" ("png" in base64, "label", "predicted", "probability" of the expert) or "values" (see
        `standing_out`).
    """
    places = np.unique(np.linspace(0, len(x) - 1, min(MOST_ROWS, len(x))).astype(int))
    gate, experts = _gate(model, x, places)
    share = gate.mean(0)
    chosen = records.take(places)
    pictures = Pictures.of(chosen.features)
    if pictures is not None:
        told = _images(model, pictures, gate, x[places], y[places])
        kind = "images"
    else:
        told, kind = standing_out(chosen, gate), "values"
    found = [
        {"expert": int(expert), "share": float(share[column]), kind: told[column]}
        for column, expert in enumerate(experts)
    ]
    return {"rows": len(places), "experts": found}


def _gate(model: Model, x: Tensor, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p(z|x) of the rows at these places for the experts described, `[M, E]`, and which these are, ascending."""
    device = next(model.mixture.parameters()).device
    batches = [torch.from_numpy(part) for part in np.array_split(places, -(-len(places) // 4096))]
    most = MOST_EXPERTS
    if model.mixture.num_experts > most:
        weights = torch.stack([model.mixture.gate_proba(x[rows].to(device)).sum(0) for rows in batches])
        experts = weights.sum(0).topk(most).indices.sort().values
    else:
        experts = torch.arange(model.mixture.num_experts, device=device)
    gate = torch.cat([model.mixture.gate_proba(x[rows].to(device))[:, experts].cpu() for rows in batches])
    return gate.double().numpy(), experts.cpu().numpy()


def _images(model: Model, pictures: Pictures, gate: np.ndarray, x: Tensor, y: Tensor) -> list[list[dict[str, Any]]]:
    """For each expert the rows with its highest p(z|x), fewer of them where the pictures are large."""
    classes = model.spec.classes
    device = next(model.mixture.parameters()).device
    rows = np.argsort(-gate, axis=0, kind="stable")[:MOST_PICTURES]  # [P, E]
    encoded = [[pictures.png(row) for row in column] for column in rows.T]
    lengths = np.array([[len(text) for text in texts] for texts in encoded])
    kept = max(1, int((lengths.sum(0).cumsum() <= BUDGET).sum()))
    shown = torch.from_numpy(rows[:kept].T.reshape(-1).copy())
    predicted = torch.cat(
        [model.mixture.predict_proba(part.to(device)).argmax(-1).cpu() for part in x[shown].split(512)]
    )
    told = [
        {"label": classes[int(true)], "predicted": classes[int(guess)]}
        for true, guess in zip(y[shown].cpu(), predicted, strict=True)
    ]
    return [
        [
            {"png": encoded[column][place], **told[column * kept + place], "probability": float(gate[row, column])}
            for place, row in enumerate(rows[:kept, column])
        ]
        for column in range(gate.shape[1])
    ]
