//! What of things that all share somebody may see: problems, files, the plan.

use std::borrow::Cow;
use std::collections::BTreeSet;

use boma_engine::catalog::Subject;
use boma_engine::plan::Plan;
use boma_engine::source::{Proposal, Snapshot};
use boma_manifest::{Manifest, ProjectIdentity, Restore, SourceFile, parse_file};
use boma_problem::Problem;
use uuid::Uuid;

use crate::access::Who;
use crate::people::Role;

/// What somebody may see.
pub(crate) struct Sight<'s> {
    who: &'s Who,
    snapshot: &'s Snapshot,
}

impl<'s> Sight<'s> {
    pub(crate) fn of(who: &'s Who, snapshot: &'s Snapshot) -> Self {
        Self { who, snapshot }
    }

    /// Whether they see all projects.
    pub(crate) fn is_everything(&self) -> bool {
        self.who.rights.has_everywhere(Role::Viewer)
    }

    /// Whether all that a file says is about projects that they see. Of a file with errors, nobody knows
    /// whose all of it is.
    pub(crate) fn sees_file(&self, name: &str) -> bool {
        if self.is_everything() {
            return true;
        }
        let mut files = self.snapshot.files.iter();
        let file = files.find(|file| *file.source.name == *name);
        let whole = file.filter(|file| !file.parsed.problems.iter().any(Problem::is_error));
        let manifests = whole.map_or(&[][..], |file| &file.parsed.documents);
        let sees = |one: &Manifest| {
            let project = one.metadata().project.to_string();
            self.who.rights.has(Role::Viewer, &project)
        };
        !manifests.is_empty() && manifests.iter().all(sees)
    }

    /// Whether they may know of a resource.
    pub(crate) fn sees(&self, subject: &Subject) -> bool {
        self.who.rights.sees(subject)
    }

    /// Problems in files that they see.
    pub(crate) fn problems(&self, all: impl IntoIterator<Item = Problem>) -> Vec<Problem> {
        let all = all.into_iter();
        if self.is_everything() {
            return all.collect();
        }
        let mut seen: Vec<Problem> = all
            .filter(|one| {
                one.place
                    .as_ref()
                    .is_some_and(|at| self.sees_file(&at.file))
            })
            .collect();
        for problem in &mut seen {
            problem.related.retain(|(_, at)| self.sees_file(&at.file));
        }
        seen
    }

    /// What of a plan is about resources that they see.
    pub(crate) fn plan<'p>(&self, plan: &'p Plan) -> Cow<'p, Plan> {
        if self.is_everything() {
            return Cow::Borrowed(plan);
        }
        let mut seen = plan.of(|subject| self.sees(subject));
        seen.warnings = self.problems(seen.warnings);
        Cow::Owned(seen)
    }
}

/// The projects of all that a file said and is to say, and of what is restored by it: who changes it has to be somebody in all of them.
/// None: nobody knows whose all of it is. The file had errors, or a database is to be made from the backups
/// of an instance that its manifest names, whoever's that was.
pub(crate) fn projects_of(proposal: &Proposal) -> Option<BTreeSet<String>> {
    let parse = |text| parse_file(&SourceFile::new(proposal.name().clone(), text));
    let former = proposal.former().map(parse);
    if former
        .iter()
        .flat_map(|file| &file.problems)
        .any(Problem::is_error)
    {
        return None;
    }
    let former = former.map_or_else(Vec::new, |file| file.documents);
    let new = parse(proposal.text().as_bytes()).documents;
    let known: Vec<Uuid> = former.iter().filter_map(instance_of).collect();
    if new
        .iter()
        .filter_map(instance_of)
        .any(|id| !known.contains(&id))
    {
        return None;
    }
    let manifests = former.iter().chain(&new);
    let own = manifests.map(|one| one.metadata().project.to_string());
    // Who restores a database reads it.
    let read = new.iter().filter_map(restore_of).map(|(project, restore)| {
        let database = restore.database.resolve(project);
        database.project.to_string()
    });
    Some(own.chain(read).collect())
}

