"""A trained mixture as one file that runs without gatewise: PyTorch's own exported program, or ONNX."""

import contextlib
import copy
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from gatewise import __version__
from gatewise.data.preprocessing.array import ArrayPreprocessing
from gatewise.errors import GatewiseError
from gatewise.files import replacing
from gatewise.mixture import MixtureOfExperts
from gatewise.models.model import Model
from gatewise.wording import instead

ROUTES = ("mixture", "top1")
TOLERANCE = 1e-4
"""The largest difference of a probability from the model's that passes for rounding."""
CLEAR = 1e-3
"""Where the two highest logits of the gate are nearer than this, rounding may choose another expert."""
ROWS = 32
METADATA = "gatewise"
"""The key of the metadata in an ONNX file; `gatewise.json` among the extra files of a .pt2 file."""
SQUASHED = (
    "(s(x) - mean) / scale, where s(x) = x from low to high, high + room * e / (room + e) for x = high + e, and "
    "low - room * e / (room + e) for x = low - e"
)

Runner = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: the file.
        metadata: what the file says of itself: see `describe`.
        rows: how many rows the file was compared with the model on.
        difference: the largest difference of a probability there.
    """

    path: Path
    metadata: dict[str, Any]
    rows: int
    difference: float


class Predictor(nn.Module):
    """Prepared inputs `[B, ...]` to p(y|x) `[B, C]`, in operations that a fixed graph can hold.

    Route "top1" runs all K experts and picks one: a graph does not branch by row.
    """

    def __init__(self, mixture: MixtureOfExperts, route: str):
        super().__init__()
        self.mixture, self.route = mixture, route

    def forward(self, x: Tensor) -> Tensor:
        """p(y|x), `[B, C]`."""
        if self.route == "mixture":
            return self.mixture(x).exp()
        gate, experts = self.mixture.expert_log_probs(x)
        best = gate.argmax(-1).view(-1, 1, 1).expand(-1, 1, experts.shape[-1])
        return experts.gather(1, best).squeeze(1).exp()


def export(model: Model, path: Path, format: str = "pt2", route: str = "mixture") -> Export:
    """Write a model to a file that takes any number of rows, after comparing what the file answers with the model.

    Args:
        model: as loaded from a run, on the CPU.
        path: the file; it must not be there, and its ending is the format.
        format: "pt2" (`torch.export`, run by torch alone) or "onnx" (needs onnx, onnxscript and onnxruntime).
        route: "mixture", or "top1": the gate's argmax alone.

    Raises:
        GatewiseError: for an unknown format or route, a path that cannot be taken, a package that is not installed, a
            model that the format cannot hold, or a file that answers otherwise than the model; nothing is written.
    """
    if model.spec.head != "categorical":
        raise GatewiseError(
            f"export writes models of classes, and this run has the head {model.spec.head}; use predict"
        )
    if format not in FORMATS:
        raise GatewiseError(f"unknown format {format!r}{instead(format, FORMATS)}")
    if route not in ROUTES:
        raise GatewiseError(f"export knows no route {route!r}{instead(route, ROUTES)}")
    if path.suffix != f".{format}":
        raise GatewiseError(f"{path}: a file of format {format} ends in .{format}; name it {path.stem}.{format}")
    if path.exists():
        raise GatewiseError(f"{path} is there already; name another file with -o, or delete it")
    metadata = describe(model, format, route)
    with replacing(path) as part:
        content, answer = FORMATS[format](trace(model, route), json.dumps(metadata, ensure_ascii=False))
        rows, difference = compare(model, answer, route)
        if not difference <= TOLERANCE:
            raise GatewiseError(
                f"the {format} file answers otherwise than the model: a probability differs by {difference:.2g}, and "
                f"{TOLERANCE:g} is allowed; nothing was written"
            )
        part.write_bytes(content)
    return Export(path, metadata, rows, difference)


def describe(model: Model, format: str, route: str) -> dict[str, Any]:
    """What the file says of itself: classes, input, route, the preprocessing that it expects, and its cost."""
    preparing = model.preprocessing
    if isinstance(preparing, ArrayPreprocessing):
        formula = {"formula": "(x - mean) / scale", "mean": preparing.mean.tolist(), "scale": preparing.scale.tolist()}
        if preparing.squash is not None:
            formula |= {"formula": SQUASHED, **preparing.squash.described()}
    else:
        formula = {
            "formula": "gatewise.runs.Run.load(RUN).model.inputs(records)",
            "columns": preparing.feature_names,
        }
    return {
        "gatewise": __version__,
        "format": format,
        "route": route,
        "classes": list(model.classes.names),
        "input": {"name": "x", "dtype": "float32", "shape": ["batch", *model.spec.input_shape]},
        "output": {"name": "probabilities", "dtype": "float32", "shape": ["batch", len(model.classes.names)]},
        "preprocessing": formula,
        "experts": model.mixture.num_experts,
        "experts_run": model.mixture.num_experts,
    }


def trace(model: Model, route: str) -> ExportedProgram:
    """The graph of a `Predictor` for any number of rows; its weights are constants."""
    predictor = Predictor(copy.deepcopy(model.mixture).requires_grad_(False), route).eval()
    batch = torch.export.Dim("batch")
    # strict: the other way takes len(x), which a gate of anyone's may use, for a fixed number
    return torch.export.export(predictor, (probe(model),), dynamic_shapes={"x": {0: batch}}, strict=True)


def probe(model: Model) -> Tensor:
    """Rows of noise as the model takes them, always the same, `[32, ...]`."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, *model.spec.input_shape, generator=generator)


