"""Run folders whose files are mixed from two good runs: each command takes them, or refuses them in one line.

    python -m tests.faults.mixed --inputs 20000

An input is a copy of a good run with one to three edits: a file or folder of another run in place of its own, a value
of another run or a strange one in a JSON or TOML file, another tensor or type in the weights, another array or
parameter in the preprocessing. One command is then run on it in this process, with 2 GiB of memory more than it has
after its imports and 10 seconds of a processor, and may start no other process. Its pictures are painted always, and
written in one of ten inputs, as that takes more time than all else. What fails is written to `--keep` as JSON, which
`tests/faults/corpus` takes as it is. Input N is the same whichever `--first` it is reached from, so that pieces can be
run beside each other.
"""

import argparse
import contextlib
import functools
import hashlib
import io
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
import tomllib
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gatewise.cli import main as gatewise
from gatewise.comparison import compare
from gatewise.config import RunConfig
from gatewise.runs import train
from tests.faults.fuzz import Hang, limit_memory, stopwatch

UNFIT = (OSError, LookupError, TypeError, ValueError, RuntimeError, SafetensorError, zipfile.BadZipFile)
"""What an edit of a file ends in that another edit has left in no state to be edited."""

Edit = dict[str, Any]
"""A change of one file of a run: see `apply`."""

QUICK = {"epochs": 2, "starts": 1, "batch_size": 32, "experts": 2, "expert_hidden": [4], "threads": 1, "lr": 0.01}
RUNS: dict[str, dict[str, Any]] = {
    "classes": {"data": "a.csv", "target": "y"},
    "again": {"data": "a.csv", "target": "y", "seed": 1},
    "three": {"data": "a.csv", "target": "kind", "experts": 3, "gate_hidden": [3], "trunk_hidden": [5]},
    "wider": {"data": "b.csv", "target": "y", "gate_map": "sparsemax", "numeric": "quantile", "expert": "linear"},
    "top-k": {"data": "b.csv", "target": "y", "experts": 4, "gate_top_k": 2, "balance_rate": 0.01},
    "embedded": {"data": "a.csv", "target": "y", "numeric_embedding": "piecewise-linear", "numeric_bins": 4},
    "periodic": {"data": "a.csv", "target": "y", "numeric_embedding": "periodic", "gate_temperature": 2},
    "numbers": {"data": "a.csv", "target": "a", "head": "gaussian"},
    "heavy": {"data": "b.csv", "target": "n", "head": "student-t"},
    "counts": {"data": "b.csv", "target": "n", "head": "poisson"},
    "labels": {"data": "b.csv", "target": "y,z", "head": "bernoulli"},
    "array": {"data": "x.npz"},
    "images": {"data": "images.npz", "expert": "conv", "gate": "conv", "epochs": 1},
    "audited": {"data": "a.csv", "target": "y", "estimator": "score-function", "audit_every": 1, "epochs": 1},
    "stopped": {"data": "a.csv", "target": "y", "epochs": 3},
    "stopped later": {"data": "a.csv", "target": "y", "epochs": 3, "seed": 1},
    "stopped wider": {"data": "b.csv", "target": "y", "epochs": 2, "estimator": "score-function", "starts": 2},
}  # fmt: skip
"""Good runs by name; what is stopped has a checkpoint and can go on."""
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, int("9" * 400), 0.5, -0.5, 1e308, 1e-320, float("inf"), float("nan"),
    "", "x", "\ud800", "nan", "a" * 300, [], {}, [[]], [None], {"": 0}, [1, 2, 3], ["a", "a"], [0] * 1000,
    functools.reduce(lambda inner, _: [inner], range(60), 0),
]  # fmt: skip
DTYPES = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float64", "int64", "int8", "bool", "complex64")
FORMS = (*DTYPES, "nan", "infinite", "flat", "longer", "empty", "gone", "renamed")


# The good runs


