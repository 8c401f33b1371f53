//! What the Linux manifest of an image has beside the layers of the unikernel: a layer for engines of
//! containers.
//!
//! ```text
//! /unikraft/runu.json         what the kernel was built with, for the OCI runtime `runu`
//! /unikraft/bin/needs-runu    a program that prints one sentence, for every other runtime
//! /urunc.json                 what the OCI runtime urunc boots, if that is asked for
//! ```
//!
//! The program is the entry point. `runu` boots the kernel in its place; a runtime that starts it as a
//! container's program would otherwise start the kernel, which crashes without a word. It is a static
//! ELF file of some instructions, made here, so the same image has the same bytes everywhere.
//!
//! ```
//! use kraft_oci::image::Platform;
//! use kraft_oci::linux;
//!
//! let platform = Platform {
//!     os: "qemu".to_owned(),
//!     architecture: "x86_64".to_owned(),
//!     ..Platform::default()
//! };
//! let layer = linux::layer(&platform, None);
//! assert_eq!(layer.len() % 512, 0, "a tar");
//! assert_eq!(linux::entrypoint(&platform), "/unikraft/bin/needs-runu");
//! ```

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::image::{Config, Manifest, Platform};
use crate::layer::{self, Role};

/// An engine for which the Linux manifest of an image has more than for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// urunc, which finds in `/urunc.json` what it boots.
    Urunc,
    /// `KubeVirt`, whose QEMU runs as the user [`KUBEVIRT_USER`], the owner of its files.
    Kubevirt,
}

/// The user and the group as which `KubeVirt` runs QEMU.
pub const KUBEVIRT_USER: u32 = 107;

/// The path of what urunc boots.
pub const URUNC: &str = "urunc.json";

/// The path of what the kernel was built with.
pub const METADATA: &str = "unikraft/runu.json";
/// The path of the program that containers start.
pub const STAND_IN: &str = "unikraft/bin/needs-runu";

/// What the program prints.
const SENTENCE: &str = "\
This image is a unikernel, not a Linux program: run it with the OCI runtime runu of kraft
(docker run --runtime runu IMAGE), or with `kraft run IMAGE`.
";

/// The exit code of the program: a command that cannot be executed, as in shells.
const CODE: u32 = 126;

/// What the kernel was built with; `docs/images.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
struct Metadata<'a> {
    version: u32,
    platform: &'a str,
    architecture: &'a str,
    kernel_version: &'a str,
    features: &'a [String],
}

/// Returns what urunc calls the monitor of a platform; `None` for one that it has none for.
pub fn urunc_monitor(platform: &Platform) -> Option<&'static str> {
    match platform.os.as_str() {
        "qemu" => Some("qemu"),
        "fc" => Some("firecracker"),
        _ => None,
    }
}

/// Returns the `urunc.json` of an image; `None` if urunc cannot boot its platform. Values are in base64, and
/// arguments are joined by blanks, between which urunc splits them.
pub fn urunc(manifest: &Manifest, config: &Config) -> Option<Vec<u8>> {
    let mut values = BTreeMap::new();
    let mut put = |key: &str, value: &str| {
        values.insert(format!("com.urunc.unikernel.{key}"), STANDARD.encode(value));
    };
    put("unikernelType", "unikraft");
    put("hypervisor", urunc_monitor(&config.platform)?);
    put("binary", &format!("/{}", Role::Kernel.path()));
    put("cmdline", &config.config.cmd.join(" "));
    if !config.platform.os_version.is_empty() {
        put("unikernelVersion", &config.platform.os_version);
    }
    let mut roles = manifest.layers.iter().filter_map(Role::of_layer);
    if roles.any(|role| role == Role::Initrd) {
        put("initrd", &format!("/{}", Role::Initrd.path()));
    }
    Some(crate::json::to_vec(&values))
}

/// Returns the layer, a tar. `platform` is that of the unikernel, `urunc` the content of [`URUNC`].
pub fn layer(platform: &Platform, urunc: Option<&[u8]>) -> Vec<u8> {
    let metadata = Metadata {
        version: 1,
        platform: &platform.os,
        architecture: &platform.architecture,
        kernel_version: &platform.os_version,
        features: &platform.os_features,
    };
    let metadata = crate::json::to_vec(&metadata);
    let program = stand_in(&platform.architecture);
    let mut files: Vec<(&str, u32, &[u8])> = Vec::new();
    files.extend(program.as_deref().map(|bytes| (STAND_IN, 0o755, bytes)));
    files.push((METADATA, 0o644, &metadata));
    files.extend(urunc.map(|bytes| (URUNC, 0o644, bytes)));
    layer::tar(&files)
}