@torch.no_grad()
def compare(model: Model, answer: Runner, route: str) -> tuple[int, float]:
    """How many rows of noise were asked, in two batches of which one is a single row, and the largest difference."""
    x = probe(model)
    clear = torch.ones(len(x), dtype=torch.bool)
    if route == "top1" and model.mixture.num_experts > 1:
        highest = model.mixture.read(x)[1].topk(2).values
        clear = highest[:, 0] - highest[:, 1] > CLEAR
    if bool(clear.any()):
        x = x[clear]
        wanted = model.mixture.predict_proba(x, route=route)
    else:  # the gate has no preference: the first of its best experts is as good as any
        wanted = Predictor(model.mixture, route)(x)
    found = torch.cat([answer(part) for part in (x[:1], x[1:]) if len(part)])
    return len(x), (found - wanted).abs().max().item()


def _pt2(program: ExportedProgram, metadata: str) -> tuple[bytes, Runner]:
    """The bytes of a .pt2 file, and the program read back from them."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={f"{METADATA}.json": metadata})
    buffer.seek(0)
    return buffer.getvalue(), torch.export.load(buffer).module()


def _onnx(program: ExportedProgram, metadata: str) -> tuple[bytes, Runner]:
    """The bytes of an ONNX file, and onnxruntime running them."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise GatewiseError(
            f"format onnx needs {', '.join(missing)}; run: pip install onnx onnxscript onnxruntime, or take pt2"
        )
    import onnxruntime

    with _quiet():
        try:
            written = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["x"],
                output_names=["probabilities"],
                dynamic_shapes={"x": {0: "batch"}},  # for the name alone
            )
        except torch.onnx.OnnxExporterError as error:
            reason = " ".join(str(error).split())[:200]
            raise GatewiseError(f"this model cannot be written as onnx: {reason}; take --format pt2") from None
    assert written is not None
    written.model.metadata_props[METADATA] = metadata
    content = written.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda rows: torch.from_numpy(session.run(None, {"x": rows.numpy()})[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that are not there and of its own use of torch."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


FORMATS: dict[str, Callable[[ExportedProgram, str], tuple[bytes, Runner]]] = {"pt2": _pt2, "onnx": _onnx}
"""By the names of the command line, which are the endings of their files."""
