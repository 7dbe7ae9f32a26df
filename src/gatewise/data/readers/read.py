"""One door for every kind of data: a bundled name, a file, or a folder of Parquet files or images."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from gatewise.data.missing_values import MISSING
from gatewise.data.read_options import Form
from gatewise.data.readers.bundled import BUNDLED
from gatewise.data.readers.csv import read_csv
from gatewise.data.readers.csv_stream import stream_csv
from gatewise.data.readers.images import holds_images, read_images
from gatewise.data.readers.npz import read_npz
from gatewise.data.readers.parquet import read_parquet, stream_parquet
from gatewise.data.readers.text_files import COMPRESSED, unpacked_name
from gatewise.data.records import Records, Source
from gatewise.errors import GatewiseError
from gatewise.files import unreadable
from gatewise.wording import nearest, shown

ENDINGS = (".csv", ".tsv", ".parquet", ".npz")
"""How the names of files end that can be read."""
TEXTS = (".csv", ".tsv")
"""Which of these may be compressed, with an ending more."""
DEFAULT = Form()


def read(
    source: str | Path,
    target: str | None = None,
    *,
    missing: Sequence[str] = MISSING,
    require_target: bool = True,
    form: Form = DEFAULT,
    columns: Sequence[str] | None = None,
    drop: Collection[str] = (),
) -> Source:
    """The rows of `source`: a bundled name, a .csv, .tsv, .parquet or .npz file, a folder of Parquet files or images.

    A .csv or .tsv file may be compressed, with .gz, .bz2, .xz or .zst at the end of its name.

    `target` names the column of the labels in a table; .npz files, bundled data and folders of images (one folder a
    class) carry their own. `form` says how a CSV file is written and which size images take. A field that reads as
    one of `missing` is a missing value. With `require_target=False` the labels may be absent (None); where they are
    there, they are still kept out of the features. Of a table's feature columns only `columns` are read where all are
    there, and those in `drop` are not looked at, whatever they hold: they have no values. A bundled name wins over a
    folder of that name: write ./digits for the folder. Raises GatewiseError for whatever cannot be read as such.
    """
    name, missing = str(source), _texts(missing)
    kind = kind_of(name)
    if kind == "bundled":
        return Source(_own_labels(BUNDLED[name](), target, require_target))
    if kind == "images":
        records = read_images(Path(name), require_target, form.image_size, form.image_mode, form.reading)
        return Source(_own_labels(records, target, require_target))
    if kind == ".npz":
        found = read_npz(Path(name), require_target, missing, form)
        _own_labels(found.records, target, require_target)
        return found
    if kind == ".parquet":
        return Source(read_parquet(Path(name), target, missing, require_target, form, columns, drop))
    return Source(read_csv(Path(name), target, missing, require_target, form, columns, drop))


def stream(
    source: str | Path,
    target: str | None = None,
    *,
    missing: Sequence[str] = MISSING,
    require_target: bool = True,
    columns: Sequence[str] | None = None,
    form: Form = DEFAULT,
) -> Iterator[Records]:
    """The rows of `read`, its test rows where it has such, part by part and each part as long as memory is well used.

    Tables are read as they are asked for, and only the feature columns named in `columns` where all are there; their
    features are as the file has them, and get their types from the model that they are for. Arrays, images and bundled
    data are one part. Raises GatewiseError as `read` does, when it comes to what is wrong.
    """
    name, missing = str(source), _texts(missing)
    kind = kind_of(name)
    if kind in ("bundled", ".npz", "images"):
        found = read(name, target, missing=missing, require_target=require_target, form=form)
        return iter([found.records if found.test is None else found.test])
    if kind == ".parquet":
        return stream_parquet(Path(name), target, missing, require_target, columns, form=form)
    return stream_csv(Path(name), target, missing, require_target, columns, form=form)


def _texts(missing: Sequence[str]) -> tuple[str, ...]:
    return (missing,) if isinstance(missing, str) else tuple(missing)


def kind_of(name: str) -> str:
    """Which way of reading: "bundled", "images", or an ending of `ENDINGS`, .parquet for a folder of such too.

    Raises GatewiseError for what is none of them.
    """
    if name in BUNDLED:
        return "bundled"
    ending = os.path.splitext(name)[1].lower()
    if ending in COMPRESSED and (packed := os.path.splitext(unpacked_name(name))[1].lower()) in TEXTS:
        ending = packed
    try:
        os.stat(name)
    except PermissionError:
        raise GatewiseError(unreadable(name)) from None
    except (OSError, ValueError):
        pass  # it is not there, or no name of a file at all
    if os.path.isdir(name) and os.path.isfile(os.path.join(name, "config.toml")):
        raise GatewiseError(
            f"{name} is a run folder, and rows are wanted; gatewise report shows runs, also side by side, and gatewise "
            "evaluate measures one"
        )
    if os.path.isdir(name):
        return "images" if holds_images(Path(name)) else ".parquet"
    if ending not in ENDINGS:
        raise GatewiseError(_unknown(name))
    if not os.path.isfile(name):
        raise GatewiseError(unreadable(name))
    return ending


def _own_labels(records: Records, target: str | None, require_target: bool) -> Records:
    if require_target and target not in (None, records.target):
        raise GatewiseError(f"{records.name}: the data has its own labels; leave out target {shown(target)}")
    return records


def _unknown(name: str) -> str:
    return (
        f"{shown(name)} is not data that can be read: {nearest(name, list(BUNDLED))}give a bundled name "
        f"({', '.join(BUNDLED)}), a file ending in {', '.join(ENDINGS)}, .csv.gz or .csv.zst, or a folder of .parquet "
        "files or of folders of images"
    )
