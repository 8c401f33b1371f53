#!/usr/bin/env bash
# Makes the root filesystems that `make applications` runs on the built-in runtime.
#
#   scripts/make-applications.sh [NAME...|bases]
#
# Packages come from Debian's archive (DEBIAN_MIRROR) with their dependencies and are unpacked, never
# installed, for x86_64 and arm64. The files of testing/kraft-e2e/applications/NAME are put on top, and the
# programs there are compiled. All of it is in KRAFT_APPLICATIONS (target/applications), as
# ARCHITECTURE/NAME; what is there already is not made again. With `bases`, makes those of base-NAME, which
# stand for the base images of public registries in the Dockerfiles that `kraft init` writes (`make projects`).
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
sources=$root/testing/kraft-e2e/applications
into=${KRAFT_APPLICATIONS:-$root/target/applications}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org}
release=bookworm

# name | architectures | packages
roots='
compiler   | x86_64       | ecj openjdk-17-jre-headless
clients    | x86_64       | redis-tools postgresql-client-15 libmemcached-tools
busybox    | x86_64 arm64 | busybox
bash       | x86_64 arm64 | bash coreutils
python     | x86_64 arm64 | python3
perl       | x86_64 arm64 | perl
lua        | x86_64 arm64 | lua5.4 lua-socket
curl       | x86_64 arm64 | curl ca-certificates
go         | x86_64 arm64 |
axum       | x86_64 arm64 |
nginx      | x86_64       | nginx
haproxy    | x86_64       | haproxy
redis      | x86_64       | redis-server
memcached  | x86_64       | memcached
sqlite     | x86_64       | sqlite3
postgresql | x86_64       | postgresql-15 util-linux dash
node       | x86_64       | nodejs
ruby       | x86_64       | ruby ruby-webrick
php        | x86_64       | php8.2-cli
java       | x86_64       | openjdk-17-jre-headless
gawk       | x86_64       | gawk dash
tcl        | x86_64       | tcl8.6
git        | x86_64       | git dash coreutils
base-busybox | x86_64 | busybox-static
base-node    | x86_64 | nodejs dash coreutils
base-python  | x86_64 | python3 python3-venv dash coreutils
base-golang  | x86_64 | golang-go dash coreutils ca-certificates
base-rust    | x86_64 | cargo rustc libllvm14 gcc libc6-dev dash coreutils ca-certificates
base-php     | x86_64 | php8.2-cli
base-ruby    | x86_64 | ruby ruby-webrick
base-gradle  | x86_64 | gradle openjdk-17-jdk-headless dash coreutils grep sed
base-eclipse-temurin | x86_64 | openjdk-17-jre-headless
base-deno    | x86_64 | libc6 libgcc-s1 dash
'

# Only the scripts that install a package need these, or code that is not used: no root has them.
unneeded='debconf dpkg init-system-helpers lsb-base sysvinit-utils adduser passwd ucf mount
sensible-utils tzdata ssl-cert locales iproute2 postgresql-common postgresql-client-common libllvm14
logrotate libpam-runtime libpam-modules ca-certificates-java java-common rake nodejs-doc perl liberror-perl
git-man php-common fonts-lato libjs-jquery ruby-net-telnet ruby-rubygems ruby-xmlrpc'

say() { printf 'applications: %s\n' "$*"; }

fail() {
    printf 'applications: error: %s\n' "$1" >&2
    shift
    [[ $# == 0 ]] || printf 'applications: hint: %s\n' "$@" >&2
    exit 1
}

debian() { # ARCHITECTURE
    case $1 in x86_64) echo amd64 ;; arm64) echo arm64 ;; esac
}

