//! Hooks: programs that an engine has run at certain times, with the container's state on stdin.

use std::time::Duration;

use kraft_sys::environment::Inherit;
use kraft_sys::tool::Tool;

use crate::config::Hook;
use crate::failure::Failure;
use crate::state::OciState;

/// How long a hook without a time limit may take.
const LONGEST: Duration = Duration::from_mins(10);

/// Runs hooks, one after the other. The first that fails ends it.
pub(crate) fn run(hooks: &[Hook], kind: &str, state: &OciState<'_>) -> Result<(), Failure> {
    let json = serde_json::to_vec(state)
        .map_err(|e| Failure::of("cannot write the state of the container", &e))?;
    hooks.iter().try_for_each(|hook| run_one(hook, kind, &json))
}

fn run_one(hook: &Hook, kind: &str, state: &[u8]) -> Result<(), Failure> {
    if !hook.path.starts_with('/') {
        let path = &hook.path;
        return Err(Failure(format!(
            "the {kind} hook `{path}` has no absolute path"
        )));
    }
    let limit = hook.timeout.map_or(LONGEST, Duration::from_secs);
    let mut tool = Tool::new(&hook.path)
        .inherit(Inherit::Only(&[]))
        .args(hook.args.iter().skip(1))
        .input(state.to_vec())
        .limit(limit);
    if let Some(name) = hook.args.first() {
        tool = tool.arg0(name);
    }
    for pair in &hook.env {
        if let Some((name, value)) = pair.split_once('=') {
            tool = tool.env(name, value);
        }
    }
    let output = tool
        .output()
        .map_err(|e| Failure::of(&format!("the {kind} hook failed"), &e))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).trim().to_owned();
    Err(Failure(format!(
        "the {kind} hook `{}` failed ({}): {printed}",
        hook.path, output.status
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Status;

    fn state() -> OciState<'static> {
        static NONE: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
        OciState {
            oci_version: "1.2.0",
            id: "abc",
            status: Status::Creating,
            pid: 42,
            bundle: "/b".as_ref(),
            annotations: &NONE,
        }
    }

    fn shell(script: &str) -> Hook {
        Hook {
            path: "/bin/sh".to_owned(),
            args: ["other-name", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["A=b c".to_owned()],
            timeout: None,
        }
    }

    #[test]
    fn a_hook_gets_the_state_its_own_name_and_its_own_environment() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!(
            "{{ cat; echo; echo $0; env | grep -c HOME; echo $A; }} > {}",
            out.display()
        );
        run(&[shell(&script)], "prestart", &state()).unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let json: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(
            (json["pid"].as_u64(), json["status"].as_str()),
            (Some(42), Some("creating"))
        );
        assert_eq!(lines[1..], ["other-name", "0", "b c"]);
    }

    #[test]
    fn a_failed_hook_ends_it_with_what_it_printed() {
        let error = run(
            &[shell("echo no route >&2; exit 3"), shell("exit 0")],
            "poststop",
            &state(),
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("poststop") && error.contains("no route"),
            "{error}"
        );
        let slow = Hook {
            timeout: Some(1),
            ..shell("sleep 30")
        };
        assert!(run(&[slow], "prestart", &state()).is_err());
        let relative = Hook {
            path: "sh".to_owned(),
            ..Hook::default()
        };
        assert!(run(&[relative], "prestart", &state()).is_err());
    }
}
