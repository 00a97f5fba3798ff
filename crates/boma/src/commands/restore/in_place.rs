//! `boma restore --in-place`, `--undo` and `--forget-old`.
//!
//! What is asked for is written down; the engine brings it about, here or in `boma serve`, and goes
//! on with it after a crash (`boma_engine::plan`, stages of a replacement).

use boma_engine::computed::replaced;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{AgentState, Feature, Life, Observed, ReplacedBy, Replacement};
use boma_engine::plan::{RestoreRefusal, replacement_stage};
use boma_engine::platform::AuditEntry;
use boma_problem::{Class, IntoProblem as _, Problem};
use boma_web::{GoingOn, KeptDatabase, Moment, ReplacementStanding, Undone};
use jiff::Timestamp;

use super::{PATIENCE, check};
use crate::commands::applied::Applied;
use crate::commands::purge::{confirm, is_name};
use crate::commands::serve::Desk;
use crate::session::{Opened, actor};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// What somebody asks for who has a database that is restored in place; the engine brings it about.
pub(crate) struct Wish<'s, P> {
    pub(crate) platform: &'s P,
    pub(crate) seen: &'s Observed,
    pub(crate) key: &'s DatabaseKey,
    /// Who, as the audit trail names them.
    pub(crate) actor: String,
}

impl<P: Desk> Wish<'_, P> {
    /// A server as the database was, beside it, to take its place; answers with the name beside.
    pub(crate) async fn restore(
        &self,
        moment: &Moment,
    ) -> std::result::Result<DatabaseKey, Box<Problem>> {
        self.may()?;
        let database = self.seen.databases.get(self.key);
        let is_answering =
            database.is_some_and(|one| matches!(one.agent, AgentState::Answering(_)));
        if moment.target == boma_instance::backup::RecoveryTarget::Latest && is_answering {
            // A server that does not run has archived what it could.
            if let Err(problem) = self.platform.archive_now(self.key).await {
                tracing::debug!(%problem, "nothing more is archived now");
            }
        }
        check(self.platform, self.seen, self.key, moment).await?;
        let now = Timestamp::now();
        let name = format!(
            "{}.restore-{}",
            self.key.name,
            now.strftime("%Y%m%dT%H%M%SZ")
        );
        let beside = DatabaseKey::new(self.key.project.clone(), name);
        let by = ReplacedBy::Backups {
            target: moment.target.clone(),
            timeline: moment.timeline,
        };
        self.replace(beside, by).await
    }

    /// What goes on is given up; else what was replaced last is to come back.
    pub(crate) async fn undo(&self) -> std::result::Result<Undone, Box<Problem>> {
        // What cannot be begun here cannot be undone either.
        self.may_at_all()?;
        if self.platform.give_up_replacement(self.key).await? {
            self.audit("give the restore in place up").await?;
            return Ok(Undone::GivenUp);
        }
        let kept = replaced(self.key, self.seen).last();
        let (beside, _) = kept.ok_or_else(|| nothing_kept(self.key))?;
        let beside = self.replace(beside.clone(), ReplacedBy::Kept).await?;
        let beside = beside.name.to_string();
        Ok(Undone::BroughtBack { beside })
    }

    /// Destroys what was replaced, once its name was said; answers with its name.
    pub(crate) async fn forget(&self, one: &KeptDatabase) -> std::result::Result<(), Box<Problem>> {
        // It may be what is being brought back.
        if self.seen.replacements.contains_key(self.key) {
            return Err(goes_on(self.key).into());
        }
        let name = DatabaseKey::new(self.key.project.clone(), one.name.clone());
        let action = format!("purge {}", one.name);
        // Who asked is known, also when this is cut off.
        self.audit_as(&action, "begun").await?;
        self.platform.destroy(&name, one.instance).await?;
        self.audit(&action).await
    }

    async fn replace(
        &self,
        beside: DatabaseKey,
        by: ReplacedBy,
    ) -> std::result::Result<DatabaseKey, Box<Problem>> {
        self.may()?;
        let wish = Replacement {
            beside: beside.clone(),
            by,
            asked_at: Timestamp::now(),
        };
        if !self.platform.ask_replacement(self.key, &wish).await? {
            return Err(goes_on(self.key).into());
        }
        self.audit("replace the database by what it was").await?;
        Ok(beside)
    }

    /// Refuses what this platform cannot do.
    fn may_at_all(&self) -> std::result::Result<(), Box<Problem>> {
        let capabilities = &self.seen.capabilities;
        if capabilities.features.contains(&Feature::Replace) {
            return Ok(());
        }
        let platform = capabilities.platform.clone();
        Err(RestoreRefusal::NotInPlace { platform }.problem().into())
    }

    /// The same, and a second wish beside the first.
    fn may(&self) -> std::result::Result<(), Box<Problem>> {
        self.may_at_all()?;
        if self.seen.replacements.contains_key(self.key) {
            return Err(goes_on(self.key).into());
        }
        Ok(())
    }

    async fn audit(&self, action: &str) -> std::result::Result<(), Box<Problem>> {
        self.audit_as(action, "done").await
    }

    async fn audit_as(&self, action: &str, outcome: &str) -> std::result::Result<(), Box<Problem>> {
        let entry = AuditEntry {
            at: Timestamp::now(),
            actor: self.actor.clone(),
            action: action.to_owned(),
            subject: format!("Database {}", self.key),
            outcome: outcome.to_owned(),
        };
        self.platform.audit(&entry).await
    }
}

