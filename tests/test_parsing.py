"""JSON and TOML of a stranger: refused in a line before they take memory, time or the stack."""

import json

import pytest

from gatewise.parsing import LARGEST_TOML, MOST, parse_json, parse_toml

KEY = ".".join("a" * 20_000)

JSON = {
    "nested deep": ("[" * 100_000, "nested deeper than 32 levels"),
    "nested less deep": ("[" * 40 + "]" * 40, "nested deeper than 32 levels"),
    "objects in objects": ('{"a":' * 200 + "1" + "}" * 200, "nested deeper than 32 levels"),
    "60 MB of empty objects": ("[" + "{}," * 20_000_000 + "{}]", "its values would take more than 512 MiB"),
    "60 MB of short keys": ("{" + '"a":1,' * 10_000_000 + '"b":1}', "its values would take more than 512 MiB"),
    "400 digits": (f'{{"a": [1, {"9" * 400}]}}', "a whole number of 400 digits"),
    "400 digits below 0": (f'{{"a": -{"9" * 400}}}', "a whole number of 400 digits"),
    "5000 digits": ("9" * 5000, "4300"),
    "one beyond 64 bits": (str(2**63), "a whole number of 19 digits"),
    "half a surrogate pair in a value": (r'["\ud800"]', "half of a surrogate pair"),
    "half a surrogate pair in a key": (r'{"a\uDFFF": 1}', "half of a surrogate pair"),
    "the halves the wrong way round": (r'["\ude00\ud83d"]', "half of a surrogate pair"),
    "no JSON": ("{", "line 1"),
}
TOML = {
    "a key of 20,000 parts": (f"{KEY} = 1", "a key of more than 16 parts"),
    "a table of 20,000 parts": (f"[{KEY}]", "a key of more than 16 parts"),
    "quoted parts": (".".join(['"a b"'] * 5_000) + " = 1", "a key of more than 16 parts"),
    "parts with spaces": (" . ".join(["a"] * 5_000) + " = 1", "a key of more than 16 parts"),
    "nested arrays": ("a = " + "[" * 20_000, "nested deeper than 32 levels"),
    "nested less deep": ("a = " + "[" * 40 + "]" * 40, "nested deeper than 32 levels"),
    "too long": ("a = '" + "x" * LARGEST_TOML + "'", "1048576 at most"),
    "400 digits": (f"a = {'9' * 400}", "a whole number of 400 digits"),
}


@pytest.mark.parametrize(("text", "said"), JSON.values(), ids=JSON)
def test_json_that_is_refused(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "said"), TOML.values(), ids=TOML)
def test_toml_that_is_refused(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        parse_toml(text)
    assert "\n" not in str(caught.value)


def test_what_is_honest_is_read():
    value = {"a": [1, -(2**63), 2**63 - 1, 1.5, None, True, "😀 [[[[ {{{{ , : ="], "b": {"c": [{"d": []}]}}
    assert parse_json(json.dumps(value)) == value  # the pair of surrogates is whole
    assert parse_json(json.dumps(value, ensure_ascii=False)) == value
    assert parse_toml('data = "a.b.c/2026.11.30.12.csv"\n[regulariser]\nload = 0.3') == {
        "data": "a.b.c/2026.11.30.12.csv",
        "regulariser": {"load": 0.3},
    }


def test_a_confusion_matrix_of_2000_classes_is_honest():
    text = json.dumps([[0] * 2000] * 2000)
    assert len(text) < MOST
    assert len(parse_json(text)) == 2000
