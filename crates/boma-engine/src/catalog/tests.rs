//! A catalog that is made out of the one before is the one that is made from nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use boma_manifest::{SourceFile, parse_file};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Resources of a kind; few, so that two documents have one name at times.
const NAMES: u8 = 3;

/// One document of a file.
#[derive(Clone, Debug)]
enum Written {
    Database {
        name: u8,
        project: bool,
        admits: bool,
        shared_buffers: Option<&'static str>,
    },
    Application {
        name: u8,
        project: bool,
        grants: Vec<(u8, bool)>,
    },
    Nonsense,
}

/// What becomes of a file: other documents, or none.
type Edit = (u8, Option<Vec<Written>>);

fn written() -> impl Strategy<Value = Written> {
    let buffers = prop_oneof![3 => Just(None), 1 => Just(Some("64MB")), 1 => Just(Some("9999GB"))];
    let database = (0..NAMES, any::<bool>(), any::<bool>(), buffers);
    let grants = vec((0..NAMES, any::<bool>()), 0..3);
    prop_oneof![
        5 => database.prop_map(|(name, project, admits, shared_buffers)| Written::Database {
            name, project, admits, shared_buffers,
        }),
        5 => (0..NAMES, any::<bool>(), grants)
            .prop_map(|(name, project, grants)| Written::Application { name, project, grants }),
        1 => Just(Written::Nonsense),
    ]
}

fn project(first: bool) -> &'static str {
    if first { "core" } else { "lending" }
}

fn text(documents: &[Written]) -> String {
    let mut text = String::new();
    for document in documents {
        let mut head = |kind: &str, name: &str, first: bool| {
            let project = project(first);
            let metadata = format!(
                "{{name: {name}, organization: acme, organizational-unit: eu, environment: dev, \
                 project: {project}}}"
            );
            write!(
                text,
                "---\napiVersion: lowops.manifests.v1\nkind: {kind}\nmetadata: {metadata}\nspec:\n"
            )
        };
        let done = match document {
            Written::Database {
                name,
                project: first,
                admits,
                shared_buffers,
            } => head("Database", &format!("db-{name}"), *first).and_then(|()| {
                let admitted = if *admits {
                    project(!first)
                } else {
                    project(*first)
                };
                let buffers = shared_buffers.unwrap_or("32MB");
                write!(
                    text,
                    "  parameters: {{shared_buffers: {buffers}}}\n  access:\n    projects:\n    - \
                     {{organization: acme, organizational-unit: eu, environment: dev, project: \
                     {admitted}}}\n"
                )
            }),
            Written::Application {
                name,
                project: first,
                grants,
            } => head("Application", &format!("app-{name}"), *first).and_then(|()| {
                let grants = grants.iter().enumerate().map(|(at, (database, own))| {
                    let project = project(*own == *first);
                    format!(
                        "{{name: {project}/db-{database}, secretSource: {{envVar: DATABASE_{at}}}}}"
                    )
                });
                let grants: Vec<String> = grants.collect();
                writeln!(
                    text,
                    "  accessControl: {{databases: [{}]}}",
                    grants.join(", ")
                )
            }),
            Written::Nonsense => {
                head("Database", "Not_A_Name", true).and_then(|()| writeln!(text, "  cpuCount: -1"))
            }
        };
        done.expect("a string should take text");
    }
    text
}

/// Everything that a plan can see of a catalog.
fn seen(catalog: &Catalog) -> String {
    let mut seen = format!("{:#?}\n{:#?}\n", catalog.databases, catalog.applications);
    for place in 0..catalog.databases.len() {
        let grantees = catalog.grantees_at(place);
        let grantees = grantees.map(|one| (one.application.key.to_string(), one.grant, one.link));
        let grantees: Vec<_> = grantees.collect();
        writeln!(seen, "{grantees:?}").expect("a string should take text");
    }
    for place in 0..catalog.applications.len() {
        let links: Vec<_> = catalog.links_of(place).collect();
        writeln!(seen, "{links:?}").expect("a string should take text");
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_made_out_of_the_one_before_is_one_made_from_nothing(
        edits in vec((0..6_u8, proptest::option::weighted(0.8, vec(written(), 0..3))), 1..12),
    ) {
        let basis = Arc::new(Basis::default());
        let mut source: BTreeMap<u8, Arc<Parsed>> = BTreeMap::new();
        let mut catalog = Catalog::default();
        for (file, documents) in edits as Vec<Edit> {
            match documents {
                Some(documents) => {
                    let name = format!("{file}.yaml");
                    let text = text(&documents);
                    let parsed = parse_file(&SourceFile::new(name, text.as_bytes()));
                    source.insert(file, Arc::new(parsed));
                }
                None => drop(source.remove(&file)),
            }
            let (next, problems) = catalog.rebuild(source.values(), &basis);
            let (afresh, expected) = Catalog::build(source.values(), &basis);
            prop_assert_eq!(seen(&next), seen(&afresh));
            prop_assert_eq!(problems, expected);
            catalog = next;
        }
    }
}

#[test]
fn other_plans_of_the_platform_are_read_anew() {
    let text = text(&[Written::Database {
        name: 0,
        project: true,
        admits: false,
        shared_buffers: None,
    }]);
    let text = text.replace("spec:\n", "spec:\n  plan: starter\n");
    let file = Arc::new(parse_file(&SourceFile::new("a.yaml", text.as_bytes())));
    let (with_plans, problems) = Catalog::build([&file], &Arc::default());
    assert_eq!(problems, []);
    let none = Basis {
        plans: PlanTable(BTreeMap::new()),
        ..Basis::default()
    };
    let (without, problems) = with_plans.rebuild([&file], &Arc::new(none));
    assert!(without.is_empty());
    assert_eq!(problems.len(), 1, "{problems:?}");
}
