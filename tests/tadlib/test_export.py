"""Models to carry away: what is written passes onnx's checker, computes what torch does, and says what it is."""
from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save

from tadlib import settings
from tadlib.__main__ import main
from tadlib.errors import BadInput
from tadlib.files import read_record
from tadlib.networks import TAD, Spec
from tadlib.networks.heads import Clip, Luma
from tadlib.pixels import to_array
from tadlib.run import Run
from tadlib.stored import describe
from tadlib.tool import graph, models
from tadlib.tool.codec import Codec
from tadlib.tool.export import LAYOUT, export

TOOLS = ("tool_x4", "tool_x2", "tool_color")
SIZES = ((96, 128), (37, 61), (81, 30))
BEYOND = {"vsr", "bins"}  # kinds of decoders that are no chain of words


def apart(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two pictures, in grey levels."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    return int(np.abs(a.astype(int) - b).max())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """exported("tool_x4") -> the folder into which it was exported, once."""
    top = tmp_path_factory.mktemp("exported")

    def folder(name: str) -> Path:
        if not (top / name).exists():
            export(name, top / name)
        return top / name

    return folder


def agree(ours: Codec, theirs: Codec, image: np.ndarray) -> None:
    """Both take this picture down, and the same small one up, within one grey level."""
    small = theirs.downscale(image)
    assert apart(ours.downscale(image), small) <= 1, (ours.name, image.shape)
    assert apart(ours.upscale(small, image.shape[:2]), theirs.upscale(small, image.shape[:2])) <= 1


def slopes_agree(ours: Codec, theirs: Codec, photo: torch.Tensor) -> None:
    """Error and gradient of a part of the picture are autograd's, at sizes that are multiples of nothing."""
    if not (ours.backend.place.folder / f"{ours.name}{models.REFINE}").exists():
        with pytest.raises(BadInput, match="without torch"):
            graph.refine(theirs.backend.network, theirs.scale)
        return
    net, frames, scale = theirs.backend.network, ours.frames, ours.scale
    for height, width in ((1, 1), (9, 14)):
        drawn = torch.Generator().manual_seed(height)  # a free draw meets a kink of ReLU once in a while
        z = torch.rand(frames, net.spec.code, height, width, generator=drawn).requires_grad_()  # between the codes
        off = slice(scale // 2, height * scale), slice(0, (width + 1) // 2 * scale)
        truth = photo[:, : off[0].stop - off[0].start, : off[1].stop]
        error = (net.decode(z.flatten(0, 1)[None], scale)[(0, ..., *off)] - truth / 255).square().sum()
        slope = torch.autograd.grad(error, z)[0].permute(0, 2, 3, 1)
        found, gradient = ours.backend.error(z.detach().permute(0, 2, 3, 1).numpy(), truth.permute(1, 2, 0).numpy(),
                                             (off[0].start, 0), backward=True)
        assert found == pytest.approx(float(error.detach()), rel=1e-4)
        assert np.linalg.norm(gradient - slope.numpy()) < 1e-4 * np.linalg.norm(slope.numpy())


@pytest.mark.parametrize("name", TOOLS)
def test_an_exported_tool_does_what_torch_does_at_any_size_and_in_tiles(exported, photo, name):
    ours, theirs = Codec.open(exported(name), backend="onnx"), Codec.find(name, task=None, backend="torch")
    assert type(ours.backend).__name__ == "OnnxBackend" and type(theirs.backend).__name__ == "TorchBackend"
    assert (ours.name, ours.scale, ours.task, ours.frames) == (theirs.name, theirs.scale, theirs.task, theirs.frames)
    assert (ours.backend.down, ours.backend.up) == (theirs.backend.down, theirs.backend.up)
    for height, width in SIZES:
        agree(ours, theirs, to_array(photo[:, :height, :width]))
    ours.tile = 48
    wide = to_array(photo).repeat(3, axis=1)[:, 5:]  # (96, 379, 3): in tiles it has to come out as in one piece
    small = theirs.downscale(wide)
    assert apart(ours.downscale(wide), small) <= 1
    assert apart(ours.upscale(small, wide.shape[:2]), theirs.upscale(small, wide.shape[:2])) <= 1
    slopes_agree(ours, theirs, photo)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(models.names()) - set(TOOLS)))
