//! Whether to use colours, by the usual conventions.

use kraft_config::env::Environment;

/// Returns whether one stream is coloured.
///
/// `--no-color` or its key and any value of `NO_COLOR` disable colours. Else any `CLICOLOR_FORCE`
/// but `0` enables them. Else `CLICOLOR=0`, `TERM=dumb` and a stream that is not a terminal disable
/// them.
pub(crate) fn is_wanted(no_color: bool, env: &Environment, is_terminal: bool) -> bool {
    if no_color || env.text("NO_COLOR").is_some() {
        return false;
    }
    if env.text("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    let dull = |name, value: &str| env.text(name).is_some_and(|text| text == value);
    is_terminal && !dull("CLICOLOR", "0") && !dull("TERM", "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventions_apply_in_their_order() {
        let wanted = |variables: &[(&str, &str)], no_color, terminal| {
            let env = match variables {
                [] => Environment::default(),
                [a] => Environment::from([*a]),
                [a, b, ..] => Environment::from([*a, *b]),
            };
            is_wanted(no_color, &env, terminal)
        };
        assert!(wanted(&[], false, true));
        assert!(!wanted(&[], false, false));
        assert!(!wanted(&[], true, true));
        assert!(!wanted(&[("NO_COLOR", "1")], false, true));
        assert!(wanted(&[("NO_COLOR", "")], false, true));
        assert!(!wanted(&[("CLICOLOR", "0")], false, true));
        assert!(!wanted(&[("TERM", "dumb")], false, true));
        assert!(wanted(&[("CLICOLOR_FORCE", "1")], false, false));
        assert!(!wanted(&[("CLICOLOR_FORCE", "0")], false, false));
        assert!(!wanted(
            &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")],
            false,
            true
        ));
    }
}
