//! Macros of the KConfig language: `$(NAME)`, `$(shell,…)`, variables with and without arguments.
//!
//! A name is looked up as an argument (`$(1)`), as a variable of the files, as a built-in function,
//! and last in the environment; an undefined one is empty.

use std::collections::HashMap;

use super::sources::Sources;

/// Maximum nesting of macros.
const DEEPEST: usize = 40;
/// Maximum number of macros expanded for one tree.
const MOST: usize = 200_000;
/// Maximum length of an expanded text, in bytes.
const LONGEST: usize = 256 * 1024;
/// Maximum number of bytes used of a command's output, as in the build system.
const LONGEST_OUTPUT: usize = 255;

/// How a variable is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assign {
    /// `=`: expanded when it is used.
    Recursive,
    /// `:=`: expanded at once.
    Simple,
    /// `+=`: appended to the current value.
    Append,
}

struct Variable {
    value: String,
    simple: bool,
    /// Whether it is being expanded.
    busy: bool,
}

/// Position of a macro, for `$(filename)` and `$(lineno)`.
#[derive(Clone, Copy)]
pub(super) struct Here<'h> {
    pub(super) file: &'h str,
    pub(super) line: usize,
}

/// Expands macros and stores variables. Errors are message fragments.
pub(super) struct Macros<'s> {
    sources: &'s dyn Sources,
    variables: HashMap<String, Variable>,
    expanded: usize,
    /// Messages of `warning-if`.
    pub(super) warnings: Vec<String>,
}

impl<'s> Macros<'s> {
    pub(super) fn new(sources: &'s dyn Sources) -> Self {
        Self {
            sources,
            variables: HashMap::new(),
            expanded: 0,
            warnings: Vec::new(),
        }
    }

    /// Assigns a variable.
    pub(super) fn assign(
        &mut self,
        name: &str,
        how: Assign,
        value: &str,
        here: Here<'_>,
    ) -> Result<(), String> {
        let known = self.variables.get(name).map(|v| v.simple);
        let simple = match how {
            Assign::Recursive => false,
            Assign::Simple => true,
            Assign::Append => known.unwrap_or(false),
        };
        let mut value = if simple {
            self.expand(value, here)?
        } else {
            value.to_owned()
        };
        if how == Assign::Append
            && let Some(old) = self.variables.get(name)
        {
            value = format!("{} {value}", old.value);
        }
        if value.len() > LONGEST {
            return Err(format!("the variable `{name}` is too long"));
        }
        let variable = Variable {
            value,
            simple,
            busy: false,
        };
        self.variables.insert(name.to_owned(), variable);
        Ok(())
    }

    /// Expands all macros of a text.
    pub(super) fn expand(&mut self, text: &str, here: Here<'_>) -> Result<String, String> {
        self.expand_in(text, &[], 0, here)
    }

    /// Expands the macro at the start of a text; returns its value and the number of bytes
    /// consumed. A `$` without a parenthesis is kept.
    pub(super) fn expand_one(
        &mut self,
        text: &str,
        here: Here<'_>,
    ) -> Result<(String, usize), String> {
        self.reference(text, &[], 0, here)
    }

