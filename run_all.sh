#!/usr/bin/env bash
# From a clone to every figure, table and page: find or make the Python environment, then run the notebooks.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: ./run_all.sh [--profile smoke|cpu|gpu] [--only 01]... [--retrain]
       ./run_all.sh --test
       ./run_all.sh --wheel
       ./run_all.sh --help

Runs every notebook and names the figures, tables and pages that it made. Needs Python 3.11 to 3.13 and nothing else:
the active environment is used if it has this project and all it needs; otherwise the locked dependencies are
installed into .venv, once.

  --profile NAME  smoke: a few steps on the bundled sample, to see that everything works
                  cpu:   loads the committed runs, trains what is missing (the default)
                  gpu:   the long schedules
  --only NUMBER   only the notebook whose name starts with NUMBER, e.g. 01; may be given more than once
  --retrain       train again instead of loading
  --test          lint, types, tests, and all notebooks at the smoke profile; takes no further option
  --wheel         builds dist/tadlib-VERSION-py3-none-any.whl: the commands with their models, for any other Python;
                  takes no further option
  --help          this text

environment variables:
  TAD_DATA               folder of the image sets (default: data/ of the project, and the bundled sample)
  TAD_RESULTS            where runs, figures and tables go (default: results/)
  TAD_CHECKPOINTS        where unfinished trainings and large sets, decoded, wait (default: build/checkpoints/)
  TAD_MODELS             a folder of models to look in first: as a training leaves them, or as `tadlib export` writes them
  TAD_DEVICE             cpu, cuda, cuda:1 or mps (default: the CUDA GPU if there is one)
  TAD_PRECISION          fp32 or bf16, for training and refining (default: what is faster here)
  TAD_UNTIL              seconds since 1970 at which a training stops and leaves its checkpoint
  TAD_CHECKPOINT_SECONDS between two checkpoints of a training (default: 60)
  TAD_NO_TRAINING        if set, what is not stored is an error and is not trained
EOF
}

fail() { echo "run_all.sh: $2" >&2; exit "$1"; }

check_options() {  # everything that can be wrong with them is said here, before anything is installed
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) usage; exit 0 ;;
            --profile)
                case ${2:-} in
                    smoke | cpu | gpu) shift ;;
                    *) fail 2 "--profile needs smoke, cpu or gpu" ;;
                esac ;;
            --only)
                case ${2:-} in
                    '' | -*) fail 2 "--only needs the number of a notebook, e.g. --only 01" ;;
                    *) shift ;;
                esac ;;
            --retrain) ;;
            --test | --wheel) fail 2 "$1 takes no further option" ;;
            *) fail 2 "unknown option $1 (--help lists them)" ;;
        esac
        shift
    done
}

# Has this Python the project from this folder, and every dependency at a version that pyproject.toml allows?
# -P keeps the current folder out of the search: a clone that was never installed must not pass.
is_ready() {
    "$1" -P - "$PWD" >/dev/null 2>&1 <<'EOF'
import sys, tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement  # comes with matplotlib

root = Path(sys.argv[1]).resolve()
for package in "tadlib", "workbook":
    assert Path(find_spec(package).origin).resolve().parent.parent == root
project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
needs = [*project["dependencies"], *(need for extra in project["optional-dependencies"].values() for need in extra)]
for need in map(Requirement, needs):  # [workbook] and [dev] are all there is: they ask for the other extras
    assert need.name == project["name"] or version(need.name) in need.specifier
EOF
}

# Each is tried, not only looked up: a version manager leaves commands that only say that this version is not chosen.
find_python() {
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
        then
            echo "$candidate"
            return
        fi
    done
    fail 1 "needs Python 3.11 to 3.13 with its venv module; found $(python3 --version 2>/dev/null || echo none)"
}

install_project() {  # into .venv, unless nothing changed since the last time
    local state base
    state=$({ pwd; cat pyproject.toml constraints.txt; } | cksum)
    [ -x .venv/bin/python ] && [ "$(cat .venv/installed 2>/dev/null)" = "$state" ] && return

    if [ ! -x .venv/bin/python ]; then
        base=$(find_python)
        echo "Making .venv with $("$base" --version)"
        rm -rf .venv  # a leftover whose Python is gone
        "$base" -m venv .venv || { rm -rf .venv; fail 1 "could not make .venv (see above)"; }
    fi
    echo "Installing the locked dependencies into .venv (up to 6 GB with CUDA: takes some minutes, once) ..."
    install_with_uv || install_with_pip
    echo "$state" >.venv/installed
}

install_with_uv() {
    command -v uv >/dev/null || return
    uv pip install -q --python .venv/bin/python -c constraints.txt -e '.[workbook,dev]' && return
    echo "uv could not (see above); trying pip, which reads its own configuration of mirrors and certificates ..."
    return 1
}

install_with_pip() {  # -qq: errors are still shown
    .venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[workbook,dev]'
}

heading() { printf '\n== %s\n' "$*"; }

run_tests() {
    local python=$1
    local parallel=(-n 2 --dist loadfile)
    # Two workers of two threads each would fight over two cores: hence OMP_NUM_THREADS.
    heading "lint"
    "$python" -m ruff check .

    heading "types"
    "$python" -m mypy

    heading "tests"
    OMP_NUM_THREADS=1 "$python" -m pytest -q tests "${parallel[@]}"

    heading "every notebook at the smoke profile"
    "$python" -m workbook batch --profile smoke

    heading "the executed notebooks give the same again, from what the smoke run stored"
    OMP_NUM_THREADS=1 TAD_NO_TRAINING=1 \
        "$python" -m pytest -q --nbval --nbval-current-env build/smoke "${parallel[@]}" -p no:cacheprovider

    heading "the committed notebooks show what the committed results say"
    OMP_NUM_THREADS=1 TAD_NO_TRAINING=1 env -u TAD_DATA -u TAD_RESULTS \
        "$python" -m pytest -q --nbval --nbval-current-env notebooks "${parallel[@]}" -p no:cacheprovider

    heading "all passed"
}

build_wheel() {
    local python=$1 wheel
    rm -f dist/tadlib-*.whl
    "$python" -m pip --disable-pip-version-check wheel -q . --no-deps --no-build-isolation -w dist
    wheel=$(echo dist/tadlib-*.whl)
    echo "$wheel: $(wc -c <"$wheel" | awk '{ printf "%.1f MB", $1 / 1e6 }')"
}

mode=batch
case $* in
    --test | --wheel) mode=$1 ;;
    *) check_options "$@" ;;
esac

for name in TAD_DATA TAD_RESULTS TAD_CHECKPOINTS TAD_MODELS; do  # relative to where the user stands, so before the cd
    value=${!name:-}
    case $value in '' | /*) ;; *) export "$name=$PWD/$value" ;; esac
done
cd "$(dirname "${BASH_SOURCE[0]}")"

python=python
# Our own .venv, should it be the active one, is checked by its stamp: it follows the lock, not only pyproject.toml.
if [ "${VIRTUAL_ENV:-}" = "$PWD/.venv" ] || ! is_ready python; then
    install_project
    python=$PWD/.venv/bin/python
fi

case $mode in
    --test) run_tests "$python" ;;
    --wheel) build_wheel "$python" ;;
    *) exec "$python" -m workbook batch "$@" ;;
esac