def write_data(folder: Path) -> None:
    """Tables with numbers, gaps and text, and arrays."""
    draw = random.Random(0)
    a = [f"{i * 3 % 17},{'' if i % 9 == 0 else i % 7 / 2},{'uvw'[i % 3]},{'no' if i % 4 else 'yes'}" for i in range(80)]
    b = [
        f"{draw.gauss(0, 1):.3f},{i % 11},{'pq'[i % 2]},{'x' if i % 5 else ''},{i % 6},{i % 2},{'st'[i % 3 // 2]}"
        for i in range(90)
    ]
    (folder / "a.csv").write_text("a,b,kind,y\n" + "\n".join(a) + "\n")
    (folder / "b.csv").write_text("a,c,kind,d,n,y,z\n" + "\n".join(b) + "\n")
    arrays = np.random.default_rng(0)
    np.savez(folder / "x.npz", x=arrays.normal(size=(60, 5)), y=np.arange(60) % 3)
    np.savez(folder / "images.npz", x=arrays.normal(size=(40, 6, 6)), y=np.arange(40) % 2)


def make_run(folder: Path, name: str) -> None:
    """Train one of `RUNS` on the tables in the folder."""
    config = RunConfig(**QUICK | RUNS[name] | {"data": str(folder / RUNS[name]["data"])})
    steps = itertools.chain([False] * (5 if name == "stopped later" else 3), itertools.repeat("stopped" in name))
    train(config, folder / name, should_stop=steps.__next__)


def make_runs(folder: Path) -> None:
    """Train all of `RUNS` in the folder, and a comparison."""
    write_data(folder)
    for name in RUNS:
        make_run(folder, name)
    with quiet():
        _exit_of(["audit", str(folder / "audited"), *AUDIT])
        _exit_of(["audit", str(folder / "classes"), *AUDIT])
    compare(RunConfig(**QUICK | {"data": str(folder / "a.csv"), "target": "y", "epochs": 1}), folder / "compared",
            estimators=["enumeration"], seeds=2)  # fmt: skip


# Edits


def apply(edit: Edit, run: Path, good: Path) -> None:
    """Change a file of a run.

    Args:
        edit: `file`, relative to the run, and one of: `of`, a good run whose file or folder takes its place (`as`: by
            another name there; null removes it); `at`, the way to a value in it, with `value`, or without to remove
            it; `tensor`, a name, with `form`, one of `FORMS`, or `other`, a pair of a good run and a tensor of its
            file `as`; `array`, the place of an array in the preprocessing, with `of`, a good run that has one.
        run: the folder to change.
        good: the folder of good runs.
    """
    path = run / edit["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    if "array" in edit:
        _swap_array(path, edit["array"], good / edit["of"] / "model/preprocessing.skops")
    elif "of" in edit:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        other = None if edit["of"] is None else good / edit["of"] / edit.get("as", edit["file"])
        if other is not None and other.exists():
            shutil.copytree(other, path) if other.is_dir() else shutil.copy(other, path)
    elif "tensor" in edit:
        _change_tensor(path, edit, good)
    else:
        _change_value(path, edit)
    if edit.get("sealed"):
        seal(path.parent)


def seal(step: Path) -> None:
    """Give a checkpoint a manifest that fits its files."""
    manifest = json.loads((step / "manifest.json").read_text())
    names = [name for name in manifest["sha256"] if (step / name).is_file()]
    manifest["sha256"] = {name: hashlib.sha256((step / name).read_bytes()).hexdigest() for name in names}
    (step / "manifest.json").write_text(json.dumps(manifest))


def read_value(path: Path) -> Any:
    """What a file of JSON, lines of JSON, TOML, or a preprocessing holds."""
    if path.suffix == ".skops":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("schema.json"))
    text = path.read_text()
    if path.suffix == ".toml":
        return tomllib.loads(text)
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def write_value(path: Path, value: Any) -> None:
    """Write what `read_value` gave."""
    if path.suffix == ".skops":
        with zipfile.ZipFile(path) as archive:
            kept = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (kept | {"schema.json": json.dumps(value).encode()}).items():
                archive.writestr(name, content)
    elif path.suffix == ".toml":
        path.write_text(_toml(value))
    else:
        lines = value if path.suffix == ".jsonl" and isinstance(value, list) else [value]
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")


def _toml(value: Any) -> str:
    """As TOML, which has no null."""
    try:
        return tomli_w.dumps(value)
    except (TypeError, AttributeError, ValueError):
        return "data = [" + "[" * 50


