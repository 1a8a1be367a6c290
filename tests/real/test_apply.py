"""A running lab is changed: only what changes is touched, and who did it is known."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.labs import Lab, lab, weft

pytestmark = pytest.mark.real

BEFORE = """
fabric: change
segments:
  db: {mode: isolated, subnets: [10.0.9.0/24]}
hosts:
  kvm1: {address: 10.10.10.1/24}
  kvm2: {address: 10.10.10.2/24}
guests:
  one: {host: kvm1, nics: [{segment: db, ip: 10.0.9.11}]}
  two: {host: kvm2, nics: [{segment: db, ip: 10.0.9.12}]}
"""
ONE_MORE = BEFORE + "  three: {host: kvm2, nics: [{segment: db, ip: 10.0.9.13}]}\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Lab]:
    file = tmp_path / "change.yaml"
    file.write_text(BEFORE)
    with lab(file, "change") as made:
        yield made


def test_a_guest_comes_and_goes_and_the_others_lose_nothing(here: Lab) -> None:
    assert here.pings("one", "10.0.9.12")  # the userspace datapath drops what first meets a tunnel while it asks for the other host's MAC
    watching = here.start("one", "ping", "-q", "-i", "0.005", "-c", "1000", "-W", "1", "10.0.9.12")
    time.sleep(0.5)
    here.file.write_text(ONE_MORE)
    here.run("apply", here.file)
    assert here.pings("three", "10.0.9.11")
    here.file.write_text(BEFORE)
    here.run("apply", here.file)
    assert not here.pings("one", "10.0.9.13")
    output = watching.communicate(timeout=60)[0]
    assert " 0% packet loss" in output


def test_plan_says_what_apply_would_do_and_exits_with_2(here: Lab) -> None:
    assert weft("plan", here.file).returncode == 0
    here.file.write_text(ONE_MORE)
    done = weft("plan", here.file)
    assert done.returncode == 2
    assert "three" in done.stdout
    here.run("apply", here.file)
    assert weft("plan", here.file).returncode == 0


def steps(here: Lab) -> dict[str, list[tuple[str, str]]]:
    said = json.loads(weft("plan", here.file, "--json").stdout)["host"]
    assert {tuple(step) for told in said.values() for step in told} <= {("action", "object", "detail")}
    return {host: [(step["action"], step["object"]) for step in told] for host, told in said.items()}


def test_plan_lists_the_steps_of_each_agent_in_order_and_none_runs_before_apply(here: Lab) -> None:
    here.file.write_text(ONE_MORE)
    (planned,) = steps(here).values()
    assert [step for step in planned if step[0] == "add"] == [("add", "three-eth0"), ("add", "three-eth0")]
    assert planned.index(("change", "eth0")) > planned.index(("add", "three-eth0"))
    assert here.exec("three", "true").returncode != 0, "its namespace is there before anybody applied"
    here.run("apply", here.file)
    assert steps(here) == {}
    here.file.write_text(BEFORE)
    (undone,) = steps(here).values()
    assert {step[0] for step in undone} == {"remove", "change"}
    here.run("apply", here.file)
    assert steps(here) == {}


def test_an_agent_that_does_not_answer_is_named_and_its_objects_are_listed_instead(here: Lab) -> None:
    host = "kvm2"
    here.file.write_text(ONE_MORE)
    here.run("lab", "fail", "agent", host, "--fabric", here.fabric)
    done = weft("plan", here.file, "--json")
    here.run("lab", "heal", "agent", host, "--fabric", here.fabric)
    assert done.returncode == 2
    assert done.stderr == f"host {host}: its agent does not answer: objects that differ, not the steps that it would take\n"
    assert [step["object"] for step in json.loads(done.stdout)["host"][host]] == ["endpoint/three.eth0"]
    here.file.write_text(BEFORE)


def test_a_broken_file_touches_nothing(here: Lab) -> None:
    here.file.write_text(ONE_MORE.replace("10.0.9.13", "10.0.8.13"))
    done = weft("apply", here.file)
    assert done.returncode == 1
    assert f"{here.file}:11:" in done.stderr
    assert [row["endpoint"] for row in here.show("guests")] == ["one.eth0", "two.eth0"]


def test_every_flow_of_a_switch_says_which_line_it_comes_from(here: Lab) -> None:
    dumped = here.ovs("kvm1", "ovs-ofctl", "-OOpenFlow14", "--no-names", "dump-flows", "br-weft").splitlines()[1:]
    assert dumped
    line = next(line for line in dumped if "nw_src=10.0.9.11" in line)
    assert f"{here.file}:9" in here.run("why", line, "--fabric", here.fabric)
    for flow in dumped:
        assert weft("why", flow, "--fabric", here.fabric).returncode == 0, flow


def test_the_bridge_of_a_host_that_goes_never_becomes_a_learning_switch(here: Lab) -> None:
    """Its agent is dead and cannot take it apart: its guests stay where they were kept apart."""
    here.run("lab", "fail", "agent", "kvm2", "--fabric", here.fabric)
    before = here.flows("kvm2")
    here.file.write_text("".join(line for line in BEFORE.splitlines(keepends=True) if "kvm2" not in line))
    here.run("apply", here.file)
    time.sleep(1)
    assert here.flows("kvm2") == before
    here.run("lab", "fail", "controller", "--fabric", here.fabric)
    here.run("lab", "heal", "controller", "--fabric", here.fabric)
    time.sleep(1)
    assert here.flows("kvm2") == before
