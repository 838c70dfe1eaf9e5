"""One HTML file about a run, or about all systems and seeds of a study.

The file stands alone: styles, drawings, pictures and sounds are inside it, nothing is fetched when it is
opened. All text that comes from the run is escaped.
"""

from __future__ import annotations

from pathlib import Path

from msakit.core.errors import InputError
from msakit.reports.page import write_page
from msakit.reports.run_page import run_page
from msakit.reports.study_page import study_page
from msakit.runs.results import find_runs, is_run, read_run


def write_report(path: Path, output: Path, *, split: str | None = None, media: Path | None = None) -> Path:
    """Write the report of a run, of a folder of seeds, or of a study.

    Args:
        path: The folder.
        output: The HTML file to write; replaced in one step.
        split: Whose predictions are drawn; by default "test" where it was evaluated, else the first.
        media: Folder with a media file `<id>.mp4` (or another format) for each sample; of the largest errors
            a frame is shown and the sound can be played.

    Raises:
        InputError: The folder holds no evaluated run.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    if is_run(path):
        page = run_page(read_run(path), split, media)
    elif find_runs(path):
        page = study_page(path, split, media)
    else:
        hint = "Give a folder that `msakit train` or `msakit sweep` wrote."
        raise InputError(f"{path} holds no finished run.", hint=hint)
    write_page(page, output)
    return output
