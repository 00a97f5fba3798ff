//! Addresses, ports and names of databases.
//!
//! Each database has a loopback address of its own out of 127.64.0.0/10, the way a ClusterIP
//! would be its own, and keeps it for life. The first candidate follows from the identities of
//! installation and instance, so two installations on one machine rarely meet; whether it is free
//! is then seen in the records and by binding it. Systems with 127.0.0.1 only get one port per
//! database instead.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use boma_engine::keys::DatabaseKey;
use boma_instance::InstanceId;
use boma_instance::names::fnv1a;
use boma_problem::{Class, IntoProblem, Problem};
use uuid::Uuid;

use crate::config::Addresses;

/// How many addresses or ports are tried; when so many are taken, something else is wrong.
const ATTEMPTS: u16 = 64;

/// First port where ports differ: PostgreSQL's own is likely to be taken there.
const FIRST_PORT: u16 = 15432;

/// Why a database got no address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// All candidates are in use.
    #[error(
        "port {port} is in use on every loopback address that was tried (the last one was {last})"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// The last address tried.
        last: IpAddr,
    },
    /// No port is free on 127.0.0.1.
    #[error("no port from {first} to {last} is free on 127.0.0.1")]
    NoPort {
        /// The first one tried.
        first: u16,
        /// The last one tried.
        last: u16,
    },
    /// The system refuses for another reason.
    #[error("bind {address} to see whether it is free")]
    Bind {
        /// Which one.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for AddressError {
    fn problem(&self) -> Problem {
        match self {
            Self::PortInUse { port, .. } => Problem::from_error(Class::Config, "port-in-use", self).hint(format!(
                "A program listens on port {port} of all addresses (`ss -ltnp 'sport = :{port}'` shows it): bind it to one address, stop it, or set another `port` in `config.toml`."
            )),
            Self::NoPort { .. } => Problem::from_error(Class::Config, "port-in-use", self)
                .hint("End what listens there."),
            Self::Bind { .. } => Problem::from_error(Class::Config, "address-unusable", self),
        }
    }
}

/// Finds where a new instance listens. `taken` are the addresses and ports on record.
pub(crate) fn choose(
    addresses: Addresses,
    installation: Uuid,
    id: InstanceId,
    taken: &BTreeSet<SocketAddr>,
) -> Result<SocketAddr, AddressError> {
    match addresses {
        Addresses::Automatic { port } if has_many_addresses() => {
            choose_address(port, installation, id, taken)
        }
        Addresses::Automatic { .. } => choose_port(FIRST_PORT, taken),
        Addresses::Ports { first } => choose_port(first, taken),
    }
}

/// Linux answers on all of 127.0.0.0/8; macOS has 127.0.0.1 only.
fn has_many_addresses() -> bool {
    TcpListener::bind((Ipv4Addr::new(127, 64, 0, 1), 0)).is_ok()
}

fn choose_address(
    port: u16,
    installation: Uuid,
    id: InstanceId,
    taken: &BTreeSet<SocketAddr>,
) -> Result<SocketAddr, AddressError> {
    let mut last = IpAddr::from(Ipv4Addr::LOCALHOST);
    for attempt in 0..ATTEMPTS {
        last = candidate(installation, id, attempt).into();
        let address = SocketAddr::new(last, port);
        if !taken.contains(&address) && is_free(address)? {
            return Ok(address);
        }
    }
    Err(AddressError::PortInUse { port, last })
}

/// A candidate out of 127.64.0.0/10, never one that ends in 0 or 255: such addresses are legal
/// here, yet people take them for networks and broadcasts.
fn candidate(installation: Uuid, id: InstanceId, attempt: u16) -> Ipv4Addr {
    let mut seed = Vec::with_capacity(34);
    seed.extend_from_slice(installation.as_bytes());
    seed.extend_from_slice(id.0.as_bytes());
    seed.extend_from_slice(&attempt.to_be_bytes());
    // FNV mixes its high bits less well; folding brings all of them in.
    let hash = fnv1a(&seed);
    let [_, high, middle, low] = (hash ^ (hash >> 22)).to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low % 254 + 1)
}

fn choose_port(first: u16, taken: &BTreeSet<SocketAddr>) -> Result<SocketAddr, AddressError> {
    // Databases on record come on top of the attempts, so that there is no limit to how many.
    let last = first
        .saturating_add(ATTEMPTS)
        .saturating_add(u16::try_from(taken.len()).unwrap_or(u16::MAX));
    for port in first..=last {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if !taken.contains(&address) && is_free(address)? {
            return Ok(address);
        }
    }
    Err(AddressError::NoPort { first, last })
}

