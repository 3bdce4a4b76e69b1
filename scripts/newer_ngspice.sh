#!/bin/sh
# Unpacks the ngspice of Debian's backports (with KLU) into FOLDER, beside the installed one, without root.
# Usage: scripts/newer_ngspice.sh FOLDER; then: . FOLDER/use.sh
# The packages come from where this machine's own apt sources point.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ -f "$folder/use.sh" ] && exit 0
source=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | awk '$2 !~ /-/ { print; exit }')
[ -n "$source" ] || { echo "apt-get names no source of packages: run apt-get update first." >&2; exit 1; }
site=${source% *} release=${source#* }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/partial" "$work/parts"
printf 'deb %s %s main\ndeb %s %s-backports main\n' "$site" "$release" "$site" "$release" > "$work/sources.list"
apt() {
    apt-get -qq -o Debug::NoLocking=1 -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" \
        -o Dir::State::lists="$work/lists" -o Dir::Cache::archives="$work/cache" -o Dir::Cache::pkgcache= \
        -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User= "$@"
}
apt update
apt install --download-only --reinstall --no-install-recommends -y -t "$release-backports" ngspice libngspice0 >/dev/null
for package in "$work"/cache/*.deb; do
    dpkg -x "$package" "$folder"
done
# Code models of the installed version would crash this one.
sed -i "s# /usr/lib# $folder/usr/lib#" "$folder/usr/share/ngspice/scripts/spinit"
library=$(find "$folder" -name 'libngspice.so.0' | head -1)
cat > "$folder/use.sh" <<USE
export PATH="$folder/usr/bin:\$PATH"
export LD_LIBRARY_PATH="${library%/*}\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export SPICE_LIB_DIR="$folder/usr/share/ngspice"
USE
