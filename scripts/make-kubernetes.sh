#!/usr/bin/env bash
# Builds the programs of Kubernetes and etcd that `make test-kubernetes` runs, from their Go modules.
#
#   scripts/make-kubernetes.sh
#
# They are one executable, testing/kubernetes/main.go, with a link for each name in KRAFT_KUBERNETES
# (target/kubernetes). It is built again only after a change of its source, its modules or the version of Go. The first
# build needs Go 1.24, 4 GB of disk, 2.5 GB of memory and 5 to 10 minutes; then `go clean -cache -modcache` may
# remove what Go keeps.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
source=$root/testing/kubernetes
into=${KRAFT_KUBERNETES:-$root/target/kubernetes}
version=$(sed -n 's/^\tk8s.io\/kubernetes //p' "$source/go.mod")

fail() {
    printf 'kubernetes: error: %s\n' "$1" >&2
    shift
    [[ $# == 0 ]] || printf 'kubernetes: hint: %s\n' "$@" >&2
    exit 1
}

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || fail "Go is not installed" "https://go.dev/dl has it; 1.21 or newer fetches the version needed"

cd "$source"
key=$( (go version && cat go.mod go.sum main.go) | sha256sum | cut -d' ' -f1)
if [[ -x $into/kubernetes && $(cat "$into/key" 2>/dev/null) == "$key" ]]; then
    echo "kubernetes: $into is up to date"
    exit
fi

echo "kubernetes: building Kubernetes $version in $into, which takes some minutes"
number=${version#v}
set_version="-X k8s.io/component-base/version.gitVersion=$version"
set_version+=" -X k8s.io/component-base/version.gitMajor=${number%%.*}"
set_version+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$number")"
mkdir -p "$into"
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w $set_version" -o "$into/kubernetes" . ||
    fail "Kubernetes was not built" "a first build needs Go's module proxy, 4 GB of disk and 2.5 GB of memory"
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -sf kubernetes "$into/$name"
done
echo "$key" >"$into/key"