def _change_value(path: Path, edit: Edit) -> None:
    value = read_value(path)
    if not edit["at"]:
        value = edit.get("value")
    else:
        *way, last = edit["at"]
        inner = functools.reduce(lambda held, key: held[key], way, value)
        if "value" in edit:
            inner[last] = edit["value"]
        else:
            del inner[last]
    write_value(path, value)


def _change_tensor(path: Path, edit: Edit, good: Path) -> None:
    tensors, name = load_file(path), edit["tensor"]
    value = tensors.pop(name)
    if "other" in edit:
        run, other = edit["other"]
        tensors[name] = load_file(good / run / edit["as"])[other]
    elif edit["form"] in DTYPES:
        tensors[name] = value.to(getattr(torch, edit["form"]))
    elif edit["form"] in ("nan", "infinite"):
        tensors[name] = torch.full_like(value.float(), torch.nan if edit["form"] == "nan" else torch.inf)
    elif edit["form"] == "renamed":
        tensors[f"{name}.x"] = value
    elif edit["form"] != "gone":
        made = {"flat": value.flatten(), "longer": torch.stack([value, value]), "empty": value.flatten()[:0]}
        tensors[name] = made[edit["form"]]
    save_file({name: each.contiguous() for name, each in tensors.items()}, path)


def _swap_array(path: Path, place: int, other: Path) -> None:
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other) as source:
        kept = {name: archive.read(name) for name in archive.namelist()}
        arrays, theirs = (sorted(n for n in z.namelist() if n.endswith(".npy")) for z in (archive, source))
        kept[arrays[place % len(arrays)]] = source.read(theirs[place % len(theirs)])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


# Draws


def draw_edit(draw: random.Random, run: Path, good: Path, other: str) -> Edit:
    """An edit of a run by another good run."""
    files = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and path.suffix in READ)
    theirs = sorted(str(path.relative_to(good / other)) for path in (good / other).rglob("*") if path.suffix in READ)
    way = draw.random()
    if way < 0.05:
        return {"file": draw.choice(["model", "checkpoints"]), "of": other}
    if way < 0.35:
        file = draw.choice(sorted({*files, *theirs}))
        return {"file": file, "of": other} | sealing(draw, file)
    if way < 0.40:
        file = draw.choice(files)
        return {"file": file, "of": draw.choice([None, other]), "as": draw.choice(theirs)} | sealing(draw, file)
    file = draw.choice(files)
    path, twin = run / file, good / other / file
    if path.suffix == ".safetensors":
        return _draw_tensor(draw, path, file, other, twin) | sealing(draw, file)
    if path.suffix == ".skops" and draw.random() < 0.5 and (good / other / file).exists():
        return {"file": file, "array": draw.randrange(100), "of": other}
    return _draw_value(draw, path, file, twin) | sealing(draw, file)


READ = (".json", ".jsonl", ".toml", ".skops", ".safetensors")


def sealing(draw: random.Random, file: str) -> Edit:
    """Whether a checkpoint's manifest is made to fit."""
    return {"sealed": True} if "state.json" in file or ("tensors." in file and draw.random() < 0.9) else {}


def _draw_tensor(draw: random.Random, path: Path, file: str, other: str, twin: Path) -> Edit:
    name = draw.choice(sorted(load_file(path)))
    if twin.exists() and draw.random() < 0.4:
        return {"file": file, "tensor": name, "other": [other, draw.choice(sorted(load_file(twin)))], "as": file}
    return {"file": file, "tensor": name, "form": draw.choice(FORMS)}


def _draw_value(draw: random.Random, path: Path, file: str, twin: Path) -> Edit:
    value = read_value(path)
    ways = list(_ways(value, ()))
    at = draw.choice(ways)
    if (kind := draw.random()) < 0.15 and at:
        return {"file": file, "at": [*at]}
    if kind < 0.6 and twin.exists():
        theirs = read_value(twin)
        with contextlib.suppress(KeyError, IndexError, TypeError):
            found = functools.reduce(lambda held, key: held[key], at, theirs)
            if draw.random() < 0.8:
                return {"file": file, "at": [*at], "value": found}
        found = functools.reduce(lambda held, key: held[key], draw.choice(list(_ways(theirs, ()))), theirs)
        return {"file": file, "at": [*at], "value": found}
    return {"file": file, "at": [*at], "value": draw.choice(STRANGE)}


