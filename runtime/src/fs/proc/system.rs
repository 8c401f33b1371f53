//! The files of `/proc` about the machine (`proc(5)`).

use alloc::vec::Vec;
use core::cell::Cell;

use crate::abi::errno::{Errno, Result};
use crate::arch::{self, PAGE};
use crate::fs::generated::{Item, Text};
use crate::fs::mounts;
use crate::mm::frames;
use crate::net::address::Family;
use crate::net::socket::Kind;
use crate::net::table;
use crate::put;
use crate::sync::Global;
use crate::syscall::{RELEASE, VERSION, host_name, name_host};
use crate::task;
use crate::time::SECOND;

use Item::{Directory, Fixed, Link, Setting};

/// What is in the root of `/proc` besides the processes.
pub static ITEMS: &[(&str, Item)] = &[
    (
        "cgroups",
        Fixed("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"),
    ),
    ("cmdline", Fixed("kernel\n")),
    (
        "consoles",
        Fixed("ttyS0                -W- (EC   a)    4:64\n"),
    ),
    ("cpuinfo", Item::Text(processor)),
    ("devices", Fixed(DEVICES)),
    ("diskstats", Fixed("")),
    ("filesystems", Fixed(FILE_SYSTEMS)),
    ("interrupts", Fixed("           CPU0\n")),
    ("loadavg", Item::Text(load)),
    ("locks", Fixed("")),
    ("meminfo", Item::Text(memory)),
    ("misc", Fixed("")),
    ("modules", Fixed("")),
    ("mounts", Link("self/mounts")),
    ("net", Link("self/net")),
    ("partitions", Fixed("major minor  #blocks  name\n\n")),
    ("stat", Item::Text(statistics)),
    (
        "swaps",
        Fixed("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    ),
    ("sys", Directory(SETTINGS)),
    ("sysvipc", Directory(&[])),
    ("uptime", Item::Text(uptime)),
    ("version", Item::Text(version)),
    ("vmstat", Item::Text(virtual_memory)),
];

const DEVICES: &str = "Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n  \
                       5 /dev/ptmx\n136 pts\n\nBlock devices:\n";
const FILE_SYSTEMS: &str =
    "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\nnodev\t9p\n";

/// `/proc/sys`: what Linux's defaults are.
static SETTINGS: &[(&str, Item)] = &[
    (
        "fs",
        Directory(&[
            ("aio-max-nr", Fixed("65536\n")),
            ("aio-nr", Fixed("0\n")),
            (
                "epoll",
                Directory(&[("max_user_watches", Fixed("65536\n"))]),
            ),
            ("file-max", Fixed("1048576\n")),
            ("file-nr", Fixed("0\t0\t1048576\n")),
            (
                "inotify",
                Directory(&[
                    ("max_queued_events", Fixed("16384\n")),
                    ("max_user_instances", Fixed("128\n")),
                    ("max_user_watches", Fixed("65536\n")),
                ]),
            ),
            (
                "mqueue",
                Directory(&[("msg_max", Fixed("10\n")), ("queues_max", Fixed("256\n"))]),
            ),
            ("nr_open", Fixed("1048576\n")),
            ("overflowgid", Fixed("65534\n")),
            ("overflowuid", Fixed("65534\n")),
            ("pipe-max-size", Fixed("1048576\n")),
            ("protected_hardlinks", Fixed("0\n")),
            ("protected_symlinks", Fixed("0\n")),
            ("suid_dumpable", Fixed("0\n")),
        ]),
    ),
    (
        "kernel",
        Directory(&[
            ("cap_last_cap", Fixed("40\n")),
            ("core_pattern", Fixed("core\n")),
            ("core_uses_pid", Fixed("0\n")),
            ("domainname", Fixed("(none)\n")),
            ("hostname", Setting(host, set_host)),
            ("io_uring_disabled", Fixed("2\n")),
            ("keys", Directory(&[("maxkeys", Fixed("200\n"))])),
            ("msgmax", Fixed("8192\n")),
            ("msgmnb", Fixed("16384\n")),
            ("msgmni", Fixed("32000\n")),
            ("ngroups_max", Fixed("65536\n")),
            ("osrelease", Item::Text(release)),
            ("ostype", Fixed("Linux\n")),
            ("overflowgid", Fixed("65534\n")),
            ("overflowuid", Fixed("65534\n")),
            ("panic", Fixed("0\n")),
            ("perf_event_paranoid", Fixed("3\n")),
            ("pid_max", Fixed("4194304\n")),
            (
                "random",
                Directory(&[
                    ("boot_id", Item::Text(boot_id)),
                    ("entropy_avail", Fixed("256\n")),
                    ("poolsize", Fixed("256\n")),
                    ("uuid", Item::Text(new_uuid)),
                ]),
            ),
            ("randomize_va_space", Fixed("0\n")),
            ("sched_child_runs_first", Fixed("0\n")),
            ("sched_rt_runtime_us", Fixed("950000\n")),
            ("sem", Fixed("32000\t1024000000\t500\t32000\n")),
            ("shmall", Fixed("18446744073692774399\n")),
            ("shmmax", Fixed("18446744073692774399\n")),
            ("shmmni", Fixed("4096\n")),
            ("tainted", Fixed("0\n")),
            ("threads-max", Fixed("16384\n")),
            ("unprivileged_bpf_disabled", Fixed("2\n")),
            ("unprivileged_userns_clone", Fixed("0\n")),
            ("version", Item::Text(build)),
            ("yama", Directory(&[("ptrace_scope", Fixed("1\n"))])),
        ]),
    ),
    (
        "net",
        Directory(&[
            (
                "core",
                Directory(&[
                    ("netdev_max_backlog", Fixed("1000\n")),
                    ("optmem_max", Fixed("20480\n")),
                    ("rmem_default", Fixed("212992\n")),
                    ("rmem_max", Fixed("212992\n")),
                    ("somaxconn", Fixed("4096\n")),
                    ("wmem_default", Fixed("212992\n")),
                    ("wmem_max", Fixed("212992\n")),
                ]),
            ),
            (
                "ipv4",
                Directory(&[
                    ("ip_default_ttl", Fixed("64\n")),
                    ("ip_forward", Fixed("0\n")),
                    ("ip_local_port_range", Fixed("32768\t60999\n")),
                    ("ip_unprivileged_port_start", Fixed("1024\n")),
                    ("tcp_congestion_control", Fixed("reno\n")),
                    ("tcp_fin_timeout", Fixed("60\n")),
                    ("tcp_keepalive_intvl", Fixed("75\n")),
                    ("tcp_keepalive_probes", Fixed("9\n")),
                    ("tcp_keepalive_time", Fixed("7200\n")),
                    ("tcp_max_syn_backlog", Fixed("256\n")),
                    ("tcp_rmem", Fixed("4096\t131072\t6291456\n")),
                    ("tcp_syncookies", Fixed("0\n")),
                    ("tcp_wmem", Fixed("4096\t16384\t4194304\n")),
                ]),
            ),
            ("unix", Directory(&[("max_dgram_qlen", Fixed("512\n"))])),
        ]),
    ),
    (
        "user",
        Directory(&[
            ("max_inotify_instances", Fixed("128\n")),
            ("max_user_namespaces", Fixed("0\n")),
        ]),
    ),
    (
        "vm",
        Directory(&[
            ("dirty_background_ratio", Fixed("10\n")),
            ("dirty_ratio", Fixed("20\n")),
            ("max_map_count", Fixed("1048576\n")),
            ("min_free_kbytes", Fixed("1024\n")),
            ("mmap_min_addr", Fixed("65536\n")),
            ("nr_hugepages", Fixed("0\n")),
            ("overcommit_memory", Fixed("1\n")),
            ("overcommit_ratio", Fixed("50\n")),
            ("swappiness", Fixed("0\n")),
            ("zone_reclaim_mode", Fixed("0\n")),
        ]),
    ),
];

fn host(text: &mut Text) {
    text.put(&host_name());
    text.put(b"\n");
}

fn set_host(bytes: &[u8]) -> Result<()> {
    let name = bytes.trim_ascii_end();
    if name.len() > 64 {
        return Err(Errno::INVAL);
    }
    name_host(name);
    Ok(())
}

fn release(text: &mut Text) {
    put!(text, "{RELEASE}\n");
}

fn build(text: &mut Text) {
    put!(text, "{VERSION}\n");
}

fn version(text: &mut Text) {
    put!(text, "Linux version {RELEASE} (kraft) (rustc) {VERSION}\n");
}

/// Writes 16 bytes as a random UUID (RFC 9562, version 4).
fn put_uuid(text: &mut Text, mut bytes: [u8; 16]) {
    bytes[6] = bytes[6] & 0xf | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.put(b"-");
        }
        put!(text, "{byte:02x}");
    }
    text.put(b"\n");
}