def test_every_stored_model_is_exported_or_says_why_not(tmp_path, photo, name):
    if Spec.of(read_record(models.place(name).folder)["network"]).head.word in BEYOND:
        with pytest.raises(BadInput, match="cannot be exported"):
            export(name, tmp_path / name)
        assert not list(tmp_path.iterdir())
        return
    export(name, tmp_path / name)
    ours, theirs = Codec.open(tmp_path / name, backend="onnx"), Codec.find(name, task=None, backend="torch")
    for height, width in SIZES:
        agree(ours, theirs, to_array(photo[:, :height, :width]))
    slopes_agree(ours, theirs, photo)


@pytest.mark.parametrize("name", TOOLS)
def test_the_files_are_sound_small_and_say_what_they_are(exported, name):
    record = read_record(models.place(name).folder)
    assert Codec.open(exported(name), backend="onnx").weights == record["weights"]["sha256"][:8]
    for way in ("down", "up", "refine"):
        path = exported(name) / f"{name}_{way}.onnx"
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        kinds = {node.op_type for node in model.graph.node}
        assert "Resize" not in kinds and model.opset_import[0].version == graph.OPSET
        stored = {tensor.data_type for tensor in model.graph.initializer if "layers" in tensor.name}
        assert stored == {onnx.TensorProto.FLOAT16}
        said = {entry.key: entry.value for entry in model.metadata_props}
        assert said["model"] == name and said["way"] == way and said["scale"] == str(record["scale"])
        assert said["weights_sha256"] == record["weights"]["sha256"] and said["licence"] == "MIT"
        assert said["made_by"] == said["weights_sha256"][:8] == Codec.find(name, task=None).weights
        assert said["layout"] == LAYOUT and float(said["up_reach"]) > 0 and int(said["down_grid"]) > 0
    down, up, slope = (exported(name).joinpath(f"{name}_{way}.onnx").stat().st_size for way in ("down", "up", "refine"))
    assert down + up < 1.05 * record["weights"]["bytes"] + 60_000 and slope < up + 60_000


def test_the_same_weights_give_the_same_bytes(exported, tmp_path):
    for path in export("tool_x2", tmp_path / "again"):
        assert path.read_bytes() == (exported("tool_x2") / path.name).read_bytes()


def head_of(text: str) -> dict:
    _, head, _ = text.split("---\n", 2)
    return yaml.safe_load(head)


@pytest.mark.parametrize("name", TOOLS)
def test_the_card_is_yaml_whose_figures_are_those_of_the_scores(exported, name):
    text = (exported(name) / "README.md").read_text()
    head, started = head_of(text), read_record(exported(name)).get("start", [])
    assert all(f"of `{earlier.rpartition('-')[0]}`" in text for earlier in started)
    assert ("on from" in text) == bool(started)
    if name == "tool_x4":  # back to the first training
        assert "for 1,000 steps on" in text and "on from the 5,000 of `tool_x4_short`." in text
    assert head["license"] == "mit" and head["pipeline_tag"] == "image-to-image" and "onnx" in head["tags"]
    assert head["datasets"] == read_record(exported(name))["train"]
    (model,) = head["model-index"]
    assert model["name"] == name
    scores = pd.read_csv(models.place(name).folder / "scores.csv", keep_default_na=False)
    scores = scores[(scores["channel"] == "8bit") & (scores["scale"] == read_record(exported(name))["scale"])]
    assert {result["dataset"]["name"] for result in model["results"]} == set(scores["set"])
    for result in model["results"]:
        rows = scores[scores["set"] == result["dataset"]["name"]]
        for metric, (kind, column) in zip(result["metrics"], (("SHRT", "psnr_rgb"), ("SHRT", "psnr_y"),
                                                              ("SHRT", "ssim_y"), ("SLR", "psnr_rgb")), strict=True):
            wanted = rows[rows["kind"] == kind][column].astype(float).clip(upper=100).mean()
            assert metric["value"] == pytest.approx(wanted, abs=1e-4), (result["dataset"], metric)


