"""The addresses of a cluster: read, kept, and refused when they can't be meant."""

import pytest

from local.console import LocalError
from local.machine.ranges import DEFAULT, VARIABLE, Ranges


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_three_quarters_are_nodes_pods_and_services():
    ranges = Ranges.parse("10.64.0.0/14")
    assert (str(ranges.node), str(ranges.machine)) == ("10.65.0.1", "10.65.0.254")
    assert (str(ranges.pods), str(ranges.services)) == ("10.66.0.0/16", "10.67.0.0/16")
    assert (str(ranges.api_service), str(ranges.dns_service)) == ("10.67.0.1", "10.67.0.10")


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.77.0.0/16", "10.76.0.1/14", "fd00::/14", "x"])
def test_what_is_no_such_range_is_refused_with_one_that_is(text):
    with pytest.raises(LocalError, match=f"{VARIABLE} is '{text}'.*such as {DEFAULT}"):
        Ranges.parse(text)


@pytest.mark.parametrize("text", ["203.0.0.0/14", "127.0.0.0/14", "224.0.0.0/14", "0.0.0.0/14"])
def test_addresses_that_are_others_are_refused(text):
    """Symptom otherwise: hosts of the internet out of reach, or a cluster that can't start."""
    with pytest.raises(LocalError, match=f"{VARIABLE} is '{text}', which is no range of private"):
        Ranges.parse(text)


def test_a_cluster_keeps_its_ranges_whatever_the_shell_says_later(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "10.64.0.0/14")
    Ranges.of_cluster(tmp_path).keep(tmp_path)
    assert str(Ranges.of_cluster(tmp_path).all) == "10.64.0.0/14"
    monkeypatch.delenv(VARIABLE)
    assert str(Ranges.of_cluster(tmp_path).all) == "10.64.0.0/14"
    monkeypatch.setenv(VARIABLE, "10.80.0.0/14")
    with pytest.raises(LocalError, match=r"is '10\.80\.0\.0/14', and .* with '10\.64\.0\.0/14'"):
        Ranges.of_cluster(tmp_path)


def test_a_cluster_of_the_time_before_has_the_addresses_of_that_time(tmp_path, monkeypatch):
    (tmp_path / "pki").mkdir()
    assert str(Ranges.of_cluster(tmp_path).all) == DEFAULT
    monkeypatch.setenv(VARIABLE, "10.80.0.0/14")
    with pytest.raises(LocalError, match="was made with"):
        Ranges.of_cluster(tmp_path)
