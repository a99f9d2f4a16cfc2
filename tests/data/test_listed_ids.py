"""Files about rows by their ids: as people and spreadsheets write them, and what is refused of them."""

import pytest

from datamap.data.listed_ids import ids_to_train_on, read_ids
from datamap.errors import DataError

FLAG = "--train_ids"
BOM = b"\xef\xbb\xbf"


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("a.txt", b"NA\n0012\nnull\n", ["NA", "0012", "null"]),
        ("b.txt", BOM + b"NA\r\n0012\r\n\r\n", ["NA", "0012"]),
        ("no_suffix", b"1e3\n 7 \n\nid", ["1e3", " 7 ", "id"]),
        ("c.txt", "a\u2028b\nc\x0bd\n".encode(), ["a\u2028b", "c\x0bd"]),
        ("d.csv", b"id\nNA\n0012\n", ["NA", "0012"]),
        ("e.csv", BOM + b"id\r\n0012\r\n\r\nnull\r\n", ["0012", "null"]),
        ("f.CSV", b'score,id\n0.5,"x, ""y"""\n0.1,NA\n', ['x, "y"', "NA"]),
        ("g.csv", BOM + b'"id";"arm"\r\n0012;random\r\n', ["0012"]),
        ("h.csv", b"rank, id\n1,7\n", ["7"]),
    ],
)
def test_ids_stay_the_text_that_stands_there(tmp_path, name, content, ids):
    assert read_ids(written(tmp_path, name, content), FLAG) == ids


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"", "--train_ids {} lists no id: list those to train on."),
        ("b.txt", BOM + b"\r\n\r\n", "--train_ids {} lists no id: list those to train on."),
        ("c.csv", b"id\n", "--train_ids {} lists no id: list those to train on."),
        ("d.csv", b"name,arm\nx,y\n",
         "--train_ids {} has no column id (it has name, arm): give a table (.csv) with the column id."),
        ("e.csv", b"x1\nx2\n", "--train_ids {} has no column id (it has x1): give a table (.csv) with the column id."),
        ("f.csv", b"id,arm\nx\n", "--train_ids {}, line 2: 1 fields where the header has 2."),
        ("g.txt", "x\n".encode("utf-16"), "--train_ids {} is not UTF-8 text: give a text file with one id a line, or "
         "a .csv with a column id, saved as UTF-8."),
    ],
)  # fmt: skip
def test_files_that_list_no_ids_are_refused(tmp_path, name, content, sentence):
    path = written(tmp_path, name, content)
    with pytest.raises(DataError) as refused:
        read_ids(path, FLAG)
    assert str(refused.value) == sentence.format(path)


@pytest.mark.parametrize("name", ["gone.txt", "gone.csv"])
def test_a_file_that_is_gone_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="cannot be read \\(No such file or directory\\): give a "):
        read_ids(str(tmp_path / name), FLAG)


ROWS = {"trainable": {"1", "2", "NA", "0012"}, "held_out": {"8", "9"}, "left_out": {"5"}}


def test_the_order_of_the_file_is_of_no_account(tmp_path):
    forth, back = (written(tmp_path, name, text) for name, text in (("f.txt", b"NA\n0012\n"), ("b.txt", b"0012\nNA\n")))
    found = [ids_to_train_on(path, "rows.jsonl, split train", **ROWS) for path in (forth, back)]
    assert found == [{"NA", "0012"}] * 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"1\n12\nx\n2\n", "rows.jsonl, split train lacks 2 of its 4 ids ('12' is the first): take them out of the "
         "file, or name the --dataset and --train_split that they are of."),
        (b"1\n2 \n", "rows.jsonl, split train lacks 1 of its 2 ids ('2 ' is the first): take them out of the file, or "
         "name the --dataset and --train_split that they are of."),
        (b"9\n1\n8\n", "this run holds out 2 of its 3 ids ('9' is the first): take them out of the file, or hold out "
         "other rows."),
        (b"1\n5\n", "the check of rows.jsonl, split train leaves out 1 of its 2 ids ('5' is the first): take them out "
         "of the file, or mend these rows."),
    ],
)  # fmt: skip
def test_ids_that_cannot_be_trained_on_are_refused(tmp_path, content, sentence):
    path = written(tmp_path, "ids.txt", content)
    with pytest.raises(DataError) as refused:
        ids_to_train_on(path, "rows.jsonl, split train", **ROWS)
    assert str(refused.value) == f"--train_ids {path}: {sentence}"


def test_ids_that_are_listed_twice_are_refused(tmp_path):
    path = written(tmp_path, "ids.csv", b"id\n1\n2\n2\n1\n1\nNA\n")
    with pytest.raises(DataError) as refused:
        ids_to_train_on(path, "rows.jsonl, split train", **ROWS)
    assert str(refused.value) == f"--train_ids {path} lists 2 ids more than once ('1' is the first): list each once."


def test_an_empty_id_in_a_table_is_unknown(tmp_path):
    path = written(tmp_path, "ids.csv", b"id,arm\n,random\n")
    with pytest.raises(DataError, match=r"lacks 1 of its 1 ids \('' is the first\)"):
        ids_to_train_on(path, "rows.jsonl, split train", **ROWS)
