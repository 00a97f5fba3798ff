use super::*;
use crate::source::{Resource, ResourceSource, Several};

/// A source of custom resources, and one of files beside it.
struct World {
    resources: ResourceSource,
    alone: Alone,
    files: Snapshot,
}

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let file = |(name, text): &(&str, &str)| {
            let source = boma_manifest::SourceFile::new(*name, text.as_bytes());
            let parsed = Arc::new(boma_manifest::parse_file(&source));
            Arc::new(File { source, parsed })
        };
        Self {
            resources: ResourceSource::labelled("cr"),
            alone: Alone::new(Basis::default()),
            files: Snapshot {
                files: files.iter().map(file).collect(),
                ..Snapshot::default()
            },
        }
    }

    /// What is in force with these resources, and the codes of what is held back.
    fn judged(&mut self, resources: &[(&str, String, Former)]) -> (Vec<String>, Vec<String>) {
        let resource = |(name, text, former): &(&str, String, Former)| Resource {
            name: (*name).to_owned(),
            text: text.as_str().into(),
            former: former.clone(),
        };
        let resources = resources.iter().map(resource).collect();
        let mut several = Several::new(2);
        several.take(0, Arc::new(self.resources.read(resources, Vec::new())));
        several.take(1, Arc::new(self.files.clone()));
        let judged = self.alone.judge(several.together().unwrap());
        let mut files: Vec<String> = judged
            .files
            .iter()
            .map(|file| {
                let text = String::from_utf8_lossy(&file.source.bytes).into_owned();
                let mark = text.lines().last().unwrap_or_default().trim().to_owned();
                format!("{}: {mark}", file.source.name)
            })
            .collect();
        // What could not be laid to one is found again by whoever makes the catalog.
        let (_, between) = Catalog::build(judged.parsed(), &self.alone.basis);
        if !judged.is_sound() || between.iter().any(Problem::is_error) {
            files = vec!["unsound".to_owned()];
        }
        let codes = judged.held_back.iter().map(|one| one.code.clone());
        (files, codes.collect())
    }
}

fn manifest(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: lowops.manifests/v1\nkind: {kind}\nmetadata: {{name: {name}, organization: o, \
         organizational-unit: u, environment: e, project: p}}\nspec: {spec}\n"
    )
}

fn database(name: &str, spec: &str) -> String {
    manifest("Database", name, spec)
}

fn application(name: &str, database: &str) -> String {
    let spec = format!("{{accessControl: {{databases: [{{name: {database}}}]}}}}");
    manifest("Application", name, &spec)
}

const A: &str = "n/databases/a";
const B: &str = "n/databases/b";
const APP: &str = "n/applications/app";

#[test]
fn what_is_wrong_with_one_holds_back_that_one() {
    let mut world = World::new(&[]);
    let fine = || (A, database("a", "{cpuCount: 1}"), Former::New);
    let wrong = (B, database("b", "{cpuCont: 1}"), Former::New);
    let (files, codes) = world.judged(&[fine(), wrong.clone()]);
    assert_eq!(files, ["cr/n/databases/a: spec: {cpuCount: 1}"]);
    assert_eq!(codes, ["unknown-field"]);
    // What was in force stays as it was, and the others go on.
    let wrong_now = (A, database("a", "{cpuCont: 2}"), Former::InForce);
    let (files, codes) = world.judged(&[wrong_now, (B, database("b", "{}"), Former::New)]);
    let expected = [
        "cr/n/databases/a: spec: {cpuCount: 1}",
        "cr/n/databases/b: spec: {}",
    ];
    assert_eq!(files, expected);
    assert_eq!(codes, ["unknown-field"]);
}

#[test]
fn what_was_in_force_and_is_not_known_holds_all() {
    let mut world = World::new(&[]);
    let wrong = (A, database("a", "{cpuCont: 2}"), Former::InForce);
    let (files, _) = world.judged(&[wrong, (B, database("b", "{}"), Former::New)]);
    assert_eq!(files, ["unsound"]);
    let perhaps = Former::Perhaps((&DatabaseKey::new("o/u/e/p", "a")).into());
    let wrong = (A, database("a", "{cpuCont: 2}"), perhaps);
    assert_eq!(world.judged(&[wrong]).0, ["unsound"]);
    let mended = (A, database("a", "{cpuCount: 2}"), Former::InForce);
    let (files, codes) = world.judged(&[mended]);
    assert_eq!((files.len(), codes.len()), (1, 0));
}

#[test]
fn an_application_waits_for_its_database_and_nobody_waits_with_it() {
    let mut world = World::new(&[]);
    let app = || (APP, application("app", "a"), Former::New);
    let other = || (B, database("b", "{}"), Former::New);
    let (files, codes) = world.judged(&[app(), other()]);
    assert_eq!(files, ["cr/n/databases/b: spec: {}"]);
    assert_eq!(codes, ["no-such-database"]);
    let its = (A, database("a", "{}"), Former::New);
    let (files, codes) = world.judged(&[app(), other(), its]);
    assert_eq!((files.len(), codes.len()), (3, 0));
    // A database that is still used is missed by its application: it stays until that has gone.
    let (files, codes) = world.judged(&[app(), other()]);
    assert_eq!(
        (files.len(), &*codes),
        (3, &["no-such-database".to_owned()][..])
    );
    let (files, codes) = world.judged(&[other()]);
    assert_eq!((files.len(), codes.len()), (1, 0));
}

#[test]
fn nobody_takes_over_what_another_source_describes() {
    let mut world = World::new(&[("git/a.yaml", &database("a", "{cpuCount: 1}"))]);
    // It runs, and the file is what it was made of.
    let runs = Former::Perhaps((&DatabaseKey::new("o/u/e/p", "a")).into());
    let again = (A, database("a", "{cpuCount: 2}"), runs);
    let (files, codes) = world.judged(std::slice::from_ref(&again));
    assert_eq!(files, ["git/a.yaml: spec: {cpuCount: 1}"]);
    assert_eq!(codes, ["duplicate-resource"]);
    // Once the file is gone, the resource comes into force.
    world.files = Snapshot::default();
    let (files, codes) = world.judged(&[again]);
    assert_eq!(files, ["cr/n/databases/a: spec: {cpuCount: 2}"]);
    assert_eq!(codes, [""; 0]);
    // And a file that comes later takes nothing away: it holds all, as an error of files does.
    world.files = World::new(&[("git/a.yaml", &database("a", "{cpuCount: 3}"))]).files;
    let again = (A, database("a", "{cpuCount: 2}"), Former::InForce);
    assert_eq!(world.judged(&[again]).0, ["unsound"]);
}

#[test]
fn an_error_between_two_is_laid_to_the_one_that_changed() {
    let mut world = World::new(&[]);
    let open = "{access: {projects: [{project: q}]}}";
    let foreign = manifest(
        "Application",
        "app",
        "{accessControl: {databases: [{name: p/a}]}}",
    )
    .replace("project: p}", "project: q}");
    let app = (APP, foreign, Former::New);
    let (files, codes) = world.judged(&[(A, database("a", open), Former::New), app.clone()]);
    assert_eq!((files.len(), codes.len()), (2, 0));
    let (files, codes) = world.judged(&[(A, database("a", "{}"), Former::InForce), app]);
    assert!(files.iter().any(|file| file.ends_with(open)), "{files:?}");
    assert_eq!(codes, ["not-admitted"]);
}
