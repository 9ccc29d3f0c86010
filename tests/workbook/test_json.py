"""What the workbook's lists say to a program."""
from __future__ import annotations

import json

from tadlib.data import sets
from tadlib.networks import ZOO
from workbook.__main__ import main


def test_data_and_networks_give_json(no_data, capsys):
    assert main(["data", "--json"]) == 0
    said = {entry["set"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert said.keys() == sets.registry().keys() and all(entry["licence"] for entry in said.values())
    assert said["Sample"]["here"] and not said["Set5"]["here"] and said["Set5"]["files"] == 0
    assert main(["networks", "--json"]) == 0
    nets = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert nets.keys() == ZOO.keys() and nets["tool_x4"]["params"] > 1e6 and nets["bicubic"]["MAC/px up"] == 0
