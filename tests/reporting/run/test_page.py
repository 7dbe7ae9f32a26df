"""The page: whole, escaped, well-formed, offline, small, for every kind of run."""

import functools
import html.parser
import json
import re
from collections.abc import Collection

import pytest

from gatewise.errors import GatewiseError
from gatewise.reporting import render
from tests.reporting.runs import make_history, make_images, make_label_summary, make_metrics, make_summary

VOID = {"meta", "br", "hr", "img", "link", "input"}
LOADS = {"src", "href", "xlink:href", "data", "action", "poster", "srcset"}


class Page(html.parser.HTMLParser):
    """What a browser would see; fails where a tag is not closed by its own end."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.seen: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.seen.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.seen).split())

    def pictures(self) -> list[dict]:
        return [attrs for tag, attrs in self.tags if tag == "svg"]


def check(text: str, links: Collection[str] = ()) -> Page:
    """What holds for every page; `links` are those it may have to others."""
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "metadata"}
    for _, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs)
        assert all(
            attrs[name].startswith(("#", "data:image/png")) or (name == "href" and attrs[name] in links)
            for name in LOADS & attrs.keys()
        )
    assert not re.search(r"@import|url\((?!#)", text)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:url\(|href=")#([^)"]+)', text)
    assert set(references) <= set(ids)
    for picture in page.pictures():
        assert picture["role"] == "img"
        assert len(picture["aria-label"]) > 30
    assert "#0000f" not in text  # every colour of ours became the page's
    assert len(text.encode()) < 1_000_000
    return page


def hostile(number: int) -> str:
    return f'<script>alert({number})</script> "$x_1$" 中文 \u202eünï\x00\ud800 &amp; ' + "long" * 20


def make_absent() -> dict:
    summary = make_summary(4, 3)
    summary["details"]["gate_by_class"][1] = [None] * 4
    summary["details"]["confusion"] = [[1, 0, 2], [0, 0, 0], [3, 0, 4]]
    return summary


def make_old() -> dict:
    """A summary without what later versions added."""
    summary = make_summary()
    del summary["typical"], summary["details"]["bound_gap"]
    return summary


CASES = {
    "plain": (make_summary(), make_history()),
    "one expert": (make_summary(1, 2), make_history(3)),
    "one epoch, no test": (make_summary(2, 2, test=None, details=None), make_history(1)),
    "no epoch": (make_summary(2, 2), []),
    "many": (make_summary(64, 200, typical=make_images(64, 1, 32)), make_history(200)),
    "an older run": (make_old(), make_history(5)),
    "thirty classes": (make_summary(13, 30), []),
    "a class that is absent": (make_absent(), []),
    "nothing but rows": (make_summary(test={"rows": 0}, seconds=None, details=None), [{"epoch": 1}, {"epoch": 2}]),
    "not numbers": (
        make_summary(
            test=make_metrics(8, 360, nll=float("nan"), accuracy=float("inf"), ece=None, brier="?"), details=None
        ),
        [{"epoch": n, "validation_nll": float("nan") if n % 2 else 10**400, "temperature": "?"} for n in range(4)],
    ),
    "labels": (make_label_summary(), make_history()),
    "many labels": (make_label_summary(64, 200), make_history(3)),
    "labels, one expert": (make_label_summary(1, 1, details=None), []),
    "no best epoch": (make_summary(interrupted=True, best_epoch=0, details=None), make_history(2)),
}


@functools.cache
def shown(case: str) -> Page:
    return check(render(*CASES[case]))


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_run_has_a_page(case):
    assert shown(case).text


def test_the_page_holds_its_sections_in_order():
    page = shown("plain")
    titles = [
        "Warnings",
        "Results",
        "Learning curves",
        "Use of the experts",
        "What is typical of each expert",
        "Calibration and mistakes",
        "How to repeat",
    ]
    places = [page.text.index(title) for title in titles]
    assert places == sorted(places)
    assert page.text.index("On 360 test rows") < places[0]
    assert len(page.pictures()) == 9
    for piece in ("No warnings.", make_summary()["command"], "9f9f9f", "linear:1:0.3", "not set", "0.1.0"):
        assert piece in page.text


def test_the_page_of_several_labels_tells_of_each():
    page = shown("labels")
    assert len(page.pictures()) == 6
    for piece in ("3 labels", "right on 91.0 % of the single labels and on all labels of 77.2", "l1"):
        assert piece in page.text
    # two of them are there on 30 % of the rows, and one never
    assert "its more frequent value would be right on 80.0 %" in page.text
    assert "An empty row: no row has that label." in page.text
    assert "the first 50 of 200" in shown("many labels").text


def test_labels_are_text_and_nothing_else():
    summary = make_summary(3, 4, warnings=[hostile(1)], command=hostile(2))
    summary["data"]["classes"] = [hostile(n) for n in range(4)]
    summary["data"]["name"] = hostile(3)
    summary["config"] = {hostile(4): hostile(5), "list": [1, {"a": None}], "seed": None}
    page = check(render(summary, []))
    assert page.text.count("<script>alert(") >= 5
    assert "\x00" not in page.text
    assert "\u202e" not in page.text  # it would turn round what follows it


def test_what_an_older_run_does_not_tell_is_left_out():
    page = shown("an older run")
    assert len(page.pictures()) == 8
    assert "What is typical" not in page.text
    assert "Bound gap by example" not in page.text


def test_the_pictures_of_a_page_have_a_text_alternative():
    images = [attrs for tag, attrs in shown("plain").tags if tag == "img"]
    assert len(images) == 16
    assert all(image["src"].startswith("data:image/png;base64,") for image in images)
    assert images[0]["alt"] == "A row of class 0, given to expert 0 with probability 0.99"
    assert images[1]["alt"].endswith("0.89, and taken for 2")


def test_warnings_are_sentences():
    page = check(render(make_summary(warnings=["the gate has collapsed. Add it."], details=None), []))
    assert "The gate has collapsed. Add it." in page.text
    assert "No warnings" not in page.text


def test_a_confusion_matrix_that_cannot_be_read_is_not_drawn():
    assert "not drawn" not in shown("thirty classes").text
    assert "The confusion matrix is not drawn: 200 classes" in shown("many").text
    assert len(shown("many").pictures()) == 8


def test_the_same_run_gives_the_same_bytes():
    assert render(*CASES["no epoch"]) == render(*json.loads(json.dumps(CASES["no epoch"])))


def remove(summary: dict, *path: str) -> dict:
    inner = summary
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return summary


def short_details(key: str) -> dict:
    summary = make_summary()
    summary["details"][key] = summary["details"][key][:-1]
    return summary


GAPS = {"edges": [0.1], "count": [1, 2, 3], "total": [1, 2, 3]}


def forged(png: str) -> dict:
    typical = make_images(1, 1)
    typical["experts"][0]["images"][0]["png"] = png
    return typical


BINS = {"confidence": [0.1, 0.9], "accuracy": [0.1, 0.9], "count": [3, 4, 5]}


@pytest.mark.parametrize(
    ("summary", "where"),
    [
        ([], "the whole"),
        (remove(make_summary(), "config"), "config"),
        (remove(make_summary(), "data", "classes"), "data.classes"),
        (remove(make_summary(), "test", "rows"), "test.rows"),
        (make_summary(best_epoch="last"), "best_epoch"),
        (short_details("expert_share"), "details.expert_share"),
        (short_details("mean_gate"), "details.mean_gate"),
        (short_details("gate_by_class"), "details.gate_by_class"),
        (short_details("confusion"), "details.confusion"),
        (make_summary(details={"expert_share": [1.0] * 8, "mean_gate": [1.0] * 8}), "details.reliability"),
        (
            make_label_summary(details={**make_label_summary()["details"], "gate_by_class": []}),
            "3 rows, one for each label",
        ),
        (make_summary(details={**make_summary()["details"], "bound_gap": GAPS}), "one bin more than edges"),
        (make_summary(details={**make_summary()["details"], "reliability": BINS}), "as many confidences"),
        (make_summary(2, typical=make_images(3)), "typical.experts must have numbers below 2"),
        (make_summary(typical=forged('iVBORw0KGgo"><script>')), "typical.experts.0.images.0.png"),
        (make_summary(typical=forged("PHN2Zz4=")), "typical.experts.0.images.0.png"),
        (make_summary(reseeded=[{"epoch": 3}]), "reseeded.0.expert"),
    ],
)
def test_a_summary_that_does_not_fit_is_refused_by_name(summary, where):
    with pytest.raises(GatewiseError, match=rf"^summary: .*{where}.*; restore the file.*$") as caught:
        render(summary, [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("epoch", [3, None, {}, {"epoch": None}, {"epoch": "one"}])
def test_an_epoch_that_has_no_number_is_refused_by_line(epoch):
    with pytest.raises(GatewiseError, match=r"^history: line 2 is no object with an epoch number"):
        render(make_summary(), [{"epoch": 1}, epoch])
