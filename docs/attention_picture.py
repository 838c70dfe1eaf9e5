"""The picture of attention maps in docs/images: `python docs/attention_picture.py MAP.svg...`.

The maps are those that `msakit inspect sample RUN ID --output FOLDER` writes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "images" / "attention.png"
STYLE = "margin:8px; display:grid; grid-template-columns:1fr 1fr; font:15px sans-serif; background:white"


def main(files: list[Path]) -> None:
    """Put the maps side by side on a white page."""
    figures = "".join(f"<div>{_title(file)}{file.read_text(encoding='utf-8')}</div>" for file in files)
    with sync_playwright() as api:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = api.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 100})
        fit = "svg {width: 100%; height: auto}"
        page.set_content(f'<meta charset="utf-8"><style>{fit}</style><body style="{STYLE}">{figures}</body>')
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE, full_page=True)
        browser.close()


def _title(file: Path) -> str:
    """The streams, which stand in a file's name behind the sample's id."""
    return file.stem.partition("_")[2].replace("_", " ")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
