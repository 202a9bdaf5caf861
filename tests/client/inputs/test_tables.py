"""Tables to examples: headers, cells of every kind, what is left out or can't be. No server."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import About, FileError, ModelMetadata, Signature, TensorAbout, TensorSpec
from client._inputs.choice import Choice
from client._inputs.example import Example
from client._inputs.files import Reader
from client._inputs.notes import Notes

HOUSES = Signature(
    "serving_default",
    {
        "rooms": TensorSpec("rooms", "int64", (None, 1)),
        "area": TensorSpec("area", "float32", (None,)),
        "district": TensorSpec("district", "string", (None, 1)),
        "new": TensorSpec("new", "bool", (None,)),
    },
    {"price": TensorSpec("price", "float32", (None, 1))},
)
FLOWERS = Signature("serving_default", {"x": TensorSpec("x", "float32", (None, 4))}, {})

Read = Callable[..., tuple[list[Any], list[str]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a table and return its examples, errors among them, and what is told."""

    def write_and_read(
        text: str | bytes,
        signature: Signature = HOUSES,
        name: str = "x.csv",
        about: About | None = None,
        **options: Any,
    ) -> tuple[list[Any], list[str]]:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        notes: list[str] = []
        metadata = ModelMetadata("m", 1, {signature.name: signature})
        reader = Reader(Choice(metadata), Notes(notes.append), about=about, **options)
        found = list(reader.files([tmp_path / name]))
        return found, [note.replace(f"{tmp_path}/", "") for note in notes]

    return write_and_read


def values(example: Example) -> dict[str, Any]:
    return {name: array.tolist() for name, array in example.inputs.items()}


def test_columns_go_to_inputs_by_name_whatever_their_order(read: Read, tmp_path: Path) -> None:
    (one, two), notes = read("district,new,area,rooms\nMitte,true,62.5,3\nSüd,0,1e2, 4 \n")
    assert values(one) == {"district": [b"Mitte"], "new": True, "area": 62.5, "rooms": [3]}
    assert values(two)["district"] == ["Süd".encode()]
    assert {name: array.dtype for name, array in two.inputs.items()} == {
        "district": object,
        "new": np.bool_,
        "area": np.float32,
        "rooms": np.int64,
    }
    assert (one.source, two.source) == (f"{tmp_path}/x.csv:2", f"{tmp_path}/x.csv:3")
    assert two.cells == {"district": "Süd", "new": "0", "area": "1e2", "rooms": " 4 "}
    assert notes == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_stands_between_columns_is_seen(read: Read, delimiter: str) -> None:
    text = delimiter.join(HOUSES.inputs) + "\r\n" + delimiter.join(["3", "2.5", "a, b", "no"])
    if delimiter == ",":
        text = text.replace("a, b", '"a, b"')
    (one,), _ = read("\ufeff" + text)
    assert values(one) == {"rooms": [3], "area": 2.5, "district": [b"a, b"], "new": False}


def test_cells_may_hold_line_breaks_and_blank_lines_do_not_count(read: Read) -> None:
    text = 'rooms,area,district,new\n\n1,1,"a\nb",1\n\n2,2,c,1\n'
    (one, two), _ = read(text)
    assert values(one)["district"] == [b"a\nb"]
    assert (one.source[-2:], two.source[-2:]) == (":3", ":6")


def test_a_cell_that_can_not_be_is_an_error_of_its_row_alone(read: Read) -> None:
    rows = {
        "3,1,a,1": None,
        ",1,a,1": "column 'rooms' is empty, and int64 has no value for that.",
        "3.0,1,a,1": None,
        "3.5,1,a,1": "column 'rooms' is '3.5'. Write a whole number.",
        "99999999999999999999,1,a,1": "column 'rooms' does not fit in int64.",
        '3,"1,5",a,1': "column 'area' is '1,5'. Write a number with a point.",
        "3,wide,a,1": "column 'area' is 'wide'. Write a number.",
        "3,1,a,maybe": "column 'new' is 'maybe'. Write true or false.",
        "3,1,a": "it has 3 cells, the header 4. Make them as many.",
    }
    found, notes = read("\n".join(["rooms,area,district,new", *rows]))
    for line, (each, said) in enumerate(zip(found, rows.values(), strict=True), 2):
        assert isinstance(each, Example if said is None else FileError), each
        if said is not None:
            assert str(each).startswith(f"Line {line} of '")
            assert str(each).endswith(f": {said}")
            assert each.source.endswith(f"x.csv:{line}")
            assert each.cells
    assert notes == []


def test_empty_cells_of_floats_are_nan_which_is_said(read: Read) -> None:
    (one, two), notes = read("rooms,area,district,new\n1,,,1\n2, ,x,1\n")
    assert math.isnan(values(one)["area"])
    assert values(one)["district"] == [b""]
    assert math.isnan(values(two)["area"])
    assert notes == ["Empty cells of column 'area' of 'x.csv' go as NaN."]


