"""ministack, with what simulation.py adds."""
import simulation  # noqa: F401
from ministack.app import main

main()