# apt-get with lists, a cache and a state of its own, in which only $unneeded is installed.
apt() { # ARCHITECTURE ARGUMENT...
    local state=$into/apt/$1 arch
    arch=$(debian "$1")
    shift
    local own=(-o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
        -o "Dir::Cache::archives=$into/packages" -o "Dir::Etc::sourcelist=$state/sources.list"
        -o Dir::Etc::sourceparts=/dev/null -o "APT::Architecture=$arch" -o "APT::Architectures::=$arch"
        -o Acquire::Languages=none -o APT::Install-Recommends=false -o Debug::NoLocking=true
        -o Acquire::Retries=3)
    [[ $(id -u) != 0 ]] || own+=(-o APT::Sandbox::User=root)
    apt-get --quiet=2 "${own[@]}" "$@"
}

# Reads the package lists of an architecture, once.
prepare() { # ARCHITECTURE
    local state=$into/apt/$1 keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [[ ! -e $state/prepared ]] || return 0
    [[ -e $keys ]] || fail "$keys does not exist" "apt-get install debian-archive-keyring"
    mkdir -p "$state/lists/partial" "$state/cache" "$into/packages/partial"
    : >"$state/status"
    printf 'deb [signed-by=%s] %s %s main\n' \
        "$keys" "$mirror/debian" "$release" "$keys" "$mirror/debian-security" "$release-security" \
        >"$state/sources.list"
    say "reading Debian's package lists for $1"
    apt "$1" update || fail "the package lists of $mirror cannot be read"
    touch "$state/prepared"
}

# Has apt believe that what no root needs is installed, except for packages.
pretend() { # ARCHITECTURE PACKAGE...
    local arch=$1 package
    shift
    for package in $unneeded; do
        [[ " $* " != *" $package "* ]] || continue
        printf 'Package: %s\nStatus: install ok installed\nVersion: 9999\n' "$package"
        # debconf is asked for by another name as well.
        [[ $package != debconf ]] || printf 'Provides: debconf-2.0\n'
        printf 'Architecture: %s\nMulti-Arch: allowed\n' "$(debian "$arch")"
        printf 'Maintainer: none <none@localhost>\nDescription: left out\n\n'
    done >"$into/apt/$arch/status"
}

# Unpacks packages with their dependencies.
unpack() { # ARCHITECTURE DIRECTORY PACKAGE...
    local arch=$1 directory=$2 uri file rest
    shift 2
    prepare "$arch"
    pretend "$arch" "$@"
    apt "$arch" install --yes --download-only "$@" >/dev/null
    # With an empty cache apt names all of them, also those that it has.
    while read -r uri file rest; do
        dpkg-deb --fsys-tarfile "$into/packages/$file" | tar -x -C "$directory" --no-same-owner \
            --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
            --exclude='./usr/share/info/*' --exclude='./usr/share/lintian/*' --exclude='./usr/share/bug/*' --exclude='./usr/lib/*/gconv/*'
    done < <(apt "$arch" install --yes --print-uris -o "Dir::Cache::archives=$into/apt/$arch/cache" "$@")
}

# Makes absolute links relative, so that programs of a root also run outside of it.
make_links_relative() { # DIRECTORY
    local link target up
    find "$1" -type l -lname '/*' -printf '%P\n' | while read -r link; do
        target=$(readlink "$1/$link")
        up=$(dirname "$link" | sed 's,[^/]\+,..,g')
        ln -sfn "${up}${target}" "$1/$link"
    done
}

# Compiles what has a source in testing/kraft-e2e/applications; a missing compiler leaves its root out.
compile() { # NAME ARCHITECTURE DIRECTORY
    local rust target tools
    case $1 in
    go)
        command -v go >/dev/null || return 1
        (cd "$sources/go" && CGO_ENABLED=0 GOARCH=$(debian "$2") GOFLAGS=-mod=mod GOCACHE="$into/go" \
            go build -trimpath -o "$3/bin/server" .)
        ;;
    axum)
        rust=$("$root/scripts/find-rust.sh")
        case $2 in x86_64) target=x86_64-unknown-linux-musl ;; arm64) target=aarch64-unknown-linux-musl ;; esac
        [[ -d $("$rust/rustc" --print target-libdir --target "$target") ]] ||
            rustup target add "$target" >/dev/null 2>&1 || return 1
        (cd "$sources/axum" && PATH="$rust:$PATH" RUSTFLAGS="-Clinker=rust-lld -Clink-self-contained=yes" \
            CARGO_TARGET_DIR="$into/axum" cargo build --quiet --locked --release --target "$target")
        cp "$into/axum/$target/release/server" "$3/bin/server"
        ;;
    java)
        tools=$into/x86_64/compiler
        "$tools"/usr/lib/jvm/java-17-openjdk-*/bin/java -cp "$tools/usr/share/java/eclipse-jdt-core.jar" \
            org.eclipse.jdt.internal.compiler.batch.Main -17 -proc:none -d "$3/srv" "$sources/java/HelloServer.java"
        ;;
    esac
}

