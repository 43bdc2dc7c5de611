//! What a request says about a function, checked.

use bytes::Bytes;
use warren_model::{
    Config, Environment, EphemeralStorage, InertSettings, Memory, Route, Tags, Timeout,
    native::FunctionSpec,
};
use warren_registry::ConfigPatch;

use super::{code, refusal::Refusal};
use crate::state::Api;

/// Tags of this prefix state what the members `engine` and `routes` do.
const OWN_TAGS: &str = "warren:";

/// A [`FunctionSpec`] of which every member is in order by itself.
#[derive(Debug, Default)]
pub(super) struct Spec {
    pub(super) patch: ConfigPatch,
    pub(super) tags: Option<Tags>,
    pub(super) routes: Option<Vec<Route>>,
    pub(super) reserved_concurrency: Option<Option<u32>>,
    pub(super) zip: Option<Bytes>,
    pub(super) force: bool,
}

impl Spec {
    /// Checks the members. `known` is the function that is to be changed, if there is one: its handler and runtime hold where the request has none.
    pub(super) async fn read(
        api: &Api,
        spec: FunctionSpec,
        known: Option<&Config>,
    ) -> Result<Self, Refusal> {
        let runtime = spec
            .runtime
            .as_deref()
            .or(known.map(|config| config.runtime.as_str()));
        let handler = spec
            .handler
            .as_deref()
            .or(known.map(|config| config.handler.as_str()));
        let zip = match spec.code {
            Some(code) => Some(code::zip(api, code, runtime, handler).await?),
            None => None,
        };
        Ok(Self {
            patch: ConfigPatch {
                timeout: spec.timeout_s.map(Timeout::new).transpose()?,
                memory: spec.memory_mb.map(Memory::new).transpose()?,
                ephemeral_storage: spec
                    .ephemeral_storage_mb
                    .map(EphemeralStorage::new)
                    .transpose()?,
                environment: spec.environment.map(Environment::new).transpose()?,
                engine: spec.engine.map(|name| name.parse()).transpose()?,
                network: spec.network.map(|policy| policy.parse()).transpose()?,
                snap_start: spec.snap_start,
                runtime: spec.runtime,
                handler: spec.handler,
                description: spec.description,
                ..ConfigPatch::default()
            },
            tags: spec.tags,
            routes: spec.routes.map(routes).transpose()?,
            reserved_concurrency: spec.reserved_concurrency,
            zip,
            force: spec.force,
        })
    }

    /// The configuration of a new function.
    pub(super) fn new_config(&self, api: &Api) -> Result<Config, Refusal> {
        let needed = |field: &str, value: &Option<String>| {
            value.clone().ok_or_else(|| {
                Refusal::field(field, format!("A new function needs the member '{field}'."))
            })
        };
        let default = api.registry().default_engine();
        let engine = self.patch.engine.unwrap_or(default);
        let mut config = Config {
            runtime: needed("runtime", &self.patch.runtime)?,
            handler: needed("handler", &self.patch.handler)?,
            role: format!("arn:aws:iam::{}:role/warren", api.account().id),
            description: String::new(),
            timeout: Timeout::default(),
            memory: Memory::default(),
            ephemeral_storage: EphemeralStorage::default(),
            environment: Environment::default(),
            engine,
            network: api.invoker().launcher().default_network(engine),
            snap_start: false,
            inert: InertSettings::new(),
        };
        self.patch.clone().apply(&mut config);
        Ok(config)
    }

    /// All tags as they are to be, if the request has some: its own, and those of `present` that belong to other members.
    pub(super) fn all_tags(&self, present: &Tags) -> Result<Option<Tags>, Refusal> {
        let Some(asked) = &self.tags else {
            return Ok(None);
        };
        let own = |key: &str| key.starts_with(OWN_TAGS);
        if let Some((key, _)) = asked
            .iter()
            .find(|(key, value)| own(key) && present.get(*key) != Some(*value))
        {
            return Err(Refusal::field(
                "tags",
                format!("The tag '{key}' belongs to the members 'engine' and 'routes'."),
            )
            .next("Say there what you want, and leave the tag out."));
        }
        let kept = present.iter().filter(|(key, _)| own(key));
        let all = asked.iter().chain(kept);
        Ok(Some(
            all.map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        ))
    }
}

/// Each once, in the order given.
fn routes(texts: Vec<String>) -> Result<Vec<Route>, Refusal> {
    let mut routes: Vec<Route> = Vec::with_capacity(texts.len());
    for text in texts {
        let route = text.parse()?;
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    Ok(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn tags_replace_all_but_warren_s_own() {
        let present = tags(&[("a", "1"), ("warren:engine", "docker")]);
        let asked = |pairs| Spec {
            tags: Some(tags(pairs)),
            ..Spec::default()
        };
        assert_eq!(Spec::default().all_tags(&present).unwrap(), None);
        assert_eq!(
            asked(&[("b", "2")]).all_tags(&present).unwrap(),
            Some(tags(&[("b", "2"), ("warren:engine", "docker")]))
        );
        // What was read may be sent back.
        assert!(
            asked(&[("warren:engine", "docker")])
                .all_tags(&present)
                .is_ok()
        );
        let error = asked(&[("warren:route", "GET /")])
            .all_tags(&present)
            .unwrap_err();
        assert_eq!(error.field.as_deref(), Some("tags"));
    }

    #[test]
    fn routes_are_read_in_both_spellings_and_once() {
        let read = routes(vec!["get /a/:id".to_owned(), "GET /a/{id}".to_owned()]).unwrap();
        assert_eq!(read.len(), 1);
        let error = routes(vec!["/a".to_owned()]).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("routes"));
    }
}
