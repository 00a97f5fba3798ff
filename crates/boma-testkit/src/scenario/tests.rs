use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::{Stage, play};
use crate::Ran;

/// A stage on which `boma` prints its arguments and what it reads, and psql what it is asked; what
/// begins with `fail` or `wait` fails, the latter only the first time.
struct Echo(TempDir);

impl Stage for Echo {
    fn manifests(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn given(&self) -> Vec<(&'static str, String)> {
        vec![("PROJECT", "shop".into())]
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn boma(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        let waited = self.0.path().join("waited");
        let is_first = !waited.exists();
        fs::write(waited, "")?;
        let first = arguments.first().copied().unwrap_or_default();
        let fails = first == "fail" || first == "wait" && is_first;
        Ok(Ran {
            code: i32::from(fails),
            stdout: format!("{}\n", arguments.join(" ")),
            stderr: input.to_owned(),
        })
    }

    fn apply_again(&self) -> Result<Ran> {
        self.boma(&["apply"], "Nothing to do\n")
    }

    fn start(&self, application: &str, number: usize) -> Result<String> {
        Ok(format!("{application}-{number}"))
    }

    fn psql(&self, started: &str) -> Result<Command> {
        let mut command = Command::new("sh");
        let script = "while read -r line; do case $line in fail*) echo no >&2; exit 3;; stranger*) \
                      exit 2;; *answers*) echo 'it answers';; *) echo \"$0: $line\";; esac; done";
        command.args(["-c", script, started]);
        Ok(command)
    }

    fn variable(&self, application: &str, name: &str) -> Result<String> {
        Ok(format!("{name} of {application}"))
    }

    fn repository(&mut self, name: &str) -> Result<()> {
        Ok(fs::write(self.0.path().join(name), "")?)
    }
}

/// Plays a text; gives why it went otherwise.
fn played(text: &str) -> Result<Option<String>> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("story.txt");
    fs::write(&file, text)?;
    let ended = play(&file, &mut Echo(tempfile::tempdir()?));
    Ok(ended.err().map(|error| format!("{error:#}")))
}

#[test]
fn every_kind_of_step_is_played() -> Result<()> {
    let went = played(
        "# What it shows.\n\
         $ write a.yaml\n| one\n| two of $PROJECT\n\
         $ edit a.yaml\n| -two of $PROJECT\n| +three\n\
         $ rename a.yaml b.yaml\n\
         $ remove b.yaml\n\
         $ boma get all\n[call it $WORDS]\n[without nothing]\nget .. all\n\
         $ boma secret set\n| open sesame\nopen sesame\n\
         $ boma fail $WORDS\n[exit code 1]\nfail get all\n\
         $ boma wait\n[eventually]\n\
         $ apply\n\
         $ apply again\n\n\
         $ query web select 1\nweb-1: select 1\n\
         $ restart web\n\
         $ query web select '$PROJECT'\nweb-2: select 'shop'\n\
         $ query former web select 1\nweb-1: select 1\n\
         $ query web fail\n[refused]\nno\n\
         $ query web stranger\n[not let in]\n\
         $ session web opens\n\
         $ session web goes on\n\
         $ variable web GREETING\nGREETING of web\n\
         $ repository backups\n",
    )?;
    assert_eq!(went, None);
    Ok(())
}

#[test]
fn what_went_otherwise_is_told_with_its_line_and_what_came() -> Result<()> {
    for (text, says) in [
        (
            "# A story.\n\n$ boma get all\nnone\n",
            "story.txt:3: $ boma get all: expected: none\ncame: get all",
        ),
        (
            "$ boma get\n[exit code 4]\n",
            "story.txt:1: $ boma get: expected: exit code 4\ncame: exit code 0\nget",
        ),
        (
            "$ boma get\n[without get]\n",
            "expected without: get\ncame: get",
        ),
        (
            "$ query web select 1\n2\n",
            "expected: 2\ncame: web-1: select 1",
        ),
        (
            "$ query web select 1\n",
            "expected: \ncame: web-1: select 1",
        ),
        (
            "$ query web select 1\n[refused]\n",
            "expected: it is refused\ncame: exit code 0",
        ),
        (
            "$ session web opens\n$ session web is ended\n",
            "story.txt:2: $ session web is ended: expected: it is ended\ncame: it answers",
        ),
        ("$ query former web select 1\n", "web was started once only"),
        (
            "$ write a.yaml\n| one\n$ edit a.yaml\n| -two\n",
            "expected in a.yaml:\ntwo\ncame:\none",
        ),
    ] {
        let went = played(text)?.unwrap_or_default();
        assert!(went.contains(says), "{text}: {went}");
    }
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_is_told_before_anything_is_played() -> Result<()> {
    for (text, says) in [
        ("", "story.txt: nothing happens"),
        ("get\n", "story.txt:1: get: no command comes before this"),
        (
            "$ boma a\n$ wrong\n",
            "story.txt:2: $ wrong: there is no such command",
        ),
        (
            "$ query web\n",
            "there is no such command, or it lacks something",
        ),
        ("$ apply\n| text\n", "it reads no lines with `|`"),
        ("$ boma a\n[sometimes]\n", "no such mark: [sometimes]"),
        ("$ boma a\n[exit code one]\n", "an exit code is a number"),
        (
            "$ session web ends\n",
            "a session `opens`, `goes on` or `is ended`",
        ),
        (
            "$ edit a.yaml\n| +one\n",
            "`edit` needs lines that are there",
        ),
    ] {
        let went = played(text)?.unwrap_or_default();
        assert!(went.contains(says), "{text}: {went}");
    }
    Ok(())
}