/// Returns the path of the first argument of containers: the program, or the kernel for an architecture
/// that there is no program for.
pub fn entrypoint(platform: &Platform) -> String {
    match stand_in(&platform.architecture) {
        Some(_) => format!("/{STAND_IN}"),
        None => format!("/{}", Role::Kernel.path()),
    }
}

/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
/// The size of the headers of an ELF file with one segment.
const HEADERS: u64 = 64 + 56;

/// Returns the program for an architecture.
fn stand_in(architecture: &str) -> Option<Vec<u8>> {
    let (machine, code) = match crate::package::linux_arch(architecture)? {
        "amd64" => (62_u16, x86_64()),
        "arm64" => (183, arm64()),
        _ => return None,
    };
    let mut file = Vec::new();
    // 64 bits, little endian, version 1, System V.
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // An executable file.
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    // Entry, program headers, no section headers.
    for number in [BASE + HEADERS, 64, 0] {
        file.extend(number.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for number in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    // One segment that is loaded, readable and executable.
    for number in [1_u32, 5] {
        file.extend(number.to_le_bytes());
    }
    let size = HEADERS + (code.len() + SENTENCE.len()) as u64;
    for number in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(number.to_le_bytes());
    }
    file.extend(code);
    file.extend(SENTENCE.as_bytes());
    Some(file)
}

/// The length of the sentence in bytes.
fn length() -> u32 {
    u32::try_from(SENTENCE.len()).unwrap_or_default()
}

/// `write(2, sentence, length); exit_group(CODE);`, with the sentence behind it.
fn x86_64() -> Vec<u8> {
    let mut code = Vec::new();
    let set = |opcode: u8, value: u32, code: &mut Vec<u8>| {
        code.push(opcode);
        code.extend(value.to_le_bytes());
    };
    // mov eax, 1; mov edi, 2; mov edx, length
    set(0xb8, 1, &mut code);
    set(0xbf, 2, &mut code);
    set(0xba, length(), &mut code);
    // lea rsi, [rip + n]: over the 14 bytes behind it.
    code.extend([0x48, 0x8d, 0x35]);
    code.extend((2_u32 + 5 + 5 + 2).to_le_bytes());
    // syscall; mov eax, 231; mov edi, CODE; syscall
    code.extend([0x0f, 0x05]);
    set(0xb8, 231, &mut code);
    set(0xbf, CODE, &mut code);
    code.extend([0x0f, 0x05]);
    code
}

/// The same for arm64.
fn arm64() -> Vec<u8> {
    let set = |register: u32, value: u32| 0xd280_0000 | (value << 5) | register;
    let call = 0xd400_0001;
    let instructions = [
        set(8, 64),
        set(0, 2),
        // adr x1, 24: the address of what is six instructions on. The lowest two bits are apart.
        0x1000_0001 | ((24 >> 2) << 5),
        set(2, length()),
        call,
        set(8, 94),
        set(0, CODE),
        call,
    ];
    instructions
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(architecture: &str) -> Platform {
        Platform {
            os: "qemu".to_owned(),
            architecture: architecture.to_owned(),
            os_version: "0.17.0".to_owned(),
            os_features: vec!["CONFIG_LIBUKLIBPARAM=y".to_owned()],
            ..Platform::default()
        }
    }

    #[test]
    fn the_layer_has_both_files_and_the_same_bytes_each_time() {
        let layer = super::layer(&platform("x86_64"), None);
        assert_eq!(layer, super::layer(&platform("x86_64"), None));
        let text = String::from_utf8_lossy(&layer);
        for part in [
            STAND_IN,
            "needs-runu",
            METADATA,
            r#"{"version":1,"platform":"qemu","architecture":"x86_64","kernel_version":"0.17.0","features":["CONFIG_LIBUKLIBPARAM=y"]}"#,
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert!(
            !String::from_utf8_lossy(&super::layer(&platform("arm"), None)).contains("needs-runu")
        );
        assert_eq!(entrypoint(&platform("arm")), "/unikraft/bin/kernel");
    }

    #[test]
    fn the_program_of_this_processor_prints_the_sentence() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        kraft_sys::fs::replace_file(&path, &stand_in(std::env::consts::ARCH).unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = kraft_sys::tool::Tool::new(&path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), SENTENCE);
        assert_eq!(output.status.code(), Some(126));
        assert!(output.stdout.is_empty());
    }

    #[test]
    fn the_address_of_the_sentence_on_arm64_is_behind_the_code() {
        let code = arm64();
        let adr = u32::from_le_bytes(code[8..12].try_into().unwrap());
        let offset = ((adr >> 5) & 0x7_ffff) << 2 | (adr >> 29) & 3;
        assert_eq!(8 + offset as usize, code.len());
    }
}
