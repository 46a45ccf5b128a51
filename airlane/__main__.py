"""`python -m airlane` is `airlane`."""

from airlane.cli import main

main()