/// How far a restore in place is, and what earlier ones have left.
pub(crate) fn standing(key: &DatabaseKey, seen: &Observed) -> ReplacementStanding {
    let going_on = seen.replacements.get(key).map(|wish| GoingOn {
        beside: wish.beside.name.to_string(),
        asked_at: wish.asked_at,
    });
    let kept = replaced(key, seen).map(|(name, one)| KeptDatabase {
        name: name.name.to_string(),
        instance: one.id,
        until: match one.life {
            Life::Retired { since, .. } => Some(since),
            Life::Active => None,
        },
    });
    ReplacementStanding {
        going_on,
        kept: kept.collect(),
    }
}

/// A database that is restored in place, here and now.
pub(super) struct InPlace<'s, P> {
    pub(super) session: &'s Opened<P>,
    pub(super) seen: &'s Observed,
    pub(super) key: &'s DatabaseKey,
    pub(super) terminal: Terminal,
}

impl<P: Applied + Desk> InPlace<'_, P> {
    /// Makes a server as the database was, beside it, and lets it take its place.
    pub(super) async fn restore(&self, moment: &Moment) -> Result {
        let command = "restore --in-place";
        let beside = self.wish(command).restore(moment).await?;
        self.bring_about(&beside.name, command).await
    }

    /// Gives up what goes on, or brings back what was replaced last.
    pub(super) async fn undo(&self) -> Result {
        let command = "restore --undo";
        match self.wish(command).undo().await? {
            Undone::GivenUp => {
                let exit = self.converge(command).await?;
                say_given_up(self.key, self.terminal);
                Ok(exit.unwrap_or(Exit::NotConverged))
            }
            Undone::BroughtBack { beside } => self.bring_about(&beside, command).await,
        }
    }

    /// Destroys what was replaced, once the database's name was typed back.
    pub(super) async fn forget(&self, typed: Option<&str>) -> Result {
        let kept = standing(self.key, self.seen).kept;
        confirmed(self.key, (&kept, typed), self.terminal)?;
        let wish = self.wish("restore --forget-old");
        for one in &kept {
            wish.forget(one).await?;
            self.terminal.status(&format!("Purged {}.", one.name));
        }
        Ok(Exit::Ok)
    }

    fn wish(&self, command: &str) -> Wish<'_, P> {
        Wish {
            platform: &self.session.platform,
            seen: self.seen,
            key: self.key,
            actor: actor(command),
        }
    }

    async fn bring_about(&self, beside: &str, command: &str) -> Result {
        let mut before = None;
        let (exit, seen) = loop {
            let Some(exit) = self.converge(command).await? else {
                say_elsewhere(self.key, self.terminal);
                return Ok(Exit::NotConverged);
            };
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
        say_replaced(self.key, beside, self.terminal);
        Ok(exit)
    }

    /// Converges once; none: only another process can read the manifests.
    async fn converge(&self, command: &str) -> Result<Option<Exit>> {
        let Some(loaded) = P::all_applied(self.session).await? else {
            return Ok(None);
        };
        if loaded.has_errors() {
            self.terminal.problems(&loaded.problems);
            return Ok(Some(Exit::Problem));
        }
        let exit = P::converge(self.session, &loaded, PATIENCE, command, self.terminal).await?;
        Ok(Some(exit))
    }
}

/// Says what would be destroyed, and has the database's name typed back.
pub(crate) fn confirmed(
    key: &DatabaseKey,
    (kept, typed): (&[KeptDatabase], Option<&str>),
    terminal: Terminal,
) -> Result<()> {
    if kept.is_empty() {
        return Err(nothing_kept(key).into());
    }
    for one in kept {
        let since = one.until.map(|since| since.strftime("%Y-%m-%d %H:%M"));
        let since = since.map_or_else(String::new, |since| since.to_string());
        terminal.status(&format!(
            "{} {}: what {} was until {since}. All of its data will be gone for good.",
            terminal.paint_err(Tone::Failed, "Purge"),
            one.name,
            key.name,
        ));
    }
    match typed {
        Some(typed) => Ok(is_name(typed, &key.name)?),
        None => confirm(&key.name, "Give it with `--confirm NAME`.", terminal),
    }
}

/// Says that a restore in place goes on no more.
pub(crate) fn say_given_up(key: &DatabaseKey, terminal: Terminal) {
    terminal.status(&format!(
        "The restore of {} is given up; what was made of it is retired, `boma purge` destroys it.",
        key.name
    ));
}

/// Says who brings about what was asked for.
fn say_elsewhere(key: &DatabaseKey, terminal: Terminal) {
    terminal.status(&format!(
        "`boma serve` in the cluster, which reads the manifests, brings it about; `boma describe \
         database {}` shows how far it is.",
        key.name
    ));
}

/// Says that a restore in place has come to its end.
pub(crate) fn say_replaced(key: &DatabaseKey, beside: &str, terminal: Terminal) {
    terminal.status(&format!(
        "What {0} was until now is kept as {beside}: `boma restore {0} --undo` brings it back, \
         `boma restore {0} --forget-old` destroys it.",
        key.name
    ));
}

fn goes_on(key: &DatabaseKey) -> Problem {
    let text = format!("{} is being restored in place already", key.name);
    Problem::new(Class::User, "restore-in-place-goes-on", text)
        .hint("`boma apply` goes on with it.")
        .hint(format!("`boma restore {} --undo` gives it up.", key.name))
}

/// No restore in place has left anything.
pub(crate) fn nothing_kept(key: &DatabaseKey) -> Problem {
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
