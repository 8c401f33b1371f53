//! Chooses among the manifests of an index: by the request, this host's capabilities, and a
//! deterministic order.
//!
//! ```
//! use kraft_oci::choose::{Choice, Preference, PlatformFilter, candidates, choose};
//! use kraft_oci::image::{Descriptor, Platform, media};
//!
//! let manifest = |arch: &str| {
//!     let mut descriptor = Descriptor::of(media::MANIFEST, arch.as_bytes());
//!     descriptor.platform = Some(Platform {
//!         os: "qemu".to_owned(),
//!         architecture: arch.to_owned(),
//!         ..Platform::default()
//!     });
//!     descriptor
//! };
//! let all = candidates(&[manifest("arm64"), manifest("x86_64")]);
//! let host = Preference { arch: "x86_64".to_owned(), platforms: vec!["qemu".to_owned()] };
//! let Choice::One(native) = choose(&all, &PlatformFilter::default(), &host) else {
//!     panic!("the native one is preferred");
//! };
//! assert_eq!(native.platform.architecture, "x86_64");
//!
//! let filter = PlatformFilter { os: Some("xen".to_owned()), ..PlatformFilter::default() };
//! assert!(matches!(choose(&all, &filter, &host), Choice::None(_)));
//! ```

use std::cmp::Reverse;

use serde::Serialize;

use crate::image::{Descriptor, Platform};
use crate::package::{linux_arch, rank};

/// Requirements for a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlatformFilter {
    /// The platform, such as `qemu`; `None` for any.
    pub os: Option<String>,
    /// The architecture, such as `x86_64`; `None` for any.
    pub arch: Option<String>,
    /// Options it must have been built with, exactly `KEY=VALUE`.
    pub features: Vec<String>,
}

impl PlatformFilter {
    /// Returns whether a platform meets the requirements.
    ///
    /// Features are compared as text: `KEY=VALUE` must be among those of the image.
    pub fn fits(&self, platform: &Platform) -> bool {
        let os = self.os.as_ref().is_none_or(|os| *os == platform.os);
        let arch = self.arch.as_ref();
        os && arch.is_none_or(|arch| is_same_arch(arch, &platform.architecture))
            && self
                .features
                .iter()
                .all(|f| platform.os_features.contains(f))
    }

    /// Formats the requirements for messages: `qemu/arm64 with CONFIG_A=y`.
    pub fn shown(&self) -> String {
        let pair = match (&self.os, &self.arch) {
            (Some(os), Some(arch)) => format!("{os}/{arch}"),
            (Some(os), None) => format!("the platform {os}"),
            (None, Some(arch)) => format!("the architecture {arch}"),
            (None, None) => "any platform".to_owned(),
        };
        if self.features.is_empty() {
            return pair;
        }
        format!("{pair} with {}", self.features.join(", "))
    }
}

/// The properties of the host that affect a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preference {
    /// Its architecture, named as in images.
    pub arch: String,
    /// The platforms with an available VMM, in order of preference.
    pub platforms: Vec<String>,
}

/// A manifest to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Where it is.
    pub descriptor: Descriptor,
    /// Its platform.
    pub platform: Platform,
}

/// The result of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One manifest is preferred to all others.
    One(Box<Candidate>),
    /// Several manifests are equally suitable, in a deterministic order.
    Several(Vec<Candidate>),
    /// None is suitable; the available platforms.
    None(Vec<Platform>),
}

/// Returns the entries of an index that are unikernels.
pub fn candidates(manifests: &[Descriptor]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for descriptor in manifests {
        let Some(platform) = &descriptor.platform else {
            continue;
        };
        let again = found
            .iter()
            .any(|c| c.descriptor.digest == descriptor.digest);
        if platform.is_unikernel() && !again {
            found.push(Candidate {
                descriptor: descriptor.clone(),
                platform: platform.clone(),
            });
        }
    }
    found
}

/// Chooses a manifest that meets the requirements: native ones are preferred to emulated ones, then
/// by the host's preference of platforms.
pub fn choose(
    candidates: &[Candidate],
    filter: &PlatformFilter,
    preference: &Preference,
) -> Choice {
    let mut fitting: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| filter.fits(&candidate.platform))
        .collect();
    // The order of an index is arbitrary; that of digests is not.
    fitting.sort_by_key(|candidate| {
        (
            merit(&candidate.platform, preference),
            Reverse(candidate.platform.os_version.clone()),
            candidate.descriptor.digest.clone(),
        )
    });
    let Some(best) = fitting
        .first()
        .map(|first| merit(&first.platform, preference))
    else {
        let all = candidates.iter().map(|c| c.platform.clone());
        return Choice::None(all.collect());
    };
    let mut equals: Vec<Candidate> = fitting
        .into_iter()
        .filter(|candidate| merit(&candidate.platform, preference) == best)
        .cloned()
        .collect();
    if equals.len() == 1
        && let Some(one) = equals.pop()
    {
        return Choice::One(Box::new(one));
    }
    Choice::Several(equals)
}