def _ways(value: Any, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The way to every value; of a long list to a few."""
    yield at
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _ways(child, (*at, key))
    elif isinstance(value, list):
        for index in sorted({0, 1, len(value) // 2, len(value) - 1} & {*range(len(value))}):
            yield from _ways(value[index], (*at, index))


AUDIT = [
    "--seconds",
    "0.02",
    "--estimators",
    "straight-through",
    "--samples",
    "1",
    "--rows",
    "8",
    "--temperatures",
    "1",
]


def commands(data: str, other: Path) -> dict[str, tuple[float, list[str]]]:
    """Commands on a run in the folder `run`, and how often each is drawn."""
    return {
        "evaluate": (4, ["evaluate", "run"]),
        "evaluate data": (3, ["evaluate", "run", data, "--json"]),
        "calibrated": (1, ["evaluate", "run", data, "--calibrated"]),
        "predict": (3, ["predict", "run", data, "-o", "predicted.csv"]),
        "predict topk": (1, ["predict", "run", data, "--route", "topk", "--uncertainty", "-o", "predicted.csv"]),
        "report": (0.8, ["report", "run"]),
        "side by side": (0.4, ["report", str(other), "run", "-o", "compared.html"]),
        "audit": (2, ["audit", "run", *AUDIT]),
        "export": (0.1, ["export", "run"]),
        "start": (0.2, ["train", data, "--set", "start_from=run", "--epochs", "1", "--out", "further"]),
        "resume": (0.2, ["train", "--resume", "run"]),
    }


# One input


@contextlib.contextmanager
def quiet() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Nothing on standard output and error; both are kept."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


def _exit_of(words: list[str]) -> int:
    try:
        gatewise(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return 0


def fault(words: list[str]) -> tuple[str | None, bool]:
    """What a command does that it must not, and whether it refused."""
    STARTED.clear()
    try:
        with stopwatch(), quiet() as (_, err):
            status = _exit_of(words)
    except Hang:
        return "it hangs", False
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in where if "/gatewise/" in frame.filename] or where
        last = " ".join(str(error).split())[:100]
        return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}: {last}", False
    if status in STOPPED:  # the command has heard the signal, and it was meant for all
        sys.exit(status)
    said = [line for line in err.getvalue().splitlines() if line.startswith("gatewise: ")]
    if STARTED:
        return f"it starts a process: {STARTED[0]}", False
    if status == 2 and (len(said) != 1 or "Traceback" in err.getvalue() or len(said[0]) > 1000):
        return f"refused in other than one line: {err.getvalue()[:300]!r}", True
    return (None if status in (0, 2) else f"status {status}: {err.getvalue()[-200:]!r}"), status == 2


STOPPED = (129, 130, 143)
"""Statuses of a command that a signal has stopped."""
STARTED: list[str] = []
"""Processes that were begun since the last input."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"):
        STARTED.append(f"{event} {arguments[:1]}"[:100])


@contextlib.contextmanager
def pictures(written: bool) -> Iterator[None]:
    """Write pictures, or a mere frame of each."""
    savefig = Figure.savefig
    if not written:
        Figure.savefig = lambda self, file, **_: file.write(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'
        )
    try:
        yield
    finally:
        Figure.savefig = savefig


