"""Deliberate faults, planted one by one in a copy of the tree: python tests/mutants.py (see --help).

A row is a fault: in which file which text is replaced by what, and the test that should fail then, and does not without
it: else what it notices would say nothing. Each runs in a process of its own, forked from one that has
loaded other people's libraries.
"""
from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("tadlib", "workbook", "tests", "data", "results/cpu", "notebooks", "benchmarks", "pyproject.toml",
          "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "run_all.sh", ".ci", ".gitignore")
COLUMNS = ["fault", "file", "outcome", "seconds"]
CLOCK = count(round(time.time()), 2)
SECONDS = 600  # of the clock; where a test does not end it has noticed something too


class Mutant(NamedTuple):
    """One fault."""

    name: str
    file: str
    old: str
    new: str
    test: str  # below tests/tadlib, unless a folder is named

    @property
    def node(self) -> str:
        """The test as pytest calls it."""
        return f"tests/{'' if '/' in self.test.partition('::')[0] else 'tadlib/'}{self.test}"


MUTANTS = [
    # pixels and colours
    Mutant("weights of red and blue in Y exchanged", "tadlib/pixels.py", "[65.481, 128.553, 24.966]",
           "[24.966, 128.553, 65.481]", "test_pixels.py::test_luma_of_black_white_and_the_primaries"),
    Mutant("Y taken back from the full range", "tadlib/pixels.py", "(y * 255 - 16) / 219", "(y * 255 - 16) / 235",
           "test_pixels.py::test_colour_spaces_round_trip"),
    Mutant("codes truncated", "tadlib/pixels.py", ".mul(255).round().to(torch.uint8)", ".mul(255).to(torch.uint8)",
           "test_pixels.py::test_codes_are_rounded_and_clamped_never_truncated"),
    Mutant("HR cropped at the top left", "tadlib/pixels.py", "return x[..., :h, :w]", "return x[..., -h:, -w:]",
           "test_pixels.py::test_crop_keeps_the_top_left"),
    Mutant("bicubic without antialias", "tadlib/resize.py", "mode=kind, antialias=True", "mode=kind, antialias=False",
           "test_resize.py::test_downscaling_is_pillows[bicubic-4]"),
    Mutant("guidance not clamped", "tadlib/tasks.py", "downscale(hr, scale, kind).clamp(0, 1)",
           "downscale(hr, scale, kind)", "test_tasks.py::test_guidance_is_clamped_where_downscaling_overshoots"),
    # the channel
    Mutant("the code floored", "tadlib/channel.py", "x.clamp(0, 1).mul(255).round().div(255))",
           "x.clamp(0, 1).mul(255).floor().div(255))", "test_channel.py::test_rounding_to_the_256_codes"),
    Mutant("JPEG with full chroma for halved", "tadlib/channel.py", 'halved=True, subsampling="4:2:0"',
           'halved=True, subsampling="4:4:4"',
           "test_channel.py::test_bytes_are_those_of_the_file[jpeg:30-x.jpg-options4]"),
    Mutant("the last channel never drawn", "tadlib/channel.py", "torch.randint(len(channels), ()",
           "torch.randint(len(channels) - 1, ()", "test_channel.py::test_drawing_a_channel"),
    Mutant("one channel for a whole batch", "tadlib/training/loop.py",
           "torch.cat([draw(run.channels, rng).send(x, rng) for x in whole(slr).split(1)])",
           "draw(run.channels, rng).send(whole(slr), rng)",
           "test_training.py::test_each_image_of_a_batch_goes_through_a_channel_of_its_own"),
    # losses and training
    Mutant("the gate shut on its edge", "tadlib/losses.py", "measured >= epsilon", "measured > epsilon",
           "test_losses.py::test_on_the_edge_the_gate_is_open"),
    Mutant("levels of 1 % of the range", "tadlib/losses.py", '"levels": 2.55 * of_range', '"levels": 1.0 * of_range',
           "test_losses.py::test_the_gate_at_its_edge"),
    Mutant("epsilon always read as percent of the range", "tadlib/training/loop.py",
           "run.epsilon, run.reading, run.latent)", 'run.epsilon, "range", run.latent)',
           "test_training.py::test_the_ball_is_the_runs"),
    Mutant("the latent term always L1", "tadlib/training/loop.py", "run.epsilon, run.reading, run.latent)",
           "run.epsilon, run.reading)", "test_training.py::test_the_ball_is_the_runs"),
    Mutant("the seed added, not multiplied", "tadlib/run.py", "self.seed * _PURPOSES[purpose] + step",
           "self.seed + _PURPOSES[purpose] + step",
           "test_run.py::test_draws_are_those_with_which_the_stored_runs_were_trained"),
    Mutant("gradients not clipped", "tadlib/training/loop.py", "CLIP = 0.5", "CLIP = 5e9",
           "test_training.py::test_the_gradient_is_at_most_half_as_long_as_one"),
    Mutant("the average without its warm-up", "tadlib/training/loop.py", "min(self.run.ema, (1 + n) / (10 + n))",
           "self.run.ema", "test_training.py::test_scores_are_of_the_averaged_weights"),
    Mutant("the last weights kept, not their average", "tadlib/training/fit.py", "trainer.average, progress, trainer",
           "trainer.net, progress, trainer", "test_training.py::test_scores_are_of_the_averaged_weights"),
    Mutant("the whole training a warm-up", "tadlib/training/optim.py", "warm = min(100, run.steps // 5)",
           "warm = min(100, run.steps)", "test_training.py::test_the_modern_learning_rate_warms_up_and_falls_to_zero"),
    Mutant("what is frozen learns", "tadlib/training/fit.py", "model.get_submodule(run.frozen).requires_grad_(False)",
           "pass",
           "test_training.py::test_what_is_frozen_stays_to_the_bit_and_the_rest_learns[aetad_very_small-encoder]"),
    Mutant("a resumed training draws the first batches again", "tadlib/training/fit.py",
           'run.generator("patches", progress.step))', 'run.generator("patches", len(progress.terms)))',
           "test_training.py::test_a_killed_training_goes_on_as_if_nothing_had_been[modern]"),
    Mutant("a checkpoint's checksums not tested", "tadlib/training/fit.py", "damaged := archive.testzip()",
           "damaged := None", "test_training.py::test_an_unusable_checkpoint_is_passed_over[a flipped bit]"),
    Mutant("only one checkpoint kept", "tadlib/training/fit.py", 'path.replace(path.with_name("previous.pt"))', "pass",
           "test_crashes.py::test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one_before"),
    Mutant("gone on from a checkpoint of what is complete", "tadlib/training/fit.py",
           "candidate.stat().st_mtime_ns <= since", "candidate.stat().st_mtime_ns < 0",
           "test_crashes.py::test_a_checkpoint_left_by_a_complete_training_is_not_gone_on_from"),
    Mutant("trained on what is held out", "tadlib/data/patches.py",
           "images = [i for stem, i in sets.load(names[0]).items() if stem not in spared]",
           "images = [i for stem, i in sets.load(names[0]).items()]",
           "test_patches.py::test_held_out_images_are_never_trained_on"),
    Mutant("flipped one time in four", "tadlib/data/patches.py", "zip(out, draws, strict=True):\n",
           "zip(out, draws, strict=True):\n            flip = 2 * flip\n",
           "test_patches.py::test_a_patch_is_a_flipped_or_transposed_piece_of_an_image_each_in_an_eighth_of_the_draws"),
    # what is measured and stored
    Mutant("PSNR with a peak of 256", "tadlib/evaluation/metrics.py", "log10(255**2 / mse)", "log10(256**2 / mse)",
           "test_evaluation.py::test_psnr_by_hand"),
    Mutant("the border cropped above and below alone", "tadlib/evaluation/metrics.py",
           "x[..., border:-border, border:-border]", "x[..., border:-border, :]",
           "test_evaluation.py::test_the_border_is_left_out_on_all_four_sides"),
    Mutant("all sets scored by the images of the first", "workbook/scores.py",
           "new = score(network, data.load(name), scale", "new = score(network, data.load(sets[0]), scale",
           "test_evaluation.py::test_of_two_sets_each_is_scored_by_its_own_images"),
    Mutant("verify content with an image missing", "workbook/scores.py", "len(both) == len(fresh) == len(rows)",
           "len(both) == len(rows)", "workbook/test_verify.py::test_verify_finds_an_image_whose_scores_are_missing[a]"),
    Mutant("verify looks at the best image alone", "workbook/scores.py", "if not worst.max() <= tolerance",
           "if not worst.min() <= tolerance",
           "workbook/test_verify.py::test_verify_finds_scores_that_do_not_belong_to_the_weights"),
    Mutant("the weights' SHA-256 not looked at", "tadlib/stored.py",
           'describe(data) != read_record(folder).get("weights")', "not data",
           "test_stored.py::test_one_flipped_bit_in_the_weights_is_told[0.6]"),
    Mutant("weights that are no numbers taken", "tadlib/stored.py",
           "values.dtype != torch.float16 or not values.isfinite().all()", "values.dtype != torch.float16",
           "test_stored.py::test_other_weights_are_told_also_where_the_record_tells_of_them[its hash-not a number]"),
    # files
    Mutant("EPS among the formats", "tadlib/files.py", '"PCX", "ICO")', '"PCX", "ICO", "EPS")',
           "test_files.py::test_a_program_in_a_pictures_clothes_is_not_started[picture.jpg]"),
    Mutant("memory not counted before decoding", "tadlib/files.py", "12) > MEMORY", "12) > 1000 * MEMORY",
           "test_cases.py::test_what_would_take_more_memory_than_reading_may_is_refused_before_it_is_decoded"),
    Mutant("a link followed when a result is put in place", "tadlib/files.py", "temporary.replace(path)",
           "temporary.replace(path.resolve())",
           "test_files.py::test_a_result_replaces_a_link_and_keeps_what_the_link_points_to"),
    Mutant("inputs not known by their other names", "tadlib/tool/pictures.py",
           "(target.stat().st_dev, target.stat().st_ino) in known", "False",
           "test_hostile.py::test_a_result_that_would_replace_one_of_the_inputs_is_refused_and_stops_none_of_the_others"),
    Mutant("transparency laid on black", "tadlib/files.py", 'Image.new("RGBA", part.size, "white")',
           'Image.new("RGBA", part.size, "black")',
           "test_hostile.py::test_what_can_be_read_is_read_right_and_comes_back_in_its_size[alpha.png]"),
    Mutant("EXIF's way up not heeded", "tadlib/files.py", "ImageOps.exif_transpose(picture, in_place=True)", "pass",
           "test_hostile.py::test_what_can_be_read_is_read_right_and_comes_back_in_its_size[turned.jpg]"),
    Mutant("hr10 before hr2", "tadlib/files.py", "int(part) if part.isdecimal() else part", "part",
           "test_files.py::test_pictures_of_a_folder_come_in_natural_order"),
    Mutant("the place kept unasked", "tadlib/tool/beside.py", "if location and (place :=", "if (place :=",
           "test_cases.py::test_date_camera_and_resolution_go_down_and_up_and_the_place_only_if_asked"),
    Mutant("control characters printed", "tadlib/errors.py", "c if c.isprintable() else", "c if c else",
           "test_cases.py::test_a_text_is_escaped_where_it_would_steer_a_terminal"),
    Mutant("an archive's links followed", "workbook/downloads.py", "if entry.isreg()", "if not entry.isdir()",
           "workbook/test_downloads.py::test_links_are_not_followed[1]"),
    Mutant("a path out of the archive taken", "workbook/downloads.py", 'or ".." in name.split("/")', "",
           "workbook/test_downloads.py::test_an_archive_with_a_path_out_of_it_is_refused[../evil.png-a_tar]"),
    # the tool
    Mutant("tiles without their surroundings", "tadlib/tool/codec.py", "halo = math.ceil(tiling.reach / grid) * grid",
           "halo = 0", "test_codec.py::test_tiles_leave_no_seam[aetad_very_small-4]"),
    Mutant("tiles put in place from their own left edge", "tadlib/tool/codec.py",
           "piece[t - a : b - a, le - be : ri - be]", "piece[t - a : b - a, : ri - le]",
           "test_codec.py::test_tiles_leave_no_seam[bicubic-4]"),
    Mutant("a chunk's size believed of any picture", "tadlib/tool/pictures.py", "if fits else origin",
           "if True else origin", "test_codec.py::test_a_chunk_is_believed_only_where_it_fits"),
    Mutant("refinement lets the likeness go", "tadlib/tool/descent.py",
           "min(1.0, room / max(of.norm(away * free), 1e-12))", "1.0",
           "test_refine.py::test_steps_help_and_the_small_image_stays_as_ordinary_as_it_was"),
    Mutant("no code settles", "tadlib/tool/descent.py", "return steps // 3 if steps > 10 else steps", "return steps",
           "test_refine.py::test_with_many_steps_the_code_settles_on_whole_codes_and_is_better_for_it"),
    Mutant("ONNX shuffles pixels in the other order", "tadlib/tool/graph.py", 'blocksize=n, mode="CRD"',
           'blocksize=n, mode="DCR"',
           "test_export.py::test_an_own_model_is_exported_whatever_its_words_are[two passes]"),
    Mutant("ONNX pads with zeros", "tadlib/tool/graph.py", 'lacking, axis=0), mode="edge")',
           'lacking, axis=0), mode="constant")',
           "test_export.py::test_an_own_model_is_exported_whatever_its_words_are[a decoder that shrinks first]"),
    Mutant("HD only from 1080 lines on", "tadlib/tool/films.py", "HD = 720", "HD = 1080",
           "test_films.py::test_colours_are_those_that_players_show"),
    Mutant("a turned film mirrored", "tadlib/tool/films.py", "(c, b) if turned else (a, d)",
           "(b, c) if turned else (a, d)", "test_films.py::test_all_eight_ways_to_hold_a_camera_come_upright"),
    Mutant("a clip's ends not repeated", "tadlib/tool/video.py", "held.extend([frame] * (1 if held else n // 2 + 1))",
           "held.extend([frame])", "test_video.py::test_every_frame_is_seen_between_its_neighbours"),
]


def copy(place: Path) -> None:
    """The tree, as far as tests need it."""
    for name in COPIED:
        source, target = ROOT / name, place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "figures"))
        elif source.exists():
            shutil.copy(source, target)


