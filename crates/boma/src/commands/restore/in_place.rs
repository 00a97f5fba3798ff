//! `boma restore --in-place`, `--undo` and `--forget-old`.
//!
//! What is asked for is written down; the engine brings it about, here or in `boma serve`, and goes
//! on with it after a crash (`boma_engine::plan`, stages of a replacement).

use boma_engine::backups::BackupPlatform as _;
use boma_engine::computed::replaced;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{AgentState, Feature, Life, Observed, ReplacedBy, Replacement};
use boma_engine::plan::{Asked, RestoreRefusal, replacement_stage};
use boma_engine::platform::{AuditEntry, Platform};
use boma_instance::wal::Timeline;
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;

use super::{Moment, PATIENCE, check};
use crate::commands::apply::converge;
use crate::commands::purge::{confirm, is_name};
use crate::commands::stop::last_applied;
use crate::session::{Session, actor};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// A database that is restored in place.
pub(super) struct InPlace<'s> {
    pub(super) session: &'s Session,
    pub(super) seen: &'s Observed,
    pub(super) key: &'s DatabaseKey,
    pub(super) terminal: Terminal,
}

impl InPlace<'_> {
    /// Makes a server as the database was, beside it, and lets it take its place.
    pub(super) async fn restore(&self, moment: &Moment) -> Result {
        self.may()?;
        let database = self.seen.databases.get(self.key);
        let is_answering =
            database.is_some_and(|one| matches!(one.agent, AgentState::Answering(_)));
        if moment.target.is_none() && is_answering {
            // A server that does not run has archived what it could.
            if let Err(problem) = self.session.platform.archive_now(self.key).await {
                tracing::debug!(%problem, "nothing more is archived now");
            }
        }
        check(self.session, self.seen, self.key, moment).await?;
        let now = Timestamp::now();
        let name = format!(
            "{}.restore-{}",
            self.key.name,
            now.strftime("%Y%m%dT%H%M%SZ")
        );
        let beside = DatabaseKey::new(self.key.project.clone(), name);
        let by = ReplacedBy::Backups {
            target: moment.as_recovery(),
            timeline: moment.timeline.map(Timeline),
        };
        self.replace(beside, by, "restore --in-place").await
    }

    /// Gives up what goes on, or brings back what was replaced last.
    pub(super) async fn undo(&self) -> Result {
        if self.session.platform.give_up_replacement(self.key).await? {
            self.audit("restore --undo", "give the restore in place up")
                .await?;
            let exit = self.converge("restore --undo").await?;
            self.terminal.status(&format!(
                "The restore of {} is given up; what was made of it is retired, `boma purge` destroys it.",
                self.key.name
            ));
            return Ok(exit);
        }
        let kept = replaced(self.key, self.seen).last();
        let (beside, _) = kept.ok_or_else(|| nothing_kept(self.key))?;
        self.replace(beside.clone(), ReplacedBy::Kept, "restore --undo")
            .await
    }

    /// Destroys what was replaced, once the database's name was typed back.
    pub(super) async fn forget(&self, typed: Option<&str>) -> Result {
        let kept: Vec<_> = replaced(self.key, self.seen).collect();
        if kept.is_empty() {
            return Err(nothing_kept(self.key).into());
        }
        for (name, one) in &kept {
            let since = match one.life {
                Life::Retired { since, .. } => since.strftime("%Y-%m-%d %H:%M").to_string(),
                Life::Active => String::new(),
            };
            self.terminal.status(&format!(
                "{} {}: what {} was until {since}. All of its data will be gone for good.",
                self.terminal.paint_err(Tone::Failed, "Purge"),
                name.name,
                self.key.name,
            ));
        }
        match typed {
            Some(typed) => is_name(typed, &self.key.name)?,
            None => confirm(
                &self.key.name,
                "Give it with `--confirm NAME`.",
                self.terminal,
            )?,
        }
        let _pass = self.session.platform.begin_pass(PATIENCE).await?;
        for (name, one) in kept {
            self.session.platform.purge(name, one.id).await?;
            self.audit("restore --forget-old", &format!("purge {}", name.name))
                .await?;
            self.terminal.status(&format!("Purged {}.", name.name));
        }
        Ok(Exit::Ok)
    }

    async fn replace(&self, beside: DatabaseKey, by: ReplacedBy, command: &str) -> Result {
        self.may()?;
        let wish = Replacement {
            beside: beside.clone(),
            by,
            asked_at: Timestamp::now(),
        };
        if !self
            .session
            .platform
            .ask_replacement(self.key, &wish)
            .await?
        {
            return Err(goes_on(self.key).into());
        }
        self.audit(command, "replace the database by what it was")
            .await?;
        let mut before = None;
        let (exit, seen) = loop {
            let exit = self.converge(command).await?;
            let seen = self.session.platform.observe().await?;
            // A database that is broken never comes to rest, which each run fails at; it is
            // replaced all the same, one stage in each run.
            let stage = Some(replacement_stage(self.key, &seen));
            if exit == Exit::Ok || stage == before {
                break (exit, seen);
            }
            before = stage;
        };
        if seen.replacements.contains_key(self.key) {
            self.terminal.status(&format!(
                "{} is as it was. `boma apply` goes on; `boma restore {} --undo` gives it up.",
                self.key.name, self.key.name
            ));
            return Ok(if exit == Exit::Ok {
                Exit::NotConverged
            } else {
                exit
            });
        }
        self.terminal.status(&format!(
            "What {0} was until now is kept as {1}: `boma restore {0} --undo` brings it back, \
             `boma restore {0} --forget-old` destroys it.",
            self.key.name, beside.name
        ));
        Ok(exit)
    }

    /// Refuses what this platform cannot do, and a second wish beside the first.
    fn may(&self) -> Result<()> {
        let capabilities = &self.seen.capabilities;
        if !capabilities.features.contains(&Feature::Replace) {
            let platform = capabilities.platform.clone();
            return Err(RestoreRefusal::NotInPlace { platform }.problem().into());
        }
        if self.seen.replacements.contains_key(self.key) {
            return Err(goes_on(self.key).into());
        }
        Ok(())
    }

    async fn converge(&self, command: &str) -> Result {
        let loaded = last_applied(self.session).await?;
        if loaded.has_errors() {
            self.terminal.problems(&loaded.problems);
            return Ok(Exit::Problem);
        }
        let asked = Asked::default();
        converge(
            self.session,
            &loaded,
            asked,
            PATIENCE,
            command,
            self.terminal,
        )
        .await
    }

    async fn audit(&self, command: &str, action: &str) -> Result<()> {
        let entry = AuditEntry {
            at: Timestamp::now(),
            actor: actor(command),
            action: action.to_owned(),
            subject: format!("Database {}", self.key),
            outcome: "done".to_owned(),
        };
        Ok(self.session.platform.audit(&entry).await?)
    }
}

fn goes_on(key: &DatabaseKey) -> Problem {
    let text = format!("{} is being restored in place already", key.name);
    Problem::new(Class::User, "restore-in-place-goes-on", text)
        .hint("`boma apply` goes on with it.")
        .hint(format!("`boma restore {} --undo` gives it up.", key.name))
}

fn nothing_kept(key: &DatabaseKey) -> Problem {
    let text = format!(
        "nothing is kept that {} was before a restore in place",
        key.name
    );
    Problem::new(Class::User, "nothing-replaced", text)
        .hint("`boma get databases` lists what there is, retired databases too.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_says_what_can() {
        let key = DatabaseKey::new("o/u/e/p", "orders");
        let problem = goes_on(&key);
        assert_eq!(
            problem.to_string(),
            "orders is being restored in place already"
        );
        assert!(problem.hints[1].contains("--undo"), "{problem:?}");
        let problem = nothing_kept(&key);
        assert!(
            problem
                .to_string()
                .starts_with("nothing is kept that orders was")
        );
    }
}
