#!/bin/sh
# Make the images' base without an image registry: Debian 12 with Python 3.11, from this machine's own apt mirror.
# Usage, as root: docker/base.sh podman|docker [NAME]; then `make images ENGINE=... BASE_IMAGE=NAME`.
set -eu
engine=${1:?give podman or docker}
name=${2:-localhost/longtail/base:bookworm}
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Suite: bookworm' | head -n 1)
folder=$(mktemp -d)
chmod 755 "$folder"  # it becomes the image's root
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder" ${mirror:+"$mirror"}
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/* "$folder"/usr/share/doc/* "$folder"/usr/share/man/*
tar --create --directory "$folder" . | "$engine" import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$name"