@pytest.mark.parametrize("name", ["tool_x4", "tool_color"])
def test_the_lines_on_the_card_run(exported, name, tmp_path, monkeypatch, photo):
    text = (exported(name) / "README.md").read_text()
    programs = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    assert len(programs) == 2 and all(len(program.splitlines()) <= 10 for program in programs)
    for path in exported(name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    Image.fromarray(to_array(photo[:, :50, :70])).save("photo.png")
    results = []
    for program in programs:
        exec(program, {})
        results.append([np.asarray(Image.open(file)) for file in ("small.png", "large.png")])
        assert results[-1][1].shape == (50, 70, 3)
    assert apart(results[0][0], results[1][0]) <= 1


def own(place: Path, spec: Spec, **fields) -> Path:
    """An untrained network of one's own, stored as a run of the name "mine"; its folder."""
    run = Run("mine", "aetad", train=("elsewhere/holidays",), **fields)
    torch.manual_seed(1)
    data = save({key: value.half() for key, value in TAD(spec).state_dict().items()})
    folder = place / "mine-0"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(data)
    (folder / "record.json").write_text(json.dumps(asdict(run) | {
        "network": spec.words(), "params": 1, "weights": describe(data)}))
    return folder


WORDS = Spec("own", "own", "c4 u2 = r c5 a c16 + c3", "c8 = r a c8 + c12 p2")
OWN = {"two passes": WORDS, "nothing added": replace(WORDS, added=False),
       "bilinear": replace(WORDS, skip="bilinear"), "lanczos": replace(WORDS, skip="lanczos"),
       "luma": replace(WORDS, step=4, encoder="u4 c3", decoder="c4 a c1", skip="bicubic", head=Luma()),
       "five frames": replace(WORDS, head=Clip(5), skip="bicubic", step=4, encoder="u4 c3", decoder="c48 p4"),
       "one frame five times": replace(WORDS, head=Clip(5), neighbours=False, step=4, encoder="u4 c3",
                                       decoder="c48 p4"),
       "a decoder that shrinks first": replace(WORDS, decoder="u3 c9 p3 c12 p2"),
       "no encoder": replace(WORDS, encoder="")}


@pytest.mark.parametrize("spec", OWN.values(), ids=OWN)
def test_an_own_model_is_exported_whatever_its_words_are(tmp_path, monkeypatch, photo, spec):
    own(tmp_path / "models", spec, guidance="bilinear" if spec.skip == "bilinear" else "")
    monkeypatch.setenv("TAD_MODELS", str(tmp_path / "models"))
    export("mine", tmp_path / "out")
    ours, theirs = Codec.open(tmp_path / "out", backend="onnx"), Codec.find("mine", backend="torch")
    for height, width in SIZES:
        agree(ours, theirs, to_array(photo[:, :height, :width]))
    slopes_agree(ours, theirs, photo)
    if spec.head.frames > 1:
        clip = np.stack([theirs.downscale(to_array(photo[:, n : n + 64, :80])) for n in range(spec.head.frames)])
        assert apart(ours.upscale(clip), theirs.upscale(clip)) <= 1
    card = (tmp_path / "out" / "README.md").read_text()
    assert head_of(card)["datasets"] == ["holidays"] and "elsewhere" not in card  # a folder's name, not where it lies


def test_only_a_lanczos_enlargement_and_what_works_on_luma_or_repeats_a_frame_have_no_slope_without_torch():
    lacking = set()
    for name, spec in OWN.items():
        try:
            graph.refine(TAD(spec), 4)
        except BadInput as error:
            assert "without torch" in str(error)
            lacking.add(name)
    assert lacking == {"lanczos", "luma", "one frame five times"}


def test_weights_are_exported_with_all_that_is_needed_to_open_them(tmp_path, photo):
    image = to_array(photo)
    written = export("tool_x2", tmp_path / "out", "safetensors")
    assert {path.name for path in written} == {"weights.safetensors", "record.json", "scores.csv", "README.md"}
    assert apart(Codec.open(tmp_path / "out").downscale(image), Codec.find("tool_x2").downscale(image)) == 0
    assert "safetensors" in head_of((tmp_path / "out" / "README.md").read_text())["tags"]


@pytest.mark.parametrize("damaged", [False, True])
def test_nothing_of_an_export_of_other_weights_is_left(tmp_path, damaged):
    out = tmp_path / "out"
    export("tool_x2", out)
    before = {path.name for path in out.iterdir()}
    export("tool_x2", out, "safetensors")
    assert {path.name for path in out.iterdir()} == before | {"weights.safetensors"}  # of the same weights both stay
    record = read_record(out)
    record["weights"]["sha256"] = "0" * 64
    (out / "record.json").write_text("{" if damaged else json.dumps(record))
    export("tool_x2", out)
    assert {path.name for path in out.iterdir()} == before


def test_of_a_training_whose_start_is_not_here_the_card_says_so(tmp_path, monkeypatch):
    export("tool_x4", tmp_path / "models" / "tool_x4", "safetensors")
    monkeypatch.setenv("TAD_MODELS", str(tmp_path / "models"))
    export("tool_x4", tmp_path / "again", "safetensors")
    assert "DIV2K_crops, BSDS_train, on from what is not told here." in (tmp_path / "again" / "README.md").read_text()


def test_the_steps_of_all_trainings_are_told_where_all_are_known(tmp_path, monkeypatch):
    monkeypatch.setenv("TAD_MODELS", str(tmp_path))
    runs = {name: next((settings.results("cpu") / "runs").glob(f"{name}-*")) for name in ("tool_x2", "tool_x2_short")}
    for folder in runs.values():
        shutil.copytree(folder, tmp_path / folder.name)
    assert models.facts("tool_x2")["steps"] == 8000
    earlier = tmp_path / runs["tool_x2_short"].name / "record.json"
    for spoiled in ("{", earlier.read_text().replace('"steps": 2000', '"steps": 1e999')):
        earlier.write_text(spoiled)
        assert "steps" not in models.facts("tool_x2")
    earlier.unlink()
    assert "steps" not in models.facts("tool_x2") and models.facts("bicubic")["steps"] == 0


def test_what_is_there_already_is_not_overwritten_unless_it_is_the_same(tmp_path, capsys):
    arguments = ["export", "tool_x2", str(tmp_path / "out")]
    assert main(arguments) == 0 and main(arguments) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 12 and shown[0].startswith(f"{tmp_path / 'out' / 'tool_x2_down.onnx'}: ")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my notes\n")
    (tmp_path / "file").write_text("")
    for name, place in (("tool_x4", "out"), ("tool_x2", "mine"), ("tool_x2", "file"), ("sofvsr", "new"),
                        ("nonesuch", "new")):
        assert main(["export", name, str(tmp_path / place)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert (tmp_path / "mine" / "README.md").read_text() == "my notes\n" and not (tmp_path / "new").exists()


def test_the_graphs_run_in_a_session_of_threads_and_take_more_than_one_size(exported):
    session = ort.InferenceSession(exported("tool_x4") / "tool_x4_up.onnx")
    for height, width in ((1, 1), (9, 5), (24, 40)):
        result, = session.run(None, {"small": np.full((1, height, width, 3), 99, np.uint8)})
        assert result.shape == (1, 4 * height, 4 * width, 3) and result.dtype == np.uint8


def test_the_tools_of_the_clone_are_those_that_are_tested():
    assert all(models.place(name).folder.is_relative_to(settings.ROOT) for name in TOOLS)
