"""`python -m infra`: what a deployed stack does. Deploying is `pulumi up`."""

import sys

from .commands.cli import main

sys.exit(main())
