"""`python -m resetrl`, as launchers of several processes want to start it."""

from resetrl.cli import main

main()
