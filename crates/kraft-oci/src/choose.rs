//! Choosing among the manifests of an index: what was asked for, what this host can do, and an
//! order in which nothing is left to chance.

use std::cmp::Reverse;

use serde::Serialize;

use crate::image::{Descriptor, Platform};
use crate::package::rank;

/// What a manifest must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The platform, such as `qemu`; `None` for any.
    pub os: Option<String>,
    /// The architecture, such as `x86_64`; `None` for any.
    pub arch: Option<String>,
    /// Options it must have been built with, `KEY=VALUE` to the letter.
    pub features: Vec<String>,
}

impl Wish {
    /// Returns whether a platform is what was asked for.
    ///
    /// Features are compared as texts: `KEY=VALUE` must stand among those of the image.
    pub fn fits(&self, platform: &Platform) -> bool {
        let is = |wished: &Option<String>, found: &str| wished.as_ref().is_none_or(|w| w == found);
        is(&self.os, &platform.os)
            && is(&self.arch, &platform.architecture)
            && self
                .features
                .iter()
                .all(|f| platform.os_features.contains(f))
    }

    /// Returns the wish as people read it: `qemu/arm64 with CONFIG_A=y`.
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

/// The host, as far as a choice depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taste {
    /// Its architecture by its name in images.
    pub arch: String,
    /// The platforms that machines can be run on here, best first.
    pub platforms: Vec<String>,
}

/// A manifest that could be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Where it is.
    pub descriptor: Descriptor,
    /// What it runs on.
    pub platform: Platform,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One fits better than all others.
    One(Box<Candidate>),
    /// Several fit equally well, in an order that is always the same.
    Several(Vec<Candidate>),
    /// None fits; what there is instead.
    None(Vec<Platform>),
}

/// Returns the entries of an index on which a unikernel could run.
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

/// Chooses: what fits the wish; of these what runs natively, then what can be emulated; of these
/// the platform that this host likes best.
pub fn choose(candidates: &[Candidate], wish: &Wish, taste: &Taste) -> Choice {
    let mut fitting: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| wish.fits(&candidate.platform))
        .collect();
    // The order of an index is an accident; the digest is none.
    fitting.sort_by_key(|candidate| {
        (
            merit(&candidate.platform, taste),
            Reverse(candidate.platform.os_version.clone()),
            candidate.descriptor.digest.clone(),
        )
    });
    let Some(best) = fitting.first().map(|first| merit(&first.platform, taste)) else {
        let all = candidates.iter().map(|c| c.platform.clone());
        return Choice::None(all.collect());
    };
    let mut equals: Vec<Candidate> = fitting
        .into_iter()
        .filter(|candidate| merit(&candidate.platform, taste) == best)
        .cloned()
        .collect();
    if equals.len() == 1
        && let Some(one) = equals.pop()
    {
        return Choice::One(Box::new(one));
    }
    Choice::Several(equals)
}

/// The lower, the better: runnable at all, native, the host's order of platforms, a fixed order.
fn merit(platform: &Platform, taste: &Taste) -> (usize, bool, usize, String) {
    let known = taste.platforms.iter().position(|os| *os == platform.os);
    (
        known.unwrap_or(taste.platforms.len()),
        platform.architecture != taste.arch,
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

    fn taste() -> Taste {
        Taste {
            arch: "x86_64".to_owned(),
            platforms: vec!["qemu".to_owned()],
        }
    }

    fn chosen(all: &[Candidate], wish: &Wish) -> String {
        match choose(all, wish, &taste()) {
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
        assert_eq!(chosen(&all, &Wish::default()), "qemu/x86_64");
        assert_eq!(chosen(&all[..2], &Wish::default()), "qemu/arm64");
        assert_eq!(chosen(&all[..1], &Wish::default()), "fc/x86_64");
        let arm = Wish {
            arch: Some("arm64".to_owned()),
            ..Wish::default()
        };
        assert_eq!(chosen(&all, &arm), "qemu/arm64");
        let firecracker = Wish {
            os: Some("fc".to_owned()),
            ..Wish::default()
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
        let wish = |features: &[&str]| Wish {
            features: features.iter().map(|f| (*f).to_owned()).collect(),
            ..Wish::default()
        };
        assert_eq!(chosen(&all, &wish(&["CONFIG_B=64"])), "qemu/x86_64");
        assert_eq!(chosen(&all, &wish(&["CONFIG_A=y"])), "2 equals");
        assert_eq!(chosen(&all, &wish(&["CONFIG_B=6"])), "none of 2");
    }

    #[test]
    fn equals_come_in_an_order_of_their_own() {
        let (a, b) = (
            candidate("qemu", "x86_64", &["CONFIG_A=y"]),
            candidate("qemu", "x86_64", &["CONFIG_B=y"]),
        );
        let one = choose(&[a.clone(), b.clone()], &Wish::default(), &taste());
        let other = choose(&[b, a], &Wish::default(), &taste());
        assert_eq!(one, other);
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
