//! The daemon's containers and their addresses, for functions that are allowed to reach some of them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bollard::{
    Docker,
    errors::Error,
    models::{ContainerInspectResponse, EndpointSettings},
    query_parameters::{
        InspectContainerOptions, InspectNetworkOptions, ListContainersOptionsBuilder,
    },
};
use tokio::{sync::Mutex, time::timeout};
use warren_network::Containers;

/// Containers of a network that are looked at.
const MOST: usize = 200;
/// How long the daemon may take to say all that is asked at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what it said is not asked again, however often functions ask: shorter than a restart of a container takes.
const KEPT: Duration = Duration::from_secs(1);

/// Asks the daemon of `DOCKER_HOST` or the default socket, one thing at a time and each of them seldom. What can be asked is what owners named, so
/// there are few things.
#[derive(Default)]
pub(super) struct Directory {
    /// Found at the first need: the daemon's socket may not be there yet.
    docker: OnceLock<Docker>,
    known: Mutex<HashMap<Asked, Known>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asked {
    Container(String),
    Network(String),
}

/// What the daemon said.
struct Known {
    until: Instant,
    answer: Result<Arc<Vec<Member>>, String>,
}

/// A container with what it is called and where it is.
struct Member {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

#[async_trait]
impl Containers for Directory {
    async fn of_container(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let found = self.ask(Asked::Container(name.to_owned())).await?;
        Ok(found.iter().flat_map(|one| one.addresses.clone()).collect())
    }

    async fn has_network(&self, name: &str) -> Result<bool, String> {
        let asked = async {
            let options = None::<InspectNetworkOptions>;
            match self.docker()?.inspect_network(name, options).await {
                // The daemon takes the first letters of an id for a name too.
                Ok(found) => Ok(found.name.as_deref() == Some(name)),
                Err(Error::DockerResponseServerError {
                    status_code: 404, ..
                }) => Ok(false),
                Err(error) => Err(error.to_string()),
            }
        };
        let answer = timeout(PATIENCE, asked).await;
        answer.unwrap_or_else(|_| Err(format!("the daemon took longer than {PATIENCE:?}")))
    }

    async fn on_network(&self, network: &str, name: &str) -> Result<Vec<IpAddr>, String> {
        let members = self.ask(Asked::Network(network.to_owned())).await?;
        let called = |one: &&Member| one.names.iter().any(|own| own.eq_ignore_ascii_case(name));
        let found = members.iter().find(called);
        Ok(found.map_or_else(Vec::new, |one| one.addresses.clone()))
    }
}

impl Directory {
    /// What the daemon says, or said a moment ago; that it did not answer is remembered as well.
    async fn ask(&self, asked: Asked) -> Result<Arc<Vec<Member>>, String> {
        // Held while it is asked, so that many who want to know the same ask once.
        let mut known = self.known.lock().await;
        known.retain(|_, known| known.until > Instant::now());
        if let Some(known) = known.get(&asked) {
            return known.answer.clone();
        }
        let answer = timeout(PATIENCE, self.look_up(&asked)).await;
        let answer = answer
            .unwrap_or_else(|_| Err(format!("the daemon took longer than {PATIENCE:?}")))
            .map(Arc::new);
        let until = Instant::now() + KEPT;
        known.insert(
            asked,
            Known {
                until,
                answer: answer.clone(),
            },
        );
        answer
    }

    fn docker(&self) -> Result<&Docker, String> {
        match self.docker.get() {
            Some(docker) => Ok(docker),
            None => {
                let found = Docker::connect_with_defaults().map_err(|error| error.to_string())?;
                Ok(self.docker.get_or_init(|| found))
            }
        }
    }

