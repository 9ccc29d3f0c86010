"""Recipes: how many steps does `modern` need to the PSNR at which `report` ends?

Trains the same network twice from the same seed for the same number of steps on the same patches, each with its own
recipe and schedule over that length, in a folder of its own. PSNR is on the held-out crops, of real 8-bit codes.
"""
import argparse
import os
import tempfile

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="aetad")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TAD_RESULTS": folder, "TAD_CHECKPOINTS": folder}
        from tadlib import machine
        from tadlib.run import Run
        from tadlib.training.fit import fit

        curves = {}
        for recipe, beta in (("report", 0.1), ("modern", 0.02)):  # the report's alpha : beta is 10 : 1
            run = Run(f"{options.model}_{recipe}", options.model, steps=options.steps, recipe=recipe, beta=beta)
            trained = fit(run)
            curves[recipe] = trained.history
            print(f"{recipe}: {trained.record['minutes']} minutes")
        print(machine.facts(), f"data: {', '.join(trained.run.train)}")
    goal = curves["report"]["held_out_shr"].iloc[-1]
    last = curves["modern"]["held_out_shr"].iloc[-1]
    print(f"after {options.steps} steps: report {goal:.2f} dB, modern {last:.2f} dB on held-out crops")
    there = curves["modern"][curves["modern"]["held_out_shr"] >= goal]
    if len(there):
        step = there["step"].iloc[0]
        print(f"modern reaches the report recipe's final PSNR by step {step}: {step / options.steps:.2f} of its steps")
    else:
        print("modern does not reach it")
