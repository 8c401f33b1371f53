//! The names of options in KConfig files, found without resolving them: fast enough for the
//! completion of a shell, and before a target is configured.

use std::collections::BTreeMap;
use std::path::Path;

use kraft_sys::fs;

/// Maximum number of directories and files that are visited.
const MOST_ENTRIES: usize = 20_000;
/// Maximum depth of directories.
const DEEPEST: usize = 8;
/// Maximum size of a file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Returns the options that the KConfig files below some directories define, without `CONFIG_`, each
/// with its prompt. Unreadable files, and whatever exceeds the limits, are left out.
///
/// ```
/// use kraft_build::names;
///
/// let dir = tempfile::tempdir()?;
/// let text = "menuconfig LWIP\n\tbool \"TCP/IP stack\"\nconfig LWIP_HEAP\n\tint\n";
/// std::fs::write(dir.path().join("Config.uk"), text)?;
/// let names = names::scan(&[dir.path()]);
/// assert_eq!(names["LWIP"].as_deref(), Some("TCP/IP stack"));
/// assert_eq!(names["LWIP_HEAP"], None);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn scan(dirs: &[&Path]) -> BTreeMap<String, Option<String>> {
    let mut names = BTreeMap::new();
    let mut left = MOST_ENTRIES;
    for dir in dirs {
        visit(dir, 0, &mut left, &mut names);
    }
    names
}

fn visit(dir: &Path, depth: usize, left: &mut usize, names: &mut BTreeMap<String, Option<String>>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        // Symbolic links are not followed: they may form a loop.
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() {
            if depth < DEEPEST && !name.starts_with('.') {
                visit(&entry.path(), depth + 1, left, names);
            }
        } else if kind.is_file() && name.ends_with(".uk") && !name.starts_with("Makefile") {
            let text = fs::read_file(&entry.path(), LARGEST).unwrap_or_default();
            read(&String::from_utf8_lossy(&text), names);
        }
    }
}

/// Reads the definitions of a file.
fn read(text: &str, names: &mut BTreeMap<String, Option<String>>) {
    let mut current = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("config" | "menuconfig"), Some(name)) if is_name(name) => {
                names.entry(name.to_owned()).or_insert(None);
                current = Some(name);
            }
            (Some("bool" | "tristate" | "string" | "int" | "hex" | "prompt"), Some(_)) => {
                let prompt = line.split('"').nth(1).map(str::to_owned);
                if let Some(found) = current.and_then(|name| names.get_mut(name))
                    && found.is_none()
                {
                    *found = prompt;
                }
            }
            (Some("choice" | "endchoice" | "menu" | "endmenu" | "comment" | "help"), _) => {
                current = None;
            }
            _ => {}
        }
    }
}

fn is_name(word: &str) -> bool {
    word.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, Option<String>)> {
        let mut names = BTreeMap::new();
        read(text, &mut names);
        names.into_iter().collect()
    }

    #[test]
    fn prompts_belong_to_the_option_before_them() {
        let text = "choice\n\tprompt \"Heap\"\nconfig BUDDY\n\tbool \"Buddy\"\nendchoice\n\
                    config QUIET\n\tbool\n\thelp\n\t  bool \"not a prompt\"\n\
                    config $(NAME)\nconfig\n";
        assert_eq!(
            found(text),
            [
                ("BUDDY".to_owned(), Some("Buddy".to_owned())),
                ("QUIET".to_owned(), None)
            ]
        );
    }

    #[test]
    fn only_kconfig_files_are_read_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join("lib/net");
        kraft_sys::fs::create_dir_all(&lib, 0o755).unwrap();
        let write = |path: &str, text: &str| {
            kraft_sys::fs::replace_file(&dir.path().join(path), text.as_bytes()).unwrap();
        };
        write("lib/net/Config.uk", "config NET\n");
        write("lib/net/Makefile.uk", "config MAKE\n");
        write("lib/net/notes.txt", "config NOTES\n");
        std::os::unix::fs::symlink("..", lib.join("loop")).unwrap();
        let names: Vec<String> = scan(&[dir.path()]).into_keys().collect();
        assert_eq!(names, ["NET"]);
        assert!(scan(&[Path::new("/nonexistent")]).is_empty());
    }
}
