//! Bytes that nobody should write: each gets an answer, and a small one.

use proptest::prelude::*;

use crate::render::{Color, github, json, text};
use crate::{LARGEST_FILE, Parsed, parse, testing};

const HEAD: &str = "\
apiVersion: lowops.manifests.v1
kind: Database
metadata: {name: db, organization: o, organizational-unit: u, environment: e, project: p}
";

/// Parses, and looks at everything that a caller might.
fn survive(file: &str, bytes: &[u8]) -> Parsed {
    let parsed = parse(file, bytes);
    for manifest in &parsed.documents {
        let _place = manifest.origin().place("spec.parameters.work_mem");
        assert!(
            parse("again.yaml", manifest.to_yaml().as_bytes())
                .problems
                .is_empty()
        );
    }
    let shown = text(&parsed.problems, Color::Never);
    assert!(!shown.contains('\u{1b}'));
    assert_eq!(
        github(&parsed.problems).lines().count(),
        parsed.problems.len()
    );
    assert!(json(&parsed.problems).starts_with('{'));
    parsed
}

fn codes(text: &str) -> Vec<String> {
    let parsed = survive("a.yaml", text.as_bytes());
    parsed
        .problems
        .into_iter()
        .map(|problem| problem.code)
        .collect()
}

#[test]
fn text_in_another_encoding_is_refused() {
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(HEAD.bytes().flat_map(|b| [b, 0]))
        .collect();
    let problem = survive("a.yaml", &utf16).problems.remove(0);
    assert_eq!(problem.to_string(), "a.yaml is not text in UTF-8");
    assert_eq!(problem.hints, ["It looks like UTF-16; save it as UTF-8."]);
    assert!(problem.is_error());

    let latin1 = [HEAD.as_bytes(), b"# caf\xe9\n"].concat();
    let problem = survive("a.yaml", &latin1).problems.remove(0);
    assert_eq!(
        problem.place.map(|place| (place.line, place.column)),
        Some((4, 6))
    );
    assert_eq!(problem.hints, ["Save it as UTF-8."]);

    assert_eq!(survive("a.yaml", b"\x89PNG\r\n\x1a\n").problems, []);
}

#[test]
fn a_byte_order_mark_is_no_problem() {
    assert_eq!(codes(&format!("\u{feff}{HEAD}")), Vec::<String>::new());
}

#[test]
fn control_characters_are_refused() {
    assert_eq!(
        codes(&format!("{HEAD}spec: {{plan: \"a\0b\"}}\n")),
        ["syntax-error"]
    );
    assert_eq!(
        codes(&format!("{HEAD}spec: {{plan: \"a\\0b\"}}\n")),
        ["invalid-name"]
    );
    assert_eq!(
        codes(&format!(
            "{HEAD}spec: {{parameters: {{work_mem: \"1\\n2\"}}}}\n"
        )),
        ["invalid-text"]
    );
}

#[test]
fn deep_nesting_is_refused() {
    for depth in [100, 10_000, 500_000] {
        assert_eq!(
            codes(&format!("{HEAD}spec: {}", "[".repeat(depth))),
            ["syntax-error"]
        );
        let brackets = format!(
            "{HEAD}spec: {}{}",
            "{a: ".repeat(depth / 2),
            "}".repeat(depth / 2)
        );
        assert!(!codes(&brackets).is_empty());
    }
    let json = format!(
        "{{\"apiVersion\": \"lowops.manifests.v1\", \"spec\": {}",
        "[".repeat(200_000)
    );
    assert_eq!(
        survive("a.json", json.as_bytes()).problems[0].code,
        "syntax-error"
    );
}

#[test]
fn an_alias_bomb_does_not_go_off() {
    let mut bomb = format!("{HEAD}spec:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.extend([
            "  a",
            &level.to_string(),
            ": &a",
            &level.to_string(),
            " [",
            &aliases,
            "]\n",
        ]);
    }
    bomb.push_str("  extensions: *a29\n  memory: &m [*m]\n");
    let codes = codes(&bomb);
    assert!(codes.contains(&"wrong-type".to_owned()), "{codes:?}");

    // The same in a document of another tool is none of our business.
    let other = bomb.replace("lowops.manifests.v1", "v1");
    assert_eq!(survive("a.yaml", other.as_bytes()).problems, []);
}

#[test]
fn aliases_can_be_used_in_moderation() {
    let spec = "spec:\n  memory: &size 2Gi\n  storage: {size: *size}\n  extensions: &e [a]\n";
    assert_eq!(codes(&format!("{HEAD}{spec}")), Vec::<String>::new());
    assert_eq!(
        codes(&format!("{HEAD}spec: {{memory: *nothing}}\n")),
        ["alias-refused"]
    );
    let link = |n: i32| format!("  a{n}: &a{n} [*a{}]\n", n - 1);
    let chain = (1..200).map(link).collect::<Vec<_>>().concat();
    let chain = format!("{HEAD}spec:\n  a0: &a0 [x]\n{chain}  extensions: *a199\n");
    assert!(codes(&chain).len() > 100);
}

