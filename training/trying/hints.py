"""What to do about a boot file that failed, by the last lines of its output."""

import re

_HINTS = (
    (
        r"(?:SyntaxError|ValueError): source code .*null bytes",
        "The file is not a Python script: it has NUL bytes. Name the script that trains.",
    ),
    (
        # What `eval` and its like were given has no file; frames of a traceback name a function.
        r'File "[^<"\n][^"\n]*", line \d+\n(?:.*\n){0,2}(?:Syntax|Indentation|Tab)Error: ',
        "Python can't read that line of the file: correct it. If it is no Python script, name the "
        "one that trains.",
    ),
    (
        r"SyntaxError: .*(?:Non-UTF-8|\(unicode error\) 'utf-8')",
        "Save the file in UTF-8, or name its encoding in its first line: '# -*- coding: latin-1 "
        "-*-'.",
    ),
    (
        r"name '(?:null|true|false)' is not defined",
        "The file is JSON, as notebooks are, and not Python, which writes None, True and False. Of "
        "a notebook make a script: 'jupyter nbconvert --to script NAME.ipynb'.",
    ),
    (
        r"name 'get_ipython' is not defined",
        "Notebooks alone have get_ipython(): remove these lines. Packages that they install belong "
        "into a file requirements.txt beside the boot file.",
    ),
    (
        r"unrecognized arguments: .*--(?:data_url|train_url)|unrecognized arguments: --",
        "A boot file is given --data_url=FOLDER, --train_url=FOLDER and what follows '--'. Let it "
        "take them (docs/training.md).",
    ),
    (
        r"the following arguments are required: (.*)",
        "Give parameters of the boot file after '--', as in: -- --epochs=2",
    ),
    (
        r"['\"]s3:/|File system scheme 's3' not implemented",
        "With 'stream' --data_url is a URL, and no folder: read it by training.folders "
        "(input_folder) and the readers, or by training.streams (docs/data.md).",
    ),
    (
        r"No such file or directory|\bNotFoundError",
        "The job has code and data in folders of its own, and nothing beside them: read files from "
        "the folder of --data_url, or put them into the code folder.",
    ),
    (
        r"No module named '(?:tensorflow|keras)'",
        "This Python has no TensorFlow. Use that of 'make setup': .venv/bin/python.",
    ),
    (
        r"No module named '(?:training|store)\.",
        "If a folder of yours has this name, it hides dlstack's: rename yours. Else see what "
        "dlstack has for boot files in docs/training.md.",
    ),
    (
        r"No module named '([^']+)'",
        "Name the package in a file requirements.txt beside the boot file; a module of your own "
        "has to be in the code folder.",
    ),
    (
        r"(?:PermissionError|Read-only file system)",
        "A job may write to the folder of --train_url and to temporary folders.",
    ),
    (
        r"JSON serializable",
        "Numbers of NumPy and TensorFlow become JSON by float(value).",
    ),
)


def hint(output: str) -> str:
    """Return what to do, or nothing."""
    for pattern, cure in _HINTS:
        if re.search(pattern, output):
            return cure
    return ""