/// Returns whether two names refer to the same architecture: `x86_64` is `amd64`, `aarch64` is
/// `arm64`.
pub fn is_same_arch(one: &str, other: &str) -> bool {
    one == other || linux_arch(one).is_some_and(|arch| linux_arch(other) == Some(arch))
}

/// Returns the manifests for Linux on an architecture, in order of preference for containers:
/// without a variant, then the oldest variant, independent of the order of the index.
pub fn for_linux<'a>(manifests: &'a [Descriptor], arch: &str) -> Vec<&'a Descriptor> {
    let mut fitting: Vec<_> = manifests
        .iter()
        .filter_map(|descriptor| Some((descriptor, descriptor.platform.as_ref()?)))
        .filter(|(_, platform)| {
            platform.os == "linux" && is_same_arch(arch, &platform.architecture)
        })
        .collect();
    // Sorting is stable, but the order of an index is arbitrary.
    fitting.sort_by_key(|(descriptor, platform)| {
        (variant_rank(arch, &platform.variant), &descriptor.digest)
    });
    let fitting = fitting.into_iter().map(|(descriptor, _)| descriptor);
    fitting.collect()
}

/// Rank of a variant, lower is better: the baseline of the architecture, then the variants by
/// number. For 32-bit ARM v7 first, as in containerd, then the older ones that v7 can run.
fn variant_rank(arch: &str, variant: &str) -> (u32, u32) {
    let number = variant.strip_prefix('v').unwrap_or(variant);
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    let (major, minor) = (major.parse::<u32>().ok(), minor.parse::<u32>());
    let (Some(major), Ok(minor)) = (major.or(variant.is_empty().then_some(0)), minor) else {
        return (u32::MAX, 0);
    };
    let or = |plain: u32| if variant.is_empty() { plain } else { major };
    match linux_arch(arch) {
        Some("arm") => match or(7) {
            newer @ 8.. => (newer, minor),
            number => (7 - number, minor),
        },
        Some("arm64") => (or(8).abs_diff(8), minor),
        _ => (or(1), minor),
    }
}

