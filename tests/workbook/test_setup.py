"""The set-up holds together: pyproject.toml (the source), constraints.txt (the lock), environment.yml, run_all.sh."""
from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from itertools import product
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import tadlib
from tadlib import settings

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LISTED = {name: list(map(Requirement, lines)) for name, lines in {"": PROJECT["dependencies"], **EXTRAS}.items()}
NEEDS = list({need.name: need for needs in LISTED.values() for need in needs if need.name != "tadlib"}.values())
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
LOCK = [Requirement(line) for line in LINES]
MACHINES = [  # what we say we support, as markers see it
    {"python_version": python, "python_full_version": python + ".0", "sys_platform": system,
     "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system], "platform_machine": machine, "os_name": "posix"}
    for python, (system, machine) in product(
        ("3.11", "3.12", "3.13"), (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")))
]


def test_every_dependency_has_one_fitting_pin():
    wrong = []
    for need, machine in product(NEEDS, MACHINES):
        pins = [pin for pin in LOCK if pin.name == need.name and (not pin.marker or pin.marker.evaluate(machine))]
        if len(pins) != 1 or next(iter(pins[0].specifier)).version not in need.specifier:
            wrong.append((need.name, machine, pins))
    assert not wrong


def test_what_is_needed_twice_is_needed_in_the_same_version():
    found = {}
    for needs in LISTED.values():
        for need in needs:
            found.setdefault(need.name, set()).add(str(need.specifier))
    assert all(len(versions) == 1 for versions in found.values()), found


def test_the_extras_are_those_that_are_told_of_and_workbook_brings_the_others():
    assert set(EXTRAS) == {"torch", "video", "export", "ray", "slurm", "workbook", "dev"}
    own = next(need for need in LISTED["workbook"] if need.name == "tadlib")
    assert own.extras == {"torch", "video", "export"}
    few = {need.name for need in LISTED[""]}
    assert few == {"numpy", "onnxruntime", "pillow", "tqdm"}


def test_the_lock_is_one_that_pip_reads_as_constraints():
    for pin in LOCK:
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and "*" not in specifier.version, pin
        assert not pin.extras and not pin.url, pin  # pip refuses both in a constraint
        assert "+" not in specifier.version, pin  # 2.15.0+cu132 and its like are on no public index


def test_the_cpu_only_torch_stays_out():
    torch = next(need for need in NEEDS if need.name == "torch")
    assert "2.13.0+cpu" not in torch.specifier
    assert "2.11.0" in torch.specifier and "2.15.0+cu132" in torch.specifier


def test_the_version_stands_in_one_place():
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    assert f"\n## [{tadlib.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_conda_installs_the_same_through_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[workbook,dev]"]}
    assert [line.split("=")[0] for line in conda] == ["python", "pip"]
    python = conda[0].split("=")[1]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "constraints.txt", "environment.yml", "run_all.sh",
                                  ".ci/run"])
def test_no_address_of_one_machine(name):
    text = (ROOT / name).read_text()
    for stranger in ("://", "file:", "/work", "/opt/", "/home/"):
        assert stranger not in text


# ---- run_all.sh, in a folder of its own: nothing here may install anything


@pytest.fixture
def clone(tmp_path):
    """A clone just large enough, and a `python` that passes every check and says what it was asked to run."""
    for name in ("run_all.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\n[ "$1" = -P ] && exit\necho "data=$TAD_DATA $*"\nexit ${ANSWER:-0}\n')
    python.chmod(0o755)
    return tmp_path


def run_all(clone: Path, *options: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TAD_", "VIRTUAL_ENV"))}
    environment = inherited | {"PATH": f"{clone / 'bin'}:{os.environ['PATH']}"} | variables
    return subprocess.run([clone / "run_all.sh", *options], cwd=cwd or clone, env=environment, capture_output=True,
                          text=True, timeout=30)


@pytest.mark.parametrize("script", ["run_all.sh", ".ci/run"])
def test_scripts_are_executable_bash(script):
    assert os.access(ROOT / script, os.X_OK)
    assert subprocess.run(["bash", "-n", ROOT / script], timeout=30).returncode == 0


def test_help_names_every_option(clone):
    result = run_all(clone, "--help")
    assert result.returncode == 0 and not result.stderr
    for word in ("--profile", "--only", "--retrain", "--test", "--wheel", "--help", *settings.VARIABLES):
        assert word in result.stdout


@pytest.mark.parametrize("options", [["--nonsense"], ["01"], ["--profile"], ["--profile", "tpu"], ["--only"],
                                     ["--only", "--retrain"], ["--retrain", "--test"], ["--test", "extra"],
                                     ["--profile", "cpu", ""], ["--wheel", "extra"], ["--wheel", "--test"]],
                         ids=" ".join)
def test_a_bad_option_is_one_line_and_nothing_is_done(clone, options):
    result = run_all(clone, *options)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("run_all.sh: ")
    assert not (clone / ".venv").exists()


def test_options_reach_the_batch_from_any_folder(clone):
    elsewhere = clone / "else where"
    elsewhere.mkdir()
    options = ["--profile", "smoke", "--only", "00", "--only", "01", "--retrain"]
    result = run_all(clone, *options, cwd=elsewhere, TAD_DATA="my pictures")
    assert result.stdout == f"data={elsewhere}/my pictures -m workbook batch {' '.join(options)}\n"
    assert result.returncode == 0


def test_the_folder_of_models_is_where_the_user_stands(clone):
    (clone / "bin" / "python").write_text('#!/bin/sh\n[ "$1" = -P ] && exit\necho "$TAD_MODELS $TAD_RESULTS"\n')
    elsewhere = clone / "else where"
    elsewhere.mkdir()
    result = run_all(clone, cwd=elsewhere, TAD_MODELS="mine", TAD_RESULTS="/there")
    assert result.stdout == f"{elsewhere}/mine /there\n"


def test_the_first_failing_part_ends_the_tests(clone):
    result = run_all(clone, "--test", ANSWER="3")
    assert result.returncode == 3
    assert "ruff check" in result.stdout and "pytest" not in result.stdout


def test_an_active_environment_without_the_project_is_left_alone(clone):
    """Then .venv is used, and not installed again where its stamp fits."""
    (clone / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    ours = clone / ".venv" / "bin" / "python"
    ours.parent.mkdir(parents=True)
    ours.write_text('#!/bin/sh\necho "ours $*"\n')
    ours.chmod(0o755)
    state = subprocess.run("{ pwd; cat pyproject.toml constraints.txt; } | cksum", shell=True, cwd=clone,
                           capture_output=True, text=True, timeout=30)
    (clone / ".venv" / "installed").write_text(state.stdout)
    assert run_all(clone).stdout == "ours -m workbook batch\n"