def copied(name: str, good: Path, place: Path) -> Path:
    """A fresh copy of a good run, in the folder `run` of the place."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copytree(good / name, place / "run")
    return place / "run"


def draw_input(
    draw: random.Random, good: Path, place: Path, names: Sequence[str] = (*RUNS,)
) -> tuple[dict[str, Any], list[str]]:
    """Make an input of good runs in the folder `run` of a place; what it is, and the command to run there."""
    if (good / "compared").exists() and draw.random() < 0.02:
        return _draw_compared(draw, good, place)
    name = draw.choice(names)
    run, edits = copied(name, good, place), []
    other = draw.choice([each for each in names if each != name])
    for _ in range(draw.choice((1, 1, 2, 3))):
        with contextlib.suppress(*UNFIT):  # a file edited before
            edits.append(edit := draw_edit(draw, run, good, other))
            apply(edit, run, good)
    known = commands(str(good / RUNS[draw.choice([name, name, other])]["data"]), good / other)
    if "stopped" in name:
        known["resume"] = 7, known["resume"][1]
    (command,) = draw.choices([*known], [often for often, _ in known.values()])
    words = known[command][1]
    return {"run": name, "edits": edits, "words": [word.replace(str(good), "GOOD") for word in words]}, words


def _draw_compared(draw: random.Random, good: Path, place: Path) -> tuple[dict[str, Any], list[str]]:
    """A comparison that goes on, with a cell edited by a good run."""
    folder, edits = copied("compared", good, place), []
    cell = draw.choice(sorted((folder / "cells").iterdir()))
    other = draw.choice(["classes", "again", "wider"])
    for _ in range(draw.choice((1, 2))):
        with contextlib.suppress(*UNFIT):
            edit = draw_edit(draw, cell, good, other)
            edits.append(edit | {"file": f"cells/{cell.name}/{edit['file']}", "as": edit.get("as", edit["file"])})
            apply(edits[-1], folder, good)
    settings = [
        f"{key}={json.dumps(value)}" for key, value in QUICK.items() if key not in ("epochs", "threads", "experts")
    ]
    words = [
        "compare",
        str(good / "a.csv"),
        "--target",
        "y",
        "--epochs",
        "1",
        "--experts",
        "2",
        "--estimators",
        "enumeration",
    ]
    words += ["--seeds", "2", "--jobs", "1", "--out", "run", *(word for each in settings for word in ("--set", each))]
    return {"run": "compared", "edits": edits, "words": [word.replace(str(good), "GOOD") for word in words]}, words


def redo(kept: dict[str, Any], good: Path, place: Path) -> list[str]:
    """Make a kept input again; the command to run in the place."""
    run = copied(kept["run"], good, place)
    for edit in kept["edits"]:
        with contextlib.suppress(*UNFIT):
            apply(edit, run, good)
    return [word.replace("GOOD", str(good)) for word in kept["words"]]


def fuzz(inputs: int, seed: int, keep: Path, first: int = 0) -> tuple[Counter[str], Counter[str]]:
    """Try so many; counts of what was wrong by place, and of what was refused by command."""
    with tempfile.TemporaryDirectory(prefix="mixed-") as base:
        good, place = Path(base, "good"), Path(base, "place")
        good.mkdir()
        with quiet():
            make_runs(good)
        sys.addaudithook(_watch)
        limit_memory()
        return _tried(range(first, first + inputs), seed, keep, good, place)


def _tried(numbers: range, seed: int, keep: Path, good: Path, place: Path) -> tuple[Counter[str], Counter[str]]:
    faults, refused = Counter(), Counter()
    begun = time.process_time()
    for number in numbers:
        kept, words = draw_input(random.Random(f"{seed} {number}"), good, place)
        with contextlib.chdir(place), pictures(written=number % 10 == 0):
            wrong, refusal = fault(words)
        command = " ".join(words[:1])
        refused[f"{command}{'' if refusal else ' done'}"] += 1
        if wrong is not None:
            if not faults[f"{command}: {wrong}"]:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"mixed-{seed}-{number}.json").write_text(json.dumps(kept, indent=1) + "\n")
                print(f"{number}: {command}: {wrong}", flush=True)
            faults[f"{command}: {wrong}"] += 1
        if (number + 1) % 500 == 0:
            each = (time.process_time() - begun) / (number + 1 - numbers.start)
            print(f"{number + 1} inputs, {sum(faults.values())} faults, {1e3 * each:.0f} ms each", flush=True)
    return faults, refused


def main() -> None:
    """Print the figures; exit 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/mixed"))
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    faults, refused = fuzz(chosen.inputs, chosen.seed, chosen.keep.resolve(), chosen.first)
    print(f"by command: {', '.join(f'{name} {count}' for name, count in sorted(refused.items()))}")
    print(f"{chosen.inputs} run folders, {sum(faults.values())} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