# Does what the scripts of packages would do in a base image: certificates, and names of programs.
finish_base() { # NAME DIRECTORY
    local name=$1 root=$2 applet
    mkdir -p "$root"/{etc/ssl/certs,usr/bin,usr/local/bin}
    if [[ -d $root/usr/share/ca-certificates ]]; then
        find "$root/usr/share/ca-certificates" -name '*.crt' -exec cat {} + \
            >"$root/etc/ssl/certs/ca-certificates.crt"
    fi
    case $name in
    base-busybox)
        "$root/bin/busybox" --list | while read -r applet; do
            [[ -e $root/bin/$applet ]] || ln -s busybox "$root/bin/$applet"
        done
        ;;
    base-python) ln -s ../../bin/python3 "$root/usr/local/bin/python" ;;
    base-php) ln -s php8.2 "$root/usr/bin/php" ;;
    base-rust) ln -s gcc "$root/usr/bin/cc" ;;
    base-gradle | base-eclipse-temurin)
        ln -s "../lib/jvm/java-17-openjdk-$(debian x86_64)/bin/java" "$root/usr/bin/java"
        ;;
    base-deno)
        # Deno is not in Debian: PyPI has its program.
        python3 -m pip download --quiet --no-deps --only-binary :all: -d "$into/deno" deno==2.4.5 &&
            python3 -m zipfile -e "$into"/deno/deno-2.4.5-*.whl "$into/deno" || return 1
        find "$into/deno" -type f -name deno -exec install -m 755 {} "$root/usr/bin/deno" \;
        [[ -x $root/usr/bin/deno ]]
        ;;
    esac
}

# Makes one root, whole or not at all.
make_root() { # NAME ARCHITECTURE PACKAGE...
    local name=$1 arch=$2 scratch=$into/$2/.$1
    shift 2
    [[ ! -d $into/$arch/$name ]] || return 0
    say "making $arch/$name"
    rm -rf "$scratch"
    mkdir -p "$scratch"/{bin,etc,srv,tmp,run,var/tmp,var/log,dev,proc,sys,root}
    chmod 1777 "$scratch"/tmp "$scratch"/var/tmp
    [[ $# == 0 ]] || unpack "$arch" "$scratch" "$@"
    if [[ $name == base-* ]] && ! finish_base "$name" "$scratch"; then
        say "left out $arch/$name: its program cannot be downloaded"
        rm -rf "$scratch"
        return 0
    fi
    cp -r "$sources/all/." "$scratch"
    [[ ! -d $sources/$name/files ]] || cp -r "$sources/$name/files/." "$scratch"
    if ! compile "$name" "$arch" "$scratch"; then
        say "left out $arch/$name: it cannot be compiled here"
        rm -rf "$scratch"
        return 0
    fi
    make_links_relative "$scratch"
    mv "$scratch" "$into/$arch/$name"
}

for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || fail "$program is not installed: packages of Debian are needed"
done
while IFS='|' read -r name architectures packages; do
    [[ -n $name ]] || continue
    name=${name// /}
    case $name in
    base-*) [[ " $* " == *" bases "* || " $* " == *" $name "* ]] || continue ;;
    *) [[ $# == 0 || " $* " == *" $name "* ]] || continue ;;
    esac
    for arch in $architectures; do
        # shellcheck disable=SC2086 # one word for each package
        make_root "$name" "$arch" $packages
    done
done <<<"$roots"
