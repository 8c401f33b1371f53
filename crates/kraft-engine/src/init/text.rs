//! The texts of the files of a new project.

use std::fmt::Write as _;

use kraft_core::arch::Arch;

use super::sources::Sources;

/// The files that kraft creates in a project.
const IGNORED: [&str; 2] = [".unikraft", ".config.*"];

/// The first program of a project without sources.
pub(super) const MAIN: &str = "\
#include <stdio.h>

int main(int argc, char *argv[])
{
	printf(\"Hello from a unikernel!\\n\");
	for (int i = 1; i < argc; i++)
		printf(\"argument %d: %s\\n\", i, argv[i]);
	return 0;
}
";

/// Returns a text in quotes, with `$` escaped.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}

/// Returns the Kraftfile of a project that runs on an image; `rootfs` needs no quotes.
pub(super) fn runs(name: &str, runtime: &str, rootfs: &str, command: Option<&[String]>) -> String {
    let command = match command {
        Some(words) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("cmd: [{}]\n", words.join(", "))
        }
        None => "# Instead of the command of the Dockerfile:\n# cmd: [\"/bin/app\"]\n".to_owned(),
    };
    format!(
        "spec: v0.6\n\nname: {}\n\n\
         # A kernel that runs programs made for Linux.\n\
         runtime: {}\n\n\
         rootfs: {}\n\n{command}",
        quoted(name),
        quoted(runtime),
        rootfs
    )
}

/// Returns the Kraftfile of a project that runs a kernel file.
pub(super) fn kernel(name: &str, file: &str) -> String {
    format!(
        "spec: v0.6\n\nname: {}\n\nruntime: {}\n",
        quoted(name),
        quoted(&format!("kernel://./{file}"))
    )
}

/// Returns the Kraftfile of a project that is built from sources.
pub(super) fn builds(name: &str, arch: Arch, sources: &Sources) -> String {
    let libraries = if sources.has_cxx() {
        "libraries:\n  musl: stable\n  compiler-rt: stable\n  libunwind: stable\n  \
         libcxxabi: stable\n  libcxx: stable\n"
    } else {
        "# The core has a small C library of its own. For a whole one:\n\
         # libraries:\n#   musl: stable\n"
    };
    format!(
        "spec: v0.6\n\nname: {}\n\nunikraft:\n  version: stable\n\n{libraries}\n\
         targets:\n- {}\n",
        quoted(name),
        super::target(arch)
    )
}

/// Returns the Makefile.uk of an application.
pub(super) fn makefile(name: &str, sources: &Sources) -> String {
    let word: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let library = format!("app{}", word.to_ascii_lowercase());
    let upper = library.to_ascii_uppercase();
    let mut text = format!("$(eval $(call addlib,{library}))\n\n");
    if sources.include {
        for language in ["CINCLUDES", "CXXINCLUDES"] {
            let _ = writeln!(text, "{upper}_{language}-y += -I$({upper}_BASE)/include");
        }
        text.push('\n');
    }
    for file in &sources.files {
        let _ = writeln!(text, "{upper}_SRCS-y += $({upper}_BASE)/{file}");
    }
    text
}

/// Adds the files of kraft to the text of an ignore file; `None` if it has them all.
pub(super) fn ignoring(before: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(before);
    let has = |wanted: &str| {
        text.lines().any(|line| {
            let line = line.trim();
            line.trim_start_matches('/').trim_end_matches('/') == wanted
        })
    };
    let missing: Vec<&str> = IGNORED.into_iter().filter(|line| !has(line)).collect();
    if missing.is_empty() {
        return None;
    }
    let mut after = before.to_vec();
    if after.last().is_some_and(|&byte| byte != b'\n') {
        after.push(b'\n');
    }
    for line in missing {
        after.extend(line.as_bytes());
        after.push(b'\n');
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_once() {
        assert_eq!(ignoring(b"").unwrap(), b".unikraft\n.config.*\n");
        assert_eq!(
            ignoring(b"*.o\n/.unikraft/").unwrap(),
            b"*.o\n/.unikraft/\n.config.*\n"
        );
        assert_eq!(ignoring(b".config.*\n.unikraft\n"), None);
    }

    #[test]
    fn the_makefile_names_the_application_by_its_letters() {
        let sources = Sources {
            files: vec!["main.c".to_owned(), "src/a.c".to_owned()],
            include: true,
            ..Sources::default()
        };
        let text = makefile("My App-2", &sources);
        assert!(
            text.starts_with("$(eval $(call addlib,appmyapp2))\n"),
            "{text}"
        );
        assert!(
            text.contains("APPMYAPP2_SRCS-y += $(APPMYAPP2_BASE)/src/a.c\n"),
            "{text}"
        );
        assert!(text.contains("-I$(APPMYAPP2_BASE)/include\n"), "{text}");
    }
}
