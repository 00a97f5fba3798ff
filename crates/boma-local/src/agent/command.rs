//! Arguments of the processes that the platform starts. The binary parses what stands here; this
//! is the one place that says what it has to understand.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// `boma agent`: serves one instance until it is told to end.
///
/// ```text
/// boma agent --dir DIR --run-dir DIR --store DIR --bin-dir DIR --log FILE
///            [--user NAME] [--cgroup DIR]...
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentCommand {
    /// The agent's directory: assignment, lock, `data/`, `log/`.
    pub dir: PathBuf,
    /// Directory of the sockets: `agent.sock`, and the server's own.
    pub run_dir: PathBuf,
    /// Clusters made ahead, shared by all agents.
    pub store: PathBuf,
    /// PostgreSQL's programs.
    pub bin_dir: PathBuf,
    /// File that the agent logs to; its standard output and error go there as well.
    pub log: PathBuf,
    /// System user to become; given when Boma runs as root.
    pub user: Option<String>,
    /// Control groups to join before that; one per hierarchy.
    pub cgroups: Vec<PathBuf>,
}

impl AgentCommand {
    /// Name of the subcommand.
    pub const NAME: &'static str = "agent";

    /// The arguments, subcommand first.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![
            Self::NAME.into(),
            "--dir".into(),
            self.dir.clone().into(),
            "--run-dir".into(),
            self.run_dir.clone().into(),
            "--store".into(),
            self.store.clone().into(),
            "--bin-dir".into(),
            self.bin_dir.clone().into(),
            "--log".into(),
            self.log.clone().into(),
        ];
        push_user(&mut arguments, self.user.as_deref());
        for cgroup in &self.cgroups {
            arguments.extend(["--cgroup".into(), cgroup.clone().into()]);
        }
        arguments
    }
}

/// `boma agent-prepare`: makes clusters ahead, then ends.
///
/// ```text
/// boma agent-prepare --store DIR --bin-dir DIR --count N --after MILLISECONDS [--user NAME]
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareCommand {
    /// Where the clusters are kept.
    pub store: PathBuf,
    /// PostgreSQL's programs.
    pub bin_dir: PathBuf,
    /// How many spare clusters there should be afterwards. None at all: only what they are copied
    /// from is made, and another process that is at it is waited for.
    pub count: u16,
    /// How long it waits first.
    pub after: Duration,
    /// System user to become; given when Boma runs as root.
    pub user: Option<String>,
}

impl PrepareCommand {
    /// Name of the subcommand.
    pub const NAME: &'static str = "agent-prepare";

    /// The arguments, subcommand first.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![
            Self::NAME.into(),
            "--store".into(),
            self.store.clone().into(),
            "--bin-dir".into(),
            self.bin_dir.clone().into(),
            "--count".into(),
            self.count.to_string().into(),
            "--after".into(),
            self.after.as_millis().to_string().into(),
        ];
        push_user(&mut arguments, self.user.as_deref());
        arguments
    }
}

fn push_user(arguments: &mut Vec<OsString>, user: Option<&str>) {
    if let Some(user) = user {
        arguments.extend(["--user".into(), user.into()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_read_like_the_documentation() {
        let command = AgentCommand {
            dir: "/s/instances/x".into(),
            run_dir: "/s/run/x".into(),
            store: "/s/templates".into(),
            bin_dir: "/pg/bin".into(),
            log: "/s/instances/x/log/agent.log".into(),
            user: Some("postgres".to_owned()),
            cgroups: vec!["/c/cpu".into(), "/c/memory".into()],
        };
        let text: Vec<String> = command
            .arguments()
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect();
        assert_eq!(
            text.join(" "),
            "agent --dir /s/instances/x --run-dir /s/run/x --store /s/templates --bin-dir /pg/bin \
             --log /s/instances/x/log/agent.log --user postgres --cgroup /c/cpu --cgroup /c/memory"
        );
        let prepare = PrepareCommand {
            store: "/s/templates".into(),
            bin_dir: "/pg/bin".into(),
            count: 2,
            after: Duration::from_secs(1),
            user: None,
        };
        let text: Vec<String> = prepare
            .arguments()
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect();
        assert_eq!(
            text.join(" "),
            "agent-prepare --store /s/templates --bin-dir /pg/bin --count 2 --after 1000"
        );
    }
}
