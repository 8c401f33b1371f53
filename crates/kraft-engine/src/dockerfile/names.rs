//! Short names of images, made whole for builders that would resolve them in another way.
//!
//! To Docker, `gcc:13` is `docker.io/library/gcc:13`. buildah and podman ask the configuration of
//! this host instead (aliases, search registries), which finds another image or none.

use std::borrow::Cow;

use kraft_core::dockerfile::{Dockerfile, Stage};

use super::bases::docker_full_name;
use super::job::Job;

/// Returns the text of the Dockerfile with every image named by its registry.
pub(super) fn qualified<'a>(job: &'a Job<'_>) -> Cow<'a, str> {
    let Ok(dockerfile) = &job.read else {
        return Cow::Borrowed(&job.text);
    };
    let mut text = String::with_capacity(job.text.len());
    let mut done = 0;
    for (number, stage) in dockerfile.stages.iter().enumerate() {
        let image = stage.from.span.start..stage.from.span.end;
        if let Some(name) = job.expanded(dockerfile, &stage.from.image)
            && let Some(full) = full_name(dockerfile, number, &name)
            && image.start >= done
            && let Some(before) = job.text.get(done..image.start)
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
            let (Some(before), Some(own)) =
                (job.text.get(done..step.start), job.text.get(step.clone()))
            else {
                continue;
            };
            text.push_str(before);
            text.push_str(&with_full_froms(dockerfile, number, stage, own));
            done = step.end;
        }
    }
    text.push_str(job.text.get(done..).unwrap_or_default());
    Cow::Owned(text)
}

/// Names the images after `from=` in the text of a step by their registries.
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
            // Not the beginning of a longer name.
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

/// Returns the name of an image with its registry, if `name` is a short one.
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
    use super::super::job::Wish;
    use super::*;

    fn qualified_text(text: &str, arguments: &[(&str, &str)]) -> String {
        let wish = Wish::default();
        let mut job = Job::of_text(text, &wish);
        for (name, value) in arguments {
            job.arguments
                .insert((*name).to_owned(), (*value).to_owned());
        }
        qualified(&job).into_owned()
    }

    #[test]
    fn short_names_get_the_registry_that_docker_means() {
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
                    FROM $NOBODY_KNOWS\n";
        assert_eq!(qualified_text(text, &[]), text);
    }

    #[test]
    fn variables_and_other_places_of_images_count() {
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
