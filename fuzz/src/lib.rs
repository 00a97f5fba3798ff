//! What must hold for a file of any bytes.

use boma_manifest::render::{Color, github, json, text};
use boma_manifest::{Manifest, PlanTable, Parsed, parse};

/// Parses bytes as a file, and looks at everything that a caller might.
pub fn check(file: &str, bytes: &[u8]) {
    let Parsed { documents, problems } = parse(file, bytes);
    for problem in &problems {
        assert!(problem.place.is_some(), "{problem:?}");
        assert!(!problem.hints.is_empty(), "{problem:?}");
    }
    let shown = text(&problems, Color::Never);
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert_eq!(github(&problems).lines().count(), problems.len());
    assert!(json(&problems).starts_with('{'));
    for manifest in documents {
        let _place = manifest.origin().place("spec.parameters.work_mem");
        if let Manifest::Database(database) = &manifest {
            let _resolved = database.resolve(&PlanTable::default());
        }
        let yaml = manifest.to_yaml();
        let again = parse("again.yaml", yaml.as_bytes());
        assert!(again.problems.is_empty(), "{yaml}\n{:?}", again.problems);
        assert_eq!(again.documents, [manifest], "{yaml}");
    }
}
