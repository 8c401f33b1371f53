//! What `/proc/cpuinfo` shows, from CPUID (Intel SDM volume 2, AMD APM volume 3).

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::fmt::{Result, Write};

/// The names of the bits of a register; empty names are left out.
type Names = &'static [&'static str];

const LEAF_1_EDX: Names = &[
    "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge",
    "mca", "cmov", "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse",
    "sse2", "ss", "ht", "tm", "ia64", "pbe",
];
const LEAF_1_ECX: Names = &[
    "pni",
    "pclmulqdq",
    "dtes64",
    "monitor",
    "ds_cpl",
    "vmx",
    "smx",
    "est",
    "tm2",
    "ssse3",
    "cid",
    "sdbg",
    "fma",
    "cx16",
    "xtpr",
    "pdcm",
    "",
    "pcid",
    "dca",
    "sse4_1",
    "sse4_2",
    "x2apic",
    "movbe",
    "popcnt",
    "tsc_deadline_timer",
    "aes",
    "xsave",
    "",
    "avx",
    "f16c",
    "rdrand",
    "hypervisor",
];
const EXTENDED_EDX: Names = &[
    "", "", "", "", "", "", "", "", "", "", "", "syscall", "", "", "", "", "", "", "", "mp", "nx",
    "", "mmxext", "", "", "fxsr_opt", "pdpe1gb", "rdtscp", "", "lm", "3dnowext", "3dnow",
];
const EXTENDED_ECX: Names = &[
    "lahf_lm",
    "cmp_legacy",
    "svm",
    "extapic",
    "cr8_legacy",
    "abm",
    "sse4a",
    "misalignsse",
    "3dnowprefetch",
    "osvw",
    "ibs",
    "xop",
    "skinit",
    "wdt",
    "",
    "lwp",
    "fma4",
    "tce",
    "",
    "nodeid_msr",
    "",
    "tbm",
    "topoext",
];
const LEAF_7_EBX: Names = &[
    "fsgsbase",
    "tsc_adjust",
    "sgx",
    "bmi1",
    "hle",
    "avx2",
    "",
    "smep",
    "bmi2",
    "erms",
    "invpcid",
    "rtm",
    "cqm",
    "",
    "mpx",
    "rdt_a",
    "avx512f",
    "avx512dq",
    "rdseed",
    "adx",
    "smap",
    "avx512ifma",
    "",
    "clflushopt",
    "clwb",
    "intel_pt",
    "avx512pf",
    "avx512er",
    "avx512cd",
    "sha_ni",
    "avx512bw",
    "avx512vl",
];
const LEAF_7_ECX: Names = &[
    "",
    "avx512vbmi",
    "umip",
    "pku",
    "ospke",
    "waitpkg",
    "avx512_vbmi2",
    "",
    "gfni",
    "vaes",
    "vpclmulqdq",
    "avx512_vnni",
    "avx512_bitalg",
    "",
    "avx512_vpopcntdq",
    "",
    "la57",
    "",
    "",
    "",
    "",
    "",
    "rdpid",
];

fn text(words: &[u32]) -> alloc::string::String {
    let bytes: alloc::vec::Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let text = alloc::string::String::from_utf8_lossy(&bytes).into_owned();
    text.trim_matches(['\0', ' ']).into()
}

/// Writes `/proc/cpuinfo`.
///
/// # Errors
/// Those of `out`.
pub fn describe_processor(out: &mut dyn Write) -> Result {
    let first = __cpuid(0);
    let leaf = __cpuid(1);
    let extended = __cpuid(0x8000_0000).eax;
    let family = leaf.eax >> 8 & 0xf;
    let model = leaf.eax >> 4 & 0xf | leaf.eax >> 12 & 0xf0;
    let whole_family = if family == 15 {
        family + (leaf.eax >> 20 & 0xff)
    } else {
        family
    };
    let name = if extended >= 0x8000_0004 {
        let words = [0x8000_0002, 0x8000_0003, 0x8000_0004].map(|leaf| {
            let part = __cpuid(leaf);
            [part.eax, part.ebx, part.ecx, part.edx]
        });
        text(words.as_flattened())
    } else {
        "unknown".into()
    };
    writeln!(out, "processor\t: 0")?;
    writeln!(
        out,
        "vendor_id\t: {}",
        text(&[first.ebx, first.edx, first.ecx])
    )?;
    writeln!(out, "cpu family\t: {whole_family}")?;
    writeln!(out, "model\t\t: {model}")?;
    writeln!(out, "model name\t: {name}")?;
    writeln!(out, "stepping\t: {}", leaf.eax & 0xf)?;
    writeln!(out, "physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0")?;
    writeln!(out, "cpu cores\t: 1\napicid\t\t: 0\nfpu\t\t: yes")?;
    writeln!(out, "fpu_exception\t: yes\ncpuid level\t: {}", first.eax)?;
    write!(out, "wp\t\t: yes\nflags\t\t:")?;
    let mut registers = alloc::vec![(leaf.edx, LEAF_1_EDX), (leaf.ecx, LEAF_1_ECX)];
    if extended >= 0x8000_0001 {
        let leaf = __cpuid(0x8000_0001);
        registers.extend([(leaf.edx, EXTENDED_EDX), (leaf.ecx, EXTENDED_ECX)]);
    }
    if first.eax >= 7 {
        let leaf = __cpuid_count(7, 0);
        registers.extend([(leaf.ebx, LEAF_7_EBX), (leaf.ecx, LEAF_7_ECX)]);
    }
    for (bits, names) in registers {
        for (bit, name) in names.iter().enumerate() {
            if bits & 1 << bit != 0 && !name.is_empty() {
                write!(out, " {name}")?;
            }
        }
    }
    writeln!(
        out,
        "\nbugs\t\t:\nclflush size\t: 64\ncache_alignment\t: 64"
    )?;
    if extended >= 0x8000_0008 {
        let sizes = __cpuid(0x8000_0008).eax;
        let (physical, linear) = (sizes & 0xff, sizes >> 8 & 0xff);
        writeln!(
            out,
            "address sizes\t: {physical} bits physical, {linear} bits virtual"
        )?;
    }
    writeln!(out)
}
