"""A number of every row from a table: read exactly, and refused where a row has none or one that may not be."""

import numpy as np
import pytest

from datamap.data.row_numbers import SMOOTHING, WEIGHTS, read_row_numbers
from datamap.errors import DataError
from datamap.files.manifests import file_hash

WHERE = "rows.jsonl, split train"
TRAINED, KNOWN = ["NA", "0012", "3"], {"NA", "0012", "3", "held out", "left out"}


def read(path, kind=WEIGHTS):
    return read_row_numbers(kind, str(path), WHERE, trained=TRAINED, known=KNOWN)


def written(tmp_path, content):
    path = tmp_path / "numbers.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "id,weight\n3,1e-3\nNA,2\n0012,0.1\nheld out,5\n",
        b"\xef\xbb\xbfid;weight;why\r\n3;0.001;\r\nNA;2.0;x\r\n0012; 0.1;\r\nheld out;5;\r\n\r\n",
        'score, id, weight\n1,"3",.001\n1,NA,+2\n1,"0012","0.1"\n1,held out,5\n',
    ],
)
def test_numbers_are_read_by_id(tmp_path, content):
    path = written(tmp_path, content)
    found = read(path)
    np.testing.assert_array_equal(found.of_rows(TRAINED), [2, 0.1, 0.001])
    assert found.of_id["held out"] == 5
    assert found.sha256 == file_hash(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("id,weight\nNA,1\n0012,1\n3,1\n4,1\n12,1\n", ": rows.jsonl, split train lacks 2 of its 5 ids ('4' is the "
         "first): take them out of the file, or name the --dataset and --train_split that they are of."),
        ("id,weight\nNA,1\n3,1\nNA,1\n0012,1\n", " lists 1 ids more than once ('NA' is the first): list each once."),
        ("id,weight\nNA,1\n", " lacks 2 of the 3 rows to train on of rows.jsonl, split train ('0012' is the first): "
         "give each of them a weight."),
        ("id,weight\n", " lacks 3 of the 3 rows to train on of rows.jsonl, split train ('NA' is the first): give each "
         "of them a weight."),
        ("id,score\nNA,1\n", " has no column weight (it has id, score): give a table (.csv) with the columns id and "
         "weight."),
        ("id,weight\nNA,1,5\n3,1,5\n0012,2,5\n", ", line 2: 3 fields where the header has 2."),
        *(
            (f"id,weight\nNA,1\n0012,{cell}\n3,{cell}\n", f": the weight of 2 of its 3 ids is no finite number above 0 "
             f"('0012' has '{cell}' and is the first): give every row a weight above 0, and leave rows out by "
             "--train_ids.")
            for cell in ("0", "-1", "nan", "inf", "1e999", "1e-999", "", "half")
        ),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(tmp_path, content, sentence):
    path = written(tmp_path, content)
    with pytest.raises(DataError) as refused:
        read(path)
    assert str(refused.value) == f"--example_weights {path}{sentence}"


def test_a_number_of_a_row_that_is_not_trained_on_is_checked_too(tmp_path):
    path = written(tmp_path, "id,weight\nNA,1\n0012,1\n3,1\nheld out,0\n")
    with pytest.raises(DataError, match="1 of its 4 ids is no finite number above 0"):
        read(path)


def test_factors_may_be_0_and_are_below_1(tmp_path):
    path = written(tmp_path, "id,factor\nNA,0\n0012,0.999\n3,1e-9\n")
    np.testing.assert_array_equal(read(path, SMOOTHING).of_rows(TRAINED), [0, 0.999, 1e-9])
    for cell in ("1", "-0.1", "nan", "inf", "", "5%"):
        path = written(tmp_path, f"id,factor\nNA,0\n0012,{cell}\n3,0.5\n")
        with pytest.raises(DataError) as refused:
            read(path, SMOOTHING)
        assert str(refused.value) == (
            f"--example_smoothing {path}: the factor of 1 of its 3 ids does not lie from 0 to below 1 ('0012' has "
            f"'{cell}' and is the first): give every row a factor in that range, 0 for its label as it is."
        )
