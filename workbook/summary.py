"""The workbook in five paragraphs, their numbers from the records: what 06 and the README open with.

What one says beside its numbers was written for certain verdicts (SAID). Where the ledger says otherwise now, it is not
printed: BadInput.
"""
from __future__ import annotations

import pandas as pd

from tadlib.errors import BadInput
from tadlib.networks import build
from tadlib.run import Run
from tadlib.stored import is_trained
from workbook import peers, refinement, studies
from workbook.claims import FOUR, ledger
from workbook.measurements import colour_gain, differences, seed_range, trained_for
from workbook.tables import made, quoted, score_table
from workbook.verdicts import counts

SAID = {"task_aware": "holds", "resblocks": "holds", "robust": "holds", "noise_10": "not", "44_percent": "not",
        "color_31": "partly", "tad_vsr": "not", "equal_grey": "partly"}


def sentences(profile: str = "cpu", report: str = "06_report.ipynb") -> list[str]:
    """Five paragraphs as Markdown: what was claimed, what holds, what does not, and two of what is new.

    `report` is where citations lead ("" from within 06). Raises BadInput for what is not measured, or is another way.
    """
    found = ledger(profile).set_index("id")
    if wrong := [f"{id} is '{found.verdict[id]}'" for id, verdict in SAID.items() if found.verdict[id] != verdict]:
        raise BadInput(f"the summary was written for other verdicts: {', '.join(wrong)}")
    sizes = [id for id in ("noise_10", "44_percent") if SAID[id] == "not"]
    measured = {id: float(found.measured[id].split()[0]) for id in (*SAID, "noise_0")}
    number = counts(found[found["whose"] == "the report"])
    gain = differences([("aetad", "no_tad")], FOUR, profile)["dB"]
    colours = [colour_gain(name)(profile).value for name in studies.COLOUR_SEEDS["aetad_color_large"]]
    return [
        "**What was claimed.** A small image made for its enlargement, by training both sides together "
        f"([Kim et al., 2018]({report}#References)), brings back far more than an ordinary one; the report of 2019 "
        f"([Schaefer, 2019]({report}#References)) adds that a ball in the loss makes such images robust, that 44 % "
        "fewer parameters do as well, and that colour and video gain, too.",
        f"**What holds.** {number['holds']} of {sum(number[v] for v in ('holds', 'partly', 'not'))} claims that can "
        f"be tested hold, {number['partly']} hold partly, and the main one is among those that hold: trained equally "
        f"long, the report's pair is {gain.min():.2f} to {gain.max():.2f} dB (RGB, x4, four sets) above the same "
        "decoder trained on ordinary small images.",
        f"**What does not.** {number['not']} claims fail, {len(sizes)} of them by their size: noise of sigma 0.11 "
        f"costs {measured['noise_10']:.0f} % of the PSNR with the ball that was to make it 10 % (and "
        f"{measured['noise_0']:.0f} without), and 44 % fewer parameters cost up to {measured['44_percent']:.2f} dB. "
        "The others are about the ball, VDSR and video: a VSR net fed with task-aware frames is "
        f"{-measured['tad_vsr']:.2f} dB worse. Of what holds partly, colours are {min(colours):.0f} to "
        f"{max(colours):.0f} and not 31 % better, in three trainings.",
        _colour(profile),
        _small_images(profile, report)]


def _colour(profile: str) -> str:
    chart = made("isoluminant", profile, ("run", "PSNR")).set_index("run")["PSNR"]
    ours, theirs = (seed_range(name, "Set5", profile) for name in ("color_shuffle", "aetad_color_large"))
    small, large = (build(n).parameters_count for n in ("color_shuffle", "aetad_color_large"))
    return ("**New: why colour failed, and its cure.** Into a flat area a net of 3x3 convolutions writes one single "
            "grey, so that of twelve flat colours of equal grey the report's net brings back "
            f"{chart['aetad_color_large']:.1f} dB; with a pixel shuffle at both ends each becomes a fine pattern "
            f"({chart['color_shuffle']:.1f} dB), and Set5 comes back at {ours[0]:.1f} to {ours[1]:.1f} instead of "
            f"{theirs[0]:.1f} to {theirs[1]:.1f} dB (three trainings each), with {100 * (1 - small / large):.0f} % "
            "fewer parameters and as many steps.")


