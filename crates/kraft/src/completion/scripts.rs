//! The scripts that connect a shell to `kraft __complete`.

use clap::ValueEnum;

/// A supported shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// The Bourne-again shell, 4.4 or newer
    Bash,
    /// The Z shell
    Zsh,
    /// The friendly interactive shell
    Fish,
    /// PowerShell
    #[value(name = "powershell", alias = "pwsh")]
    Power,
}

/// The variable `COMPLETE` names no shell.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`COMPLETE={0}` is not a supported shell: expected bash, zsh, fish or powershell")]
pub(crate) struct UnknownShell(String);

/// Returns the shell that the variable `COMPLETE` names: by its name, or by the path of its program
/// as in `$SHELL`. As for other programs, nothing and `0` name none.
pub(crate) fn requested_shell(value: Option<&str>) -> Result<Option<Shell>, UnknownShell> {
    let Some(value) = value.filter(|value| !matches!(*value, "" | "0")) else {
        return Ok(None);
    };
    let name = value.rsplit('/').next().unwrap_or(value);
    Shell::from_str(name, false)
        .map(Some)
        .map_err(|_| UnknownShell(value.to_owned()))
}

/// Returns the script of a shell.
pub(crate) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        Shell::Power => POWERSHELL,
    }
}

// Readline cuts words at `=` and `:`. The script joins them again before it passes them, and
// returns only the part of each candidate after the last cut.
const BASH: &str = r#"# bash completion for kraft; load it with: source <(kraft completion bash)
_kraft() {
    local words=() word i glue=0
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]})) && { [[ $word == [=:]* ]] || ((glue)); }; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        [[ $word == *[=:] ]] && glue=1 || glue=0
    done
    ((${#words[@]})) || words=('')
    local current=${words[${#words[@]} - 1]} cut='' line
    case $current in
        *[=:]*) cut=${current%"${current##*[=:]}"} ;;
    esac
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files) compopt -o default ;;
            :dirs) compopt -o dirnames ;;
            *)
                line=${line%%$'\t'*}
                COMPREPLY+=("${line#"$cut"}")
                ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete -- "${words[@]}" 2>/dev/null)
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}
complete -F _kraft kraft
"#;

const ZSH: &str = r#"#compdef kraft
# zsh completion for kraft; load it with: source <(kraft completion zsh)
_kraft() {
    local -a candidates
    local line word about files=''
    while IFS= read -r line; do
        case $line in
            :files) files='_files' ;;
            :dirs) files='_files -/' ;;
            *)
                word=${line%%$'\t'*}
                about=${line#*$'\t'}
                candidates+=("${word//:/\\:}:$about")
                ;;
        esac
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( $#candidates )) && _describe 'kraft' candidates
    [[ -n $files ]] && ${=files}
}
if [[ $funcstack[1] == _kraft ]]; then
    _kraft "$@"
else
    compdef _kraft kraft
fi
"#;

const FISH: &str = r"# fish completion for kraft; load it with: kraft completion fish | source
function __kraft_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete -- $words[2..] 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path (commandline -ct)
            case :dirs
                __fish_complete_directories (commandline -ct)
            case '*'
                echo $line
        end
    end
end
complete -c kraft -f -a '(__kraft_complete)'
";

const POWERSHELL: &str = r#"# PowerShell completion for kraft; load it with: kraft completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName kraft -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
        ForEach-Object { $_.ToString() })
    $program = $words[0]
    $words = @($words | Select-Object -Skip 1)
    if ($wordToComplete -eq '') { $words += '""' }
    & $program __complete -- @words 2>$null | ForEach-Object {
        $answer = $_
        if ($answer -eq ':files' -or $answer -eq ':dirs') {
            Get-ChildItem -Path "$wordToComplete*" -ErrorAction SilentlyContinue |
                Where-Object { $_.PSIsContainer -or $answer -ne ':dirs' } |
                ForEach-Object {
                    [System.Management.Automation.CompletionResult]::new($_.Name, $_.Name, 'ProviderItem', $_.Name)
                }
        } else {
            $word, $about = $answer -split "`t", 2
            if (-not $about) { $about = $word }
            [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $about)
        }
    }
}
"#;
