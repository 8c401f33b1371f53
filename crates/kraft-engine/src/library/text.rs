//! Contents of the files of a new library.

use std::fmt::Write as _;

use super::Library;

/// Returns the name of the library in makefiles: `libhello`.
fn make_name(library: &Library) -> String {
    library.kname.to_ascii_lowercase()
}

/// Replaces the characters that are not valid in a quoted KConfig string.
fn unquoted(text: &str) -> String {
    text.replace(['"', '\\'], "'").replace('$', "")
}

pub(super) fn config(library: &Library) -> String {
    let Library { kname, name, .. } = library;
    let about = if library.description.is_empty() {
        String::new()
    } else {
        format!(": {}", unquoted(&library.description))
    };
    let mut text = format!("menuconfig {kname}\n\tbool \"{name}{about}\"\n\tdefault n\n");
    if library.main {
        let _ = write!(
            text,
            "\nif {kname}\n\nconfig {kname}_MAIN_FUNCTION\n\tbool \"Bring a main function\"\n\tdefault n\n\t\
             help\n\t\tFor applications that are nothing but this library.\n\nendif\n"
        );
    }
    text
}

pub(super) fn makefile(library: &Library) -> String {
    let Library { kname, version, .. } = library;
    let name = make_name(library);
    let mut text =
        format!("$(eval $(call addlib_s,{name},$(CONFIG_{kname})))\n\n{kname}_VERSION={version}\n");
    if let Some(origin) = &library.origin {
        let _ = write!(
            text,
            "\n# The sources that it brings, fetched and unpacked below the build directory.\n\
             {kname}_URL={origin}\n\
             $(eval $(call fetch,{name},$({kname}_URL)))\n"
        );
        if let Some(dir) = &library.patches {
            let _ = write!(
                text,
                "{kname}_PATCHDIR=$({kname}_BASE)/{dir}\n\
                 $(eval $(call patch,{name},$({kname}_PATCHDIR),))\n"
            );
        }
        let _ = write!(
            text,
            "\n# Sources of it are named from here, below what the archive unpacks to:\n\
             # {kname}_SRCS-y += $({kname}_ORIGIN)/DIRECTORY/FILE.c\n"
        );
    } else {
        let _ = write!(
            text,
            "\n# Its sources, one line each:\n# {kname}_SRCS-y += $({kname}_BASE)/FILE.c\n"
        );
    }
    let _ = write!(
        text,
        "\n# Headers for who uses it:\n# CINCLUDES-$(CONFIG_{kname}) += -I$({kname}_BASE)/include\n"
    );
    if library.main {
        let _ = write!(
            text,
            "\n{kname}_SRCS-$(CONFIG_{kname}_MAIN_FUNCTION) += $({kname}_BASE)/main.c\n"
        );
    }
    text
}

pub(super) fn main(library: &Library, year: i16) -> String {
    format!(
        "/* SPDX-License-Identifier: BSD-3-Clause */\n\
         /* Copyright (c) {year}, {} */\n\n\
         #include <stdio.h>\n\n\
         int main(int argc, char *argv[])\n{{\n\
         \t(void)argc;\n\t(void)argv;\n\
         \tprintf(\"Hello from {}\\n\");\n\treturn 0;\n}}\n",
        library.holder.replace("*/", "* /"),
        library.name
    )
}

pub(super) fn readme(library: &Library) -> String {
    let Library {
        name,
        kname,
        branch,
        ..
    } = library;
    let description = if library.description.is_empty() {
        "A library for Unikraft."
    } else {
        &library.description
    };
    let origin = match &library.origin {
        Some(origin) => format!(
            "It brings the sources of <{origin}>, version {}.\n\n",
            library.version
        ),
        None => String::new(),
    };
    let main = if library.main {
        format!(
            "With `CONFIG_{kname}_MAIN_FUNCTION: \"y\"` below `kconfig` it brings a `main`, too.\n\n"
        )
    } else {
        String::new()
    };
    format!(
        "# {name}\n\n{description}\n\n{origin}\
         ## Use\n\n\
         In the directory of a project, `kraft lib add PATH_OR_URL` adds it. The Kraftfile then has:\n\n\
         ```yaml\nlibraries:\n  {}:\n    source: PATH_OR_URL\n    version: {branch}\n```\n\n{main}\
         ## Change\n\n\
         See [CONTRIBUTING.md](CONTRIBUTING.md). Written by {} <{}>; see [COPYING.md](COPYING.md).\n",
        make_name(library).trim_start_matches("lib"),
        library.author,
        library.email
    )
}

pub(super) fn contributing(library: &Library) -> String {
    format!(
        "# Contributing\n\n\
         Work on {} happens on the branch `{}`. Send a pull request, or write to {} <{}>.\n\n\
         - One change per commit; its message describes what changes and why.\n\
         - Every commit builds for all architectures that the library supports.\n\
         - Sign your commits off (`git commit -s`): this certifies that you may contribute the change.\n\
         - The code follows [CODING_STYLE.md](CODING_STYLE.md).\n",
        library.name, library.branch, library.author, library.email
    )
}

pub(super) fn coding_style(library: &Library) -> String {
    let patches = library.patches.as_ref().map_or(String::new(), |dir| {
        format!(
            "- Sources of others keep their own style. Changes to them are patches in `{dir}`.\n"
        )
    });
    format!(
        "# Coding style\n\n\
         - C is indented by tabs of eight columns; a line has at most 80.\n\
         - The brace of a function is on a line of its own, every other one at the end of its line.\n\
         - What others may call begins with the name of the library; everything else is `static`.\n\
         - Functions return 0, or a negative number of `errno.h`. They check what they call.\n\
         - A comment explains why. What is clear from the code needs none.\n{patches}"
    )
}

pub(super) fn copying(library: &Library, year: i16) -> String {
    format!(
        "# Licence\n\n\
         Copyright (c) {year}, {}.\n\n\
         SPDX-License-Identifier: BSD-3-Clause\n\n\
         The files of {} are under the 3-clause BSD licence, unless a file states another one; its text \
         is at <https://spdx.org/licenses/BSD-3-Clause.html>.\n",
        library.holder, library.name
    )
}

pub(super) fn patches(library: &Library) -> String {
    format!(
        "# Patches\n\n\
         Files `*.patch` in this directory are applied to the sources of {} in the order of their names, when \
         these are prepared. `git format-patch` writes such files.\n",
        library.name
    )
}
