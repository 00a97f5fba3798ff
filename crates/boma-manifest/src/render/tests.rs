//! What people and machines see of problems.

use boma_problem::{Class, Place, Problem};
use insta::assert_snapshot;

use super::{Color, Count, github, json, text};
use crate::parse;

const BAD: &str = "\
apiVersion: lowops.manifests.v1
kind: Database
metadata:
  name: Accounts_DB
  project: login-svc
  environment: development
  organizational-unit: retail-banking
  organization: fincorp
spec:
  cpuCont: 4
  memory: 4
  memory: 8Gi
computed: {}
";

fn problems() -> Vec<Problem> {
    parse("database/accounts-db.yaml", BAD.as_bytes()).problems
}

#[test]
fn text_shows_line_mark_and_hint() {
    assert_snapshot!(text(&problems(), Color::Never));
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    assert!(text(&problems(), Color::Always).contains('\u{1b}'));
    assert!(!text(&problems(), Color::Never).contains('\u{1b}'));
    assert_eq!(text(&[], Color::Always), "");
}

#[test]
fn json_has_everything() {
    assert_snapshot!(json(&problems()[..1]));
}

#[test]
fn github_gets_one_line_for_each_problem() {
    assert_snapshot!(github(&problems()));
}

#[test]
fn nothing_in_a_file_can_end_an_annotation_or_act_on_a_terminal() {
    let place = Place {
        file: "a,b:c%\n\u{1b}[2J.yaml".to_owned(),
        line: 1,
        column: 2,
        length: 9,
        text: "\tx\u{1b}[31m\u{202e}é: y".to_owned(),
    };
    let problem = Problem::new(Class::User, "odd", "100%\n::error::\u{1b}[31m")
        .at(place.clone())
        .related(
            "first\nhere",
            Place {
                text: String::new(),
                ..place
            },
        )
        .hint("do\r\nthis");
    let shown = text(std::slice::from_ref(&problem), Color::Never);
    assert_snapshot!(shown);
    assert!(!shown.contains('\u{1b}'));
    let shown = github(&[problem]);
    assert_snapshot!(shown);
    assert_eq!(shown.lines().count(), 1);
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn a_mark_beyond_its_line_is_shown_at_the_end() {
    let place = Place {
        file: "a".into(),
        line: 3,
        column: 90,
        length: 7,
        text: "short".into(),
    };
    let problem = Problem::new(Class::User, "odd", "somewhere").at(place);
    assert!(text(&[problem], Color::Never).contains("short"));
}

#[test]
fn counts_read_as_words() {
    let (error, warning) = (problems().remove(0), problems().remove(0).warning());
    for (problems, words) in [
        (vec![], "no problems"),
        (vec![error.clone()], "1 error"),
        (vec![warning.clone(), warning.clone()], "2 warnings"),
        (
            vec![error.clone(), error, warning],
            "2 errors and 1 warning",
        ),
    ] {
        assert_eq!(Count::of(&problems).to_string(), words);
    }
}
