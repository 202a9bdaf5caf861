"""What the first release writes into the state of a stack for each type of dynamic resource."""

import json
from pathlib import Path
from typing import Any

RECORDS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("first_release.json").read_text()
)
"""Type -> `provider`, as pickled; `inputs` and `outputs`: their names."""


def as_written_by_it(state: dict[str, Any]) -> dict[str, Any]:
    """Return an exported state as the first release would have written it.

    Its values are those of now, since they name what there is in the cluster. What a later program
    writes besides is left out.
    """
    for resource in state["deployment"]["resources"]:
        record = RECORDS.get(resource["type"])
        if record is not None:
            for kind in ("inputs", "outputs"):
                written = resource[kind]
                old = {name: written[name] for name in record[kind] if name in written}
                resource[kind] = {**old, "__provider": record["provider"]}
    return state
