use super::*;

fn known() -> ServerParameters {
    let number = |min, max| ServerParameter {
        context: ParameterContext::Session,
        vartype: "INTEGER".into(),
        min: Some(min),
        max: Some(max),
    };
    let other = |vartype: &str, context| ServerParameter {
        context,
        vartype: vartype.into(),
        min: None,
        max: None,
    };
    ServerParameters::from([
        ("work_mem".into(), number(64.0, 2_147_483_647.0)),
        ("max_connections".into(), number(1.0, 262_143.0)),
        (
            "DateStyle".into(),
            other("STRING", ParameterContext::Session),
        ),
        (
            "enable_sort".into(),
            other("BOOLEAN", ParameterContext::Session),
        ),
        (
            "block_size".into(),
            other("STRING", ParameterContext::Internal),
        ),
        (
            "wal_level".into(),
            other("ENUM", ParameterContext::Postmaster),
        ),
    ])
}

fn problems(parameters: &[(&str, &str)]) -> Vec<String> {
    let parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    validate_parameters(&parameters, &known())
        .iter()
        .map(|problem| {
            let problem = problem.problem();
            format!("{}: {problem}; {}", problem.code, problem.hints.join(" "))
        })
        .collect()
}

#[test]
fn what_a_server_takes_is_accepted() {
    let fine = [
        ("work_mem", "64MB"),
        ("Max_Connections", "300"),
        ("datestyle", "ISO, DMY"),
        ("enable_sort", "off"),
        ("wal_level", "logical"),
        ("pg_stat_statements.track", "all"),
    ];
    assert_eq!(problems(&fine), [""; 0]);
}

#[test]
fn each_problem_says_what_to_write() {
    for (parameter, text) in [
        (
            ("wrok_mem", "64MB"),
            "parameter-unknown: parameter `wrok_mem` is not known to this version of PostgreSQL; Did you mean `work_mem`?",
        ),
        (
            ("fsync", "off"),
            "parameter-owned: parameter `fsync` belongs to the platform: without it, a crash can destroy data; Leave `fsync` out.",
        ),
        (
            ("max_connections", "0"),
            "parameter-value-refused: parameter `max_connections` takes a value from 1 to 262143, not `0`; Change the value of `max_connections`.",
        ),
        (
            ("max_connections", "many"),
            "parameter-value-refused: parameter `max_connections` takes a number, not `many`; Change the value of `max_connections`.",
        ),
        (
            ("enable_sort", "perhaps"),
            "parameter-value-refused: parameter `enable_sort` takes `on` or `off`, not `perhaps`; Change the value of `enable_sort`.",
        ),
        (
            ("wal_level", "Minimal"),
            "parameter-value-refused: parameter `wal_level` cannot be `Minimal`: backups and replicas need `replica` or `logical`; Change the value of `wal_level`.",
        ),
        (
            ("block_size", "1"),
            "parameter-fixed: parameter `block_size` is fixed when PostgreSQL is compiled or a cluster is made; Leave `block_size` out.",
        ),
        (
            ("a = 1\nb", "1"),
            "parameter-not-a-name: parameter `a = 1\nb` is not a name of a setting; Names are letters, digits and `_`; a setting of an extension has one dot.",
        ),
        (
            ("work_mem", "1\n2"),
            "parameter-value-refused: parameter `work_mem` has a value with a control character; Write the value of `work_mem` on one line.",
        ),
    ] {
        assert_eq!(problems(&[parameter]), [text]);
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let found = problems(&[
        ("fsync", "off"),
        ("Work_mem", "1MB"),
        ("work_mem", "2MB"),
        ("x", "1"),
    ]);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[1].contains("also as `Work_mem`"), "{found:?}");
}

#[test]
fn without_a_description_only_what_always_holds_is_said() {
    let parameters = BTreeMap::from([("anything".to_owned(), "1".to_owned())]);
    assert_eq!(
        validate_parameters(&parameters, &ServerParameters::new()),
        []
    );
}
