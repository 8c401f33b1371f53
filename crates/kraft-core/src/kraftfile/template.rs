//! Merges a project with its template.
//!
//! The rule, the same for every version of the format:
//!
//! | part | result |
//! |---|---|
//! | name, outdir, targets, cmd, runtime, rootfs, roms, volumes | the project's, if it is specified; otherwise the template's |
//! | libraries | both; an entry that both have is the project's as a whole, except for `kconfig` |
//! | env, labels | both, key by key; the project wins |
//! | unikraft | source and version of the project, where it gives any; `kconfig` key by key |
//! | template | never the template's: templates have no templates |
//! | extensions | the project's |

use crate::problem::Span;

use super::model::{Component, EnvVar, KconfigOption, Kraftfile, Library};
use crate::document::located::Located;

impl Kraftfile {
    /// Completes a project with values of its template.
    ///
    /// Values from the template have the position [`Span::default`], since they are not in the
    /// project's text.
    #[must_use]
    pub fn over_template(self, template: Self) -> Self {
        let template = template.without_places();
        Self {
            spec: self.spec,
            name: self.name.or(template.name),
            outdir: self.outdir.or(template.outdir),
            unikraft: both(self.unikraft, template.unikraft, over_component),
            libraries: over_libraries(self.libraries, template.libraries),
            targets: either(self.targets, template.targets),
            template: self.template,
            runtime: self.runtime.or(template.runtime),
            rootfs: self.rootfs.or(template.rootfs),
            roms: either(self.roms, template.roms),
            volumes: either(self.volumes, template.volumes),
            cmd: self.cmd.or(template.cmd),
            env: over_env(self.env, template.env),
            labels: over_pairs(self.labels, template.labels),
            extensions: self.extensions,
        }
    }

    /// Removes the positions of options, since they refer to another text.
    fn without_places(mut self) -> Self {
        let components = self.unikraft.iter_mut().chain(
            self.libraries
                .iter_mut()
                .map(|library| &mut library.component),
        );
        let options = components.map(|component| &mut component.kconfig);
        for option in options
            .chain(self.targets.iter_mut().map(|target| &mut target.kconfig))
            .flatten()
        {
            option.0.span = Span::default();
            option.1.span = Span::default();
        }
        self
    }
}

fn both<T>(ours: Option<T>, theirs: Option<T>, over: impl FnOnce(T, T) -> T) -> Option<T> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(over(ours, theirs)),
        (ours, theirs) => ours.or(theirs),
    }
}

fn either<T>(ours: Vec<T>, theirs: Vec<T>) -> Vec<T> {
    if ours.is_empty() { theirs } else { ours }
}

fn over_component(ours: Component, theirs: Component) -> Component {
    // A source without a version must not get the version of another source.
    let (source, version, short) = if ours.source.is_some() {
        (ours.source, ours.version, ours.short)
    } else if ours.version.is_some() {
        (theirs.source, ours.version, ours.short)
    } else {
        (theirs.source, theirs.version, theirs.short)
    };
    Component {
        source,
        version,
        short,
        kconfig: over_options(ours.kconfig, theirs.kconfig),
    }
}

fn over_options(ours: Vec<KconfigOption>, theirs: Vec<KconfigOption>) -> Vec<KconfigOption> {
    over_pairs(ours, theirs)
}

fn over_pairs(
    ours: Vec<(Located<String>, Located<String>)>,
    theirs: Vec<(Located<String>, Located<String>)>,
) -> Vec<(Located<String>, Located<String>)> {
    let mut all: Vec<_> = theirs
        .into_iter()
        .filter(|(key, _)| !ours.iter().any(|(own, _)| own.value == key.value))
        .collect();
    all.extend(ours);
    all
}

fn over_libraries(ours: Vec<Library>, theirs: Vec<Library>) -> Vec<Library> {
    let mut all: Vec<Library> = Vec::new();
    let mut ours = ours;
    for library in theirs {
        let own = ours
            .iter()
            .position(|own| own.name.value == library.name.value);
        match own.map(|at| ours.remove(at)) {
            Some(own) => all.push(Library {
                name: own.name,
                component: over_component(own.component, library.component),
            }),
            None => all.push(library),
        }
    }
    all.extend(ours);
    all
}