/// Nothing listens there: seen by listening for a moment.
fn is_free(address: SocketAddr) -> Result<bool, AddressError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(source) => Err(AddressError::Bind { address, source }),
    }
}

/// The names of a database, the one for connection strings first.
///
/// `<db>.internal` belongs to the first registered database of that name; every database has
/// `<db>.<project>.internal`, unless another organisation, unit or environment came first with
/// the same two names: then all of its identity is in the name. None, where even that is taken.
pub(crate) fn names(key: &DatabaseKey, is_free: impl Fn(&str) -> bool) -> Vec<String> {
    let parts: Vec<&str> = key.project.rsplit('/').collect();
    let project = parts.first().copied().unwrap_or_default();
    let mut names: Vec<String> = [
        format!("{}.internal", key.name),
        format!("{}.{project}.internal", key.name),
    ]
    .into_iter()
    .filter(|name| is_free(name))
    .collect();
    let qualified = names
        .last()
        .is_some_and(|name| name.matches('.').count() > 1);
    let full = format!("{}.{}.internal", key.name, parts.join("."));
    if !qualified && is_free(&full) {
        names.push(full);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Uuid = Uuid::from_u128(77);

    fn id(number: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(number))
    }

    #[test]
    fn an_address_is_its_own_free_and_in_the_range() {
        let mut taken = BTreeSet::new();
        for number in 0..200 {
            let address = choose(
                Addresses::Automatic { port: 5432 },
                HOME,
                id(number),
                &taken,
            )
            .unwrap();
            assert!(taken.insert(address));
            let IpAddr::V4(ip) = address.ip() else {
                panic!("{address}")
            };
            assert!(
                (64..128).contains(&ip.octets()[1]) && ![0, 255].contains(&ip.octets()[3]),
                "{ip}"
            );
        }
    }

    #[test]
    fn candidates_spread_over_the_range() {
        let seen: BTreeSet<_> = (0..4000)
            .map(|number| candidate(HOME, id(number), 0))
            .collect();
        assert!(seen.len() > 3985, "{} of 4000", seen.len());
        let second: BTreeSet<_> = seen.iter().map(|ip| ip.octets()[1]).collect();
        assert_eq!(second.len(), 64);
    }

    #[test]
    fn an_address_on_record_or_in_use_is_passed_over() {
        let automatic = Addresses::Automatic { port: 5439 };
        let first = choose(automatic, HOME, id(1), &BTreeSet::new()).unwrap();
        let second = choose(automatic, HOME, id(1), &BTreeSet::from([first])).unwrap();
        assert_ne!(first, second);
        let _listening = TcpListener::bind(first).unwrap();
        assert_eq!(
            choose(automatic, HOME, id(1), &BTreeSet::new()).unwrap(),
            second
        );
    }

    #[test]
    fn a_program_on_all_addresses_is_told_with_the_way_out() {
        let everywhere = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let port = everywhere.local_addr().unwrap().port();
        let problem = choose(Addresses::Automatic { port }, HOME, id(1), &BTreeSet::new())
            .unwrap_err()
            .problem();
        assert_eq!(problem.code, "port-in-use");
        assert!(
            problem
                .message
                .starts_with(&format!("port {port} is in use on every loopback address")),
            "{problem}"
        );
        assert!(problem.hints[0].contains("ss -ltnp"));
    }

    #[test]
    fn ports_differ_where_addresses_cannot() {
        let ports = Addresses::Ports { first: 25432 };
        let first = choose(ports, HOME, id(1), &BTreeSet::new()).unwrap();
        let second = choose(ports, HOME, id(2), &BTreeSet::from([first])).unwrap();
        assert_eq!(first.ip(), Ipv4Addr::LOCALHOST);
        assert!(second.port() > first.port());
    }

    #[test]
    fn the_short_name_goes_to_the_first() {
        let key = DatabaseKey::new("fincorp/retail/dev/login-svc", "accounts-db");
        assert_eq!(
            names(&key, |_| true),
            ["accounts-db.internal", "accounts-db.login-svc.internal"]
        );
        assert_eq!(
            names(&key, |name| name != "accounts-db.internal"),
            ["accounts-db.login-svc.internal"]
        );
        assert_eq!(
            names(&key, |name| name.matches('.').count() > 2),
            ["accounts-db.login-svc.dev.retail.fincorp.internal"]
        );
        assert_eq!(names(&key, |_| false), [""; 0]);
        assert_eq!(
            names(&key, |name| name != "accounts-db.login-svc.internal"),
            [
                "accounts-db.internal",
                "accounts-db.login-svc.dev.retail.fincorp.internal"
            ]
        );
    }
}
