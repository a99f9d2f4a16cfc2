"""Tables as text: what separates their fields, and whether quotes are quotes or belong to the text."""

import csv
import gzip
import io

import pandas as pd
import pytest

from datamap import errors
from datamap.data import sources

SNLI = (
    "gold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1\tsentence2\tcaptionID\tpairID\tlabel1\n"
    'neutral\t( a )\t( b )\tA dog runs.\t"Run," said the owner.\tc1\tc1#r1n\tneutral\n'
    '-\t( a )\t( b )\tA dog runs.\t"Yes."\tc1\tc1#r1e\tneutral\n'
    'contradiction\t( a )\t( b )\tA 5" pipe\tIt is "dry" there.\tc2\tc2#r1c\tcontradiction\n'
)
HANS = (
    "gold_label\tsentence1_binary_parse\tsentence1\tsentence2\tpairID\theuristic\tsubcase\n"
    "non-entailment\t( a )\tThe judge saw the actor .\tThe actor saw the judge .\tex0\tlexical_overlap\tln\n"
    "entailment\t( a )\tThe judge and the actor slept .\tThe actor slept .\tex1\tlexical_overlap\tle\n"
)
SICK = (
    "pair_ID\tsentence_A\tsentence_B\tentailment_label\trelatedness_score\tSemEval_set\n"
    "1\tA man sits\tA man is sitting\tENTAILMENT\t4.5\tTRAIN\n"
    "2\tA man sits\tA dog is sitting\tNEUTRAL\t3.2\tTRIAL\n"
    "3\tA man sits\tNobody sits\tCONTRADICTION\t3.1\tTEST\n"
    "4\tA man eats\tSomebody eats\tENTAILMENT\t4.1\tTRAIN\n"
)


def opened(tmp_path, name, text, task="qa", columns=None):
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return sources.open_source(str(tmp_path / name), task, columns)


def rows_of(tmp_path, name, text, task="qa"):
    return opened(tmp_path, name, text, task).read("train").to_dict("records")


@pytest.mark.parametrize("name", ["snli_1.0_train.txt", "snli.tsv", "snli.txt.gz", "snli.csv"])
def test_tabs_without_quotes_keep_every_quote(tmp_path, name):
    rows = rows_of(tmp_path, name, SNLI, "nli")
    assert [row["sentence2"] for row in rows] == ['"Run," said the owner.', '"Yes."', 'It is "dry" there.']
    assert rows[2]["sentence1"] == 'A 5" pipe'


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_tabs_with_quotes_give_back_what_pandas_wrote(tmp_path, quoting):
    texts = ['say "hi"', "two\nlines", "a\ttab", '"all"', "plain, with a comma", ""]
    table = pd.DataFrame({"context": texts, "question": "Q?", "answers": "x"})
    for n in range(len(texts)):
        part = table.iloc[[n, 4]]
        written = part.to_csv(sep="\t", index=False, quoting=quoting)
        assert [row["context"] for row in rows_of(tmp_path, "a.tsv", written)] == part["context"].tolist()


