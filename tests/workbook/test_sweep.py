"""A sweep: what lacks, in its order; on a cluster that loses a node; as jobs that are preempted; stopped half-way."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
import torch
from safetensors.torch import load_file

from tadlib.errors import BadInput, OutOfTime
from tadlib.settings import ROOT, checkpoints
from tadlib.stored import folder, is_trained
from tadlib.training.fit import fit
from workbook import engines, studies
from workbook.__main__ import main
from workbook.engines import FLAG, Job, Ray, Slurm, noted
from workbook.sweep import plan, sweep

NAMES = ["aetad_direct4", "aetad_very_small"]


@pytest.fixture(autouse=True)
def elsewhere(own_results, no_data, monkeypatch):
    """Results of its own, and no data; what a command sets is forgotten after it."""
    monkeypatch.setenv("TAD_UNTIL", "")
    monkeypatch.setenv("TAD_DEVICE", "")


class Here:
    """An engine that computes in this process, one job each time that it is asked."""

    def __init__(self, interrupt: bool = False):
        self.interrupt, self.order, self.closed = interrupt, [], None

    def check(self, places, environment, names):
        assert all((place / FLAG).exists() for place in places)

    def submit(self, job, after):
        handle = {"job": job, "after": after}
        self.order.append(handle)
        return handle

    def ended(self, handles, seconds):
        ready = [h for h in handles if all("outcome" in a for a in h["after"])]
        if self.interrupt:
            self.interrupt = False
            raise KeyboardInterrupt
        for handle in ready[:1]:
            handle["outcome"] = handle["job"](*(a["outcome"] for a in handle["after"]))
        return ready[:1]

    def outcome(self, handle):
        return handle["outcome"]

    def close(self, handles):
        self.closed = list(handles)


def runs(*names: str, **changes) -> list:
    return [replace(studies.named(name, "smoke"), **changes) for name in names]


def left_over() -> list[Path]:
    return list(checkpoints("smoke").parent.parent.rglob(".sweep-*"))


# ------------------------------------------------------------------------------------------------- what there is to do

def test_what_lacks_is_planned_after_what_it_starts_from():
    names = [run.name for run in plan(["robust", "bicubic", "sofvsr_tad"], [], "smoke")]
    assert names == ["tool_x4_short", "tool_x4_middle", "tool_x4_24k", "robust_10k", "robust_20k", "robust", "bicubic",
                     "aetad", "aetad_video", "sofvsr_tad"]
    assert {run.name for run in plan([], [], "smoke")} == set(studies.ALL)
    assert {run.name for run in plan([], ["05"], "smoke")} >= {"aetad_video", "sofvsr", *studies.AIMS}


def test_what_is_trained_and_scored_is_not_planned_again():
    fit(*runs("bicubic"))
    assert [run.name for run in plan(["bicubic"], [], "smoke")] == ["bicubic"]  # its scores lack
    assert sweep(plan(["bicubic"], [], "smoke"), Here(), "smoke") == 0
    assert plan(["bicubic"], [], "smoke") == []
    assert main(["sweep", "bicubic", "--profile", "smoke"]) == 0


def test_what_is_scored_in_part_is_planned_again():
    assert sweep(plan(["aetad_direct4"], [], "smoke"), Here(), "smoke") == 0
    assert plan(["aetad_direct4"], [], "smoke") == []
    path = folder(*runs("aetad_direct4")) / "scores.csv"
    path.write_text(path.read_text().replace(",SampleCrop,", ",Elsewhere,"))
    assert [run.name for run in plan(["aetad_direct4"], [], "smoke")] == ["aetad_direct4"]
    assert sweep(plan(["aetad_direct4"], [], "smoke"), Here(), "smoke") == 0
    assert plan(["aetad_direct4"], [], "smoke") == []


def test_a_start_without_weights_is_trained_again(capsys):
    assert sweep(plan(["tool_x4_short"], [], "smoke"), Here(), "smoke") == 0
    (folder(*runs("tool_x4_short")) / "weights.safetensors").unlink()
    assert plan(["tool_x4_short"], [], "smoke") == []  # scored, and nothing loads it
    todo = plan(["tool_x4_middle"], [], "smoke")
    assert [run.name for run in todo] == ["tool_x4_short", "tool_x4_middle"]
    assert sweep(todo, Here(), "smoke") == 0 and is_trained(*runs("tool_x4_middle"))
    assert (folder(*runs("tool_x4_short")) / "weights.safetensors").exists()


def test_what_cannot_be_planned_is_one_line(capsys):
    for options, reason in ((["nonesuch"], "no run 'nonesuch'"), (["--notebook", "99"], "--notebook 99: no notebook"),
                            (["aetad", "--minutes", "0"], "--minutes has to be above 0"),
                            (["aetad", "--cpus-per-run", "0"], "have to be above 0")):
        assert main(["sweep", *options, "--profile", "smoke"]) == 2
        line, = capsys.readouterr().err.splitlines()
        assert reason in line


@pytest.mark.parametrize(("engine", "extra"), [("ray", "ray"), ("slurm", "slurm")])
def test_a_missing_extra_is_one_line_with_its_command(monkeypatch, capsys, engine, extra):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(engines, "import_module", absent)
    assert main(["sweep", *NAMES, "--profile", "smoke", "--engine", engine]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert f"pip install -c constraints.txt -e '.[{extra}]'" in line


# --------------------------------------------------------------------------------------------------- how it is done

def test_all_are_trained_and_scored_and_the_log_says_so(capsys):
    assert sweep(runs(*NAMES), Here(), "smoke") == 0
    for run in runs(*NAMES):
        assert is_trained(run) and (folder(run) / "scores.csv").exists()
    log = (checkpoints("smoke") / "sweep.log").read_text()
    assert "waiting" in log and "2 runs: 2 done" in log and "\x1b" not in log
    assert left_over() == [] and "failed" not in capsys.readouterr().out


def test_what_fails_takes_along_only_what_starts_from_it(monkeypatch, capsys):
    real = engines.fit

    def broken(run, **more):
        if run.name == "tool_x4_middle":
            raise FloatingPointError("tool_x4_middle: training broke down")
        return real(run, **more)

    monkeypatch.setattr(engines, "fit", broken)
    engine = Here()
    assert sweep(plan(["robust", "aetad_direct4"], [], "smoke"), engine, "smoke") == 3
    said = capsys.readouterr().out
    assert said.splitlines()[-1].startswith("failed: tool_x4_middle, tool_x4_24k, robust_10k, robust_20k, robust;")
    assert "training broke down" in said and "what it starts from failed" in said
    assert is_trained(*runs("aetad_direct4")) and not is_trained(*runs("robust")) and engine.closed == []


def test_a_node_that_does_not_see_the_same_folder_is_named(tmp_path):
    job = Job(*runs("aetad"), "train", (tmp_path / ".sweep-1",), {}, 1)
    assert "TAD_RESULTS and TAD_CHECKPOINTS have to lie on a file system of all nodes" in job()
    assert "SampleNo" in Job(*runs("aetad", train=("DIV2K_crops", "SampleNo")), "train", (), {}, 1)()


def test_no_training_ends_because_a_word_of_it_cannot_be_written(monkeypatch):
    run, = runs("aetad_direct4")
    place = checkpoints("smoke") / ".sweep-1"
    (place / f"{run.name}.json").mkdir(parents=True)  # in the way of the file
    (place / FLAG).write_text(place.name)
    monkeypatch.setattr(engines, "NOTE_SECONDS", 0)
    assert Job(run, "train", (place,), {}, 1)() == "" and is_trained(run)


def test_a_sweep_that_is_stopped_leaves_checkpoints(monkeypatch):
    run, = runs("aetad_direct4", steps=2000)
    place = checkpoints("smoke") / ".sweep-1"
    place.mkdir(parents=True)
    (place / FLAG).write_text(place.name)
    monkeypatch.setattr(engines, "NOTE_SECONDS", 0)
    monkeypatch.setattr(engines, "note", lambda at, run, state, **facts: shutil.rmtree(at) if facts else None)
    assert "out of time at step 2 of 2000" in Job(run, "train", (place,), {}, 1)()
    assert torch.load(checkpoints("smoke") / folder(run).name / "state.pt", weights_only=True)["progress"]["step"] == 2


def test_an_interrupted_sweep_ends_its_jobs_and_removes_its_marks():
    engine = Here(interrupt=True)
    with pytest.raises(KeyboardInterrupt):
        sweep(runs(*NAMES), engine, "smoke")
    assert left_over() == [] and engine.closed == []
    assert all("stopped" in handle["outcome"] or "TAD_RESULTS" in handle["outcome"] for handle in engine.order)


def test_a_training_out_of_time_stops_with_a_checkpoint_and_goes_on(monkeypatch, capsys):
    run, = runs("aetad_direct4")
    monkeypatch.setenv("TAD_UNTIL", str(time.time() - 1))
    with pytest.raises(OutOfTime, match="aetad_direct4: out of time at step 1 of 3"):
        fit(run, quiet=True)
    assert torch.load(checkpoints("smoke") / folder(run).name / "state.pt", weights_only=True)["progress"]["step"] == 1
    assert main(["train", "aetad_direct4", "--profile", "smoke", "--minutes", "9", "--score"]) == 0
    assert time.time() + 500 < float(os.environ["TAD_UNTIL"]) < time.time() + 541 and is_trained(run)


def test_a_sweep_out_of_time_has_failed_in_nothing(monkeypatch, capsys):
    monkeypatch.setenv("TAD_UNTIL", str(time.time() - 1))
    assert sweep(plan(["tool_x4_middle", "aetad_direct4"], [], "smoke"), Here(), "smoke") == 3
    *said, last = capsys.readouterr().out.splitlines()
    assert last == "out of time, go on the next time: tool_x4_short, tool_x4_middle, aetad_direct4"
    assert "3 stopped" in said[-1] and not any("failed" in line for line in said)
    monkeypatch.setenv("TAD_UNTIL", "")
    assert sweep(plan(["tool_x4_middle", "aetad_direct4"], [], "smoke"), Here(), "smoke") == 0


def test_a_device_that_is_not_there_is_one_line(capsys):
    for device, reason in (("cuda:77", "no such device here"), ("gpu", "has to be cpu, cuda")):
        assert main(["train", "bicubic", "--profile", "smoke", "--device", device]) == 2
        line, = capsys.readouterr().err.splitlines()
        assert device in line and reason in line


# --------------------------------------------------------------------------------------------------- on real engines

def of_ray() -> list[str]:
    """Command lines of Ray's processes that descend from this one or were left by it."""
    lines = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if any(word in line for word in ("raylet", "gcs_server", "ray::")) and "pytest" not in line:
                lines.append(line)
    return lines


