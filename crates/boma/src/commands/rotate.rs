//! `boma rotate`: another password for an application, stage by stage.

mod certificates;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use boma_engine::converge::Converge;
use boma_engine::keys::{ApplicationKey, GrantKey};
use boma_engine::observed::Observed;
use boma_engine::plan::{Asked, Rotation};
use boma_engine::platform::{AskedRotation, Platform};
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use crate::cli::{Global, RotateArgs};
use crate::commands::plan::new_id;
use crate::commands::stop::last_applied;
use crate::commands::validate::counted;
use crate::progress::Shown;
use crate::session::{Loaded, Need, Session, actor, find_application, find_database};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// Between two looks at how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Exchanges the passwords of an application.
pub(crate) async fn run(args: &RotateArgs, global: &Global, terminal: Terminal) -> Result {
    let Some(application) = &args.application else {
        return match args.authority {
            Some(change) => certificates::authority(change, global, terminal).await,
            None if args.tls => certificates::renew(args, global, terminal).await,
            None => key(global, terminal).await,
        };
    };
    let session = Session::open(global, Need::Builds).await?;
    let seen = session.platform.observe().await?;
    let key = find_application(&seen, application)?;
    let loaded = last_applied(&session).await?;
    if loaded.has_errors() {
        terminal.problems(&loaded.problems);
        return Ok(Exit::Problem);
    }
    let grants = grants(&seen, &key, args)?;
    for grant in &grants {
        let asked = session
            .platform
            .ask_rotation(grant, Timestamp::now())
            .await?;
        tell_asked(asked, grant, terminal);
    }
    let rotation = Followed {
        session: &session,
        loaded: &loaded,
        grants,
        terminal,
    };
    rotation.follow(&key, args).await
}

/// Says that what was asked for is going on already.
pub(super) fn tell_asked(asked: AskedRotation, grant: &GrantKey, terminal: Terminal) {
    if asked == AskedRotation::GoesOn {
        terminal.status(&format!(
            "The password for Database {} is being exchanged already.",
            grant.database.name
        ));
    }
}

/// Exchanges the key of the secret store.
async fn key(global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let count = session.platform.rotate_key(&actor("rotate --key")).await?;
    terminal.status(&format!(
        "Another key is in `{}`; {} sealed with it. Copies of the state need the key of their time.",
        session.platform.layout().key().display(),
        counted(count, "secret")
    ));
    Ok(Exit::Ok)
}

/// The grants of an application, or the one that was named.
pub(super) fn grants(
    seen: &Observed,
    key: &ApplicationKey,
    args: &RotateArgs,
) -> Result<Vec<GrantKey>> {
    let database = args.database.as_deref();
    let database = database.map(|name| find_database(seen, name)).transpose()?;
    let granted = seen.grants.keys().filter(|grant| {
        grant.application == *key && database.as_ref().is_none_or(|one| grant.database == *one)
    });
    let granted: Vec<GrantKey> = granted.cloned().collect();
    if granted.is_empty() {
        let message = match database {
            Some(database) => format!("{} has no password for {}", key.name, database.name),
            None => format!("{} has no password", key.name),
        };
        return Err(Problem::new(Class::User, "nothing-to-rotate", message)
            .hint("`boma describe` shows which databases it may use.")
            .into());
    }
    Ok(granted)
}

/// Rotations that a person asked for.
struct Followed<'s> {
    session: &'s Session,
    loaded: &'s Loaded,
    grants: Vec<GrantKey>,
    terminal: Terminal,
}

