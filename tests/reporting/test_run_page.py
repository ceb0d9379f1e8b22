"""The page of a run holds everything itself, and shows what the run's files say."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from gm_jax import session
from gm_jax.images import save_png
from gm_jax.reporting import page
from gm_jax.reporting.curves import chart, read_curves
from tests import toy as toy_page

VOID = {"meta", "img", "rect", "polyline", "circle", "br"}


class Outline(HTMLParser):
    """What a page refers to, and whether its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory, toy):
    workdir, elsewhere = (tmp_path_factory.mktemp(name) for name in ("run", "elsewhere"))
    session.run(toy_page.get_config(), str(workdir), "train")
    command = ["--config=tests/toy.py"]
    config = toy_page.get_config()
    session.run(config, str(workdir), "report", output=str(elsewhere), command=command)
    return workdir, (elsewhere / "report.html").read_text()


def test_it_needs_no_network_and_no_script(written):
    outline = Outline(written[1])
    assert "script" not in outline.tags and "link" not in outline.tags
    assert all(source.startswith("data:image/") for source in outline.sources)
    assert re.search(r"https?:|url\(|@import", written[1]) is None and len(written[1]) < 3e6


def test_it_shows_numbers_curves_pictures_and_the_config(written):
    workdir, text = written
    outline = Outline(text)
    score = json.loads((workdir / "test.json").read_text())
    assert f"{score['bits_per_dim']:.4g} ± {score['standard_error']:.2g}" in outline.text
    assert "--config=tests/toy.py --workdir=WORKDIR" in outline.text
    for name in read_curves(workdir):
        assert re.search(rf">{name}( \(logarithmic\))?</text>", text), name
    for heading in ("Samples", "Reconstructions", "Interpolations", "Config"):
        assert f"<h2>{heading}</h2>" in text
    assert "learning_rate_decay" in outline.text
    encoded = [source.partition("base64,")[2] for source in outline.sources]
    kinds = [Image.open(io.BytesIO(base64.b64decode(each))) for each in encoded]
    assert max(getattr(image, "n_frames", 1) for image in kinds) > 2  # the animation moves


def test_a_chart_spans_its_values_and_one_point_is_seen():
    drawn = chart(
        "x", {"a": [(0, 1.0), (5, 3.0), (10, 2.0)], "b": [(10, 2.0)]}, {"a": "1", "b": "2"}
    )
    first, *_ = re.findall(r'points="([^"]*)"', drawn)
    places = np.array([pair.split(",") for pair in first.split()], float)
    np.testing.assert_allclose(places, [(58, 178), (204, 26), (350, 102)])
    assert drawn.count("<circle") == 2 and "logarithmic" not in drawn
    wide = chart("x", {"a": [(0, 1.0), (1, 10.0), (2, 1000.0)]}, {"a": "1"})
    heights = [float(y) for y in re.findall(r",([\d.]+)", wide.split('points="')[1].split('"')[0])]
    np.testing.assert_allclose(heights, [178, 178 - 152 / 3, 26], atol=0.1)
    assert "x (logarithmic)" in wide


def test_a_long_curve_is_drawn_by_the_means_of_neighbours():
    curve = [(step, float(step % 2)) for step in range(1, 2001)]
    points = re.search(r'points="([^"]*)"', chart("x", {"": curve}, {"": "c"}))[1].split()
    assert len(points) <= 300
    heights = np.array([float(point.split(",")[1]) for point in points[:-1]])
    assert np.abs(heights - 102).max() < 15  # halfway up


def test_text_is_escaped_and_large_pictures_shrink(tmp_path):
    tag = "<script>alert('x')</script>&"
    text = page.page(tag, tag, [(tag, page.table([tag], [[tag]]) + page.config({tag: tag}))])
    assert "script" not in Outline(text + chart(tag, {tag: [(0, 0.0)]}, {tag: "red"})).tags
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3)).astype(np.uint8)
    save_png(tmp_path / "noise.png", noise)
    assert len(page.picture(tmp_path / "noise.png", "noise")) < 1e6
    (tmp_path / "cut.png").write_bytes((tmp_path / "noise.png").read_bytes()[:20])
    with pytest.raises(ValueError, match=r"cut\.png cannot be read"):
        page.picture(tmp_path / "cut.png", "")
