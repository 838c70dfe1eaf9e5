"""The picture of a study's page in docs/images: `python docs/report_picture.py STUDY`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from msakit.reports.report import write_report

PICTURE = Path(__file__).parent / "images" / "report.png"


def main(study: str) -> None:
    """Write the page and keep what a reader sees of it down to the bars of the main metric."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as api:
        report = write_report(Path(study), Path(folder) / "report.html")
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = api.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.goto(report.as_uri())
        bars = page.locator("figure").first.bounding_box()
        assert bars is not None
        clip = {"x": 0, "y": 0, "width": 1000, "height": bars["y"] + bars["height"] + 16}
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE, full_page=True, clip=clip)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
