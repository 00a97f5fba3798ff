//! The same program as a plugin of kubectl: `kubectl boma` runs what is called `kubectl-boma`.

use std::ffi::OsString;
use std::path::Path;

use clap::Command;

/// What kubectl looks for.
const PLUGIN: &str = "kubectl-boma";

/// The command line as it is for who called it: by way of kubectl, it is about a cluster.
pub(super) fn named(command: Command, program: Option<&OsString>) -> Command {
    let name = program.and_then(|program| Path::new(program).file_name());
    if name.is_none_or(|name| name != PLUGIN) {
        return command;
    }
    command
        .bin_name("kubectl boma")
        .mut_arg("platform", |platform| platform.default_value("kubernetes"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::cli::{Cli, PlatformName};

    fn read(program: &str, more: &[&str]) -> Cli {
        let command = named(Cli::command(), Some(&program.into()));
        let arguments = [program, "get"].into_iter().chain(more.iter().copied());
        let matches = command.try_get_matches_from(arguments).unwrap();
        Cli::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn by_way_of_kubectl_it_is_about_a_cluster() {
        let platform = |cli: Cli| cli.global.platform;
        let path = "/usr/local/bin/kubectl-boma";
        assert_eq!(platform(read(path, &[])), PlatformName::Kubernetes);
        let said = ["--platform", "local"];
        assert_eq!(platform(read(path, &said)), PlatformName::Local);
        assert_eq!(platform(read("/usr/bin/boma", &[])), PlatformName::Local);
        assert_eq!(platform(read("kubectl-bomas", &[])), PlatformName::Local);
    }
}
