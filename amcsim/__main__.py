"""`python -m amcsim` is `amcsim`."""

from amcsim.cli import main

main()