def work(place: Path, nodes: list[str], shown: bool) -> None:
    """In a process of its own: the tests, on the code in the copy."""
    os.chdir(place)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    sys.path.insert(0, str(place))
    import pytest

    with open(os.devnull, "w") as nowhere:
        out = sys.stdout if shown else nowhere
        with redirect_stdout(out), redirect_stderr(out):
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *nodes])
        out.flush()
        os._exit(code)


def code(place: Path, nodes: list[str], shown: bool = False) -> int | None:
    """Pytest's exit code: 0 all passed, 1 one failed; None: it did not end."""
    process = multiprocessing.get_context("fork").Process(target=work, args=(place, nodes, shown))
    process.start()
    process.join(SECONDS * len(nodes))
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def tried(mutant: Mutant, place: Path, sound: bool = True) -> str:
    """"noticed", "MISSED", or why it says nothing; `sound`: without the fault its test is known to pass."""
    file = place / mutant.file
    whole = file.read_text()
    if whole.count(mutant.old) != 1:
        return "no such text"
    try:
        file.write_text(whole.replace(mutant.old, mutant.new))
        later(file)
        outcome = {0: "MISSED", 1: "noticed", None: "noticed"}.get(code(place, [mutant.node]), "no such test")
    finally:
        file.write_text(whole)
        later(file)
    return "fails without it" if outcome == "noticed" and not sound and code(place, [mutant.node]) else outcome


