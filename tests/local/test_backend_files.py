"""What a killed `pulumi` leaves in its back end."""

import os

from local.stack import backend_files


def test_an_old_empty_file_of_attributes_goes_and_nothing_else(tmp_path):
    """Symptom otherwise: "error: EOF" from every command, also on other stacks."""
    folder = tmp_path / ".pulumi" / "stacks" / "dlstack"
    folder.mkdir(parents=True)
    files = {}
    for name, content in (
        ("killed.json.attrs", ""),
        ("local.json.attrs", "{}"),
        ("empty.json", ""),
    ):
        files[name] = folder / name
        files[name].write_text(content)
        os.utime(files[name], (0, 0))
    (folder / "just-now.json.attrs").touch()
    assert backend_files.mend(tmp_path) == [files["killed.json.attrs"]]
    assert sorted(path.name for path in folder.iterdir()) == [
        "empty.json",
        "just-now.json.attrs",
        "local.json.attrs",
    ]


def test_a_back_end_that_is_not_there_needs_nothing(tmp_path):
    assert backend_files.mend(tmp_path / "none") == []
