"""The Pulumi program: settings in, resources of `infra.program`, stack outputs out."""

import signal

import pulumi

from infra import program
from infra.settings import settings

# When a resource fails, Pulumi interrupts the program; a traceback would bury the resource's error.
signal.signal(signal.SIGINT, signal.SIG_DFL)

for name, value in program.build(settings.load()).items():
    pulumi.export(name, value)