def test_columns_without_an_input_are_left_out_which_is_said(read: Read) -> None:
    (one,), notes = read("id,rooms,area,district,new,price\n7,1,2,a,1,300\n")
    assert set(one.inputs) == set(HOUSES.inputs)
    assert notes == ["Not sent of 'x.csv', since the model has no such input: id, price."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rooms,area\n1,2\n", "has no column 'district', 'new'. Signature 'serving_default' takes"),
        ("rooms,rooms,area,district,new\n", "has column 'rooms' twice. Leave one out."),
        ("rooms,area,district,new\n", "has a header and no rows"),
        ("\n\n", "is empty. Write a header and rows."),
        ('rooms,"are\n', "is no table: unexpected end of data"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_a_table_that_is_not_the_models_is_said(read: Read, text: Any, said: str) -> None:
    (error,), _ = read(text)
    assert isinstance(error, FileError)
    assert said in str(error)


def test_all_columns_go_to_an_only_input_in_their_order_which_is_said(read: Read) -> None:
    (one, two), notes = read("sepal l,sepal w,petal l,petal w\n1,2,3,4\n5,6,7,8\n", FLOWERS)
    assert (values(one), values(two)) == ({"x": [1, 2, 3, 4]}, {"x": [5, 6, 7, 8]})
    assert notes == [
        "Columns of 'x.csv' go to input 'x' in their order: sepal l, sepal w, petal l, petal w."
    ]
    (one, two), notes = read("1,2,3,4\n5,6,7,8\n", FLOWERS, name="x.tsv")
    assert (values(one), values(two)) == ({"x": [1, 2, 3, 4]}, {"x": [5, 6, 7, 8]})
    assert notes == ["'x.tsv' has no header: its columns go in their order."]
    (error,), _ = read("a,b,c,d,class\n1,2,3,4,0\n", FLOWERS)
    assert "has 5 columns, and input 'x' of signature 'serving_default' takes [4]." in str(error)


def test_an_input_of_several_values_takes_a_list_in_a_cell(read: Read) -> None:
    inputs = {
        "point": TensorSpec("point", "float32", (None, 2)),
        "words": TensorSpec("words", "string", (None, None)),
    }
    found, _ = read(
        'point,words\n"[1, 2.5]","[""a"", ""b""]"\n"[1]","[]"\n1,"[]"\n"[""a"", 1]","[]"\n',
        Signature("s", inputs, {}),
    )
    assert values(found[0]) == {"point": [1, 2.5], "words": [b"a", b"b"]}
    assert "column 'point' has shape [1], and input 'point' takes [2]" in str(found[1])
    assert "column 'point' has shape [], and input 'point' takes [2]" in str(found[2])
    assert "column 'point' does not fit in float32" in str(found[3])


def test_categories_that_the_model_does_not_name_are_said(read: Read) -> None:
    about = About(
        inputs={
            "district": TensorAbout(choices=("Mitte", "Süd")),
            "rooms": TensorAbout(choices=(1, 2)),
        }
    )
    text = "rooms,area,district,new\n1.0,1,Mitte,1\n2,1,Mitt,1\n2,1,Nord,1\n"
    found, notes = read(text, about=about)
    assert len(found) == 3
    assert notes == [
        "'Mitt' in column 'district' of 'x.csv' is none of the model's choices: Mitte, Süd."
    ]


def test_the_signature_is_the_one_that_the_columns_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("b\n1\n")
    signatures = {
        name: Signature(name, {name: TensorSpec(name, "float32", (None,))}, {}) for name in "ab"
    }
    reader = Reader(Choice(ModelMetadata("m", 1, signatures)), Notes(None))
    (example,) = reader.files([tmp_path / "x.csv"])
    assert isinstance(example, Example)
    assert example.signature.name == "b"


def test_lines_may_end_and_begin_as_programs_write_them(read: Read) -> None:
    """Of a table whose lines end by CR alone, all was the header."""
    for end in ("\n", "\r\n", "\r"):
        lines = ["", '"rooms","area","district","new"', '1,1,"say ""a"", b",1', "", "2,2,c,1", ""]
        (one, two), notes = read("\ufeff" + end.join(lines))
        assert values(one)["district"] == [b'say "a", b']
        assert values(two)["rooms"] == [2]
        assert (one.source[-2:], two.source[-2:]) == (":3", ":5")
        assert notes == []


def test_columns_of_one_name_are_told_apart_in_the_answers(read: Read) -> None:
    """The second one's cells stood in place of the first one's."""
    (one,), notes = read("id,rooms,area,district,new,id,id\n7,1,2,a,1,8,9\n")
    assert (one.cells["id"], one.cells["id (2)"]) == ("7", "8")
    assert one.cells["id (3)"] == "9"
    assert notes == ["Not sent of 'x.csv', since the model has no such input: id, id, id."]


def test_a_cell_may_be_as_long_as_a_picture_and_a_quote_that_is_never_closed_is_told(
    read: Read,
) -> None:
    """From 128 KiB on, 'field larger than field limit', and a hint at quotes."""
    (one,), _ = read(f"rooms,area,district,new\n1,2,{'x' * 2**20},1\n")
    assert len(values(one)["district"][0]) == 2**20
    *_, error = read('rooms,area,district,new\n1,2,"x,1\n' + "2,2,y,1\n" * 100)[0]
    assert "is no table: unexpected end of data" in str(error)


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    """All of a table was read, three times its size, before its first row was answered."""
    path = tmp_path / "x.csv"
    head = b"rooms,area,district,new\n"
    with path.open("wb") as file:
        file.write(head)
        file.writelines(b"1,2,%s,1\n" % (b"x" * 10_000) for _ in range(10_000))
    reader = Reader(Choice(ModelMetadata("m", 1, {HOUSES.name: HOUSES})), Notes(lambda _: None))
    tracemalloc.start()
    try:
        assert sum(isinstance(each, Example) for each in reader.files([path])) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
