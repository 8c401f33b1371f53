//! Full names of images, for builders that would resolve short ones differently.
//!
//! To Docker, `gcc:13` is `docker.io/library/gcc:13`. buildah and podman use the aliases and search
//! registries that the host configures, and find another image or none.

use std::borrow::Cow;

use kraft_core::dockerfile::{Dockerfile, Stage};

use super::request::BuildRequest;

/// Returns the name of an image with the registry that Docker pulls it from.
pub fn docker_full_name(name: &str) -> String {
    let host = name.split_once('/').map_or("", |(host, _)| host);
    let has_host = host == "localhost" || host.contains('.') || host.contains(':');
    if has_host {
        name.to_owned()
    } else if name.contains('/') {
        format!("docker.io/{name}")
    } else {
        format!("docker.io/library/{name}")
    }
}

/// Returns the text of the Dockerfile with the registry in every name of an image.
pub(super) fn qualified<'a>(request: &'a BuildRequest<'_>) -> Cow<'a, str> {
    let Ok(dockerfile) = &request.parsed else {
        return Cow::Borrowed(&request.text);
    };
    let mut text = String::with_capacity(request.text.len());
    let mut done = 0;
    for (number, stage) in dockerfile.stages.iter().enumerate() {
        let image = stage.from.span.start..stage.from.span.end;
        if let Some(name) = request.expanded(dockerfile, &stage.from.image)
            && let Some(full) = full_name(dockerfile, number, &name)
            && image.start >= done
            && let Some(before) = request.text.get(done..image.start)
        {
            text.push_str(before);
            text.push_str(&full);
            done = image.end;
        }
        for step in stage
            .steps
            .iter()
            .map(|step| step.span.start..step.span.end)
        {
            let (Some(before), Some(own)) = (
                request.text.get(done..step.start),
                request.text.get(step.clone()),
            ) else {
                continue;
            };
            text.push_str(before);
            text.push_str(&with_full_froms(dockerfile, number, stage, own));
            done = step.end;
        }
    }
    text.push_str(request.text.get(done..).unwrap_or_default());
    Cow::Owned(text)
}

/// Returns the text of a step with the registry in every name after `from=`.
fn with_full_froms(dockerfile: &Dockerfile, number: usize, stage: &Stage, text: &str) -> String {
    let mut text = text.to_owned();
    for name in stage.froms() {
        let is_number = name.parse::<usize>().is_ok();
        let Some(full) = full_name(dockerfile, number, name).filter(|_| !is_number) else {
            continue;
        };
        let flag = format!("from={name}");
        let mut rest = text.as_str();
        let mut whole = String::new();
        while let Some(at) = rest.find(&flag) {
            let (before, found) = rest.split_at(at);
            let after = found.get(flag.len()..).unwrap_or_default();
            // A longer name may begin with this one.
            let ends = after.starts_with(|c: char| c.is_whitespace() || "\"',".contains(c));
            whole.push_str(before);
            whole.push_str("from=");
            whole.push_str(if ends { &full } else { name });
            rest = after;
        }
        whole.push_str(rest);
        text = whole;
    }
    text
}

/// Returns the full name of an image; `None` if it is full already, a stage or unknown.
fn full_name(dockerfile: &Dockerfile, number: usize, name: &str) -> Option<String> {
    let is_stage = dockerfile.named_before(number, name).is_some();
    if is_stage || name.is_empty() || name == "scratch" || name.contains('$') {
        return None;
    }
    let full = docker_full_name(name);
    (full != name).then_some(full)
}

#[cfg(test)]
mod tests {
    use super::super::options::BuildOptions;
    use super::*;

    fn qualified_text(text: &str, arguments: &[(&str, &str)]) -> String {
        let options = BuildOptions::default();
        let mut request = BuildRequest::of_text(text, &options);
        for (name, value) in arguments {
            request
                .arguments
                .insert((*name).to_owned(), (*value).to_owned());
        }
        qualified(&request).into_owned()
    }

    #[test]
    fn names_without_a_host_are_docker_hubs() {
        for (name, full) in [
            ("gcc", "docker.io/library/gcc"),
            ("gcc:13@sha256:00", "docker.io/library/gcc:13@sha256:00"),
            ("nginx/unit:1", "docker.io/nginx/unit:1"),
            ("localhost/x", "localhost/x"),
            ("localhost:5000/x", "localhost:5000/x"),
            ("host:5000/x", "host:5000/x"),
            ("ghcr.io/a/b", "ghcr.io/a/b"),
            ("docker.io/gcc", "docker.io/gcc"),
        ] {
            assert_eq!(docker_full_name(name), full);
        }
    }

    #[test]
    fn short_names_get_the_registry_of_docker() {
        for (name, full) in [
            ("gcc:13.2.0", "docker.io/library/gcc:13.2.0"),
            ("alpine", "docker.io/library/alpine"),
            ("nginx/unit", "docker.io/nginx/unit"),
            ("a@sha256:00", "docker.io/library/a@sha256:00"),
        ] {
            let text = format!("# c\nFROM --platform=linux/amd64 {name} AS b\nRUN x\n");
            let expected = text.replace(name, full);
            assert_eq!(qualified_text(&text, &[]), expected);
        }
    }

    #[test]
    fn stages_registries_and_unknown_variables_stay_as_they_are() {
        let text = "FROM ghcr.io/a/b AS one\nFROM localhost/x AS two\nFROM one\nFROM scratch\n\
                    COPY --from=two /a /b\nCOPY --from=0 /a /b\nCOPY --from=127.0.0.1:5000/c / /\n\
                    FROM $NOT_SET\n";
        assert_eq!(qualified_text(text, &[]), text);
    }

    #[test]
    fn variables_and_the_images_of_copy_and_mounts_are_resolved() {
        let text = "ARG V=12\nARG BASE\nFROM gcc:$V\nFROM ${BASE} AS gcc\nFROM scratch\n\
                    COPY --from=busybox:1 /bin /bin\nCOPY --from=busybox /bin /bin\n\
                    RUN --mount=type=bind,from=busybox,target=/b echo from=busyboxes\n\
                    COPY --from=gcc /a /b";
        let expected = "ARG V=12\nARG BASE\nFROM docker.io/library/gcc:12\n\
                    FROM docker.io/library/debian AS gcc\nFROM scratch\n\
                    COPY --from=docker.io/library/busybox:1 /bin /bin\n\
                    COPY --from=docker.io/library/busybox /bin /bin\n\
                    RUN --mount=type=bind,from=docker.io/library/busybox,target=/b \
                    echo from=busyboxes\n\
                    COPY --from=gcc /a /b";
        assert_eq!(qualified_text(text, &[("BASE", "debian")]), expected);
    }
}
