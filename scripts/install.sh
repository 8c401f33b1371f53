#!/usr/bin/env bash
# Installs a built kraft with its manual, completions and JSON Schemas.
#
#   scripts/install.sh BINARY PREFIX
set -euo pipefail

cd "$(dirname "$0")/.."
if [[ $# != 2 ]]; then
    sed -n '2,4{s/^# \{0,1\}//p}' "$0" >&2
    exit 2
fi
binary=$1 prefix=$2

rust=$(scripts/find-rust.sh) && export PATH="$rust:$PATH"
cargo xtask man target/man

install -D --mode 755 --verbose "$binary" "$prefix/bin/kraft"
# Under this name it is the runtime for container engines.
ln --symbolic --force kraft "$prefix/bin/runu"
install -D --mode 644 --target-directory "$prefix/share/man/man1" target/man/*.1
install -D --mode 644 --target-directory "$prefix/share/kraft/schema" schema/*.json
completions() {
    mkdir -p "$(dirname "$prefix/share/$2")"
    "$binary" completion "$1" >"$prefix/share/$2"
}
completions bash bash-completion/completions/kraft
completions zsh zsh/site-functions/_kraft
completions fish fish/vendor_completions.d/kraft.fish
echo "installed kraft, its man pages, completions and JSON Schemas under $prefix"
