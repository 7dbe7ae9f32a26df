"""The integrity of a run folder: its files are those of one run, looked at before anything is done with them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gatewise.config.run import RunConfig
from gatewise.errors import GatewiseError
from gatewise.models.model import Model
from gatewise.models.spec import ModelSpec
from gatewise.wording import shortened

EDITED = {
    *("data", "test", "start_from", "stream", "stream_rows", "device", "threads", "skip_nonfinite"),
    *("checkpoint_seconds", "separator", "header", "decimal", "encoding", "missing", "head"),
}
"""Keys of config.toml that may be edited after training: where and how rows are found, and by what."""


def check_integrity(folder: Path, config: RunConfig, summary: Mapping[str, Any], model: Model) -> None:
    """Refuse a run folder whose files do not fit each other.

    Args:
        folder: of the run.
        config: what its config.toml says.
        summary: what its summary.json says, checked as the report does.
        model: what its folder `model` holds.

    Raises:
        GatewiseError: naming two files, and the first thing that they say otherwise.
    """
    for one, other, what, here, there in _said_twice(config, summary, model):
        if here != there:
            raise GatewiseError(
                f"{folder / one} and {folder / other} are not of one run: {what} is {_told(here)} in one and "
                f"{_told(there)} in the other; restore the folder, or train the run again"
            )


def _said_twice(
    config: RunConfig, summary: Mapping[str, Any], model: Model
) -> Iterator[tuple[str, str, str, Any, Any]]:
    """Two files, what both say, and how each says it."""
    spec, of_model = model.spec, "model/model.json"
    about, data = summary["model"], summary["data"]
    told = {"head": about.get("head", "categorical"), "experts": about["experts"]}
    told |= {"classes": data.get("classes", []), "labels": data.get("labels", [])}
    for key, said in told.items():
        yield "summary.json", of_model, key, said, spec.model_dump()[key]
    parameters = sum(parameter.numel() for parameter in model.mixture.parameters())
    yield "summary.json", "model/weights.safetensors", "the count of parameters", about["parameters"], parameters
    written = json.loads(config.model_dump_json())
    for key in RunConfig.model_fields.keys() & ModelSpec.model_fields.keys() - {"experts"}:
        if written[key] is not None:
            yield "config.toml", of_model, key, written[key], spec.model_dump()[key]
    yield "config.toml", of_model, "experts", config.experts or spec.experts, spec.experts
    for key in written.keys() & summary["config"].keys() - EDITED:
        yield "config.toml", "summary.json", key, written[key], summary["config"][key]


def _told(value: Any) -> str:
    return "unset" if value is None else shortened(json.dumps(value, ensure_ascii=False))