def _small_images(profile: str, report: str) -> str:
    card = score_table(["tool_x4", "robust"], studies.scored_sets("robust", profile, ("Set5", "Set14")), profile,
                       channels=("8bit", "jpeg:90"))
    mean = card.groupby(["run", "channel", "set"])["psnr_rgb"].mean()
    ahead = mean["robust"] - mean["tool_x4"]
    worth, cost = ahead["jpeg:90"], -ahead["8bit"]
    refined = refinement.at_equal_likeness(refinement.means(profile))
    steps = refined.query("model == 'tool_x4' and set == 'Set5' and channel == '8bit'").set_index("steps")["psnr_rgb"]
    above = "; ".join(_above_irn(name, profile) for name in ("tool_x4", "tool_x2"))
    return ("**Beyond the report,** after others' ideas, under the same protocol: a net trained through noise, JPEG "
            f"and resizing ([Yang et al., 2023]({report}#References)) is {worth.min():.1f} to {worth.max():.1f} dB "
            f"ahead of the tool net after JPEG 90 and {cost.max():.1f} dB at most behind where nothing happens "
            "(RGB, Set5 and Set14); and ten gradient steps on the small image "
            f"([Xu et al., 2023]({report}#References)), which stays as ordinary, bring "
            f"{steps[10] - steps[0]:.1f} dB more (RGB, Set5). With thirty they exceed what IRN "
            f"([Xiao et al., 2020]({report}#References)), not refined, prints (Y, cropped as there): {above}.")


def _above_irn(name: str, profile: str) -> str:
    """By how much a net refined in thirty steps exceeds what IRN prints at its scale, on the image sets measured."""
    beside = peers.beside_irn(name, profile)
    beside = beside[beside[""].isin(FOUR)] if len(beside) else beside
    if not len(beside) or not (lead := (beside["30 steps"] - beside["IRN, quoted"]).dropna()).min() > 0:
        raise BadInput(f"the summary was written for a {name} that, refined, is above what IRN prints")
    theirs = quoted()["rescaling_y"][f"IRN, x{studies.named(name, profile).scale}"]["params"]
    share = build(name).parameters_count / theirs
    least = f"{lead.min():.3f}" if lead.min() < 0.01 else f"{lead.min():.2f}"
    return f"`{name}` by {least} to {lead.max():.2f} dB ({len(lead)} sets, {100 * share:.0f} % of its size)"


def trainings(profile: str = "cpu") -> pd.DataFrame:
    """On what the stored runs were trained, as their records say: by precision, CPU and number of threads."""
    rows = []
    for name in studies.ALL:
        trained = studies.trained(name, profile)
        if trained.run.trains and is_trained(trained.run):
            record = trained.record
            machine = record["machine"]
            rows.append({"precision": record["precision"].partition("-")[0], "CPU": machine["cpu"],
                         "threads": machine["threads"], "minutes": record["minutes"], "run": name,
                         "rewinds": f"{name} {record['rewinds']}" if record["rewinds"] else ""})
    return pd.DataFrame(rows).groupby(["precision", "CPU", "threads"], as_index=False).agg(
        runs=("run", "size"), minutes=("minutes", "sum"), rewinds=("rewinds", lambda r: ", ".join(filter(None, r))))


def opening(profile: str = "cpu") -> str:
    """The five paragraphs as 06 opens with them, or why there are none at this profile, as Markdown."""
    try:
        return "\n\n".join(sentences(profile, ""))
    except BadInput as error:
        return f"*No summary at the profile {profile}: {error}.*"


def lengths(run: Run) -> str:
    """How long a run was trained, in words: its steps, of all trainings of the same kind, and the patches of each."""
    steps, goes, starts = trained_for(run)
    text = f"{steps:,} steps of {run.batch} patches of {run.patch}x{run.patch}"
    return text + f", in {goes} goes" * (goes > 1) + f", after {' and '.join(starts)}" * bool(starts)
