"""cluster_analysis.py from the command line: its files, that order and repetition change nothing, its no."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from datamap.clusters import files
from datamap.embeddings.vectors import INDEX, METADATA, VECTORS
from datamap.files import manifests, outputs, pictures

STATISTICS = ["cluster", "size", "share", "persistence", "mean_probability", "n_approximate", "words"]
ASSIGNMENTS = ["id", "cluster", "cluster_probability", "dim1", "dim2", "assigned"]


def load(name, task):
    from datamap.data.examples import load_examples
    from datamap.data.sources import open_source

    return load_examples(open_source(name, task), "train", task)


@pytest.fixture(scope="module")
def demo():
    return load("demo", "qa").frame.set_index("id", drop=False)


def write_embeddings(directory, frame, vectors, *, dataset="demo", task="qa"):
    """A finished directory as extract_embeddings.py leaves it, with the given vectors for the rows of a frame."""
    from datamap.files.manifests import rows_fields

    ids = frame["id"].tolist()
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / VECTORS, np.asarray(vectors, dtype=np.float32))
    index = pd.DataFrame({"id": ids, "row": range(len(ids)), "span_source": "answer"})
    outputs.write_csv(directory / INDEX, index)
    outputs.write_json(directory / METADATA, {"task": task})
    rows = {"dataset": dataset, "split": "train", "held_out": None, "n_rows": len(ids)}
    rows["ids_sha256"] = manifests.ids_hash(ids)
    fields = {"script": "extract_embeddings.py", "task": task, "seed": 42, "data": {"rows": rows}}
    manifests.write_manifest(directory, fields | rows_fields(frame))
    return directory


def mixture(n_rows, n_clusters=6, n_columns=24, noise=0.2, seed=0):
    """(vectors, planted labels): Gaussian clusters in uniform noise, which is labelled -1."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(n_clusters, size=n_rows)
    vectors = generator.normal(size=(n_clusters, n_columns))[labels] * 4 + generator.normal(size=(n_rows, n_columns))
    is_noise = generator.random(n_rows) < noise
    vectors[is_noise] = generator.uniform(-20, 20, size=(is_noise.sum(), n_columns))
    return vectors, np.where(is_noise, -1, labels)


@pytest.fixture(scope="module")
def planted(tmp_path_factory, demo):
    """(directory, planted labels by id) of 720 rows of the demo data set."""
    vectors, labels = mixture(720)
    rows = demo.iloc[:720]
    directory = write_embeddings(tmp_path_factory.mktemp("planted") / "embeddings", rows, vectors)
    return directory, pd.Series(labels, index=rows["id"])


