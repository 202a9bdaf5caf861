"""Run the command."""

import sys

from .fetch import main

if __name__ == "__main__":
    sys.exit(main())