fn new_uuid(text: &mut Text) {
    let mut bytes = [0; 16];
    crate::random::fill(&mut bytes);
    put_uuid(text, bytes);
}

fn boot_id(text: &mut Text) {
    static BOOT: Global<core::cell::OnceCell<[u8; 16]>> = Global::new(core::cell::OnceCell::new());
    let bytes = BOOT.get_or_init(|| {
        let mut bytes = [0; 16];
        crate::random::fill(&mut bytes);
        bytes
    });
    put_uuid(text, *bytes);
}

fn processor(text: &mut Text) {
    // Memory takes everything.
    let _ = arch::describe_processor(text);
}

fn memory(text: &mut Text) {
    let (total, free) = (frames::total_bytes() >> 10, frames::free_bytes() >> 10);
    for (name, kilobytes) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", total - free.min(total)),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", total - free.min(total)),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("CommitLimit", total),
        ("Committed_AS", total - free.min(total)),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
    ] {
        put!(text, "{:<16}{kilobytes:>8} kB\n", alloc::format!("{name}:"));
    }
    text.put(b"HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\n");
    text.put(b"HugePages_Surp:        0\nHugepagesize:       2048 kB\n");
}

fn virtual_memory(text: &mut Text) {
    put!(text, "nr_free_pages {}\n", frames::free_bytes() / PAGE);
    text.put(b"pgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault 0\npgmajfault 0\noom_kill 0\n");
}

