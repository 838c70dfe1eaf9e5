"""The picture of the demo page in docs/images: `python docs/demo_picture.py RUN CLIP [TRANSCRIPT]`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "images" / "demo_page.png"
WAIT_MS = 240_000


def main(run: str, clip: str, transcript: str = "One of the best films of the year.") -> None:
    """Serve the page, use it as a user would, and keep what is shown."""
    command = [sys.executable, "-m", "msakit", "demo", run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as api:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = api.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1100, "height": 500})
            page.goto(address)
            page.set_input_files("#video input[type=file]", clip)
            page.wait_for_selector("#video video", timeout=WAIT_MS)
            page.fill("#transcript textarea", transcript)
            page.click("button:has-text('Answer')")
            page.wait_for_selector("#answer .value", timeout=WAIT_MS)
            page.wait_for_timeout(1500)
            PICTURE.parent.mkdir(exist_ok=True)
            page.screenshot(path=PICTURE, full_page=True)
            browser.close()
        finally:
            server.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