fn over_env(ours: Vec<EnvVar>, theirs: Vec<EnvVar>) -> Vec<EnvVar> {
    let mut all: Vec<EnvVar> = theirs
        .into_iter()
        .filter(|var| !ours.iter().any(|own| own.name.value == var.name.value))
        .collect();
    all.extend(ours);
    all
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Kraftfile {
        let parsed = parse(text, &|_| None);
        parsed
            .kraftfile
            .unwrap_or_else(|| panic!("{:?}", parsed.problems))
    }

    fn merged(project: &str, template: &str) -> serde_json::Value {
        let merged = read(project).over_template(read(template));
        serde_json::to_value(merged.resolve("dir")).unwrap()
    }

    #[test]
    fn unspecified_values_are_inherited() {
        let it = merged(
            "spec: v0.6\ntemplate: https://x.org/app-t.git\n",
            "spec: v0.6\nname: t\ntemplate: https://x.org/app-u.git\nunikraft: stable\n\
             targets: [qemu/x86_64]\ncmd: [/a]\nrootfs: ./r\nvolumes: ./v:/v\n\
             env: {A: 1}\nlabels: {l: x}\nlibraries: {lwip: stable}\n",
        );
        assert_eq!(it["raw_name"], "t");
        assert_eq!(it["unikraft"]["version"], "stable");
        assert_eq!(it["targets"][0]["platform"], "qemu");
        assert_eq!(it["cmd"][0], "/a");
        assert_eq!(it["rootfs"]["path"], "./r");
        assert_eq!(it["volumes"][0]["destination"], "/v");
        assert_eq!(it["libraries"][0]["name"], "lwip");
        assert_eq!(it["labels"]["l"], "x");
        assert_eq!(it["template"]["source"], "https://x.org/app-t.git");
    }

    #[test]
    fn values_of_the_project_take_precedence() {
        let it = merged(
            "spec: v0.6\nname: p\ntemplate: https://x.org/app-t.git\n\
             unikraft: {version: staging, kconfig: {CONFIG_A: 'n', CONFIG_C: 'y'}}\n\
             targets: [fc/arm64]\ncmd: [/p]\nenv: {A: 2}\nlabels: {l: p}\n\
             libraries: {lwip: {version: v1, kconfig: {CONFIG_X: 'y'}}, own: {source: ./own}}\n",
            "spec: v0.6\nunikraft: {source: https://x.org/u.git, version: stable, \
             kconfig: {CONFIG_A: 'y', CONFIG_B: 'y'}}\ntargets: [qemu/x86_64, xen/x86_64]\n\
             cmd: [/t]\nenv: {A: 1, B: 1}\nlabels: {l: t, m: t}\n\
             libraries: {musl: stable, lwip: {source: https://x.org/l.git, version: stable, \
             kconfig: {CONFIG_X: 'n', CONFIG_Y: 'y'}}}\n",
        );
        assert_eq!(it["unikraft"]["source"], "https://x.org/u.git");
        assert_eq!(it["unikraft"]["version"], "staging");
        assert_eq!(
            it["unikraft"]["kconfig"],
            serde_json::json!({"CONFIG_B": "y", "CONFIG_A": "n", "CONFIG_C": "y"})
        );
        assert_eq!(it["targets"].as_array().unwrap().len(), 1);
        assert_eq!(it["cmd"], serde_json::json!(["/p"]));
        assert_eq!(
            it["env"],
            serde_json::json!([{"name": "B", "value": "1"}, {"name": "A", "value": "2"}])
        );
        assert_eq!(it["labels"], serde_json::json!({"l": "p", "m": "t"}));
        let names: Vec<&str> = it["libraries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["musl", "lwip", "own"]);
        let lwip = &it["libraries"][1];
        assert_eq!(
            (lwip["source"].as_str(), lwip["version"].as_str()),
            (Some("https://x.org/l.git"), Some("v1"))
        );
        assert_eq!(
            lwip["kconfig"],
            serde_json::json!({"CONFIG_Y": "y", "CONFIG_X": "y"})
        );
    }

    #[test]
    fn a_source_of_the_project_does_not_get_the_version_of_another_source() {
        let it = merged(
            "spec: v0.6\ntemplate: https://x.org/app-t.git\nunikraft: {source: ./core}\n",
            "spec: v0.6\nunikraft: {source: https://x.org/u.git, version: stable}\n",
        );
        assert_eq!(it["unikraft"]["source"], "./core");
        assert!(it["unikraft"]["version"].is_null());
    }

    #[test]
    fn options_of_a_template_have_no_position_in_the_project() {
        let merged = read("spec: v0.6\ntemplate: https://x.org/t.git\n").over_template(read(
            "spec: v0.6\nunikraft: {version: stable, kconfig: {CONFIG_A: 'y'}}\n",
        ));
        let unikraft = merged.unikraft.unwrap();
        assert_eq!(unikraft.kconfig[0].0.span, Span::default());
    }
}
