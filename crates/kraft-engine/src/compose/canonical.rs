//! The canonical form of a project, with its paths on this host and the environments of its services.

use kraft_core::compose::{Canonical, Service, canonical};
use kraft_core::mount::plain_path;
use kraft_sys::fs;
use serde_json::{Map, Value};

use super::definition::Definition;
use crate::context::Context;

/// What the canonical form contains.
#[derive(Clone, Copy, Debug, Default)]
pub struct CanonicalOptions {
    /// Whether networks, volumes, configs and secrets are kept that no service uses.
    pub all_resources: bool,
    /// Whether short forms stay as they are.
    pub short: bool,
    /// Whether relative paths stay as they are.
    pub relative: bool,
    /// Whether the files of variables stay, instead of their variables.
    pub env_files: bool,
}

impl Definition {
    /// Returns the canonical form of some services and of what they use.
    ///
    /// # Errors
    ///
    /// If a file of variables cannot be read.
    pub fn canonical(
        &self,
        ctx: &Context,
        services: &[&Service],
        options: CanonicalOptions,
    ) -> Result<Value, fs::Error> {
        let names: Vec<&str> = services.iter().map(|one| one.name.as_str()).collect();
        let form = Canonical {
            project: &self.project,
            services: &names,
            all_resources: options.all_resources,
            normal: !options.short,
            path: &|path| {
                if options.relative {
                    return path.to_owned();
                }
                plain_path(&self.path(ctx, path))
                    .to_string_lossy()
                    .into_owned()
            },
        };
        let mut shown = canonical(self.merged.clone(), form);
        for service in services.iter().filter(|_| !options.env_files) {
            let env = self.environment(ctx, service)?;
            let services = shown.get_mut("services");
            let shown = services.and_then(|all| all.get_mut(&service.name));
            let Some(Value::Object(fields)) = shown else {
                continue;
            };
            let mut all = Map::new();
            // One without a value is not set anywhere.
            for variable in &service.environment {
                all.insert(variable.name.clone(), Value::Null);
            }
            all.extend(env.into_iter().map(|(name, value)| (name, value.into())));
            fields.shift_remove("env_file");
            if !all.is_empty() {
                fields.insert("environment".to_owned(), Value::Object(all));
            }
        }
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::definition::{self, OpenOptions};
    use crate::testing::{Script, context};

    #[test]
    fn variables_of_files_become_those_of_the_service_unless_the_files_stay() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let file = home.path().join("compose.yaml");
        let text = "services: {web: {build: a/../b, env_file: web.env, environment: [B=own, C]}}\n";
        fs::replace_file(&file, text.as_bytes()).unwrap();
        fs::replace_file(&home.path().join("web.env"), b"A=1\nB=2\n").unwrap();
        let options = OpenOptions {
            files: vec![file],
            ..OpenOptions::default()
        };
        let definition = definition::open(&ctx, &options).unwrap();
        let services = definition.services(&[]).unwrap();
        let shown = |options| definition.canonical(&ctx, &services, options).unwrap();
        let web = &shown(CanonicalOptions::default())["services"]["web"];
        let expected = serde_json::json!({"B": "own", "C": null, "A": "1"});
        assert_eq!(web["environment"], expected);
        assert_eq!(web["env_file"], Value::Null);
        let context = home.path().join("b");
        assert_eq!(web["build"]["context"].as_str(), context.to_str());
        let options = CanonicalOptions {
            relative: true,
            env_files: true,
            ..CanonicalOptions::default()
        };
        let web = &shown(options)["services"]["web"];
        assert_eq!(web["env_file"][0]["path"], "web.env");
        assert_eq!(web["build"]["context"], "a/../b");
    }
}
