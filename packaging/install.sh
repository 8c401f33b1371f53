#!/bin/sh
# Installs a released kraft: the static program, its manual, completions and JSON Schemas.
#
#   curl -fsSL https://github.com/unikraft/kraft/releases/latest/download/install.sh | sh
#
# Variables: PREFIX (/usr/local for root, else ~/.local), KRAFT_VERSION (the version that this script was released
# with), KRAFT_DOWNLOAD (the URL or directory with the archives). Downloads are verified against SHA256SUMS.
set -eu

version=${KRAFT_VERSION:-@VERSION@}
from=${KRAFT_DOWNLOAD:-@REPOSITORY@/releases/download/v$version}

fail() {
    echo "install: error: $1" >&2
    [ $# -lt 2 ] || echo "install: hint: $2" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "kraft runs on Linux only" "use a Linux virtual machine"
case $(uname -m) in
    x86_64 | amd64) target=x86_64-unknown-linux-musl ;;
    aarch64 | arm64) target=aarch64-unknown-linux-musl ;;
    *) fail "there is no kraft for $(uname -m)" "build it from source: @REPOSITORY@" ;;
esac
if [ -z "${PREFIX:-}" ]; then
    if [ "$(id -u)" = 0 ]; then
        PREFIX=/usr/local
    else
        PREFIX=${HOME:?}/.local
    fi
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM HUP

get() { # NAME: copies a file of the release into $scratch
    case $from in
        http://* | https://*)
            if command -v curl >/dev/null 2>&1; then
                curl -fsSL --retry 3 -o "$scratch/$1" "$from/$1"
            elif command -v wget >/dev/null 2>&1; then
                wget -q -O "$scratch/$1" "$from/$1"
            else
                fail "neither curl nor wget is installed" "install one of them"
            fi ;;
        *) cp "$from/$1" "$scratch/$1" ;;
    esac || fail "cannot get $from/$1"
}

archive=kraft-$version-$target.tar.gz
get SHA256SUMS
get "$archive"
# The line of this file only: others are not there.
(cd "$scratch" && grep "  $archive\$" SHA256SUMS | sha256sum -c - >/dev/null 2>&1) ||
    fail "the checksum of $archive is wrong" "download it again; if that does not help, report it"
tar -xzf "$scratch/$archive" -C "$scratch"
files=$scratch/kraft-$version-$target

mkdir -p "$PREFIX/bin" "$PREFIX/share/man/man1" "$PREFIX/share/bash-completion/completions" \
    "$PREFIX/share/zsh/site-functions" "$PREFIX/share/fish/vendor_completions.d" "$PREFIX/share/kraft/schema"
# A running kraft keeps its program.
cp "$files/kraft" "$PREFIX/bin/.kraft.new"
chmod 755 "$PREFIX/bin/.kraft.new"
mv -f "$PREFIX/bin/.kraft.new" "$PREFIX/bin/kraft"
cp "$files"/man/*.1 "$PREFIX/share/man/man1/"
cp "$files"/schema/*.json "$PREFIX/share/kraft/schema/"
cp "$files/completions/kraft" "$PREFIX/share/bash-completion/completions/kraft"
cp "$files/completions/_kraft" "$PREFIX/share/zsh/site-functions/_kraft"
cp "$files/completions/kraft.fish" "$PREFIX/share/fish/vendor_completions.d/kraft.fish"

echo "installed kraft $version in $PREFIX/bin"
case :$PATH: in
    *:"$PREFIX/bin":*) ;;
    *) echo "add it to your PATH: export PATH=\"$PREFIX/bin:\$PATH\"" ;;
esac
echo "\`kraft doctor\` checks this host and shows what to install"
