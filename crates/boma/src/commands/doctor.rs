//! `boma doctor`.

use boma_engine::observed::AgentState;
use boma_engine::platform::Platform;
use boma_problem::Problem;

use crate::builds;
use crate::cli::Global;
use crate::session::{Need, Session, state_dir};
use crate::terminal::{Exit, Failure, Result, Terminal, Tone};

/// Looks for what could be wrong, one line each.
pub(crate) async fn run(global: &Global, terminal: Terminal) -> Result {
    let mut findings = Findings {
        terminal,
        wrong: false,
    };
    findings.good("state directory", &state_dir(global)?.display().to_string())?;
    match builds::discover() {
        Ok(builds) if builds.servers.is_empty() => {
            findings.bad(
                "PostgreSQL",
                "none of 15, 16, 17, 18 is installed: `apt-get install postgresql`",
            )?;
        }
        Ok(builds) => {
            let found: Vec<_> = builds
                .servers
                .iter()
                .map(|build| format!("{} in {}", build.server.version, build.bin_dir.display()))
                .collect();
            findings.good("PostgreSQL", &found.join(", "))?;
        }
        Err(problem) => findings.problem("PostgreSQL", &problem)?,
    }
    match Session::open(global, Need::Builds).await {
        Ok(session) => platform(&mut findings, &session).await?,
        Err(Failure::Problem(problem)) => findings.problem("installation", &problem)?,
        Err(other) => return Err(other),
    }
    Ok(if findings.wrong {
        Exit::Problem
    } else {
        Exit::Ok
    })
}

async fn platform(findings: &mut Findings, session: &Session) -> Result<()> {
    let platform = &session.platform;
    findings.good("servers run as", platform.system_user())?;
    match &platform.capabilities().limits {
        Some(Ok(())) => findings.good("CPU and memory limits", "enforced by cgroups")?,
        Some(Err(why)) => {
            findings.note("CPU and memory limits", &format!("not enforced: {why}"))?;
        }
        None => findings.note("CPU and memory limits", "unknown")?,
    }
    if platform.default_repository_is_local() {
        findings.note(
            "backups",
            "go to this disk, and are lost with it; docs/operations.md says how to change that",
        )?;
    }
    let seen = platform.observe().await?;
    for (key, database) in &seen.databases {
        let what = format!("database {}", key.name);
        match &database.agent {
            AgentState::Answering(status) if status.problems.is_empty() => {
                findings.good(&what, &format!("{:?}", status.phase))?;
            }
            AgentState::Answering(status) => {
                for problem in &status.problems {
                    findings.problem(&what, problem)?;
                }
            }
            AgentState::Silent(problem) => findings.problem(&what, problem)?,
            AgentState::Absent => findings.note(&what, "no agent runs")?,
        }
    }
    Ok(())
}

struct Findings {
    terminal: Terminal,
    wrong: bool,
}

impl Findings {
    fn good(&self, what: &str, text: &str) -> Result<()> {
        self.line(Tone::Ok, "ok", what, text)
    }

    fn note(&self, what: &str, text: &str) -> Result<()> {
        self.line(Tone::Waiting, "note", what, text)
    }

    fn bad(&mut self, what: &str, text: &str) -> Result<()> {
        self.wrong = true;
        self.line(Tone::Failed, "wrong", what, text)
    }

    fn problem(&mut self, what: &str, problem: &Problem) -> Result<()> {
        self.bad(what, &problem.to_string())?;
        for hint in &problem.hints {
            self.line(Tone::Hint, "", "", hint)?;
        }
        Ok(())
    }

    fn line(&self, tone: Tone, word: &str, what: &str, text: &str) -> Result<()> {
        let word = self.terminal.paint(tone, &format!("{word:<6}"));
        self.terminal.result(&format!("{word}{what:<24}{text}\n"))
    }
}
