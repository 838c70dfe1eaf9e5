"""`python -m msakit`."""

from msakit.cli.app import main

main()