@pytest.fixture
def ray_alone(monkeypatch):
    """Ray as on a busy machine, and nothing of it afterwards that was not there before."""
    if find_spec("ray") is None:
        pytest.skip("without the extra ray")
    for name, value in {"worker_niceness": 0, "health_check_period_ms": 1000, "health_check_timeout_ms": 5000,
                        "health_check_failure_threshold": 3, "raylet_start_wait_time_s": 150,
                        "agent_register_timeout_ms": 150_000}.items():
        monkeypatch.setenv(f"RAY_{name}", str(value))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TAD_CHECKPOINT_SECONDS", "1")
    before = of_ray()
    yield
    until = time.time() + 30
    while (left := [line for line in of_ray() if line not in before]) and time.time() < until:
        time.sleep(0.5)
    assert left == []


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_completes_all_from_their_checkpoints(ray_alone, monkeypatch, tmp_path):
    from ray.cluster_utils import Cluster

    first, = runs("aetad_direct4", steps=400)
    later = replace(first, name="later", start=(first,), steps=3)
    others = runs("aetad_very_small", "bicubic")
    small = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False} | small)
    nodes, killed = [], []

    def kill() -> None:
        while not killed:
            place = next(checkpoints("smoke").glob(".sweep-*"), Path("nowhere"))
            state = checkpoints("smoke") / folder(first).name / "state.pt"
            if state.exists() and (at := noted(place, first)).get("step", 0) > 20:
                raylet = int(Path(f"/proc/{at['pid']}/stat").read_text().rpartition(")")[2].split()[1])
                node, = [n for n in nodes if any(p.process.pid == raylet for p in n.all_processes["raylet"])]
                killed.append(at["step"])
                cluster.remove_node(node, allow_graceful=False)
            time.sleep(0.2)

    try:
        nodes += [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
        threading.Thread(target=kill, daemon=True).start()
        engine = Ray(cluster.address, 1, 0)
        assert sweep([first, later, *others], engine, "smoke") == 0
    finally:
        killed.append(0)
        cluster.shutdown()
    assert 20 < killed[0] < 400
    log = (checkpoints("smoke") / "sweep.log").read_text()
    assert "4 runs: 4 done" in log
    got = load_file(folder(first) / "weights.safetensors")

    monkeypatch.setenv("TAD_RESULTS", str(tmp_path / "undisturbed"))
    monkeypatch.setenv("TAD_CHECKPOINTS", str(tmp_path / "undisturbed" / "checkpoints"))
    torch.set_num_threads(1)
    same = load_file(fit(first, quiet=True).folder / "weights.safetensors")
    assert got.keys() == same.keys() and all(torch.equal(got[k], same[k]) for k in same)


@pytest.mark.slow
def test_an_interrupted_command_leaves_checkpoints_and_nothing_of_ray(ray_alone, monkeypatch):
    monkeypatch.setenv("TAD_PRECISION", "fp32")
    code = ("import dataclasses, sys; from workbook import studies; from workbook.__main__ import main; "
            "named = studies.named; "
            "studies.named = lambda n, p='cpu': dataclasses.replace(named(n, p), steps=100_000); "
            "sys.exit(main(['sweep', 'aetad_direct4', '--profile', 'smoke']))")
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
    until = time.time() + 240
    while not list(checkpoints("smoke").glob("aetad_direct4-*/state.pt")) and time.time() < until:
        time.sleep(0.5)
        assert child.poll() is None, child.communicate()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=90)
    assert child.returncode == 130 and "goes on from its last checkpoint" in err, (out, err)
    assert list(checkpoints("smoke").glob("aetad_direct4-*/state.pt")) and left_over() == []