#[test]
fn many_mistakes_are_cut_short() {
    let field = |number| format!("  x{number}: 1\n");
    let many = (0..10_000).map(field).collect::<Vec<_>>().concat();
    let codes = codes(&format!("{HEAD}spec:\n{many}"));
    assert_eq!(codes.len(), 101);
    assert_eq!(codes.last().map(String::as_str), Some("too-many-problems"));
    // On one line, which is not repeated for each of them.
    let line = format!("{{{}}}", "x: 1, ".repeat(20_000));
    assert!(
        text(
            &parse("a.yaml", format!("{HEAD}spec: {line}").as_bytes()).problems,
            Color::Never
        )
        .len()
            < 100_000
    );
}

#[test]
fn many_mistakes_on_one_line_are_no_more_work_than_a_hundred() {
    // Each place is found by looking at the whole line; all of them would take minutes.
    let variables: Vec<String> = (0..10_000).map(|number| format!("{number}a: x")).collect();
    let application = HEAD.replace("kind: Database", "kind: Application");
    let env = format!("{application}spec: {{env: {{{}}}}}\n", variables.join(", "));
    assert_eq!(codes(&env).len(), 101);
    let grants = vec!["{name: a}"; 10_000].join(", ");
    let grants = format!("{application}spec: {{accessControl: {{databases: [{grants}]}}}}\n");
    assert_eq!(codes(&grants).len(), 101);
    let extensions = vec!["a"; 50_000].join(",");
    assert_eq!(
        codes(&format!("{HEAD}spec: {{extensions: [{extensions}]}}\n")).len(),
        101
    );
}

#[test]
fn a_large_file_is_refused_if_it_may_hold_a_manifest() {
    let large = [HEAD.as_bytes(), &vec![b'#'; LARGEST_FILE]].concat();
    let problem = survive("big.yaml", &large).problems.remove(0);
    assert_eq!(problem.code, "file-too-large");
    assert!(problem.is_error());
    let large = &large[..LARGEST_FILE];
    assert_eq!(survive("big.yaml", large).problems, []);
    assert_eq!(
        survive("package-lock.json", &vec![b'{'; 2 * LARGEST_FILE]).problems,
        []
    );
}

#[test]
fn numbers_beyond_every_type_are_refused() {
    for number in [
        "99999999999999999999999999",
        "1e400",
        "-1",
        "0x7f",
        ".inf",
        "1_000",
        "٣",
    ] {
        let codes = codes(&format!(
            "{HEAD}spec: {{cpuCount: {number}, memory: {number}, clusterSize: {number}}}\n"
        ));
        assert_eq!(codes.len(), 3, "{number}: {codes:?}");
    }
}

#[test]
fn a_whole_repository_has_no_problems() {
    let mut documents = 0;
    for (name, text) in testing::repository(25) {
        let parsed = survive(&name, text.as_bytes());
        assert_eq!(parsed.problems, []);
        documents += parsed.documents.len();
    }
    assert_eq!(documents, 75);
}

/// Text that looks like a manifest, so that more than the YAML parser is reached.
fn nearly_a_manifest() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "spec",
        "metadata",
        "name",
        "a",
        "\"",
        "'",
        "{",
        "}",
        "[",
        "]",
        ": ",
        ", ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "&a ",
        "*a",
        "|",
        ">",
        "#",
        "---\n",
        "!!str ",
        "? ",
        "<<",
        "cpuCount",
        "1",
        "1.5",
        "true",
        "null",
        "10Gi",
        "parameters",
        "accessControl",
        "databases",
        "env",
        "source",
        "command",
        "kind: Application\n",
        "\t",
        "%",
        "é",
        "\u{0}",
        "backupConfig",
        "schedule",
        "* * * * *",
        "extensions",
        "labels",
        "\r",
        "@",
        "`",
    ]);
    let manifest = format!("{HEAD}spec:");
    prop::collection::vec(words, 0..60)
        .prop_map(move |words| format!("{manifest}{}", words.concat()))
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survive("a.yaml", &bytes);
        survive("a.json", &bytes);
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        survive("a.yaml", text.as_bytes());
    }

    #[test]
    fn nearly_manifests_get_an_answer(text in nearly_a_manifest()) {
        survive("a.yaml", text.as_bytes());
        survive("a.json", text.as_bytes());
    }

    #[test]
    fn a_manifest_with_bytes_exchanged_gets_an_answer(
        at in 0..300_usize, bytes in prop::collection::vec(any::<u8>(), 1..5),
    ) {
        let (_, text) = testing::database(1);
        let mut mangled = text.into_bytes();
        let at = at.min(mangled.len());
        mangled.splice(at..(at + bytes.len()).min(mangled.len()), bytes);
        survive("a.yaml", &mangled);
    }
}
