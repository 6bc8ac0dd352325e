# Sourced by the other scripts: goes to the repository, finds Python, makes .venv, installs into it.
# shellcheck shell=bash

set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

stop() {
    echo "$*" >&2
    exit 1
}

# need_apt PACKAGE...: Debian packages, installed where we may, else the exact line to run.
need_apt() {
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    else
        stop "System packages are missing. On Debian and Ubuntu run
    sudo apt-get install -y $*
and then this command again."
    fi
}

# need_window: what Qt needs to open a window on Linux, and a display that nobody sees, for tests.
need_window() {
    local plugin=(.venv/lib/python3*/site-packages/PyQt6/Qt6/plugins/platforms/libqxcb.so)
    if [[ $(uname) != Linux ]] || { command -v Xvfb >/dev/null && [[ $(ldd "${plugin[0]}") != *"not found"* ]]; }; then
        return
    fi
    need_apt xvfb xauth libegl1 libgl1 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 \
        libxcb-keysyms1 libxcb-shape0 libdbus-1-3 libglib2.0-0 libfontconfig1
}

# The name of a Python that is new enough; each is run, a name on the PATH may be an empty shim.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    stop "No Python 3.11 or newer found (looked for python3.13, python3.12, python3.11, python3)."
}

# make_venv FOLDER PYTHON
make_venv() {
    # Debian keeps ensurepip, which a virtual environment needs, in a package of its own.
    if ! "$2" -c 'import ensurepip, venv' 2>/dev/null; then
        need_apt "$("$2" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    echo "Making a virtual environment with $("$2" --version)."
    "$2" -m venv --clear "$1"
    "$1/bin/pip" install -q 'pip>=25.1' # the first that knows --group
}

# install_torch FOLDER REQUIREMENT: without an NVIDIA driver the CPU build, far smaller, from
# PyTorch's own index. Where that can't be reached, the next pip install finds torch as usual.
install_torch() {
    if [[ $(uname) == Linux ]] && ! command -v nvidia-smi >/dev/null; then
        "$1/bin/pip" install --no-deps --retries 0 --timeout 10 \
            --index-url https://download.pytorch.org/whl/cpu "$2" 2>/dev/null ||
            echo "PyTorch's index of CPU builds can't be reached: torch comes from pip's usual index."
    fi
}

# setup NAME PIP_ARGUMENT...: makes .venv ready; quick where NAME was made from the same two files.
setup() {
    local stamp=.venv/made-for-$1
    shift
    # Also unlike this for a .venv that was moved, copied or left half made.
    if [[ $(.venv/bin/pip --version 2>/dev/null) != *" from $PWD/.venv/"* ]]; then
        local python
        python=$(find_python)
        make_venv .venv "$python"
    fi
    PATH=$PWD/.venv/bin:$PATH
    if ! cat pyproject.toml constraints.txt | cmp -s - "$stamp"; then
        install_torch .venv "$(grep '^torch==' constraints.txt)"
        echo "Installing the other packages; the first time this takes a minute or two."
        pip install -q -c constraints.txt "$@"
        cat pyproject.toml constraints.txt >"$stamp"
    fi
}
