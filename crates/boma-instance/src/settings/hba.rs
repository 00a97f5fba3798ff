//! `pg_hba.conf` and `pg_ident.conf`: who may connect, from where, and how it is proved.

use std::fmt::Write as _;

use crate::names::SUPERUSER;
use crate::{Assignment, Listen};

/// Name of the map that says which system user is the superuser.
const MAP: &str = "boma";

/// Writes `pg_hba.conf`: the agent's system user as superuser over the Unix socket, each login that
/// is not locked on the one database over TCP (only with TLS where the server has a certificate and
/// can be reached from outside), and a
/// rejection of everything else, by name and in the last line.
///
/// A name that the file cannot hold (a line break, a leading `/`, which would make it a pattern) is
/// left out: nobody logs in under it.
pub fn render_hba(want: &Assignment) -> String {
    let mut text = String::from("# Written by Boma from the grants in manifests.\n");
    push(
        &mut text,
        &format!("local all {} peer map={MAP}", token(SUPERUSER)),
    );
    push(&mut text, "local all all reject");
    // On a loopback address TLS is offered and not demanded: nothing leaves the machine, and some
    // drivers speak TLS only with parameters that others refuse in a connection string.
    let loopback = want.placement.listen.address.is_loopback();
    let connection = if want.placement.tls.is_some() && !loopback {
        "hostssl"
    } else {
        "host"
    };
    let source = source(&want.placement.listen);
    let database = &want.spec.database;
    for login in &want.spec.logins {
        if login.verifier.is_some() && is_holdable(&login.role) && is_holdable(database) {
            let (database, role) = (token(database), token(&login.role));
            push(
                &mut text,
                &format!("{connection} {database} {role} {source} scram-sha-256"),
            );
        }
    }
    push(&mut text, "host all all all reject");
    push(&mut text, "host replication all all reject");
    text
}

/// Writes `pg_ident.conf`: the system user that the agent and the server run as is the superuser.
pub fn render_ident(system_user: &str) -> String {
    let mut text = String::from("# Written by Boma.\n");
    if is_holdable(system_user) {
        push(
            &mut text,
            &format!("{MAP} {} {}", token(system_user), token(SUPERUSER)),
        );
    }
    text
}

/// Who can reach the server at all: from a loopback address only this machine, in a pod whoever
/// the network policy admits.
fn source(listen: &Listen) -> &'static str {
    match listen.address {
        std::net::IpAddr::V4(address) if address.is_loopback() => "127.0.0.0/8",
        std::net::IpAddr::V6(address) if address.is_loopback() => "::1/128",
        std::net::IpAddr::V4(_) | std::net::IpAddr::V6(_) => "all",
    }
}

fn push(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _infallible = writeln!(text, "{line}");
}

/// A name between double quotes, which take the meaning from `all`, `replication`, `+` and `,`.
fn token(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn is_holdable(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('/') && !name.contains(char::is_control)
}