/// Hundredths of a second that programs ran and that nothing ran.
fn ticks() -> (u64, u64) {
    static TICKS: Global<Cell<(u64, u64)>> = Global::new(Cell::new((0, 0)));
    const TICK: u64 = SECOND / 100;
    let ran: u64 = task::all_processes()
        .iter()
        .map(|process| process.total_run_time() + process.child_run_time.get())
        .sum();
    let up = arch::monotonic();
    // Programs expect that neither gets less.
    let (most_ran, most_idle) = TICKS.get();
    let now = (
        most_ran.max(ran / TICK),
        most_idle.max(up.saturating_sub(ran) / TICK),
    );
    TICKS.set(now);
    now
}

fn uptime(text: &mut Text) {
    let up = arch::monotonic() / (SECOND / 100);
    let (_, idle) = ticks();
    put!(
        text,
        "{}.{:02} {}.{:02}\n",
        up / 100,
        up % 100,
        idle / 100,
        idle % 100
    );
}

/// How many threads could run.
fn running() -> usize {
    task::all_threads()
        .iter()
        .filter(|thread| !thread.is_waiting())
        .count()
}

fn statistics(text: &mut Text) {
    let (ran, idle) = ticks();
    put!(text, "cpu  {ran} 0 0 {idle} 0 0 0 0 0 0\n");
    put!(text, "cpu0 {ran} 0 0 {idle} 0 0 0 0 0 0\n");
    put!(
        text,
        "intr 0\nctxt 0\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\nsoftirq 0\n",
        arch::wall_clock_at_boot() / SECOND,
        task::last_id(),
        running()
    );
}

fn load(text: &mut Text) {
    let (running, all) = (running(), task::all_threads().len());
    let last = task::last_id();
    put!(text, "0.00 0.00 0.00 {running}/{all} {last}\n");
}

/// A path with what separates fields in `/proc/mounts` as octal numbers.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in path {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\') {
            out.extend_from_slice(alloc::format!("\\{byte:03o}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

/// Writes `mounts`, or `mountinfo`.
pub fn put_mounts(text: &mut Text, info: bool) {
    for (index, mount) in mounts::all().iter().enumerate() {
        let access = if mount.read_only { "ro" } else { "rw" };
        let (source, path) = (escaped(&mount.source), escaped(&mount.path));
        let source = if source.is_empty() {
            b"none".to_vec()
        } else {
            source
        };
        if info {
            let parent = if index == 0 { 0 } else { 20 };
            let (major, minor) = crate::fs::devices::parts(mount.device());
            put!(text, "{} {parent} {major}:{minor} / ", index + 20);
            text.put(&path);
            put!(text, " {access},relatime - {} ", mount.kind);
            text.put(&source);
            put!(text, " {access}\n");
        } else {
            text.put(&source);
            text.put(b" ");
            text.put(&path);
            put!(text, " {} {access},relatime 0 0\n", mount.kind);
        }
    }
}

/// `/proc/net`: the headers that programs read before the rows.
pub static NET: &[(&str, Item)] = &[
    (
        "arp",
        Fixed("IP address       HW type     Flags       HW address            Mask     Device\n"),
    ),
    ("dev", Fixed(NET_DEVICES)),
    (
        "if_inet6",
        Fixed("00000000000000000000000000000001 01 80 10 80       lo\n"),
    ),
    (
        "netlink",
        Fixed(
            "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
        ),
    ),
    ("protocols", Fixed("")),
    ("raw", Fixed(SOCKETS)),
    (
        "route",
        Fixed(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
        ),
    ),
    ("snmp", Fixed("")),
    ("sockstat", Fixed("sockets: used 0\n")),
    (
        "tcp",
        Item::Text(|text| sockets(text, SOCKETS, Family::Inet, Kind::Stream)),
    ),
    (
        "tcp6",
        Item::Text(|text| sockets(text, SOCKETS6, Family::Inet6, Kind::Stream)),
    ),
    (
        "udp",
        Item::Text(|text| sockets(text, SOCKETS, Family::Inet, Kind::Datagram)),
    ),
    (
        "udp6",
        Item::Text(|text| sockets(text, SOCKETS6, Family::Inet6, Kind::Datagram)),
    ),
    ("unix", Item::Text(unix_sockets)),
];

fn sockets(text: &mut Text, head: &str, family: Family, kind: Kind) {
    text.put(head.as_bytes());
    table::put_inet(text, family, kind);
}

fn unix_sockets(text: &mut Text) {
    text.put(b"Num       RefCount Protocol Flags    Type St Inode Path\n");
    table::put_unix(text);
}

const SOCKETS: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const SOCKETS6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const NET_DEVICES: &str = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n";