def test_tabs_from_a_spreadsheet_have_quotes_around_every_comma(tmp_path):
    text = 'context\tquestion\n"Red, blue"\tWhich?\n"One, two"\tMany?\n"A, b"\tAll?\nnone\tNo?\n'
    assert [row["context"] for row in rows_of(tmp_path, "a.txt", text)] == ["Red, blue", "One, two", "A, b", "none"]
    text = text.replace("none\t", "no, none\t")
    assert [row["context"] for row in rows_of(tmp_path, "b.txt", text)][::3] == ['"Red, blue"', "no, none"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_header_alone_says_what_separates_fields(tmp_path, end):
    semicolons = end.join(["id;context;question;answer", 'a;"One; two, three";Which?;two, three', "b;x,y,z,w;?;x", ""])
    rows = rows_of(tmp_path, "a.csv", semicolons)
    assert [list(row.values()) for row in rows] == [
        ["a", "One; two, three", "Which?", "two, three"],
        ["b", "x,y,z,w", "?", "x"],
    ]
    commas = end.join(["id,context,question", "a,x;y;z,Which?", ""])
    assert rows_of(tmp_path, "b.tsv", commas) == [{"id": "a", "context": "x;y;z", "question": "Which?"}]


def test_a_first_line_may_name_the_separator(tmp_path):
    rows = rows_of(tmp_path, "a.csv", "sep=;\r\nid;context,question;answer\r\n1;x;y\r\n")
    assert rows == [{"id": "1", "context,question": "x", "answer": "y"}]
    with pytest.raises(errors.DataError, match="line 4: 1 fields where the header has 2"):
        rows_of(tmp_path, "a.csv", "sep=;\ncontext;question\nx;y\nz\n")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_blank_lines_are_passed_over_and_counted(tmp_path, name):
    mark = "," if name == "a.csv" else "\t"
    text = "\ncontext,question\n\nx,y\n".replace(",", mark)
    assert rows_of(tmp_path, name, text) == [{"context": "x", "question": "y"}]
    with pytest.raises(errors.DataError, match="line 5: 3 fields where the header has 2"):
        rows_of(tmp_path, name, f"{text}a{mark}b{mark}c\n")


def test_lines_may_end_before_columns_that_nobody_reads(tmp_path, caplog):
    text = SNLI.replace("label1\n", "label1\tlabel2\n").replace('"Yes."', 'A "short" one.')
    rows = rows_of(tmp_path, "mnli.txt", text, "nli")
    assert [row["label2"] for row in rows] == ["", "", ""]
    assert rows[0]["sentence2"] == '"Run," said the owner.'
    assert "fewer fields than the header" in caplog.text
    with pytest.raises(errors.DataError, match="line 3: 4 fields where the header has 9"):
        rows_of(tmp_path, "mnli.txt", text.replace('\tA "short" one.\tc1\tc1#r1e\tneutral', ""), "nli")


def test_names_of_the_users_own_count_as_known(tmp_path):
    text = "q;a,b,c;passage\n1;2;3\n"
    raw = opened(tmp_path, "a.csv", text, columns={"question": "q", "context": "passage"}).read("train")
    assert raw.to_dict("records") == [{"question": "1", "a,b,c": "2", "context": "3"}]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.tsv", "context\tquestion\na\tb\n\nc\n", "line 4: 1 fields where the header has 2"),
        ("a.txt", 'context\tquestion\na\t"b\n', None),
        ("a.tsv", 'context\tquestion\n"a\tb"\t"c\n', "line 2: 3 fields where the header has 2"),
        ("a.tsv", "context\tcontext\na\tb\n", "has the column context more than once"),
        ("a.tsv", "context\n", "the first line gives one column, 'context'"),
    ],
)
def test_a_broken_table_is_one_sentence(tmp_path, name, text, sentence):
    if sentence is None:
        assert rows_of(tmp_path, name, text) == [{"context": "a", "question": '"b'}]
        return
    with pytest.raises(errors.DataError, match=sentence):
        rows_of(tmp_path, name, text)


def test_hans_and_snli_become_rows_with_their_own_ids(tmp_path):
    from datamap.data.examples import load_examples

    hans = load_examples(opened(tmp_path, "heuristics_evaluation_set.txt", HANS, "nli"), "train", "nli")
    assert hans.frame[["id", "premise", "hypothesis", "label"]].values.tolist() == [
        ["ex0", "The judge saw the actor .", "The actor saw the judge .", 1],
        ["ex1", "The judge and the actor slept .", "The actor slept .", 0],
    ]
    assert hans.label_names == ("entailment", "non-entailment")
    snli = load_examples(opened(tmp_path, "snli.txt", SNLI, "nli"), "train", "nli")
    assert (snli.frame["id"].tolist(), snli.label_names) == (["c1#r1n", "c2#r1c"], ("neutral", "contradiction"))
    assert snli.problems[["id", "problem"]].values.tolist() == [["c1#r1e", "no gold label"]]


def test_sick_holds_three_splits_in_one_file(tmp_path):
    from datamap.data.examples import eval_split_of, load_examples

    source = opened(tmp_path, "SICK.txt", SICK, "nli")
    assert source.splits == ("train", "trial", "test")
    assert eval_split_of(source, None) == "trial"
    train = load_examples(source, "train", "nli")
    assert train.frame[["id", "premise", "label"]].values.tolist() == [["1", "A man sits", 0], ["4", "A man eats", 0]]
    assert load_examples(source, "trial", "nli").label_names == ("neutral",)
    blanks = opened(tmp_path, "blanks.txt", SICK.replace("TRIAL", "Trial "), "nli")
    assert blanks.splits == ("train", "trial", "test")
    other = opened(tmp_path, "other.txt", SICK.replace("TRIAL", "EXTRA"), "nli")
    assert other.splits == ("train",)


def test_cells_longer_than_the_csv_module_expects(tmp_path):
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows([["context", "question"], ["x" * 200_000, "?"]])
    assert len(rows_of(tmp_path, "a.csv", text.getvalue())[0]["context"]) == 200_000
