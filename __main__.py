"""The Pulumi program: settings in, resources of `infra.program`, stack outputs out."""

import pulumi

from infra import program, settings

for name, value in program.build(settings.load()).items():
    pulumi.export(name, value)
