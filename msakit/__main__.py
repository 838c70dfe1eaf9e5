"""`python -m msakit`; the current folder, which Python puts first on its path, is taken off it again."""

import os
import sys

if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - pathlib could be the folder's
    del sys.path[0]

from msakit.cli.app import main

main()
