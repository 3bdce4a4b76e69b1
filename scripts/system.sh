#!/bin/sh
# Sees to what pip cannot install: Python 3.11 with venv, the ngspice program, and its shared library.
# Installs Debian's packages where it may (root, or sudo without a password); else prints the command to run.
# Usage: scripts/system.sh PYTHON
set -u
python=$1
packages="python3 python3-venv ngspice libngspice0"

missing() { # what is missing, as one line: "a, b"
    wanting | paste -sd , - | sed 's/,/, /g'
}

wanting() {
    "$python" -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        echo "Python 3.11 or newer with venv ($python)"
    command -v ngspice >/dev/null || echo "ngspice"
    # Debian's /sbin is not on a user's PATH.
    PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | grep -q 'libngspice\.so' || find_library || echo "libngspice"
}

find_library() { # macOS, and libraries off the beaten path
    "$python" -c 'import ctypes.util, sys; sys.exit(ctypes.util.find_library("ngspice") is None)' 2>/dev/null
}

lack=$(missing)
[ -z "$lack" ] && exit 0
install="apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages"
if ! command -v apt-get >/dev/null; then
    echo "amcsim needs $lack: install them with this system's package manager, then run make again." >&2
    exit 1
elif [ "$(id -u)" -eq 0 ]; then
    as_root="sh -c"
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n sh -c"
else
    echo "amcsim needs $lack: run  sudo sh -c '$install'  and then make again." >&2
    exit 1
fi
echo "Installing $packages (missing: $lack)"
$as_root "$install" >&2 || { echo "amcsim could not install $packages; the messages above say why." >&2; exit 1; }

lack=$(missing)
[ -z "$lack" ] && exit 0
echo "amcsim still lacks $lack after installing $packages; to use another Python, run make PYTHON=/path/to/python3." >&2
exit 1
