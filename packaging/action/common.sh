# What the steps of the action share; sourced.

# Ends with an error that GitHub shows.
fail() {
    echo "::error::$1"
    exit 1
}

# Goes to the directory of the project.
enter() {
    cd "$(in_workspace "${INPUT_WORKDIR:-.}")" || fail "workdir: there is no directory \`$INPUT_WORKDIR\`"
}

# Prints a path: /github/workspace, where KraftKit's container has the workspace, is the workspace.
in_workspace() {
    case $1 in
        /github/workspace | /github/workspace/*) printf '%s\n' "$GITHUB_WORKSPACE${1#/github/workspace}" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

# Runs the text of an input as a script in the directory of the project.
script() { # NAME TEXT
    [[ -n $2 ]] || return 0
    printf '%s\n' "$2" >"$RUNNER_TEMP/kraft-$1.sh"
    bash -e "$RUNNER_TEMP/kraft-$1.sh" || fail "$1: the script failed"
}