    async fn look_up(&self, asked: &Asked) -> Result<Vec<Member>, String> {
        let docker = self.docker()?;
        match asked {
            Asked::Container(name) => {
                let found = inspect(docker, name).await?;
                let found = found.filter(|found| is_called(found, name));
                let addresses = networks(found).values().flat_map(addresses).collect();
                Ok(vec![Member {
                    names: Vec::new(),
                    addresses,
                }])
            }
            Asked::Network(network) => members(docker, network).await,
        }
    }
}

/// The running containers of a network. One that goes meanwhile is left out.
async fn members(docker: &Docker, network: &str) -> Result<Vec<Member>, String> {
    let of_network = HashMap::from([("network".to_owned(), vec![network.to_owned()])]);
    let options = ListContainersOptionsBuilder::new()
        .filters(&of_network)
        .build();
    let found = docker.list_containers(Some(options)).await;
    let found = found.map_err(|error| error.to_string())?;
    let mut members = Vec::new();
    // A listing has no aliases.
    for id in found.into_iter().filter_map(|one| one.id).take(MOST) {
        let container = inspect(docker, &id).await?;
        let own = container.as_ref().and_then(|one| one.name.clone());
        let Some(endpoint) = networks(container).remove(network) else {
            continue;
        };
        let own = own.map(|own| own.trim_start_matches('/').to_owned());
        let aliases = [&endpoint.aliases, &endpoint.dns_names];
        let aliases = aliases.into_iter().flatten().flatten().cloned();
        members.push(Member {
            names: own.into_iter().chain(aliases).collect(),
            addresses: addresses(&endpoint).collect(),
        });
    }
    Ok(members)
}

/// None if there is no such container. The daemon takes the first letters of an id for a name too.
async fn inspect(docker: &Docker, name: &str) -> Result<Option<ContainerInspectResponse>, String> {
    match docker
        .inspect_container(name, None::<InspectContainerOptions>)
        .await
    {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether it has this very name, and not an id that begins so.
fn is_called(container: &ContainerInspectResponse, name: &str) -> bool {
    container
        .name
        .as_deref()
        .and_then(|own| own.strip_prefix('/'))
        == Some(name)
}

fn networks(container: Option<ContainerInspectResponse>) -> HashMap<String, EndpointSettings> {
    let settings = container.and_then(|found| found.network_settings);
    let networks = settings.and_then(|settings| settings.networks);
    networks.unwrap_or_default()
}

/// None while it does not run: the daemon then says "".
fn addresses(endpoint: &EndpointSettings) -> impl Iterator<Item = IpAddr> + use<> {
    [&endpoint.ip_address, &endpoint.global_ipv6_address]
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse().ok())
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_begins_like_a_name_is_not_it() {
        let container = |name: &str| ContainerInspectResponse {
            id: Some("dbfeed0123".to_owned()),
            name: Some(name.to_owned()),
            ..ContainerInspectResponse::default()
        };
        assert!(is_called(&container("/db"), "db"));
        for other in ["/quirky_bell", "/dbx", "/x/db", "db", ""] {
            assert!(!is_called(&container(other), "db"), "{other}");
        }
        assert!(!is_called(&ContainerInspectResponse::default(), "db"));
    }

    #[tokio::test]
    async fn what_was_just_said_is_not_asked_again() {
        let directory = Directory::default();
        let member = Member {
            names: vec!["Shop-db-1".to_owned(), "db".to_owned()],
            addresses: vec![[172, 20, 0, 2].into()],
        };
        let known = Known {
            until: Instant::now() + Duration::from_secs(600),
            answer: Ok(Arc::new(vec![member])),
        };
        let asked = Asked::Network("shop".to_owned());
        directory.known.lock().await.insert(asked, known);
        for name in ["DB", "shop-db-1"] {
            let found = directory.on_network("shop", name).await.unwrap();
            assert_eq!(found, [IpAddr::from([172, 20, 0, 2])]);
        }
        assert!(
            directory
                .on_network("shop", "web")
                .await
                .unwrap()
                .is_empty()
        );
        assert!(directory.docker.get().is_none(), "no daemon was looked for");
    }
}
