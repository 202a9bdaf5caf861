"""`python -m infra`: what a deployed stack does. Deploying is `pulumi up`."""

import atexit
import gc
import sys

# Collections over the clients' thousands of classes, while they are imported and again at the end,
# took almost half of a command's time. `logs -f` may run for days, so they are rarer, not off.
gc.set_threshold(200_000)
atexit.register(gc.freeze)

from .commands.cli import main  # noqa: E402

sys.exit(main())