/// Rank, lower is better: runnable, native, the host's preference of platforms, a fixed order.
fn merit(platform: &Platform, preference: &Preference) -> (usize, bool, usize, String) {
    let known = preference
        .platforms
        .iter()
        .position(|os| *os == platform.os);
    (
        known.unwrap_or(preference.platforms.len()),
        !is_same_arch(&platform.architecture, &preference.arch),
        rank(&platform.os),
        platform.pair(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::media;

    fn candidate(os: &str, arch: &str, features: &[&str]) -> Candidate {
        let platform = Platform {
            os: os.to_owned(),
            architecture: arch.to_owned(),
            os_features: features.iter().map(|f| (*f).to_owned()).collect(),
            ..Platform::default()
        };
        let mut descriptor = Descriptor::of(
            media::MANIFEST,
            format!("{os}{arch}{features:?}").as_bytes(),
        );
        descriptor.platform = Some(platform.clone());
        Candidate {
            descriptor,
            platform,
        }
    }

    fn preference() -> Preference {
        Preference {
            arch: "x86_64".to_owned(),
            platforms: vec!["qemu".to_owned()],
        }
    }

    fn chosen(all: &[Candidate], filter: &PlatformFilter) -> String {
        match choose(all, filter, &preference()) {
            Choice::One(one) => one.platform.pair(),
            Choice::Several(several) => format!("{} equals", several.len()),
            Choice::None(there) => format!("none of {}", there.len()),
        }
    }

    #[test]
    fn the_hosts_own_goes_first_then_what_can_be_emulated() {
        let all = [
            candidate("fc", "x86_64", &[]),
            candidate("qemu", "arm64", &[]),
            candidate("qemu", "x86_64", &[]),
            candidate("xen", "x86_64", &[]),
        ];
        assert_eq!(chosen(&all, &PlatformFilter::default()), "qemu/x86_64");
        assert_eq!(chosen(&all[..2], &PlatformFilter::default()), "qemu/arm64");
        assert_eq!(chosen(&all[..1], &PlatformFilter::default()), "fc/x86_64");
        let arm = PlatformFilter {
            arch: Some("arm64".to_owned()),
            ..PlatformFilter::default()
        };
        assert_eq!(chosen(&all, &arm), "qemu/arm64");
        let firecracker = PlatformFilter {
            os: Some("fc".to_owned()),
            ..PlatformFilter::default()
        };
        assert_eq!(chosen(&all, &firecracker), "fc/x86_64");
        assert_eq!(chosen(&all[1..], &firecracker), "none of 3");
    }

    #[test]
    fn features_must_all_be_there() {
        let all = [
            candidate("qemu", "x86_64", &["CONFIG_A=y"]),
            candidate("qemu", "x86_64", &["CONFIG_A=y", "CONFIG_B=64"]),
        ];
        let filter = |features: &[&str]| PlatformFilter {
            features: features.iter().map(|f| (*f).to_owned()).collect(),
            ..PlatformFilter::default()
        };
        assert_eq!(chosen(&all, &filter(&["CONFIG_B=64"])), "qemu/x86_64");
        assert_eq!(chosen(&all, &filter(&["CONFIG_A=y"])), "2 equals");
        assert_eq!(chosen(&all, &filter(&["CONFIG_B=6"])), "none of 2");
    }

    #[test]
    fn equals_come_in_an_order_of_their_own() {
        let (a, b) = (
            candidate("qemu", "x86_64", &["CONFIG_A=y"]),
            candidate("qemu", "x86_64", &["CONFIG_B=y"]),
        );
        let one = choose(
            &[a.clone(), b.clone()],
            &PlatformFilter::default(),
            &preference(),
        );
        let other = choose(&[b, a], &PlatformFilter::default(), &preference());
        assert_eq!(one, other);
    }

    #[test]
    fn architectures_have_several_names() {
        let all = [
            candidate("qemu", "amd64", &[]),
            candidate("qemu", "aarch64", &[]),
        ];
        for (arch, found) in [("x86_64", "qemu/amd64"), ("arm64", "qemu/aarch64")] {
            let filter = PlatformFilter {
                arch: Some(arch.to_owned()),
                ..PlatformFilter::default()
            };
            assert_eq!(chosen(&all, &filter), found);
        }
        assert_eq!(chosen(&all, &PlatformFilter::default()), "qemu/amd64");
        assert!(!is_same_arch("riscv64", "s390x"));
        assert!(is_same_arch("riscv64", "riscv64"));
    }

    #[test]
    fn the_plainest_variant_goes_first_whatever_the_order() {
        let chosen = |arch: &str, platforms: &[(&str, &str)]| {
            let entries: Vec<Descriptor> = platforms
                .iter()
                .map(|(arch, variant)| {
                    let mut one = Descriptor::of(media::MANIFEST, variant.as_bytes());
                    one.platform = Some(Platform {
                        os: "linux".to_owned(),
                        architecture: (*arch).to_owned(),
                        variant: (*variant).to_owned(),
                        ..Platform::default()
                    });
                    one
                })
                .collect();
            let mut reversed = entries.clone();
            reversed.reverse();
            let first = |entries: &[Descriptor]| {
                let found = for_linux(entries, arch);
                let found = found.first().and_then(|one| one.platform.as_ref());
                found.map_or("none".to_owned(), |platform| platform.variant.clone())
            };
            assert_eq!(first(&entries), first(&reversed));
            first(&entries)
        };
        let amd64 = |variants: &[&'static str]| {
            let all: Vec<_> = variants.iter().map(|variant| ("amd64", *variant)).collect();
            chosen("amd64", &all)
        };
        assert_eq!(amd64(&["v3", "v2", ""]), "");
        assert_eq!(amd64(&["v3", "v1", "v2"]), "v1");
        assert_eq!(amd64(&["v4", "v3"]), "v3");
        assert_eq!(amd64(&["odd", "v4"]), "v4");
        let arm64 = [("arm64", "v9"), ("arm64", "v8"), ("arm64", "v8.2")];
        assert_eq!(chosen("arm64", &arm64), "v8");
        assert_eq!(chosen("arm64", &[arm64[0], arm64[2]]), "v8.2");
        assert_eq!(chosen("aarch64", &[("arm64", "v9"), ("arm64", "")]), "");
        let arm = [("arm", "v5"), ("arm", "v8"), ("arm", "v7"), ("arm", "v6")];
        assert_eq!(chosen("arm", &arm), "v7");
        assert_eq!(chosen("arm", &arm[..2]), "v5");
        assert_eq!(chosen("amd64", &[("x86_64", "")]), "");
        assert_eq!(chosen("amd64", &arm), "none");
    }

    #[test]
    fn images_of_containers_are_no_candidates() {
        let linux = candidate("linux", "amd64", &[]).descriptor;
        let unikernel = candidate("qemu", "x86_64", &[]).descriptor;
        let none = Descriptor::of(media::MANIFEST, b"no platform");
        let found = candidates(&[linux, none, unikernel.clone(), unikernel]);
        assert_eq!(found.len(), 1);
    }
}