    fn expand_in(
        &mut self,
        text: &str,
        args: &[String],
        depth: usize,
        here: Here<'_>,
    ) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, _)) = rest.split_once('$') {
            out.push_str(before);
            rest = rest.get(before.len()..).unwrap_or_default();
            let (value, taken) = self.reference(rest, args, depth, here)?;
            out.push_str(&value);
            rest = rest.get(taken..).unwrap_or_default();
            if out.len() > LONGEST {
                return Err("the expansion of a macro is too long".to_owned());
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn reference(
        &mut self,
        text: &str,
        args: &[String],
        depth: usize,
        here: Here<'_>,
    ) -> Result<(String, usize), String> {
        let Some(inner) = text.strip_prefix("$(") else {
            return Ok(("$".to_owned(), 1));
        };
        self.expanded += 1;
        if depth > DEEPEST || self.expanded > MOST {
            return Err("macros are nested too deeply".to_owned());
        }
        let Some(end) = closing(inner) else {
            let start: String = inner.chars().take_while(|c| *c != '\n').take(40).collect();
            return Err(format!("the macro `$({start}` has no closing `)`"));
        };
        let clause = inner.get(..end).unwrap_or_default();
        let value = self.clause(clause, args, depth, here)?;
        Ok((value, end + 3))
    }

    fn clause(
        &mut self,
        clause: &str,
        args: &[String],
        depth: usize,
        here: Here<'_>,
    ) -> Result<String, String> {
        let local = clause.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        if let Some(value) = local.and_then(|n| args.get(n)) {
            return Ok(value.clone());
        }
        let mut parts = Vec::new();
        for part in arguments(clause) {
            parts.push(self.expand_in(part, args, depth + 1, here)?);
        }
        if parts.len() > 17 {
            return Err("a macro has more than 16 arguments".to_owned());
        }
        let (name, given) = parts
            .split_first()
            .map_or(("", &[][..]), |(n, g)| (n.as_str(), g));
        if let Some(value) = self.variable(name, given, depth, here)? {
            return Ok(value);
        }
        if let Some(value) = self.function(name, given, here)? {
            return Ok(value);
        }
        if given.is_empty() && !name.is_empty() {
            return Ok(self.sources.env(name).unwrap_or_default());
        }
        Ok(String::new())
    }

    fn variable(
        &mut self,
        name: &str,
        given: &[String],
        depth: usize,
        here: Here<'_>,
    ) -> Result<Option<String>, String> {
        let Some(variable) = self.variables.get_mut(name) else {
            return Ok(None);
        };
        if variable.busy && given.is_empty() {
            return Err(format!("the variable `{name}` refers to itself"));
        }
        let value = variable.value.clone();
        if variable.simple {
            return Ok(Some(value));
        }
        let before = std::mem::replace(&mut variable.busy, true);
        let result = self.expand_in(&value, given, depth + 1, here);
        if let Some(variable) = self.variables.get_mut(name) {
            variable.busy = before;
        }
        result.map(Some)
    }

    fn function(
        &mut self,
        name: &str,
        given: &[String],
        here: Here<'_>,
    ) -> Result<Option<String>, String> {
        let wanted = match name {
            "filename" | "lineno" => 0,
            "info" | "shell" => 1,
            "error-if" | "warning-if" => 2,
            _ => return Ok(None),
        };
        if given.len() != wanted {
            let have = given.len();
            return Err(format!(
                "`$({name},…)` takes {wanted} arguments, not {have}"
            ));
        }
        let first = given.first().map_or("", String::as_str);
        let second = given.get(1).map_or("", String::as_str);
        let value = match name {
            "filename" => here.file.to_owned(),
            "lineno" => here.line.to_string(),
            "shell" => output(&self.sources.shell(first)),
            "error-if" if first == "y" => return Err(second.to_owned()),
            "warning-if" if first == "y" => {
                self.warnings.push(second.to_owned());
                String::new()
            }
            _ => String::new(),
        };
        Ok(Some(value))
    }
}

/// Returns the offset of the parenthesis that closes the one open at the start of a text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'(' => open += 1,
            b')' if open == 0 => return Some(at),
            b')' => open -= 1,
            b'\n' => return None,
            _ => {}
        }
    }
    None
}

/// Splits a clause at its commas, except for those in parentheses.
fn arguments(clause: &str) -> Vec<&str> {
    let mut open = 0usize;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, b) in clause.bytes().enumerate() {
        match b {
            b'(' => open += 1,
            b')' => open = open.saturating_sub(1),
            b',' if open == 0 => {
                parts.push(clause.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(clause.get(start..).unwrap_or_default());
    parts
}

/// Returns the output of a command as one line.
fn output(text: &str) -> String {
    let mut end = text.len().min(LONGEST_OUTPUT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    text.trim_end_matches('\n').replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World;

    impl Sources for World {
        fn env(&self, name: &str) -> Option<String> {
            (name == "HOME").then(|| "/h".to_owned())
        }
        fn shell(&self, command: &str) -> String {
            format!("<{command}>\nx\n\n")
        }
        fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn glob(&self, _: &str) -> Vec<String> {
            Vec::new()
        }
    }

    const HERE: Here<'static> = Here { file: "f", line: 7 };

    #[test]
    fn names_functions_and_arguments_are_expanded() {
        let mut macros = Macros::new(&World);
        macros
            .assign("hi", Assign::Recursive, "$(1)-$(2)$(HOME)", HERE)
            .unwrap();
        macros
            .assign("now", Assign::Simple, "$(lineno)", HERE)
            .unwrap();
        macros
            .assign("now", Assign::Append, "$(filename)", HERE)
            .unwrap();
        for (text, value) in [
            ("a $(HOME)$ b$$", "a /h$ b$$"),
            ("$(hi,x,(y,z))", "x-(y,z)/h"),
            ("$(now)", "7 f"),
            ("$(shell,echo $(HOME), b)", "<echo /h, b> x"),
            ("$(none)|$(info,x)", "|"),
        ] {
            let got = macros.expand(text, HERE);
            if text.contains("shell") {
                assert!(got.is_err(), "a comma ends the first argument");
            } else {
                assert_eq!(got.unwrap(), value, "{text}");
            }
        }
        assert_eq!(
            macros.expand("$(shell,ls $(HOME))", HERE).unwrap(),
            "<ls /h> x"
        );
    }

    #[test]
    fn endless_macros_are_rejected() {
        let mut macros = Macros::new(&World);
        macros.assign("a", Assign::Recursive, "$(b)", HERE).unwrap();
        macros.assign("b", Assign::Recursive, "$(a)", HERE).unwrap();
        macros
            .assign("f", Assign::Recursive, "$(f,$(1)$(1))", HERE)
            .unwrap();
        for text in ["$(a)", "$(f,xxxx)", "$(x", "$(error-if,y,stop)"] {
            assert!(macros.expand(text, HERE).is_err(), "{text}");
        }
    }
}
