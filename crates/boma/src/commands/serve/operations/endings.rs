//! What people ask for that ends a database, or what it was.

use async_trait::async_trait;
use boma_engine::keys::DatabaseKey;
use boma_problem::{Class, Problem};
use boma_web::{EndOperations, Moment, Permit, Purgeable, ReplacementStanding, Said, Undone};

use super::{Desk, OperationsOn};
use crate::commands::purge::{is_name, look, purge_for, retired};
use crate::commands::restore::in_place::{Wish, nothing_kept, standing};

#[async_trait]
impl<P: Desk> EndOperations for OperationsOn<P> {
    async fn purgeable(&self, database: &DatabaseKey) -> Result<Purgeable, Box<Problem>> {
        let seen = self.platform.observe().await?;
        look(&*self.platform, &seen, database).await
    }

    async fn purge(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
        said: &Said,
    ) -> Result<(), Box<Problem>> {
        let seen = self.platform.observe().await?;
        let found = retired(&*self.platform, &seen, database)?;
        is_name(&said.confirm, &database.name)?;
        if said.instances != [found.instance] {
            return Err(others_now(database).into());
        }
        let actor = permit.actor().to_owned();
        purge_for(&*self.platform, (database, found.instance), actor).await
    }

    async fn replacement(
        &self,
        database: &DatabaseKey,
    ) -> Result<ReplacementStanding, Box<Problem>> {
        Ok(standing(database, &self.platform.observe().await?))
    }

    async fn replace(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
        moment: &Moment,
    ) -> Result<String, Box<Problem>> {
        let wish = Wish {
            platform: &*self.platform,
            seen: &self.platform.observe().await?,
            key: database,
            actor: permit.actor().to_owned(),
        };
        let beside = wish.restore(moment).await?;
        Ok(beside.name.to_string())
    }

    async fn undo_replacement(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
    ) -> Result<Undone, Box<Problem>> {
        let wish = Wish {
            platform: &*self.platform,
            seen: &self.platform.observe().await?,
            key: database,
            actor: permit.actor().to_owned(),
        };
        wish.undo().await
    }

    async fn forget_replaced(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
        said: &Said,
    ) -> Result<Vec<String>, Box<Problem>> {
        let seen = self.platform.observe().await?;
        let kept = standing(database, &seen).kept;
        if kept.is_empty() {
            return Err(nothing_kept(database).into());
        }
        is_name(&said.confirm, &database.name)?;
        if !kept
            .iter()
            .all(|one| said.instances.contains(&one.instance))
        {
            return Err(others_now(database).into());
        }
        let wish = Wish {
            platform: &*self.platform,
            seen: &seen,
            key: database,
            actor: permit.actor().to_owned(),
        };
        let mut gone = Vec::new();
        for one in kept {
            wish.forget(&one).await?;
            gone.push(one.name);
        }
        Ok(gone)
    }
}

/// Whoever asks was shown another instance than the one that there is.
fn others_now(key: &DatabaseKey) -> Problem {
    let message = format!("what there is of {} is not what was shown", key.name);
    Problem::new(Class::User, "instance-not-shown", message)
        .hint("Nothing was destroyed. Look at it again, and name the instance that is shown.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_shown_is_destroyed() {
        let problem = others_now(&DatabaseKey::new("o/u/e/p", "orders"));
        assert_eq!(
            problem.to_string(),
            "what there is of orders is not what was shown"
        );
        assert!(problem.hints[0].starts_with("Nothing was destroyed."));
    }
}