/// What a database is made from, and the project that names it.
fn restore_of(manifest: &Manifest) -> Option<(&ProjectIdentity, &Restore)> {
    let Manifest::Database(database) = manifest else {
        return None;
    };
    let restore = database.spec.bootstrap.as_ref()?.restore.as_ref()?;
    Some((&database.metadata.project, restore))
}

/// The instance whose backups a database is made from.
fn instance_of(manifest: &Manifest) -> Option<Uuid> {
    restore_of(manifest)?.1.instance
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use boma_engine::source::File;
    use boma_problem::{Class, Place};

    use super::*;
    use crate::people::Rights;

    fn database(project: &str) -> String {
        let [organization, unit, environment, name] = crate::world::parts_of(project);
        format!(
            "apiVersion: lowops.manifests/v1\nkind: Database\nmetadata:\n  name: orders\n  organization: {organization}\n  organizational-unit: {unit}\n  environment: {environment}\n  project: {name}\nspec: {{}}\n---\n"
        )
    }

    fn file(name: &str, text: &str) -> Arc<File> {
        let source = SourceFile::new(name, text.as_bytes());
        let parsed = Arc::new(parse_file(&source));
        Arc::new(File { source, parsed })
    }

    fn wrong(file: &str) -> Problem {
        let place = Place {
            file: file.to_owned(),
            line: 1,
            column: 1,
            length: 1,
            text: String::new(),
        };
        Problem::new(Class::User, "broken", "it is").at(place)
    }

    #[test]
    fn what_is_in_a_file_with_others_is_not_shown() {
        let (own, other) = (database("acme/a/dev/shop"), database("acme/b/dev/shop"));
        let snapshot = Snapshot {
            files: vec![
                file("both.yaml", &format!("{own}{other}")),
                file("broken.yaml", "{"),
                file("other.yaml", &other),
                file("own.yaml", &own),
            ],
            ..Snapshot::default()
        };
        let who = |role: &str| Who {
            actor: String::new(),
            person: None,
            email: String::new(),
            rights: Rights::new(vec![role.parse().unwrap()]),
        };
        let names = ["both.yaml", "broken.yaml", "other.yaml", "own.yaml"];
        let seen = |role: &str| -> Vec<&str> {
            let who = who(role);
            let sight = Sight::of(&who, &snapshot);
            let shown = sight.problems(names.map(wrong));
            let seen = names.into_iter().filter(|name| sight.sees_file(name));
            let seen: Vec<&str> = seen.collect();
            assert_eq!(shown.len(), seen.len(), "{shown:?}");
            seen
        };
        assert_eq!(seen("viewer:acme/a"), ["own.yaml"]);
        assert_eq!(seen("viewer:acme"), ["both.yaml", "other.yaml", "own.yaml"]);
        assert_eq!(seen("viewer"), names);
        let moved = Proposal::replacing(
            (*SourceFile::new("own.yaml", own.as_bytes())).clone(),
            other,
        );
        let projects = projects_of(&moved).unwrap();
        assert!(projects.iter().eq(["acme/a/dev/shop", "acme/b/dev/shop"]));
        let id = "0190c7a0-0000-7000-8000-000000000000";
        let restored =
            format!("spec: {{bootstrap: {{restore: {{database: orders, instance: {id}}}}}}}");
        let restored = database("acme/a/dev/shop").replace("spec: {}", &restored);
        assert_eq!(projects_of(&Proposal::new_file("new.yaml", restored)), None);
        let beside = "spec: {bootstrap: {restore: {database: acme/b/dev/shop/orders}}}";
        let beside = database("acme/a/dev/shop").replace("spec: {}", beside);
        let projects = projects_of(&Proposal::new_file("new.yaml", beside)).unwrap();
        assert!(projects.contains("acme/b/dev/shop"), "{projects:?}");
        let broken = SourceFile::new("broken.yaml", format!("{own}kind: [").as_bytes());
        let broken = (*broken).clone();
        assert_eq!(projects_of(&Proposal::replacing(broken, own)), None);
    }
}
