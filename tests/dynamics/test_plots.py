"""The figures of a recording, read back from their artists: what is drawn, how often, where, and what is written."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from datamap.dynamics import plots
from datamap.dynamics.measures import REGIONS
from tests.paths import ROOT

NAMES = {"easy": "easy-to-learn", "ambiguous": "ambiguous", "hard": "hard-to-learn"}


def gold_probabilities(n_rows, n_epochs, seed=0):
    """Float64 [n_epochs, n_rows]: a mixture of learnt, wavering and never learnt examples."""
    generator = np.random.default_rng(seed)
    shapes = np.array([[8.0, 1.0], [1.0, 1.0], [1.0, 8.0]])[generator.choice(3, n_rows, p=(0.6, 0.25, 0.15))]
    return generator.beta(shapes[:, 0], shapes[:, 1], (n_epochs, n_rows))


def metrics_frame(n_rows, n_epochs, seed=0):
    probs = gold_probabilities(n_rows, n_epochs, seed)
    correct = probs > 0.5
    confidence, variability = probs.mean(axis=0), probs.std(axis=0)
    wavering = (variability > 0.2, confidence >= 0.5)
    return pd.DataFrame(
        {
            "id": [f"{row:06d}" for row in range(n_rows)],
            "confidence": confidence,
            "variability": variability,
            "correctness": correct.mean(axis=0),
            "forgetting_events": (correct[:-1] & ~correct[1:]).sum(axis=0),
            "threshold_closeness": confidence * (1 - confidence),
            "aum": np.log(probs / (1 - probs)).mean(axis=0),
            "num_epochs": n_epochs,
            "region": np.select(wavering, ["ambiguous", "easy"], "hard"),
        }
    )


def saved(figure):
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=50)
    return picture.getvalue()


def drawn_map(frame, n_epochs, seed=42, title="demo"):
    figure = plots.data_map(frame, title=title, n_epochs=n_epochs, seed=seed)
    (points,) = figure.axes[0].collections
    return figure, points


def bar_heights(axes):
    return np.array([bar.get_height() for bar in axes.patches])


def shapes_and_colours(points):
    """One (vertices, colour) a point, in the order of drawing; colours without their alpha."""
    return [
        (path.vertices.tobytes(), tuple(colour[:3]))
        for path, colour in zip(points.get_paths(), points.get_facecolors(), strict=True)
    ]


def test_every_row_is_drawn_at_its_place_and_the_note_counts_them():
    frame = metrics_frame(700, 4)
    figure, points = drawn_map(frame, 4)
    expected = frame[["variability", "confidence"]].to_numpy()
    assert np.array_equal(np.sort(points.get_offsets(), axis=0), np.sort(expected, axis=0))
    assert {tuple(point) for point in points.get_offsets()} == {tuple(point) for point in expected}
    assert figure.axes[0].get_title(loc="left") == "examples: 700; epochs: 4"
    assert figure.axes[0].get_xlim()[0] <= 0
    assert figure.axes[0].get_xlim()[1] >= 0.5


def test_a_large_map_draws_a_seeded_sample_and_says_so():
    frame = metrics_frame(20_500, 3)
    figure, points = drawn_map(frame, 3)
    assert figure.axes[0].get_title(loc="left") == "20,000 of 20,500 examples drawn, seed 42; epochs: 3"
    drawn = {tuple(point) for point in points.get_offsets()}
    assert len(drawn) == len(points.get_paths()) == 20_000
    assert drawn < {tuple(point) for point in frame[["variability", "confidence"]].to_numpy()}
    again, other = drawn_map(frame, 3)[1], drawn_map(frame, 3, seed=43)[1]
    assert np.array_equal(again.get_offsets(), points.get_offsets())
    assert {tuple(point) for point in other.get_offsets()} != drawn
    for beside in figure.axes[1:]:
        assert bar_heights(beside).sum() == 20_500


def test_the_order_of_rows_changes_nothing_and_levels_are_mixed():
    frame = metrics_frame(900, 3)
    frame = frame.sort_values("correctness").assign(id=frame["id"].to_numpy())
    points, turned = drawn_map(frame, 3)[1], drawn_map(frame.iloc[::-1], 3)[1]
    assert np.array_equal(points.get_offsets(), turned.get_offsets())
    assert shapes_and_colours(points) == shapes_and_colours(turned)
    always_correct = to_place(frame, points) == 1
    halves = always_correct[:450].mean(), always_correct[450:].mean()
    # Sorted rows would give 0 and nearly 1; the standard error of the difference of two halves is 0.03.
    assert abs(halves[0] - halves[1]) < 0.15


def to_place(frame, points):
    """The correctness of every point drawn, found by its place on the map."""
    places = zip(frame["variability"], frame["confidence"], strict=True)
    correctness = dict(zip(places, frame["correctness"], strict=True))
    return np.array([correctness[tuple(point)] for point in points.get_offsets()])


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 5])
def test_every_correctness_has_a_marker_a_colour_and_a_legend_entry_of_its_own(n_epochs):
    frame = metrics_frame(2000, n_epochs)
    figure, points = drawn_map(frame, n_epochs)
    pairs = set(zip(to_place(frame, points), shapes_and_colours(points), strict=True))
    levels = np.arange(n_epochs + 1) / n_epochs
    assert sorted(correctness for correctness, _ in pairs) == pytest.approx(levels)
    assert len({shape for _, (shape, _) in pairs}) == len({colour for _, (_, colour) in pairs}) == n_epochs + 1
    legend = figure.axes[0].get_legend()
    assert legend.get_title().get_text() == "correctness"
    assert [float(text.get_text()) for text in legend.get_texts()] == pytest.approx(levels, abs=0.005)
    colour_of = {correctness: colour for correctness, (_, colour) in pairs}
    in_legend = [tuple(to_rgba(handle.get_color())[:3]) for handle in legend.legend_handles]
    assert in_legend == [colour_of[correctness] for correctness in sorted(colour_of)]
    markers = [handle.get_marker() for handle in legend.legend_handles]
    assert len(set(markers)) == n_epochs + 1
    assert saved(figure)


def test_colours_of_levels_grow_lighter():
    figure, _ = drawn_map(metrics_frame(50, 10), 10)
    handles = figure.axes[0].get_legend().legend_handles
    lightness = [np.dot(to_rgba(handle.get_color())[:3], (0.2126, 0.7152, 0.0722)) for handle in handles]
    assert (np.diff(lightness) > 0.05).all()


def test_many_epochs_fall_into_six_bins_with_never_and_always_apart():
    values = [0, 0.1, 0.25, 0.3, 0.5, 0.6, 0.75, 0.8, 0.9, 0.95, 1.0, 1.0]
    frame = metrics_frame(len(values), 10).assign(correctness=values)
    figure, points = drawn_map(frame, 10)
    assert list(bar_heights(figure.axes[3])) == [1, 2, 2, 2, 3, 2]
    assert len(set(shapes_and_colours(points))) == 6
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["0", "to 0.25", "to 0.5", "to 0.75", "below 1", "1"]


def test_rows_that_stopped_early_go_to_the_nearest_level():
    values = [0, 1 / 3, 2 / 3, 1, 0.5, np.float32(0.2), 0.6 + 1e-12, 0.0]
    frame = metrics_frame(len(values), 5).assign(correctness=values)
    figure, _ = drawn_map(frame, 5)
    # Levels 0, 0.2, 0.4, 0.6, 0.8, 1: 1/3 goes to 0.4, 2/3 to 0.6, and 0.5 to the lower of its two neighbours.
    assert list(bar_heights(figure.axes[3])) == [2, 1, 2, 2, 0, 1]


def test_histograms_of_the_map_equal_counts_of_our_own():
    frame = metrics_frame(1000, 5)
    figure, _ = drawn_map(frame, 5)
    confidence, variability, correctness = figure.axes[1:]
    for axes, metric, width in ((confidence, "confidence", 0.04), (variability, "variability", 0.02)):
        counted = np.bincount((frame[metric] // width).astype(int), minlength=25)
        assert list(bar_heights(axes)) == list(counted)
        assert axes.get_xlabel() == metric
    counted = np.bincount((frame["correctness"] * 5).round().astype(int), minlength=6)
    assert list(bar_heights(correctness)) == list(counted)


def test_values_a_rounding_error_outside_their_range_are_counted():
    frame = metrics_frame(20, 3)
    frame.loc[0, ["confidence", "variability", "threshold_closeness"]] = [1 + 1e-9, 0.5 + 1e-9, -1e-12]
    for figure in (drawn_map(frame, 3)[0], plots.metric_distributions(frame)):
        histograms = [axes for axes in figure.axes if not axes.collections]
        assert [totals(axes) for axes in histograms] == [20] * len(histograms)


def totals(axes):
    """Examples counted in a plain or stacked histogram."""
    return sum(bar.get_height() for container in axes.containers for bar in container)


@pytest.mark.parametrize("present", [["easy"], ["hard", "easy"], ["ambiguous", "hard"], list(REGIONS)])
def test_exactly_the_regions_with_members_are_named_apart_from_each_other(present):
    frame = metrics_frame(600, 4)
    frame = frame[frame["region"].isin(present)]
    figure, _ = drawn_map(frame, 4)
    names = figure.axes[0].texts
    assert {name.get_text() for name in names} == {NAMES[region] for region in present}
    figure.draw_without_rendering()
    inside = figure.axes[0].get_window_extent()
    boxes = [name.get_bbox_patch().get_window_extent() for name in names]
    for place, box in enumerate(boxes):
        assert inside.x0 < box.x0 < box.x1 < inside.x1
        assert inside.y0 < box.y0 < box.y1 < inside.y1
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_regions_in_one_place_are_named_beside_each_other():
    frame = metrics_frame(90, 4).assign(confidence=0.5, variability=0.25, region=list(REGIONS) * 30)
    figure, _ = drawn_map(frame, 4)
    figure.draw_without_rendering()
    boxes = [name.get_bbox_patch().get_window_extent() for name in figure.axes[0].texts]
    assert len(boxes) == 3
    assert not any(box.overlaps(other) for place, box in enumerate(boxes) for other in boxes[:place])


def test_names_stand_near_their_members_and_off_the_crowd():
    frame = metrics_frame(3000, 5)
    figure, points = drawn_map(frame, 5)
    figure.draw_without_rendering()
    on_screen = figure.axes[0].transData.transform(points.get_offsets())
    region_of = {text: region for region, text in NAMES.items()}
    for name in figure.axes[0].texts:
        members = frame[frame["region"] == region_of[name.get_text()]]
        x, y = name.get_position()
        steps = np.hypot((members["variability"] - x) / 0.5, members["confidence"] - y)
        assert steps.min() < 0.15
        assert name.get_bbox_patch().get_window_extent().count_contains(on_screen) < 0.02 * len(frame)


def test_a_small_region_beside_a_large_one_is_named_among_its_own():
    generator = np.random.default_rng(0)
    frame = metrics_frame(1000, 4).assign(confidence=generator.uniform(0.6, 0.9, 1000))
    small = np.arange(1000) >= 950
    frame["region"] = np.where(small, "ambiguous", "easy")
    frame["variability"] = np.where(small, 0.15 + 0.2 * generator.random(1000) ** 3, 0.2 * generator.random(1000))
    (name,) = [text for text in drawn_map(frame, 4)[0].axes[0].texts if text.get_text() == "ambiguous"]
    x, y = name.get_position()
    steps = np.hypot((frame["variability"] - x) / 0.5, frame["confidence"] - y)
    assert set(frame["region"][steps.nsmallest(5).index]) == {"ambiguous"}


@pytest.mark.parametrize(("n_epochs", "warned"), [(1, True), (2, True), (3, False), (10, False)])
def test_few_epochs_are_remarked_upon(n_epochs, warned):
    note = drawn_map(metrics_frame(30, n_epochs), n_epochs)[0].axes[0].get_title(loc="left")
    assert ("variability means little with fewer than 3" in note) == warned


def test_distributions_count_every_row_of_every_region():
    frame = metrics_frame(800, 5).assign(span_f1=0.5, loss=2.0)
    figure = plots.metric_distributions(frame)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[:5] == ["confidence", "variability", "correctness", "forgetting events", "threshold closeness"]
    assert labels[5:] == ["area under the margin (logits)", "span F1", "loss (nats)"]
    expected = frame["region"].value_counts()
    for axes in figure.axes:
        counted = [sum(bar.get_height() for bar in container) for container in axes.containers]
        assert counted == [expected[region] for region in REGIONS]
        heights = np.array([[bar.get_height() for bar in container] for container in axes.containers])
        bottoms = np.array([[bar.get_y() for bar in container] for container in axes.containers])
        assert np.array_equal(bottoms, np.cumsum(heights, axis=0) - heights)
        colours = [container[0].get_facecolor() for container in axes.containers]
        assert colours == [to_rgba(plots.REGION_COLOURS[region]) for region in REGIONS]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"{NAMES[r]} ({expected[r]})" for r in REGIONS]


def test_distributions_leave_out_absent_metrics_and_regions():
    frame = metrics_frame(200, 5)
    figure = plots.metric_distributions(frame[frame["region"] != "ambiguous"])
    assert len(figure.axes) == 6
    texts = [text.get_text().split(" (")[0] for text in figure.legends[0].get_texts()]
    assert texts == ["easy-to-learn", "hard-to-learn"]


def test_forgetting_events_have_a_bar_a_number():
    frame = metrics_frame(6, 5).assign(forgetting_events=[0, 0, 0, 1, 3, 3], region="easy")
    axes = plots.metric_distributions(frame).axes[3]
    bars = {round(bar.get_x() + bar.get_width() / 2, 9): bar.get_height() for bar in axes.patches}
    assert bars == {0: 3, 1: 1, 2: 0, 3: 2}


def test_confidence_boxes_are_the_quartiles_of_their_level():
    frame = metrics_frame(1500, 4)
    figure = plots.confidence_vs_correctness(frame)
    (axes,) = figure.axes
    by_level = frame.groupby("correctness")["confidence"]
    heights = [box.get_path().vertices[:, 1] for box in axes.patches]
    assert [box.min() for box in heights] == pytest.approx(by_level.quantile(0.25).to_list())
    assert [box.max() for box in heights] == pytest.approx(by_level.quantile(0.75).to_list())
    # Whiskers end at the outermost values inside the 5th and 95th percentile.
    ends = [level[level.between(level.quantile(0.05), level.quantile(0.95))] for _, level in by_level]
    tips = {line.get_ydata()[1] for line in axes.lines if len(set(line.get_xdata())) == 1}
    assert tips == {tip for level in ends for tip in (level.min(), level.max())}
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    expected = [f"{level:g}\nn = {count:,}" for level, count in by_level.size().items()]
    assert ticks == expected
    jittered = np.concatenate([points.get_offsets() for points in axes.collections])
    assert np.array_equal(np.sort(jittered[:, 1]), np.sort(frame["confidence"]))
    correctness = dict(zip(frame["confidence"], frame["correctness"], strict=True))
    assert [correctness[y] for y in jittered[:, 1]] == [round(x) / 4 for x in jittered[:, 0]]


def test_large_data_have_boxes_alone_and_empty_levels_say_so():
    frame = metrics_frame(5001, 3)
    frame = frame.assign(correctness=frame["correctness"].where(frame["correctness"] > 0.5, 0))
    figure = plots.confidence_vs_correctness(frame)
    assert len(figure.axes[0].collections) == 0
    assert "0.33\nn = 0" in [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert saved(figure)


def group_table():
    rows = [
        ("gold_label", "entailment", 1200, 0.9, 0.7, 0.2, 0.1),
        ("gold_label", "neutral", 800, 0.5, 0.25, 0.25, 0.5),
        ("negation", "with $^{ and $_} <b>", 30, 0.2, 0.0, 0.0, 1.0),
        ("negation", "a name far too long to stand beside a bar of the figure", 1970, 1.0, 1.0, 0.0, 0.0),
        ("negation", "$unbalanced^{", 5, 0.4, 0.4, 0.3, 0.3),
    ]
    return pd.DataFrame(rows, columns=["grouping", "group", "count", "confidence", *REGIONS])


def test_bars_are_as_wide_as_the_shares_and_stand_end_to_end():
    table = group_table()
    figure = plots.category_analysis(table)
    blocks = [rows for _, rows in table.groupby("grouping")]
    assert len(figure.axes) == 2 * len(blocks)
    for rows, shares, confidence in zip(blocks, figure.axes[::2], figure.axes[1::2], strict=True):
        stacks = shares.containers
        widths = np.array([[bar.get_width() for bar in stack] for stack in stacks]).T
        lefts = np.array([[bar.get_x() for bar in stack] for stack in stacks]).T
        # A bar's width is the difference of its two ends.
        assert widths == pytest.approx(rows[list(REGIONS)].to_numpy(), abs=1e-12)
        assert lefts == pytest.approx(np.cumsum(widths, axis=1) - widths, abs=1e-12)
        assert [bar.get_width() for bar in confidence.patches] == rows["confidence"].to_list()
        assert shares.yaxis_inverted()
        assert confidence.get_ylim() == shares.get_ylim()


def test_groups_are_named_shortly_with_their_counts_under_their_heading():
    figure = plots.category_analysis(group_table())
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == ["gold label", "negation"]
    first, second = ([label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes[::2])
    assert first == ["entailment (1,200)", "neutral (800)"]
    assert second[0] == "with $^{ and $_} <b> (30)"
    assert second[1] == "a name far too long to stand… (1,970)"
    written = [text.get_text() for text in figure.axes[2].texts]
    assert sorted(text for text in written if text) == ["100%", "100%", "30%", "30%", "40%"]


def test_dollars_in_names_and_titles_start_no_formula():
    assert saved(plots.category_analysis(group_table()))
    assert saved(plots.category_analysis(group_table().assign(grouping="costs_$^{ and $_}")))
    figure, _ = drawn_map(metrics_frame(40, 3), 3, title="$^{ of <b> and $_}")
    assert figure.get_suptitle() == "$^{ of <b> and $_}"
    assert saved(figure)


def dynamics_with_gaps():
    probs = gold_probabilities(300, 4, seed=5)
    probs[3, ::3] = np.nan
    probs[1, 7] = np.nan
    regions = np.array(["easy", "hard"])[(np.arange(300) % 5 == 0).astype(int)]
    return probs, regions


def test_lines_are_means_and_bands_quartiles_of_the_examples_seen():
    probs, regions = dynamics_with_gaps()
    (axes,) = plots.dynamics_by_region(probs, regions).axes
    for region, line, band in zip(["easy", "hard"], axes.lines, axes.collections, strict=True):
        seen = pd.DataFrame(probs[:, regions == region]).T
        assert line.get_xdata() == pytest.approx([1, 2, 3, 4])
        assert line.get_ydata() == pytest.approx(seen.mean().to_list())
        corners = band.get_paths()[0].vertices
        edges = [np.unique(corners[corners[:, 0] == epoch, 1]) for epoch in (1, 2, 3, 4)]
        assert [edge[0] for edge in edges] == pytest.approx(seen.quantile(0.25).to_list())
        assert [edge[-1] for edge in edges] == pytest.approx(seen.quantile(0.75).to_list())
        assert to_rgba(line.get_color()) == to_rgba(plots.REGION_COLOURS[region])
    assert "25th to 75th percentile" in axes.get_title(loc="left")


def test_an_empty_region_has_no_line_and_the_others_their_counts():
    probs, regions = dynamics_with_gaps()
    figure = plots.dynamics_by_region(probs, regions)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["easy-to-learn (240)", "hard-to-learn (60)"]
    assert len(figure.axes[0].lines) == 2
    styles = [(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines]
    assert len(set(styles)) == 2


@pytest.mark.filterwarnings("error")
def test_epochs_in_which_a_region_was_never_seen_have_no_point():
    probs, regions = dynamics_with_gaps()
    probs[2, regions == "hard"] = np.nan
    figure = plots.dynamics_by_region(probs, regions)
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[1, 2, 3, 4], [1, 2, 4]]
    assert saved(figure)


def test_a_single_epoch_is_drawn_with_markers_at_a_whole_number():
    figure = plots.dynamics_by_region(gold_probabilities(50, 1), np.full(50, "ambiguous"))
    (line,) = figure.axes[0].lines
    assert (list(line.get_xdata()), line.get_marker() not in ("", "None")) == ([1], True)
    lower, upper = figure.axes[0].get_xlim()
    assert [tick for tick in figure.axes[0].get_xticks() if lower <= tick <= upper] == [1]
    assert saved(figure)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_rows", [1, 40])
def test_one_row_and_equal_rows_can_be_drawn(n_rows):
    frame = metrics_frame(1, 5).loc[[0] * n_rows].assign(id=[str(row) for row in range(n_rows)])
    probs = np.repeat(gold_probabilities(1, 5), n_rows, axis=1)
    assert saved(drawn_map(frame, 5)[0])
    assert saved(plots.metric_distributions(frame))
    assert saved(plots.confidence_vs_correctness(frame))
    assert saved(plots.dynamics_by_region(probs, frame["region"].to_numpy()))


def test_no_text_is_smaller_than_nine_points():
    frame = metrics_frame(100, 10)
    figures = [
        drawn_map(frame, 10)[0],
        plots.metric_distributions(frame),
        plots.confidence_vs_correctness(frame),
        plots.category_analysis(group_table()),
        plots.dynamics_by_region(gold_probabilities(100, 10), frame["region"].to_numpy()),
    ]
    for figure in figures:
        texts = figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
        assert min(text.get_fontsize() for text in texts) >= 9


def test_pyplot_with_its_global_figures_is_never_imported():
    program = "import sys; import datamap.dynamics.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
