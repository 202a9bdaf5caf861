"""`python -m client`."""

import io
import sys

from .cli import main

if isinstance(sys.stdout, io.TextIOWrapper):
    # Names of files need not be valid UTF-8: they are printed as the bytes they are.
    sys.stdout.reconfigure(errors="surrogateescape")
sys.exit(main())