@pytest.fixture
def analyze(capsys):
    """Run cluster_analysis.py in this process, PCA for the map unless asked otherwise; (exit code, stdout, stderr)."""
    import cluster_analysis
    import helpers

    def call(*argv) -> tuple[int, str, str]:
        capsys.readouterr()
        words = ["--reduction_dim", "10", "--visualization_method", "pca", *map(str, argv)]
        if "none" in words[4:] and "--reduction_method" in words[4:]:
            words = words[2:]
        code = helpers.run_script(cluster_analysis.main, words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def blank_pictures(monkeypatch):
    """Figures are built but not painted, which takes most of a run's time."""
    monkeypatch.setattr(pictures, "write_figure", lambda path, figure: path.write_bytes(b""))


def by_id(directory):
    return files.read_clusters(directory).assignments.set_index("id").sort_index()


def assert_refused(answer, code, *parts):
    """One sentence on stderr, starting with "error:" and holding the parts; no traceback, nothing on stdout."""
    found, out, err = answer
    assert (found, out) == (code, ""), err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert err.count("error:") == 1
    for part in parts:
        assert part in last


def test_every_file_of_the_contract_is_there_with_its_columns(analyze, planted, tmp_path, demo, recwarn):
    directory, labels = planted
    code, out, err = analyze("--embedding_dir", directory, "--output_dir", tmp_path / "clusters", "--stability", 2)
    assert code == 0, err
    assert not [warning for warning in recwarn if "precomputed_knn" in str(warning.message)]
    assert {path.name for path in (tmp_path / "clusters").iterdir()} == {*files.FILES, "manifest.json"}
    found = files.read_clusters(tmp_path / "clusters")
    assert list(found.assignments.columns) == ASSIGNMENTS
    assert list(found.statistics.columns) == STATISTICS
    assert found.assignments["id"].tolist() == labels.index.tolist()
    assert adjusted_rand_score(labels, found.assignments["cluster"]) >= 0.95  # all rows, noise as its own cluster
    assert found.statistics["cluster"].tolist() == list(range(6))
    assert found.statistics["size"].is_monotonic_decreasing
    assert found.statistics["size"].sum() == (found.assignments["cluster"] >= 0).sum()
    np.testing.assert_allclose(found.statistics["share"], found.statistics["size"] / 720)
    members = found.assignments[found.assignments["cluster"] >= 0].groupby("cluster")["cluster_probability"]
    np.testing.assert_allclose(found.statistics["mean_probability"], members.mean(), rtol=1e-9)
    assert (found.assignments.loc[found.assignments["cluster"] < 0, "cluster_probability"] == 0).all()
    assert found.statistics["words"].str.count(", ").eq(2).all()
    for name in ("algorithm", "algorithm_reason", "variance_explained", "dbcv", "stability", "scan"):
        assert found.metadata[name] is not None
    assert found.metadata["noise_share"] == (found.assignments["cluster"] == -1).mean()
    assert len(found.metadata["stability_values"]) == 2
    assert found.manifest["data"]["rows"]["n_rows"] == 720
    assert found.manifest["ids_sha256"] == manifests.ids_hash(labels.index)
    for name in (files.MAP, files.PERSISTENCE, files.PROBABILITIES):
        assert (tmp_path / "clusters" / name).read_bytes().startswith(b"\x89PNG")
    assert out.startswith("6 clusters of 720 rows, ")
    assert len(out.splitlines()) < 40
    assert "with hdbscan: " in err
    assert "of the variance" in err


def test_samples_hold_members_with_their_texts(analyze, planted, tmp_path, demo, blank_pictures):
    assert analyze("--embedding_dir", planted[0], "--output_dir", tmp_path)[0] == 0
    assignments = by_id(tmp_path)
    samples = json.loads((tmp_path / files.SAMPLES).read_text(encoding="utf-8"))
    assert [part["cluster"] for part in samples["clusters"]] == list(range(6))
    for part in samples["clusters"]:
        shown = [part[kind] for kind in ("central", "uncertain", "random")]
        assert [len(records) for records in shown] == [5, 5, 5]
        ids = [record["id"] for records in shown for record in records]
        assert len(set(ids)) == 15
        assert set(assignments.loc[ids, "cluster"]) == {part["cluster"]}
        members = assignments[assignments["cluster"] == part["cluster"]]
        lowest = members.drop([record["id"] for record in part["central"]])["cluster_probability"].nsmallest(5)
        assert [record["probability"] for record in part["uncertain"]] == pytest.approx(lowest.tolist())
        for record in part["random"]:
            assert record["question"] == demo.loc[record["id"], "question"]
            assert f"[[{record['gold']}]]" in record["context"]
    assert {assignments.loc[record["id"], "cluster"] for record in samples["noise_samples"]} == {-1}


@pytest.mark.parametrize(
    "extra", [(), ("--max_samples", 500), ("--algorithm", "neighbour_graph", "--metric", "cosine")]
)
def test_repeated_runs_and_shuffled_rows_change_nothing(analyze, planted, tmp_path, demo, blank_pictures, extra):
    directory, labels = planted
    vectors = np.load(directory / VECTORS)
    order = np.random.default_rng(5).permutation(len(labels))
    shuffled = write_embeddings(tmp_path / "shuffled", demo.loc[labels.index[order]], vectors[order])
    for source, name in ((directory, "first"), (directory, "second"), (shuffled, "third")):
        assert analyze("--embedding_dir", source, "--output_dir", tmp_path / name, *extra)[0] == 0
    first = by_id(tmp_path / "first")
    pd.testing.assert_frame_equal(first, by_id(tmp_path / "second"), check_exact=True)
    pd.testing.assert_frame_equal(first, by_id(tmp_path / "third"), check_exact=True)
    for file in (files.STATISTICS, files.SAMPLES, files.METADATA):
        assert len({(tmp_path / name / file).read_text() for name in ("first", "second", "third")}) == 1, file
    third = files.read_clusters(tmp_path / "third").assignments
    assert third["id"].tolist() == labels.index[order].tolist()


@pytest.mark.slow
def test_umap_gives_the_same_map_whatever_the_order(analyze, planted, tmp_path, demo, blank_pictures):
    directory, labels = planted
    vectors = np.load(directory / VECTORS)
    order = np.random.default_rng(5).permutation(len(labels))
    shuffled = write_embeddings(tmp_path / "shuffled", demo.loc[labels.index[order]], vectors[order])
    extra = ("--visualization_method", "umap", "--reduction_method", "umap", "--max_samples", 650)
    for source, name in ((directory, "first"), (shuffled, "second")):
        assert analyze("--embedding_dir", source, "--output_dir", tmp_path / name, *extra)[0] == 0
    first = by_id(tmp_path / "first")
    pd.testing.assert_frame_equal(first, by_id(tmp_path / "second"), check_exact=True)
    assert np.isfinite(first[["dim1", "dim2"]]).all(axis=None)
    assert json.loads((tmp_path / "first" / files.METADATA).read_text())["variance_explained"] is None


def test_rows_beyond_max_samples_are_assigned_and_say_so(analyze, planted, tmp_path, blank_pictures):
    directory, labels = planted
    code, _, err = analyze("--embedding_dir", directory, "--output_dir", tmp_path, "--max_samples", 500)
    assert code == 0
    assert "500 of 720 rows, drawn with seed 42, are clustered" in err
    found = files.read_clusters(tmp_path)
    assert found.assignments["assigned"].value_counts().to_dict() == {"clustered": 500, "approximate": 220}
    rest = found.assignments["assigned"].to_numpy() == "approximate"
    assert adjusted_rand_score(labels[rest], found.assignments["cluster"][rest]) >= 0.95
    assert found.statistics["n_approximate"].sum() == (rest & (found.assignments["cluster"] >= 0)).sum()
    assert found.assignments["dim1"].notna().all()


class Scatterer:
    """A reduction that, as UMAP does, gives equal rows different places."""

    generator = np.random.default_rng(0)

    def fit_transform(self, points):
        return points[:, :24] + self.generator.normal(size=(len(points), 24))

    transform = fit_transform


@pytest.mark.parametrize("method", ["pca", "none", "umap"])
def test_equal_rows_are_one_row_clustered_or_assigned(analyze, demo, tmp_path, blank_pictures, method, monkeypatch):
    from datamap.clusters import pipeline

    monkeypatch.setattr(pipeline, "umap_model", lambda *_, **__: Scatterer())
    vectors, _ = mixture(60, noise=0)
    vectors = np.concatenate([vectors, np.repeat(vectors[:4], 15, axis=0)])
    directory = write_embeddings(tmp_path / "repeated", demo.iloc[:120], vectors)
    sizes = ("--max_samples", "80", "--min_cluster_size", "5", "--reduction_method", method)
    sizes = (*sizes, "--visualization_method", "none")
    sizes = (*sizes, "--reduction_dim", "24") if method != "none" else sizes
    code, _, err = analyze("--embedding_dir", directory, "--output_dir", tmp_path / "out", *sizes)
    assert code == 0, err
    found = by_id(tmp_path / "out").loc[demo["id"][:120]].reset_index()
    for row in range(4):
        copies = found.iloc[[row, *range(60 + 15 * row, 75 + 15 * row)]]
        assert set(copies["assigned"]) == {"clustered", "approximate"}
        assert (copies["cluster"].nunique(), set(copies["cluster_probability"])) == (1, {1.0})


def test_all_noise_is_said_and_written(analyze, demo, tmp_path, blank_pictures):
    vectors = np.random.default_rng(0).uniform(size=(200, 24))
    source = write_embeddings(tmp_path / "embeddings", demo.iloc[:200], vectors)
    code, out, err = analyze("--embedding_dir", source, "--output_dir", tmp_path / "out", "--min_cluster_size", 60)
    assert code == 0
    assert out.startswith("0 clusters of 200 rows, 100.0% noise")
    assert "No cluster was found" in err
    assert "lower --min_cluster_size" in err
    found = files.read_clusters(tmp_path / "out")
    assert set(found.assignments["cluster"]) == {-1}
    assert len(found.statistics) == 0
    assert (found.metadata["dbcv"], found.metadata["mean_probability"]) == (None, None)
    assert len(json.loads((tmp_path / "out" / files.SAMPLES).read_text())["noise_samples"]) == 5


def test_small_clusters_are_stable_when_they_are_plain(analyze, demo, tmp_path, blank_pictures):
    """Clusters hardly larger than --min_cluster_size: a resample of 63% of the rows has smaller ones."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(20, 16)) * 5
    vectors = np.repeat(centres, 20, axis=0) + generator.normal(size=(400, 16)) * 0.05
    source = write_embeddings(tmp_path / "embeddings", demo.iloc[:400], vectors)
    extra = ("--reduction_dim", 16, "--stability", 4)
    code, _, err = analyze("--embedding_dir", source, "--output_dir", tmp_path / "out", *extra)
    assert code == 0, err
    metadata = files.read_clusters(tmp_path / "out").metadata
    assert metadata["n_clusters"] == 20
    assert metadata["stability"] > 0.8  # 0.2 with sizes that do not shrink with the resample


def test_figures_speak_of_all_rows_those_assigned_afterwards_too(analyze, planted, tmp_path, blank_pictures):
    argv = ("--embedding_dir", planted[0], "--output_dir", tmp_path / "out", "--max_samples", 500)
    assert analyze(*argv)[0] == 0
    found = files.read_clusters(tmp_path / "out")
    members = found.assignments[found.assignments["cluster"] >= 0]
    assert found.metadata["noise_share"] == pytest.approx(1 - len(members) / len(found.assignments))
    assert found.metadata["mean_probability"] == pytest.approx(members["cluster_probability"].mean(), abs=1e-12)


def test_sizes_that_cannot_act_are_refused(analyze, demo, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(60, 8))
    source = write_embeddings(tmp_path / "embeddings", demo.iloc[:60], vectors)
    argv = ("--embedding_dir", source, "--output_dir", tmp_path / "out", "--reduction_dim", 5)
    code, _, err = analyze(*argv, "--min_samples", 150, "--min_cluster_size", 5)
    assert (code, "--min_samples 150 neighbours need more than the 60 rows" in err) == (1, True)
    code, _, err = analyze(*argv, "--min_samples", 30, "--min_cluster_size", 5, "--max_samples", 50)
    assert (code, "--min_samples 30 needs 60 clustered rows or more" in err) == (1, True)
    write_embeddings(tmp_path / "embeddings", demo.iloc[:60], np.tile(vectors[:1], (60, 1)))
    code, _, err = analyze(*argv)
    assert (code, "all 60 vectors are the same" in err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_one_cluster_is_said(analyze, demo, tmp_path, blank_pictures):
    vectors = np.random.default_rng(0).normal(size=(200, 24))
    source = write_embeddings(tmp_path / "embeddings", demo.iloc[:200], vectors)
    extra = ("--allow_single_cluster", "--min_cluster_size", 60)
    code, out, err = analyze("--embedding_dir", source, "--output_dir", tmp_path / "out", *extra)
    assert (code, out.startswith("1 clusters of 200 rows")) == (0, True)
    assert "one cluster: try without --allow_single_cluster" in err


def test_a_map_can_be_left_out(analyze, planted, tmp_path, blank_pictures):
    (tmp_path / files.MAP).write_bytes(b"of an earlier run")
    extra = ("--visualization_method", "none")
    assert analyze("--embedding_dir", planted[0], "--output_dir", tmp_path, *extra)[0] == 0
    assert not (tmp_path / files.MAP).exists()
    assert by_id(tmp_path)[["dim1", "dim2"]].isna().all(axis=None)


def test_nli_words_come_from_the_hypotheses(analyze, tmp_path, blank_pictures):
    frame = load("demo:nli", "nli").frame.iloc[:300].set_index("id", drop=False)
    source = write_embeddings(
        tmp_path / "embeddings", frame, mixture(300, 3, noise=0)[0], dataset="demo:nli", task="nli"
    )
    code, _, err = analyze("--embedding_dir", source, "--output_dir", tmp_path / "out")
    assert code == 0, err
    found = files.read_clusters(tmp_path / "out")
    said = " ".join(frame["hypothesis"]).lower()
    assert all(word in said for words in found.statistics["words"] for word in words.split(", "))
    samples = json.loads((tmp_path / "out" / files.SAMPLES).read_text(encoding="utf-8"))
    assert {"premise", "hypothesis", "gold"} <= samples["clusters"][0]["central"][0].keys()


def test_a_high_min_samples_and_a_cliff_are_warned_of(analyze, planted, demo, tmp_path, blank_pictures):
    extra = ("--min_samples", 201, "--min_cluster_size", 15)
    code, _, err = analyze("--embedding_dir", planted[0], "--output_dir", tmp_path / "costly", *extra)
    assert (code, "--min_samples 201" in err) == (0, True)
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.normal(size=(10, 24)) * 20, 17, axis=0) + generator.normal(size=(170, 24))
    source = write_embeddings(tmp_path / "embeddings", demo.iloc[:170], vectors)
    extra = ("--min_samples", 5)
    code, _, err = analyze("--embedding_dir", source, "--output_dir", tmp_path / "cliff", *extra)
    assert code == 0
    assert "falls off a cliff at --min_cluster_size 15: 10 clusters at 15, 0 at 19" in err


def damaged(source, tmp_path, how):
    """A copy of an embedding directory with one thing wrong."""
    import shutil

    directory = Path(shutil.copytree(source, tmp_path / "damaged"))
    if how == "unfinished":
        (directory / "manifest.json").unlink()
    elif how == "pickle":
        np.save(directory / VECTORS, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif how == "nan":
        vectors = np.load(directory / VECTORS)
        vectors[[3, 5], 2] = np.nan
        np.save(directory / VECTORS, vectors)
    elif how == "ids":
        index = pd.read_csv(directory / INDEX, dtype={"id": str})
        index.loc[0, "id"] = "stranger"
        outputs.write_csv(directory / INDEX, index)
        manifest = manifests.read_manifest(directory)
        outputs.write_json(directory / "manifest.json", manifest | {"ids_sha256": manifests.ids_hash(index["id"])})
    return directory


@pytest.mark.parametrize(
    ("how", "part"),
    [
        ("unfinished", "no manifest"),
        ("pickle", "cannot be read"),
        ("nan", "2 rows hold NaN"),
        ("ids", "stranger is not"),
    ],
)
def test_bad_embeddings_are_refused_and_nothing_is_written(analyze, planted, tmp_path, how, part):
    source = damaged(planted[0], tmp_path, how)
    assert_refused(analyze("--embedding_dir", source, "--output_dir", tmp_path / "out"), 1, part)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n_rows", [0, 1])
def test_one_row_makes_no_cluster(analyze, demo, tmp_path, n_rows):
    directory = write_embeddings(tmp_path / "one", demo.iloc[:n_rows], np.ones((n_rows, 4)))
    answer = analyze("--embedding_dir", directory, "--output_dir", tmp_path / "out")
    assert_refused(answer, 1, f"there is {n_rows or 'no'} row to cluster, and a cluster has two or more")


@pytest.mark.parametrize(
    ("argv", "code", "parts"),
    [
        (("--min_cluster_size", 721), 1, ("720 rows", "--min_cluster_size 721")),
        (("--max_samples", 10), 1, ("10 rows", "--min_cluster_size 15")),
        (("--reduction_dim", 25), 1, ("--reduction_dim 25", "24 or less")),
        (("--min_cluster_size", 1), 2, ("--min_cluster_size 1",)),
        (("--reduction_dim", 1), 2, ("--reduction_dim 1",)),
        (("--metric", "manhattan"), 2, ("manhattan",)),
        (("--min_cluster_sise", 5), 2, ("--min_cluster_sise",)),
    ],
)
def test_what_cannot_be_done_is_refused(analyze, planted, tmp_path, argv, code, parts):
    answer = analyze("--embedding_dir", planted[0], "--output_dir", tmp_path / "out", *argv)
    assert_refused(answer, code, *parts)
    assert not (tmp_path / "out").exists()


def test_directories_and_packages_are_refused(analyze, planted, tmp_path, monkeypatch):
    source, _ = planted
    before = {path.name: path.stat().st_mtime_ns for path in source.iterdir()}
    assert_refused(analyze("--embedding_dir", tmp_path / "no", "--output_dir", tmp_path), 1, "no such directory")
    assert_refused(analyze("--embedding_dir", source, "--output_dir", source), 2, "as well")
    foreign = tmp_path / "foreign"
    manifests.write_manifest(foreign, {"script": "run.py"})
    assert_refused(analyze("--embedding_dir", source, "--output_dir", foreign), 2, "another script")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = analyze("--embedding_dir", source, "--output_dir", tmp_path / "out", "--algorithm", "fast_hdbscan")
    assert_refused(answer, 2, "uv sync --extra fast")
    assert {path.name: path.stat().st_mtime_ns for path in source.iterdir()} == before


def test_reduction_dim_without_reduction_is_refused(planted, tmp_path):
    import cluster_analysis
    from datamap.errors import UsageError

    with pytest.raises(UsageError, match="--reduction_dim acts with"):
        cluster_analysis.parse_arguments(["--reduction_method", "none", "--reduction_dim", "5"])


def test_clusters_that_do_not_belong_together_are_refused(analyze, planted, tmp_path, blank_pictures):
    from datamap.errors import DataError

    assert analyze("--embedding_dir", planted[0], "--output_dir", tmp_path)[0] == 0
    outputs.write_csv(tmp_path / files.STATISTICS, files.read_clusters(tmp_path).statistics[1:])
    with pytest.raises(DataError, match="does not belong to"):
        files.read_clusters(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match="no finished clusters"):
        files.read_clusters(tmp_path)
    with pytest.raises(DataError, match="no such directory"):
        files.read_clusters(tmp_path / "no")
