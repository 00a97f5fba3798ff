//! Doing several steps in one transaction.
//!
//! Each transaction waits for the disk, and each connection is a process of the server that begins
//! with empty caches: a new database needs a dozen steps, which fit into two transactions, one on
//! each of the two connections that making it needs.

use super::act::{self, Making};
use super::control::{Control, Controls};
use super::error::SqlError;
use super::seen::SeenObject;
use super::step::{AccessStep, Groups};

/// How many objects a step may change in a transaction that it shares.
const FEW: usize = 20;

/// Where a step that can share its transaction works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On what belongs to the whole cluster: any connection will do.
    Anywhere,
    /// Outside of the instance's database.
    Outside,
    /// In the instance's database.
    Inside,
}

impl Controls {
    /// Does steps in their order, those that can in one transaction.
    ///
    /// A transaction that fails changes nothing; its steps are done one by one then, so that what
    /// can be done is done, and the error names the step that cannot.
    pub async fn act_all(&mut self, steps: &[AccessStep]) -> Result<(), SqlError> {
        let mut rest = steps;
        while !rest.is_empty() {
            let (length, place) = run_of(rest);
            let (some, others) = rest.split_at(length);
            let were_done = match place {
                Some(place) if length > 1 => self.act_together(some, place).await,
                _ => false,
            };
            if !were_done {
                for step in some {
                    self.act(step).await?;
                }
            }
            rest = others;
        }
        Ok(())
    }

    /// Whether they were all done.
    async fn act_together(&mut self, steps: &[AccessStep], place: Place) -> bool {
        match self.transact(steps, place).await {
            Ok(were_done) => were_done,
            Err(error) => {
                tracing::debug!(%error, "steps are done one by one");
                false
            }
        }
    }

    async fn transact(&mut self, steps: &[AccessStep], place: Place) -> Result<bool, SqlError> {
        let groups = self.groups().clone();
        let control = match place {
            Place::Anywhere => self.at_hand().await?,
            Place::Outside => self.cluster().await?,
            Place::Inside => self.the_database().await?,
        };
        let mut all = Vec::new();
        for step in steps {
            match statements(control, &groups, step).await? {
                Some(some) => all.extend(some),
                None => return Ok(false),
            }
        }
        let doing = format!("set up access ({} steps)", steps.len());
        control.transaction(&doing, &all).await?;
        Ok(true)
    }
}

/// How many of the next steps fit into one transaction, and where; none: the first has its own.
fn run_of(steps: &[AccessStep]) -> (usize, Option<Place>) {
    let mut whole = Place::Anywhere;
    let mut length = 0;
    for step in steps {
        whole = match (whole, place_of(step)) {
            (place, Some(Place::Anywhere)) | (Place::Anywhere, Some(place)) => place,
            (one, Some(other)) if one == other => one,
            (_, None | Some(_)) => break,
        };
        length += 1;
    }
    if length == 0 {
        (1, None)
    } else {
        (length, Some(whole))
    }
}

/// Where a step works; none: it cannot share a transaction, because it waits for sessions to end,
/// changes many objects, or runs an extension's script.
fn place_of(step: &AccessStep) -> Option<Place> {
    let few = |objects: &[SeenObject]| (objects.len() <= FEW).then_some(Place::Inside);
    match step {
        AccessStep::SetGroups
        | AccessStep::SetLogin(_)
        | AccessStep::SetDatabase { .. }
        | AccessStep::Revoke(_) => Some(Place::Anywhere),
        AccessStep::MakeDatabase => Some(Place::Outside),
        AccessStep::CloseLargeObjects
        | AccessStep::OwnPublic
        | AccessStep::SetDefaultPrivileges { .. } => Some(Place::Inside),
        AccessStep::OwnObjects(objects) | AccessStep::SetPrivileges { objects, .. } => few(objects),
        AccessStep::EndOrphans
        | AccessStep::LockLogin { .. }
        | AccessStep::DropLogin { .. }
        | AccessStep::Reassign { .. }
        | AccessStep::CreateExtension { .. } => None,
    }
}

/// The statements of a step; none: it cannot be part of a transaction after all.
async fn statements(
    control: &Control,
    groups: &Groups,
    step: &AccessStep,
) -> Result<Option<Vec<String>>, SqlError> {
    Ok(Some(match step {
        AccessStep::SetGroups => act::groups_statements(control, groups).await?,
        AccessStep::SetLogin(login) => act::login_statements(control, groups, login).await?,
        AccessStep::SetDatabase { revoke_from } => act::set_database(groups, revoke_from),
        AccessStep::Revoke(membership) => vec![act::revoke(membership)],
        AccessStep::MakeDatabase => match act::making(control, groups).await? {
            Making::Made => Vec::new(),
            Making::Rename(statements) => statements,
            Making::Create(_) => return Ok(None),
        },
        AccessStep::CloseLargeObjects => act::close_large_objects(groups),
        AccessStep::OwnPublic => act::own_public(),
        AccessStep::SetDefaultPrivileges { maker } => act::default_privileges(groups, maker),
        AccessStep::OwnObjects(objects) => objects
            .iter()
            .flat_map(|object| act::own(object, &groups.owner))
            .collect(),
        AccessStep::SetPrivileges { objects, readers } => objects
            .iter()
            .flat_map(|object| act::privileges(object, groups, readers))
            .collect(),
        AccessStep::EndOrphans
        | AccessStep::LockLogin { .. }
        | AccessStep::DropLogin { .. }
        | AccessStep::Reassign { .. }
        | AccessStep::CreateExtension { .. } => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_database_takes_two_transactions() {
        let maker = "app_1".to_owned();
        let steps = [
            AccessStep::SetGroups,
            AccessStep::MakeDatabase,
            AccessStep::SetDatabase {
                revoke_from: vec![None],
            },
            AccessStep::CloseLargeObjects,
            AccessStep::SetDefaultPrivileges { maker },
            AccessStep::OwnPublic,
        ];
        assert_eq!(run_of(&steps), (3, Some(Place::Outside)));
        assert_eq!(run_of(&steps[3..]), (3, Some(Place::Inside)));
    }

    #[test]
    fn what_waits_for_sessions_or_runs_scripts_stands_alone() {
        let role = "app_1".to_owned();
        let name = "hstore".to_owned();
        let steps = [
            AccessStep::SetGroups,
            AccessStep::DropLogin { role },
            AccessStep::CreateExtension { name },
            AccessStep::OwnPublic,
        ];
        assert_eq!(run_of(&steps), (1, Some(Place::Anywhere)));
        assert_eq!(run_of(&steps[1..]), (1, None));
        assert_eq!(run_of(&steps[2..]), (1, None));
        assert_eq!(run_of(&steps[3..]), (1, Some(Place::Inside)));
    }
}
