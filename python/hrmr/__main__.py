"""python -m hrmr."""

from .cli import main

main()
