"""`python -m reconciler` is the same as the command `hivequeen`."""

from reconciler.cli import main

main()
