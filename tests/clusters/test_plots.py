"""The figures of clusters, read back from their artists."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from datamap.clusters import plots


def frames(n_clusters, n_rows=600, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_clusters), generator.integers(-1, n_clusters, size=n_rows - n_clusters)])
    centres = generator.normal(size=(n_clusters + 1, 2)) * 10
    points = centres[labels] + generator.normal(size=(n_rows, 2))
    assignments = pd.DataFrame({"id": [f"{row:05d}" for row in range(n_rows)], "cluster": labels})
    assignments["cluster_probability"] = np.where(labels < 0, 0, generator.random(n_rows))
    assignments[["dim1", "dim2"]] = points
    counts = np.bincount(labels[labels >= 0], minlength=n_clusters)
    statistics = pd.DataFrame({"cluster": range(n_clusters), "size": counts})
    statistics["persistence"] = np.linspace(0.9, 0.1, n_clusters)
    return assignments, statistics.assign(words=[f"$alpha, beta{number}, gamma" for number in range(n_clusters)])


def saved(figure):
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=40)
    return picture.getvalue()


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def test_every_row_is_drawn_once_and_noise_lies_underneath():
    assignments, statistics = frames(3)
    axes = plots.cluster_map(assignments, statistics, title="$demo", method="UMAP").axes[0]
    noise, *groups = axes.collections
    assert len(groups) == 3
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("UMAP 1", "UMAP 2")
    drawn = np.concatenate([group.get_offsets() for group in (noise, *groups)])
    expected = assignments[["dim1", "dim2"]].to_numpy()
    assert {tuple(point) for point in drawn} == {tuple(point) for point in expected}
    assert len(noise.get_offsets()) == (assignments["cluster"] == -1).sum()
    assert noise.get_zorder() < min(group.get_zorder() for group in groups)
    assert texts_of(axes) == [f"{number}: $alpha,\nbeta{number},\ngamma" for number in range(3)]


@pytest.mark.parametrize("n_clusters", [12, 60])
def test_no_two_names_on_the_map_overlap(n_clusters):
    figure = plots.cluster_map(*frames(n_clusters, 3_000), title="demo", method="UMAP")
    saved(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    overlaps = [(a, b) for place, a in enumerate(boxes) for b in boxes[:place] if a.overlaps(b)]
    assert (len(boxes), overlaps) == (n_clusters, [])


def test_many_clusters_are_numbered_and_listed_beside_the_map():
    figure = plots.cluster_map(*frames(60, 3_000), title="demo", method="UMAP")
    assert sorted(texts_of(figure.axes[0]), key=int) == [str(number) for number in range(60)]
    listed = texts_of(figure.axes[1])
    assert len(listed) == 61
    assert listed[1].startswith("0: $alpha, beta0, gamma (")


def test_phrases_without_blanks_are_cut_to_the_room_there_is():
    assignments, statistics = frames(3)
    statistics["words"] = ["\u75c5" * 70, "a, " + "\u836f" * 70, "dose, drug"]
    for figure in (
        plots.cluster_map(assignments, statistics, title="x", method="PCA"),
        plots.persistence_bars(statistics),
    ):
        lines = [line for text in figure.findobj(Text) for line in text.get_text().split("\n")]
        assert any(line.startswith("0: " + "\u75c5" * 20) for line in lines)
        assert any("\u836f" * 20 in line for line in lines)
        assert max(map(len, lines)) <= 60


def test_more_clusters_than_can_be_listed_are_said():
    figure = plots.cluster_map(*frames(70, 3_000), title="demo", method="UMAP")
    assert "the 60 largest" in texts_of(figure.axes[1])[0]
    _, statistics = frames(70, 3_000)
    axes = plots.persistence_bars(statistics).axes[0]
    assert len(axes.patches) == 60
    assert "60 largest of 70" in axes.get_title(loc="left")


def test_near_clusters_differ_in_colour_and_no_two_of_49_look_the_same():
    centres = np.random.default_rng(0).normal(size=(49, 2))
    looks = plots.distinct_looks(centres)
    assert len(set(plots.distinct_looks(centres[:7]))) == 7
    distances = np.linalg.norm(centres[:, None] - centres, axis=2) + 99 * np.eye(49)
    nearest = distances.argmin(axis=1)
    assert [place for place, other in enumerate(nearest) if looks[place][0] == looks[other][0]] == []


def test_a_large_map_says_how_many_rows_it_draws(monkeypatch):
    monkeypatch.setattr(plots, "MAX_POINTS", 250)
    axes = plots.cluster_map(*frames(3), title="demo", method="UMAP").axes[0]
    assert sum(len(group.get_offsets()) for group in axes.collections) == 200
    assert "200 rows drawn" in axes.get_title(loc="left")


def test_bars_and_boxes_show_the_numbers():
    assignments, statistics = frames(4)
    bars = plots.persistence_bars(statistics).axes[0]
    assert [bar.get_width() for bar in bars.patches] == statistics["persistence"].tolist()
    boxes = plots.probability_distributions(assignments, statistics).axes[0]
    medians = [line.get_xdata()[0] for line in boxes.lines if line.get_linewidth() == 2]
    assert medians == pytest.approx(assignments.groupby("cluster")["cluster_probability"].median()[1:].tolist())
    names = [label.get_text() for label in boxes.get_yticklabels()]
    assert names == [f"{n}: $alpha, beta{n}, gamma ({size:,})" for n, size in enumerate(statistics["size"])]


def test_no_cluster_is_a_sentence_not_an_empty_picture():
    assignments, statistics = frames(3)
    assignments, statistics = assignments.assign(cluster=-1), statistics[:0]
    for figure in (plots.persistence_bars(statistics), plots.probability_distributions(assignments, statistics)):
        assert texts_of(figure.axes[0]) == ["no cluster was found: all rows are noise"]
    assert "clusters: 0" in plots.cluster_map(assignments, statistics, title="x", method="PCA").axes[0].get_title(
        loc="left"
    )


def test_the_same_frame_gives_the_same_picture_in_any_order():
    assignments, statistics = frames(5)
    shuffled = assignments.sample(frac=1, random_state=1)
    first, second = (
        saved(plots.cluster_map(frame, statistics, title="x", method="PCA")) for frame in (assignments, shuffled)
    )
    assert first == second
