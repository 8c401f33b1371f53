//! Parses one line of make's output: a step, a product, or other output.

use std::path::PathBuf;

/// A line of make's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A build step: `  CC      libx: file.o`.
    Step {
        /// The action: `CC`.
        verb: String,
        /// The object: `libx: file.o`.
        what: String,
    },
    /// The total number of objects of the build.
    Objects(u64),
    /// The path of a kernel.
    Image(PathBuf),
    /// The path of a kernel with debug information.
    Debug(PathBuf),
    /// Other output.
    Other,
}

impl Line {
    /// Parses a line.
    pub fn read(text: &str) -> Self {
        if let Some(count) = text.strip_prefix("kraft-objects ") {
            return count.trim().parse().map_or(Self::Other, Self::Objects);
        }
        if let Some(path) = text.strip_prefix("kraft-image ") {
            return Self::Image(path.into());
        }
        if let Some(path) = text.strip_prefix("kraft-debug ") {
            return Self::Debug(path.into());
        }
        // Two blanks, the action in upper case padded to a column, the object.
        let Some((verb, what)) = text
            .strip_prefix("  ")
            .and_then(|rest| rest.split_once(' '))
        else {
            return Self::Other;
        };
        let what = what.trim();
        let is_verb = !verb.is_empty()
            && verb.len() <= 8
            && verb
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !is_verb || what.is_empty() {
            return Self::Other;
        }
        Self::Step {
            verb: verb.to_owned(),
            what: what.to_owned(),
        }
    }

    /// Returns whether it is one of the counted objects.
    pub fn is_object(&self) -> bool {
        match self {
            Self::Step { verb, what } => {
                matches!(verb.as_str(), "CC" | "CXX" | "AS" | "GOC" | "RUSTC" | "M4")
                    && std::path::Path::new(what)
                        .extension()
                        .is_some_and(|ending| ending == "o")
            }
            Self::Objects(_) | Self::Image(_) | Self::Debug(_) | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_products_are_distinguished() {
        let step = Line::read("  CC      libkvmplat: traps.isr.o");
        assert_eq!(
            step,
            Line::Step {
                verb: "CC".into(),
                what: "libkvmplat: traps.isr.o".into()
            }
        );
        assert!(step.is_object());
        assert!(!Line::read("  LD      app_qemu-x86_64.dbg").is_object());
        assert_eq!(Line::read("kraft-objects 163"), Line::Objects(163));
        assert_eq!(
            Line::read("kraft-image /o/a b_qemu-x86_64"),
            Line::Image("/o/a b_qemu-x86_64".into())
        );
        for talk in [
            "",
            "  ",
            "make: nothing",
            "  | int x;",
            "    5 |  foo",
            "  note x",
        ] {
            assert_eq!(Line::read(talk), Line::Other, "{talk}");
        }
    }
}
