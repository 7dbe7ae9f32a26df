"""Predictions of a trained model as a table."""

import numpy as np
import polars as pl
import torch

from gatewise.data import Records
from gatewise.training.folder import Model


def predictions(
    model: Model, records: Records, *, route: str = "mixture", k: int = 2, batch_size: int = 4096
) -> pl.DataFrame:
    """One row for each of the records: `label`, `p_<class>` for every class, and `expert`, the gate's argmax.

    Args:
        model: a trained model.
        records: rows, with or without labels.
        route: see `MixtureOfExperts.predict_proba`.
        k: experts for route "topk".
        batch_size: rows at a time.

    Raises:
        GatewiseError: for rows that do not fit the model, or an unknown route.
    """
    x = model.inputs(records)
    device = next(model.mixture.parameters()).device
    probs, experts = [], []
    with torch.inference_mode():
        for start in range(0, max(len(x), 1), batch_size):
            rows = x[start : start + batch_size].to(device)
            probs.append(model.mixture.predict_proba(rows, route, k).cpu())
            experts.append(model.mixture.gate_proba(rows).argmax(-1).cpu())
    proba = torch.cat(probs).numpy()
    names = np.asarray(model.spec.classes, dtype=object)
    columns = {"label": pl.Series(names[proba.argmax(1)], dtype=pl.String)}
    columns |= {f"p_{name}": pl.Series(proba[:, c]) for c, name in enumerate(model.spec.classes)}
    columns["expert"] = pl.Series(torch.cat(experts).numpy())
    return pl.DataFrame(columns)