@pytest.mark.slow
def test_a_folder_is_shrunk_on_two_nodes_as_by_the_command(ray_alone, tmp_path, monkeypatch, write_set, photo):
    pytest.importorskip("pyarrow")
    from ray.cluster_utils import Cluster

    sample = Path(write_set("pictures", {"a": photo, "b": photo.flip(2), "c": photo[:, :50, :70], "d": photo[:, 9:]}))
    monkeypatch.setenv("TAD_MODELS", str(ROOT / "results" / "cpu" / "runs"))
    (sample / "broken.png").write_bytes(b"no picture")
    told = subprocess.run([sys.executable, "-m", "tadlib", "downscale", str(sample), str(tmp_path / "command")],
                          cwd=ROOT, capture_output=True, text=True)
    out = tmp_path / "cluster"
    shutil.copytree(tmp_path / "command", out)
    kept, *again = sorted(out.iterdir())
    kept.write_bytes(b"mine")
    for path in again:  # as if it had been stopped after the first
        path.unlink()
    small = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False} | small)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **small)
        done = subprocess.run([sys.executable, "examples/ray_folder.py", str(sample), str(out), "--address",
                               cluster.address], cwd=ROOT, capture_output=True, text=True, timeout=400)
    finally:
        cluster.shutdown()
    broken = told.stderr.strip().removeprefix("tadlib: ")
    assert (done.returncode, told.returncode) == (2, 2) and "broken.png: cannot be read" in broken, done.stderr
    assert done.stderr.splitlines()[-1] == f"ray_folder.py: {broken}"
    assert f"{len(again)} of {len(again) + 2} images written to {out}, 1 were there" in done.stdout
    assert kept.read_bytes() == b"mine" and again
    for path in again:
        assert path.read_bytes() == (tmp_path / "command" / path.name).read_bytes()