def later(file: Path) -> None:
    """Its time moved on: of a file as long and of the same second what Python has compiled before would be taken."""
    os.utime(file, (next(CLOCK),) * 2)


def write(path: Path, rows: list[dict]) -> None:
    """These rows into the record, in place of those of the same faults; without those of faults that are no more."""
    before = list(csv.DictReader(path.open())) if path.exists() else []
    known = {row["fault"]: row for row in (*before, *rows)}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(known[m.name] for m in MUTANTS if m.name in known)


def main() -> int:
    parser = argparse.ArgumentParser(description="Plant each fault in a copy of the tree and run the test that should "
                                     "notice it; exit code 1 where one is missed.")
    parser.add_argument("--only", metavar="WORDS", action="append", help="those whose name or file holds this "
                        "(repeatable); of the others the record stays as it is")
    parser.add_argument("--passing", action="store_true", help="the tests are known to pass without a fault, which is "
                        "not tried first")
    parser.add_argument("--record", type=Path, metavar="CSV", help="where the table goes")
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if any(only in f"{m.name} {m.file}" for only in options.only or [""])]
    rows = []
    with tempfile.TemporaryDirectory(prefix="mutants") as place:
        copy(Path(place))
        sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]  # tests/tadlib is not tadlib
        import av  # noqa: F401  loaded once, before the forks
        import onnxruntime  # noqa: F401
        import pandas  # noqa: F401
        import pytest  # noqa: F401
        import safetensors.torch  # noqa: F401
        import skimage.metrics  # noqa: F401
        import torch._dynamo  # noqa: F401

        sound = options.passing or code(Path(place), [m.node for m in chosen], shown=True) == 0
        for mutant in chosen:
            start = time.monotonic()
            outcome = tried(mutant, Path(place), sound)
            rows.append(dict(zip(COLUMNS, (mutant.name, mutant.file, outcome, round(time.monotonic() - start)),
                                 strict=True)))
            print(f"{outcome:9} {mutant.name} ({mutant.file}; {mutant.test})", flush=True)
            if options.record:
                write(options.record, rows)
    noticed = sum(row["outcome"] == "noticed" for row in rows)
    print(f"{noticed} of {len(rows)} faults noticed")
    return int(noticed < len(rows))


if __name__ == "__main__":
    sys.exit(main())
