//! Public domains of a new service: custom ones, each optionally with a certificate, and subdomains
//! of the metro.

use kraft_cloud::request::Id;
use kraft_cloud::resources::services::WantedDomain;

/// Why domains are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The certificates are not one for each domain.
    #[error(
        "there are {certificates} certificates for {domains} domains: each `--domain` takes one"
    )]
    Certificates {
        /// The number of certificates.
        certificates: usize,
        /// The number of domains.
        domains: usize,
    },
    /// A name is empty.
    #[error("the name of a domain is empty")]
    Empty,
}

/// Returns domains as requests name them: custom domains in full, with a dot at the end, and
/// subdomains without one. There are no certificates, or one for each custom domain.
///
/// ```
/// use kraft_deploy::domains;
///
/// let names = |domains: &[&str]| domains.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
/// let wanted = domains::wanted(&names(&["shop.example"]), &names(&["shop"]), &[])?;
/// let names: Vec<&str> = wanted.iter().map(|domain| domain.name.as_str()).collect();
/// assert_eq!(names, ["shop.example.", "shop"]);
/// # Ok::<(), domains::Error>(())
/// ```
///
/// # Errors
///
/// If a name is empty, or the number of certificates does not fit.
pub fn wanted(
    custom: &[String],
    subdomains: &[String],
    certificates: &[String],
) -> Result<Vec<WantedDomain>, Error> {
    if !certificates.is_empty() && certificates.len() != custom.len() {
        return Err(Error::Certificates {
            certificates: certificates.len(),
            domains: custom.len(),
        });
    }
    let own = custom.iter().enumerate().map(|(at, name)| WantedDomain {
        name: format!("{}.", name.trim_end_matches('.')),
        certificate: certificates.get(at).map(|text| Id::new(text)),
    });
    let below = subdomains.iter().map(|name| WantedDomain {
        name: name.trim_end_matches('.').to_owned(),
        certificate: None,
    });
    let all: Vec<WantedDomain> = own.chain(below).collect();
    let empty = |domain: &WantedDomain| domain.name.trim_matches('.').is_empty();
    if all.iter().any(empty) {
        return Err(Error::Empty);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_domain_gets_one_dot_and_a_subdomain_none() {
        let domains = texts(&["a.example", "b.example."]);
        let subdomains = texts(&["shop."]);
        let wanted = wanted(&domains, &subdomains, &texts(&["one", "two"])).unwrap();
        let names: Vec<&str> = wanted.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a.example.", "b.example.", "shop"]);
        let certificates = wanted.iter().map(|one| one.certificate.clone());
        let expected = [Some(Id::new("one")), Some(Id::new("two")), None];
        assert_eq!(certificates.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn certificates_that_do_not_fit_and_empty_names_are_refused() {
        let two = texts(&["a.example", "b.example"]);
        for certificates in [&["one"][..], &["one", "two", "three"]] {
            let error = wanted(&two, &[], &texts(certificates)).unwrap_err();
            assert!(matches!(error, Error::Certificates { domains: 2, .. }));
        }
        for empty in ["", ".", ".."] {
            let empty = texts(&[empty]);
            assert_eq!(wanted(&empty, &[], &[]), Err(Error::Empty));
            assert_eq!(wanted(&[], &empty, &[]), Err(Error::Empty));
        }
    }
}
