"""`python3 -m training`: the agent of a training Job.

`… mirror` copies TensorBoard's event files; `… try` runs a boot file on this machine; `… about` has
a SavedModel say what it is.
"""

from collections.abc import Sequence

from training.command_line import run


def main(arguments: Sequence[str]) -> int:
    """Dispatch on the first argument; return the exit status."""
    if arguments and arguments[0] == "mirror":
        from training.board import event_mirror

        return event_mirror.main(arguments[1:])
    if arguments and arguments[0] == "try":
        from training.trying import run as trying

        return trying.main(arguments[1:])
    if arguments and arguments[0] == "about":
        from training import add_about

        return add_about.main(arguments[1:])
    from training.agent import run as agent

    return agent.main(arguments)


if __name__ == "__main__":
    run(main)
