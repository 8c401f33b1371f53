//! The arguments of make: directories, names, options. Computed without side effects.
//!
//! The interface is that of Unikraft's top-level Makefile: `A=` application, `O=` build
//! directory, `L=` libraries, `C=` configuration, `N=` name; all paths absolute.
//!
//! ```
//! use std::path::PathBuf;
//!
//! use kraft_build::plan::{cross_prefix, link_order};
//! use kraft_core::arch::Arch;
//!
//! let library = |name: &str| (name.to_owned(), PathBuf::from("/libs").join(name));
//! let order = link_order([library("lwip"), library("musl")]);
//! assert_eq!(order, [PathBuf::from("/libs/musl"), PathBuf::from("/libs/lwip")]);
//!
//! assert_eq!(cross_prefix(Arch::X86_64, Some(Arch::X86_64)), None);
//! let cross = cross_prefix(Arch::Arm64, Some(Arch::X86_64));
//! assert_eq!(cross, Some("aarch64-linux-gnu-"));
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kraft_core::arch::Arch;

/// Libraries that must come first in the link order, in this order.
const FIRST: [&str; 5] = ["libcxxabi", "libcxx", "libunwind", "compiler-rt", "libgo"];
/// C libraries; `newlib` includes its threading library.
const LIBCS: [&[&str]; 2] = [&["musl"], &["newlib", "pthread-embedded"]];

/// The inputs of a target's build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Name of the kernel without platform and architecture: make's `N=`.
    pub name: String,
    /// The core's directory.
    pub core: PathBuf,
    /// The application's directory: make's `A=`.
    pub app: PathBuf,
    /// External libraries in link order: make's `L=`.
    pub libraries: Vec<PathBuf>,
    /// make's build directory: `O=`.
    pub out: PathBuf,
    /// The configuration: make's `C=`.
    pub config: PathBuf,
    /// Prefix of the cross compiler, if needed.
    pub cross: Option<String>,
    /// Compile time recorded in the kernel (RFC 3339).
    pub date: String,
}

impl Plan {
    /// Returns the arguments of every make call: the directory, and the variables.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            "-C".into(),
            self.core.clone().into(),
            "--no-print-directory".into(),
            variable("A", &self.app),
            variable("O", &self.out),
            variable("C", &self.config),
            format!("N={}", self.name).into(),
        ];
        if !self.libraries.is_empty() {
            let mut list = OsString::from("L=");
            for (at, library) in self.libraries.iter().enumerate() {
                if at > 0 {
                    list.push(":");
                }
                list.push(library);
            }
            arguments.push(list);
        }
        // Unikraft records the time in kernels: the actual time would make builds irreproducible.
        arguments.push(format!("HOSTUTC={}", self.date).into());
        if let Some(cross) = &self.cross {
            arguments.push(format!("CROSS_COMPILE={cross}").into());
        }
        arguments
    }
}

fn variable(name: &str, path: &Path) -> OsString {
    let mut text = OsString::from(name);
    text.push("=");
    text.push(path);
    text
}

/// Sorts libraries in link order: the C++ and Go run-time libraries, the C library, then the others
/// by path.
pub fn link_order(libraries: impl IntoIterator<Item = (String, PathBuf)>) -> Vec<PathBuf> {
    let mut left: BTreeMap<String, PathBuf> = libraries.into_iter().collect();
    let mut ordered: Vec<PathBuf> = FIRST.iter().filter_map(|name| left.remove(*name)).collect();
    if let Some(libc) = LIBCS
        .iter()
        .find(|names| names.iter().any(|name| left.contains_key(*name)))
    {
        ordered.extend(libc.iter().filter_map(|name| left.remove(*name)));
    }
    let mut others: Vec<PathBuf> = left.into_values().collect();
    others.sort_unstable();
    ordered.extend(others);
    ordered
}

/// Returns the cross compiler prefix for another architecture than the host's.
pub fn cross_prefix(target: Arch, host: Option<Arch>) -> Option<&'static str> {
    if host == Some(target) {
        return None;
    }
    Some(match target {
        Arch::X86_64 => "x86_64-linux-gnu-",
        Arch::Arm64 => "aarch64-linux-gnu-",
        Arch::Arm => "arm-linux-gnueabihf-",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(names: &[&str]) -> Vec<String> {
        let given = names
            .iter()
            .map(|name| ((*name).to_owned(), PathBuf::from(format!("/l/{name}"))));
        link_order(given)
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn runtime_libraries_come_first_then_the_c_library_then_others_by_path() {
        assert_eq!(
            ordered(&["zlib", "musl", "lwip", "libunwind", "libcxx", "compiler-rt"]),
            ["libcxx", "libunwind", "compiler-rt", "musl", "lwip", "zlib"]
        );
        assert_eq!(
            ordered(&["pthread-embedded", "lwip", "newlib"]),
            ["newlib", "pthread-embedded", "lwip"]
        );
    }

    #[test]
    fn newlib_beside_musl_is_an_ordinary_library() {
        assert_eq!(ordered(&["newlib", "musl", "a"]), ["musl", "a", "newlib"]);
    }

    #[test]
    fn make_gets_absolute_paths_and_ordered_libraries() {
        let plan = Plan {
            name: "Äpp".into(),
            core: "/u".into(),
            app: "/a".into(),
            libraries: vec!["/l/x".into(), "/l/y".into()],
            out: "/o".into(),
            config: "/c".into(),
            cross: Some("aarch64-linux-gnu-".into()),
            date: "1970-01-01T00:00:00+00:00".into(),
        };
        let arguments: Vec<String> = plan
            .arguments()
            .into_iter()
            .map(|a| a.into_string().unwrap())
            .collect();
        assert_eq!(
            arguments,
            [
                "-C",
                "/u",
                "--no-print-directory",
                "A=/a",
                "O=/o",
                "C=/c",
                "N=Äpp",
                "L=/l/x:/l/y",
                "HOSTUTC=1970-01-01T00:00:00+00:00",
                "CROSS_COMPILE=aarch64-linux-gnu-"
            ]
        );
    }

    #[test]
    fn only_other_architectures_need_cross_compilers() {
        assert_eq!(cross_prefix(Arch::X86_64, Some(Arch::X86_64)), None);
        assert_eq!(
            cross_prefix(Arch::Arm64, Some(Arch::X86_64)),
            Some("aarch64-linux-gnu-")
        );
    }
}
