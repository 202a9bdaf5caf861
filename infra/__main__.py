"""`python -m infra`: what a deployed stack does. Deploying is `pulumi up`."""

import sys

from .cli import main

sys.exit(main())
