"""What pyproject.toml cannot say: the wheel carries the tool's models, an editable install has the workbook too.

Each model is there as weights, for torch, and as the ONNX files that are made of them here: to build the wheel takes
torch and onnx, to use it does not.
"""
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import SetupError

MODELS = ("tool_x4", "tool_x2", "tool_color", "robust", "joint_x4")
RECORD = "record.json"
PARTS = (RECORD, "scores.csv", "weights.safetensors")
RUNS = Path("results", "cpu", "runs")


class WithModels(build_py):
    def run(self):
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)  # else an older build's files would come along
        super().run()
        if not self.editable_mode:
            for folder in map(self.stored, MODELS):
                for part in PARTS:
                    self.carry(folder / part)
                self.derive(folder)

    def carry(self, path: Path) -> None:
        """A file of a stored run."""
        place = Path(self.build_lib, "tadlib", "models", path.parent.name, path.name)
        self.mkpath(str(place.parent))
        self.copy_file(str(path), str(place))

    def derive(self, folder: Path) -> None:
        """The stored run's ONNX files beside its weights, and the records of those that it goes on from: they say how
        long it was trained.
        """
        sys.path.insert(0, str(Path(__file__).resolve().parent))  # this tree's tadlib, whichever is installed
        try:
            from tadlib.stored import Trained
            from tadlib.tool.export import graphs
            from tadlib.tool.models import before
        except ModuleNotFoundError as error:
            raise SetupError(f"the wheel's ONNX files are made with {error.name}: pip install -e '.[workbook,dev]', "
                             "then ./run_all.sh --wheel") from None
        for name, data in graphs(Trained.open(folder), folder.name.rpartition("-")[0]).items():
            Path(self.build_lib, "tadlib", "models", folder.name, name).write_bytes(data)
        for earlier in before(folder):
            self.carry(earlier / RECORD)

    @staticmethod
    def stored(name: str) -> Path:
        """The folder of a stored run: its name and a hash."""
        found = [f for f in RUNS.glob(f"{name}-*") if all((f / part).is_file() for part in PARTS)]
        if len(found) != 1:
            raise SetupError(f"{RUNS / name}-*: {len(found)} complete runs there, the wheel carries exactly one")
        return found[0]


class WithWorkbook(editable_wheel):
    def run(self):
        self.distribution.packages += find_packages(include=["workbook", "workbook.*"])
        super().run()


setup(cmdclass={"build_py": WithModels, "editable_wheel": WithWorkbook})