impl Followed<'_> {
    /// Brings them about, or lets `boma serve` do it, and says how far they are.
    async fn follow(&self, key: &ApplicationKey, args: &RotateArgs) -> Result {
        let until = Instant::now() + Duration::from_secs(args.patience);
        let mut stages = Stages::of(&self.grants, self.terminal);
        loop {
            let is_served = self.session.platform.is_served()?;
            if !is_served {
                let exit = self.act(until).await?;
                if exit != Exit::Ok {
                    return Ok(exit);
                }
            }
            let seen = self.session.platform.observe().await?;
            if stages.are_over(&seen) {
                return Ok(Exit::Ok);
            }
            if !args.wait {
                let who = if is_served {
                    "`boma serve`"
                } else {
                    "The next `boma apply`"
                };
                self.terminal.status(&format!(
                    "{who} goes on; `boma describe application {}` shows how far it is.",
                    key.name
                ));
                return Ok(if is_served {
                    Exit::Ok
                } else {
                    Exit::NotConverged
                });
            }
            if Instant::now() >= until {
                return Ok(Exit::NotConverged);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Takes all steps that can be taken now.
    async fn act(&self, until: Instant) -> Result {
        let patience = until.saturating_duration_since(Instant::now());
        let _pass = self.session.platform.begin_pass(patience).await?;
        self.look().await?;
        let shown = Shown::new(self.terminal);
        let mut around = Session::surroundings("rotate");
        around.patience = patience;
        around.report = shown.report();
        let converge = Converge {
            catalog: &self.loaded.catalog,
            platform: &self.session.platform,
            around: &around,
            ids: &mut new_id,
            patience,
            planned: &mut |plan| shown.planned(plan),
        };
        let result = converge.run(&Asked::default()).await?;
        shown.end();
        let blocked = result.left.blocked.iter().map(|blocked| &blocked.problem);
        let failed = result.failed.iter().map(|failure| &failure.problem);
        let problems: Vec<Problem> = blocked.chain(failed).cloned().collect();
        self.terminal.problems(&problems);
        let error = problems.iter().find(|problem| problem.is_error());
        Ok(error.map_or(Exit::Ok, Exit::of))
    }

    /// Lets sessions be counted now that something is waited for because of them. What cannot be
    /// asked is found so by the plan.
    async fn look(&self) -> Result<()> {
        let seen = self.session.platform.observe().await?;
        for grant in &self.grants {
            let is_draining = seen
                .grants
                .get(grant)
                .is_some_and(|one| one.draining.is_some());
            if let Some(database) = seen.databases.get(&grant.database).filter(|_| is_draining) {
                drop(self.session.platform.look(database.id).await);
            }
        }
        Ok(())
    }
}

/// How far exchanges are, each stage said once.
struct Stages<'g> {
    grants: &'g [GrantKey],
    said: BTreeMap<&'g GrantKey, String>,
    terminal: Terminal,
}

impl<'g> Stages<'g> {
    fn of(grants: &'g [GrantKey], terminal: Terminal) -> Self {
        Self {
            grants,
            said: BTreeMap::new(),
            terminal,
        }
    }

    /// Says what is new, and whether all of them are over.
    fn are_over(&mut self, seen: &Observed) -> bool {
        let mut are_over = true;
        for grant in self.grants {
            let stage = stage(grant, seen);
            are_over &= stage.is_none();
            let line = stage.unwrap_or_else(|| "exchanged; the former user is locked".into());
            if self.said.get(grant) != Some(&line) {
                let database = &grant.database.name;
                let heading = self.terminal.paint_err(Tone::Heading, database);
                self.terminal.status(&format!("{heading}  {line}"));
                self.said.insert(grant, line);
            }
        }
        are_over
    }
}

/// Follows exchanges that somebody else carries out.
pub(super) async fn watch(
    platform: &impl Platform,
    grants: &[GrantKey],
    patience: Duration,
    terminal: Terminal,
) -> Result {
    let until = Instant::now() + patience;
    let mut stages = Stages::of(grants, terminal);
    while !stages.are_over(&platform.observe().await?) {
        if Instant::now() >= until {
            return Ok(Exit::NotConverged);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(Exit::Ok)
}

fn stage(grant: &GrantKey, seen: &Observed) -> Option<String> {
    let stored = seen.grants.get(grant)?;
    let role = |turn| stored.logins.get(&turn).map_or("", |one| one.role.as_str());
    // What a schedule asks for is none of this command's business.
    match Rotation::of(stored, None, Timestamp::now())? {
        Rotation::Due { .. } => Some("another password is to be made".to_owned()),
        Rotation::Opening { turn } => Some(format!("user {} is being opened", role(turn))),
        Rotation::Draining { former, .. } => Some(format!(
            "user {} has taken over; {} stays open until the application uses the new one",
            role(stored.active),
            role(former)
        )),
        Rotation::Steady { .. } => {
            let former = role(stored.active.other());
            let database = seen.databases.get(&grant.database)?;
            let spec = database.spec.as_ref()?;
            let mut open = spec.logins.iter().filter(|login| login.verifier.is_some());
            let is_listed = open.any(|login| login.role == former);
            let is_settled = matches!(
                &database.agent,
                boma_engine::observed::AgentState::Answering(status)
                    if boma_engine::is_settled(status, spec.generation)
            );
            (is_listed || !is_settled).then(|| format!("user {former} is being locked"))
        }
    }
}
