#!/usr/bin/env bash
# The last step of the GitHub Action: the script in `after`, also after a failure.
set -euo pipefail

# shellcheck source=packaging/action/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

trap 'rm -rf "$RUNNER_TEMP/kraft-config"' EXIT
enter
script after "${INPUT_AFTER:-}"
