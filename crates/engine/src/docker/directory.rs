//! The daemon's containers and their addresses, for functions that are allowed to reach some of them.

use std::{collections::HashMap, net::IpAddr};

use async_trait::async_trait;
use bollard::{
    Docker,
    errors::Error,
    models::{ContainerInspectResponse, EndpointSettings},
    query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder},
};
use warren_network::Containers;

/// Containers of a network that are looked at.
const MOST: usize = 200;

/// Asks the daemon of `DOCKER_HOST` or the default socket, anew each time: it may have come back elsewhere.
pub(super) struct Directory;

#[async_trait]
impl Containers for Directory {
    async fn of_container(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let docker = Docker::connect_with_defaults().map_err(|error| error.to_string())?;
        let networks = networks(inspect(&docker, name).await?);
        Ok(networks.values().flat_map(addresses).collect())
    }

    async fn on_network(&self, network: &str, name: &str) -> Result<Vec<IpAddr>, String> {
        let docker = Docker::connect_with_defaults().map_err(|error| error.to_string())?;
        let of_network = HashMap::from([("network".to_owned(), vec![network.to_owned()])]);
        let options = ListContainersOptionsBuilder::new()
            .filters(&of_network)
            .build();
        let found = docker.list_containers(Some(options)).await;
        let found = found.map_err(|error| error.to_string())?;
        for id in found.into_iter().filter_map(|one| one.id).take(MOST) {
            let container = inspect(&docker, &id).await?;
            let own = container.as_ref().and_then(|one| one.name.clone());
            let Some(endpoint) = networks(container).remove(network) else {
                continue;
            };
            if own.is_some_and(|own| own.trim_start_matches('/').eq_ignore_ascii_case(name))
                || has_alias(&endpoint, name)
            {
                return Ok(addresses(&endpoint).collect());
            }
        }
        Ok(Vec::new())
    }
}

/// None if there is no such container.
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

fn networks(container: Option<ContainerInspectResponse>) -> HashMap<String, EndpointSettings> {
    let settings = container.and_then(|found| found.network_settings);
    let networks = settings.and_then(|settings| settings.networks);
    networks.unwrap_or_default()
}

fn has_alias(endpoint: &EndpointSettings, name: &str) -> bool {
    let lists = [&endpoint.aliases, &endpoint.dns_names];
    let mut all = lists.into_iter().flatten().flatten();
    all.any(|alias| alias.eq_ignore_ascii_case(name))
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
