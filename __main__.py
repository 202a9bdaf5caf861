"""The Pulumi program: configuration in, resources of `infra.program`, stack outputs out."""

import signal

import pulumi

from infra.program import stack
from infra.settings import configuration

# When a resource fails, Pulumi interrupts the program; a traceback would bury the resource's error.
signal.signal(signal.SIGINT, signal.SIG_DFL)

for name, value in stack.build(configuration.load()).items():
    pulumi.export(name, value)