@pytest.mark.slow
def test_jobs_that_are_preempted_are_queued_again_and_complete(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("TAD_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    first, = runs("aetad_direct4", steps=60)
    later = replace(first, name="later", start=(first,), steps=3)
    engine = Slurm(tmp_path / "jobs", 1, None, None, 1, "local")
    interrupted = []

    def ended(handles, seconds):
        place = handles[0].job.places[0]
        if not interrupted and noted(place, first).get("step", 0) > 5:
            interrupted.append(noted(place, first)["step"])
            os.kill(noted(place, first)["pid"], signal.SIGUSR2)  # as SLURM does
        return Slurm.ended(engine, handles, seconds)

    monkeypatch.setattr(engine, "ended", ended)
    assert sweep([first, later], engine, "smoke") == 0
    assert interrupted and is_trained(first) and is_trained(later)


def test_a_place_for_slurm_without_slurm_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="--engine slurm: "):
        Slurm(tmp_path, 1, None, None, 1)
    with pytest.raises(BadInput, match="SLURM gives whole GPUs only"):
        Slurm(tmp_path, 1, 0.25, None, 1)


# ------------------------------------------------------------------------------------------------------ of a batch

EXECUTE = """
import sys
from pathlib import Path
from tadlib.tool.commands import guarded, prepare
from workbook import batch
prepare(quiet=False)
sys.exit(guarded(lambda: print(batch._execute(Path(sys.argv[1]), Path(sys.argv[1] + ".out"), "smoke")), "workbook"))
"""


@pytest.mark.slow
def test_a_batch_that_is_ended_leaves_no_kernel(tmp_path):
    mark, place = tmp_path / "mark", tmp_path / "sleeps.ipynb"
    cell = f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()) + ' ')\ntime.sleep(600)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, place)
    child = subprocess.Popen([sys.executable, "-c", EXECUTE, str(place)], cwd=ROOT, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    until = time.time() + 120
    while not (mark.exists() and mark.read_text().endswith(" ")) and time.time() < until:
        time.sleep(0.1)
        assert child.poll() is None, child.communicate()
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=120)
    assert child.returncode == 143
    until = time.time() + 30
    while Path(f"/proc/{int(mark.read_text())}").exists() and time.time() < until:
        time.sleep(0.2)
    assert not Path(f"/proc/{int(mark.read_text())}").exists()
