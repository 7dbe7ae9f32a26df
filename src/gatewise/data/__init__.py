"""Data: read a source, split its rows, number its classes, turn its rows into arrays.

source = read("adult.csv", target="income")
classes = Classes.from_labels(source.records.labels)
rows = split(source.records.labels, test_size=0.2, validation_size=0.2, seed=0)
preprocessing = fit_preprocessing(source.records.take(rows.train))
x = preprocessing.transform(source.records.take(rows.train))
y = classes.encode(source.records.take(rows.train).labels)
"""

from gatewise.data.labels import Classes
from gatewise.data.missing_values import MISSING
from gatewise.data.preprocessing.fit import Preprocessing, fit_preprocessing, load_preprocessing
from gatewise.data.read_options import Form
from gatewise.data.readers.bundled import BUNDLED
from gatewise.data.readers.read import ENDINGS, read, stream
from gatewise.data.readers.teacher import teacher, teacher_gate
from gatewise.data.records import Records, Source
from gatewise.data.splits import Split, split
from gatewise.data.streaming.records import StoredRows

__all__ = [
    "BUNDLED",
    "ENDINGS",
    "MISSING",
    "Classes",
    "Form",
    "Preprocessing",
    "Records",
    "Source",
    "Split",
    "StoredRows",
    "fit_preprocessing",
    "load_preprocessing",
    "read",
    "split",
    "stream",
    "teacher",
    "teacher_gate",
]
