//! Finds the first error in the output of a failed build.

use std::path::PathBuf;
use std::process::ExitStatus;

/// Maximum number of context lines of an error.
const MOST_CONTEXT: usize = 12;
/// Number of last lines kept for a build that fails without a known error message.
const LAST: usize = 8;

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The message of the program that failed, without the position.
    pub message: String,
    /// Its position.
    pub place: Option<Place>,
    /// Related output: notes, source lines, include stacks.
    pub context: Vec<String>,
    /// The target of make: `libx: file.o`.
    pub target: Option<String>,
    /// The missing program.
    pub missing_program: Option<String>,
    /// The URL of a failed download.
    pub download: Option<String>,
    /// Whether the disk is full.
    pub disk_full: bool,
}

/// A position in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as printed.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// The column in bytes, from 1, if known.
    pub column: Option<u32>,
}

impl Diagnostic {
    /// An error without details.
    pub(super) fn unknown(message: String) -> Self {
        Self {
            message,
            place: None,
            context: Vec::new(),
            target: None,
            missing_program: None,
            download: None,
            disk_full: false,
        }
    }

    /// Formats it on one line.
    pub fn summary(&self) -> String {
        match &self.target {
            Some(target) => format!("cannot make `{target}`: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// Searches for errors in make's output.
#[derive(Debug, Default)]
pub(super) struct Search {
    found: Option<Found>,
    /// Lines that precede an error: `In file included from …`.
    leading: Vec<String>,
    step: Option<String>,
    last: Vec<String>,
    missing_program: Option<String>,
    disk_full: bool,
    make_says: Option<String>,
    /// Libraries with their download URLs.
    downloads: Vec<(String, String)>,
    /// The URL of a failed download.
    not_downloaded: Option<String>,
    /// Whether a missing file was reported.
    file_missing: bool,
}

#[derive(Debug)]
struct Found {
    message: String,
    place: Option<Place>,
    context: Vec<String>,
    target: Option<String>,
    open: bool,
}

impl Search {
    /// Processes the next line.
    pub(super) fn line(&mut self, text: &str) {
        if let super::Line::Step { verb, what } = super::Line::read(text) {
            if matches!(verb.as_str(), "WGET" | "GIT") {
                self.downloads.extend(download(&what));
            }
            self.step = Some(what);
            self.close();
            return;
        }
        if !text.trim().is_empty() {
            if self.last.len() == LAST {
                self.last.remove(0);
            }
            self.last.push(text.to_owned());
        }
        self.file_missing |= text.ends_with(": No such file or directory");
        self.disk_full |= text.contains("No space left on device");
        if self.missing_program.is_none() {
            self.missing_program = missing_program(text);
        }
        if let Some(rest) = make_error(text) {
            self.close();
            if self.not_downloaded.is_none() {
                self.not_downloaded = self.download_of(&rest);
            }
            self.make_says.get_or_insert(rest);
            return;
        }
        if let Some(found) = self.found.as_mut() {
            // KConfig first reports the position, and then the statement.
            if found.message == "syntax error"
                && let Some((place, message)) = error(text)
                && message.starts_with("unknown statement")
            {
                found.place = place;
                found.message = message;
                return;
            }
            if found.open {
                // The next error, or the next step, ends the context.
                if error(text).is_some() || found.context.len() == MOST_CONTEXT {
                    found.open = false;
                } else {
                    found.context.push(text.to_owned());
                }
            }
            return;
        }
        if let Some((place, message)) = error(text) {
            let configures = place
                .as_ref()
                .is_some_and(|place| place.file.extension().is_some_and(|ending| ending == "uk"));
            self.found = Some(Found {
                message,
                place,
                context: std::mem::take(&mut self.leading),
                target: self.step.clone().filter(|_| !configures),
                open: true,
            });
        } else if text.starts_with("In file included from")
            || text.starts_with("                 from")
        {
            self.leading.push(text.to_owned());
        } else if text.contains(": In function ") || text.ends_with("At top level:") {
            // A heading of the compiler; the following line contains the position.
        } else {
            self.leading.clear();
        }
    }

    fn close(&mut self) {
        if let Some(found) = self.found.as_mut() {
            found.open = false;
        }
    }

    /// Returns the download URL of a failed make target: Unikraft's rules ignore failures of wget,
    /// and fail when unpacking or verifying the missing file.
    fn download_of(&self, said: &str) -> Option<String> {
        // `[/lib/Makefile.uk:60: /out/libx/.origin] Error 9`
        let target = said.split_once(']')?.0.rsplit(' ').next()?;
        let (dir, file) = target.rsplit_once('/')?;
        let library = dir.rsplit('/').next()?;
        let missed = match file {
            ".origin" => true,
            ".chksum" => self.file_missing,
            _ => false,
        };
        let mut known = self.downloads.iter();
        let (_, url) = known.find(|(name, _)| missed && name == library)?;
        Some(url.clone())
    }

    /// Returns the error after make has ended.
    pub(super) fn found(self, status: ExitStatus) -> Diagnostic {
        let Self {
            found,
            step,
            last,
            missing_program,
            disk_full,
            make_says,
            not_downloaded,
            ..
        } = self;
        // Errors after a failed download are consequences of it.
        let download = not_downloaded.filter(|_| found.as_ref().is_none_or(|f| f.place.is_none()));
        let (message, place, context, target) = if let Some(url) = &download {
            (
                format!("could not download `{url}`"),
                None,
                Vec::new(),
                None,
            )
        } else if let Some(found) = found {
            (found.message, found.place, found.context, found.target)
        } else {
            let message = make_says.unwrap_or_else(|| format!("make failed ({status})"));
            (message, None, last, step)
        };
        Diagnostic {
            message,
            place,
            context,
            target,
            missing_program: missing_program.filter(|_| download.is_none()),
            download,
            disk_full,
        }
    }
}

/// Parses `libx: URL`, or `libx: URL [retry-with: URL]`.
fn download(what: &str) -> Option<(String, String)> {
    let (library, url) = what.split_once(": ")?;
    let url = url.split(' ').next()?;
    let is_url = url.contains("://");
    is_url.then(|| (library.to_owned(), url.to_owned()))
}

/// Parses `FILE:LINE[:COLUMN]: [fatal ]error: MESSAGE`, and messages of linkers and assemblers.
fn error(text: &str) -> Option<(Option<Place>, String)> {
    for mark in [": fatal error: ", ": error: ", ": Error: "] {
        if let Some((before, message)) = text.split_once(mark) {
            return Some((place(before), message.to_owned()));
        }
    }
    for mark in [": undefined reference to ", ": multiple definition of "] {
        if let Some((before, message)) = text.split_once(mark) {
            let what = mark.trim_matches([':', ' ']);
            return Some((place(before), format!("{what} {message}")));
        }
    }
    if text.ends_with(" checksum validation failed") {
        return Some((None, text.to_owned()));
    }
    // Git, whose message contains the URL.
    if let Some(message) = text.strip_prefix("fatal: ") {
        return Some((None, message.to_owned()));
    }
    let linker = text
        .split_once("ld: ")
        .map(|(_, rest)| rest)
        .filter(|rest| {
            [
                "cannot find",
                "final link failed",
                "region",
                "section",
                "relocation truncated",
            ]
            .iter()
            .any(|start| rest.starts_with(start))
        });
    if let Some(rest) = linker {
        return Some((None, rest.to_owned()));
    }
    // KConfig: `Config.uk:12: syntax error`, `Config.uk:12: unknown statement "x"`.
    let (before, message) = text.rsplit_once(": ")?;
    let config = [
        "syntax error",
        "unknown statement",
        "invalid ",
        "can't open file",
        "recursive ",
    ]
    .iter()
    .any(|start| message.starts_with(start));
    let place = place(before)?;
    config.then(|| (Some(place), message.to_owned()))
}

/// Parses `FILE:LINE[:COLUMN]`.
fn place(text: &str) -> Option<Place> {
    let (rest, last) = text.rsplit_once(':')?;
    let last: u32 = last.parse().ok()?;
    if let Some((file, line)) = rest.rsplit_once(':')
        && let Ok(line) = line.parse()
    {
        return Some(Place {
            file: file.into(),
            line,
            column: Some(last),
        });
    }
    Some(Place {
        file: rest.into(),
        line: last,
        column: None,
    })
}

/// Parses `make: *** [Makefile:12: target] Error 2` and `Makefile:130: *** text.  Stop.`
fn make_error(text: &str) -> Option<String> {
    let (before, rest) = text.split_once("*** ")?;
    let by_make = before.starts_with("make") || before.ends_with(": ");
    by_make.then(|| {
        let rest = rest.strip_suffix("  Stop.").unwrap_or(rest);
        rest.strip_suffix('.').unwrap_or(rest).to_owned()
    })
}

/// Parses messages of shells and make about missing programs.
fn missing_program(text: &str) -> Option<String> {
    let before = text
        .strip_suffix(": command not found")
        .or_else(|| text.strip_suffix(": not found"))
        .or_else(|| {
            text.strip_suffix(": No such file or directory")
                .filter(|t| t.starts_with("make"))
        })?;
    let name = before.rsplit(": ").next()?.trim();
    let is_program = !name.is_empty() && !name.contains([' ', '*']);
    is_program.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn found(text: &str) -> Diagnostic {
        let mut search = Search::default();
        for line in text.lines() {
            search.line(line);
        }
        search.found(ExitStatus::from_raw(2 << 8))
    }

    #[test]
    fn the_first_error_is_reported_with_its_context() {
        let diagnostic = found(
            "  CC      appx: main.o\n\
             /a/main.c: In function ‘main’:\n\
             /a/main.c:4:9: error: ‘x’ undeclared (first use in this function)\n    \
             4 |  return x;\n      |         ^\n\
             /a/main.c:5:1: error: another\n\
             make[1]: *** [Makefile:12: /o/appx/main.o] Error 1\n\
             make: *** [Makefile:9: sub-make] Error 2\n",
        );
        assert_eq!(
            diagnostic.message,
            "‘x’ undeclared (first use in this function)"
        );
        let place = diagnostic.place.clone().unwrap();
        assert_eq!((place.line, place.column), (4, Some(9)));
        assert_eq!(
            diagnostic.context,
            ["    4 |  return x;", "      |         ^"]
        );
        assert_eq!(
            diagnostic.summary(),
            "cannot make `appx: main.o`: ‘x’ undeclared (first use in this function)"
        );
    }

    #[test]
    fn errors_of_make_linker_and_kconfig_are_parsed() {
        assert_eq!(
            found("Makefile:130: *** Path to app directory (A) is not absolute.  Stop.\n").message,
            "Path to app directory (A) is not absolute"
        );
        let diagnostic = found(
            "/usr/bin/ld: /o/appx.o: in function `main':\n/a/main.c:3: undefined reference to `nope'\n",
        );
        assert_eq!(diagnostic.message, "undefined reference to `nope'");
        assert_eq!(diagnostic.place.unwrap().line, 3);
        let diagnostic =
            found("/l/Config.uk:7: unknown statement \"confg\"\nmake: *** [defconfig] Error 1\n");
        assert_eq!(diagnostic.message, "unknown statement \"confg\"");
        assert_eq!(
            diagnostic.place.unwrap().file,
            PathBuf::from("/l/Config.uk")
        );
        let diagnostic = found(
            "  LN      Makefile\n/l/Config.uk:6: syntax error\n/l/Config.uk:5: unknown statement \"confg\"\n",
        );
        assert_eq!(diagnostic.summary(), "unknown statement \"confg\"");
        assert_eq!(diagnostic.place.unwrap().line, 5);
    }

    #[test]
    fn failed_downloads_are_reported_by_url() {
        let url = "https://example.org/a/UPSTREAM.zip";
        for rest in [
            "unzip:  cannot find or open /o/libx/UPSTREAM.zip\n\
             make[1]: *** [/l/Makefile.uk:60: /o/libx/.origin] Error 9\n",
            "  SHA256  libx: UPSTREAM.zip\n\
             /bin/bash: line 1: /o/libx/UPSTREAM.zip: No such file or directory\n\
             /o/libx/UPSTREAM.zip: SHA256 checksum validation failed\n\
             make[1]: *** [/l/Makefile.uk:60: /o/libx/.chksum] Error 1\n",
        ] {
            let diagnostic = found(&format!(
                "  WGET    libx: {url} [retry-with: https://example.org/b]\n  GEN     config.h\n{rest}\
                 make: *** [Makefile:1175: sub-make] Error 2\n"
            ));
            assert_eq!(diagnostic.summary(), format!("could not download `{url}`"));
            assert_eq!(diagnostic.download.as_deref(), Some(url));
        }
        // An existing wrong file, an earlier download, and an error in a source file.
        for (text, message) in [
            (
                "  WGET    libx: https://example.org/x.zip\n/o/libx/x.zip: SHA256 checksum validation failed\n\
                 make: *** [/l/Makefile.uk:60: /o/libx/.chksum] Error 1\n",
                "/o/libx/x.zip: SHA256 checksum validation failed",
            ),
            (
                "  UNZIP   libx: x.zip\nmake: *** [/l/Makefile.uk:60: /o/libx/.origin] Error 9\n",
                "[/l/Makefile.uk:60: /o/libx/.origin] Error 9",
            ),
            (
                "  WGET    libx: https://example.org/x.zip\n/a/x.c:1:2: error: no\nmake: *** [Makefile:3: /o/libx/x.o] Error 1\n",
                "no",
            ),
        ] {
            let diagnostic = found(text);
            assert_eq!(
                (diagnostic.message.as_str(), diagnostic.download),
                (message, None)
            );
        }
        let diagnostic = found(
            "fatal: unable to access 'https://x.org/': Could not resolve host: x.org\nmake: *** [M:1: /o/l/.origin] Error 128\n",
        );
        assert_eq!(
            diagnostic.message,
            "unable to access 'https://x.org/': Could not resolve host: x.org"
        );
    }

    #[test]
    fn missing_programs_and_full_disks_are_detected() {
        let diagnostic = found("/bin/sh: 1: flex: not found\nmake: *** [x] Error 127\n");
        assert_eq!(diagnostic.missing_program.as_deref(), Some("flex"));
        let diagnostic = found("make: aarch64-linux-gnu-gcc: No such file or directory\n");
        assert_eq!(
            diagnostic.missing_program.as_deref(),
            Some("aarch64-linux-gnu-gcc")
        );
        assert!(
            found("cc1: fatal error: error writing to /o/x: No space left on device\n").disk_full
        );
    }
}
