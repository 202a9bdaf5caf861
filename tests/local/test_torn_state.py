"""A state that is not whole: named, with the command that puts Pulumi's own copy back."""

import subprocess

import pytest

from local.stack import torn_state


@pytest.fixture
def state(tmp_path):
    path = tmp_path / ".pulumi" / "stacks" / "dlstack" / "local.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 3}')
    return path


def found(tmp_path):
    return torn_state.find(f"file://{tmp_path}?metadata=skip")


def test_whole_states_and_other_back_ends_are_no_error(state, tmp_path):
    assert found(tmp_path) is None
    state.write_text("")
    assert torn_state.find("s3://bucket") is None


@pytest.mark.parametrize("content", ["", '{"version": 3, "depl'])
def test_the_command_that_is_named_puts_the_copy_back(state, tmp_path, content):
    state.with_name("local.json.bak").write_text('{"version": 3}')
    state.write_text(content)
    error = str(found(tmp_path))
    assert f"{state} is not whole" in error
    command = error.partition("`")[2].partition(" && make up`")[0]
    subprocess.run(command, shell=True, check=True)
    assert found(tmp_path) is None


def test_without_a_copy_that_is_whole_the_backups_are_named(state, tmp_path):
    state.write_text("")
    state.with_name("local.json.bak").write_text("")
    assert f"newest whole one of {tmp_path / '.pulumi' / 'backups'}" in str(found(tmp_path))
