"""What a browser shows while a study runs, is killed with -9, and goes on."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from stored import Writer, spec_of

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status
from joulelab.live.beside import page_in_thread
from joulelab.live.study_source import StudySource
from joulelab.live.watch_source import WatchSource
from joulelab.study.study import Study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NASTY = "<img src=x onerror=document.title='hacked'><script>document.title='hacked'</script>"
WAITING = "echo {width}; n={repetition}; while test $n -gt 0 -a ! -e go; do sleep 0.02; done"
"""Until there is a file; the first repetition, which is also timed for the forecast, does not."""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    """Opens an address: a page that has raised no error at the end."""
    wrong = []

    def opened(url, **look):
        context = browser.new_context(**look)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(url)
        return page

    contexts = []
    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def shown(source):
    return page_in_thread(source, "127.0.0.1", 0)


@contextmanager
def begun(command):
    """A program in a session of its own, which is ended with what it has started."""
    runner = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield runner
    finally:
        with suppress(ProcessLookupError):
            os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()


def test_a_study_is_followed_while_it_runs_is_killed_and_goes_on(tmp_path, tab):
    spec = spec_of(command=WAITING, shell=True, metrics={}, cwd=str(tmp_path))
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text(spec.to_toml())
    command = [sys.executable, "-m", "joulelab", "run", str(study), "--out", str(out), "--quiet"]
    source = StudySource(out, expected=True)
    with shown(source) as url, begun(command) as runner:
        page = tab(url)
        page.get_by_text("not started").wait_for()
        page.get_by_text("1 running").first.wait_for()
        page.get_by_text("3 finished").wait_for()
        assert page.locator("#doing").inner_text().startswith("Now: width=")
        assert page.locator("#state").inner_text() == "running"
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
        page.get_by_text("ended unexpectedly").wait_for()
        assert page.locator("#state").inner_text() == "not running"
        assert f"joulelab run {out}" in page.locator("#words").inner_text()
        assert page.get_by_text("1 running").count() == 0
        (tmp_path / "go").touch()
        Study.load(out, trust=True).run(out)
        page.locator("#state", has_text="finished").wait_for()
        assert page.locator("#counts").inner_text().startswith("6 runs: 6 finished")
        assert "1 interrupted attempt" in page.locator("#counts").inner_text()
        assert page.locator("#rows tr").count() == 3
        assert page.locator("#scatter circle").count() == 3
        assert page.title() == "100 % widths"
    page.get_by_text("The page has ended").wait_for()


def test_texts_of_a_study_are_shown_as_text_on_a_telephone_in_the_dark(tmp_path, tab):
    spec = spec_of(levels=[f"{NASTY} {number}" for number in range(3)])
    with Writer(tmp_path / "out", spec) as writer, shown(StudySource(tmp_path / "out")) as url:
        writer.run(accuracy=0.9)
        writer.run(error=f"failed: {NASTY}", details=NASTY)
        page = tab(url, viewport={"width": 390, "height": 844}, color_scheme="dark")
        page.locator("#errors").get_by_text("onerror").first.wait_for()
        page.locator("#scatter circle").first.click()
        assert "onerror" in page.locator("#scatter-note").inner_text()
        assert page.title() != "hacked"
        assert page.locator("main img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark == "rgb(20, 24, 29)"


def test_a_viewer_reconnects_and_a_second_one_sees_the_same(tmp_path, tab):
    with Writer(tmp_path / "out") as writer, shown(StudySource(tmp_path / "out")) as url:
        first = tab(url)
        first.get_by_text("6 waiting").wait_for()
        # As a browser that slept: the connection is gone, and it knows what it has seen.
        first.evaluate("stream.close()")
        writer.run()
        writer.run()
        first.evaluate("connect()")
        for page in (first, tab(url)):
            page.get_by_text("2 finished").wait_for()
            assert page.locator("#rows tr").count() == 3


def test_power_is_shown_by_domain(tab):
    source = WatchSource()
    readings = [
        Reading("cpu:0", "rapl", Status.MEASURED, 20.0, 1.0, None, 1.0, within=("wall",)),
        Reading("gpu:0", "none", Status.MISSING, None, None, None, 1.0, reason="no <b>sensor</b>"),
    ]
    with shown(source) as url:
        for _ in range(3):
            source.add(Measurement("watch", 0.0, 1.0, tuple(readings), 10, 0.1))
        page = tab(url)
        page.get_by_text("60.0 J").first.wait_for()
        assert page.locator("#power").inner_text() == "20.0 W"
        assert "no <b>sensor</b>" in page.locator("#domains").inner_text()
        assert page.locator("#domains svg").count() == 1


def test_the_guide_has_a_picture_of_the_page():
    picture = Path(__file__).parents[2] / "docs" / "live.png"
    assert 0 < picture.stat().st_size < 150_000
