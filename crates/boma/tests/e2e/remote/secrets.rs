//! Secrets under names, from elsewhere.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Elsewhere, ran};
use crate::installation::{Installation, wait};

#[test]
fn secrets_are_stored_from_elsewhere_and_never_shown() -> Result<()> {
    let boma = Installation::new()?;
    let there = Elsewhere::beside(boma, "admin")?;
    wait(|| there.ok(&["get"]))?;
    let file = there.home.path().join("value");
    let set = |name: &str, value: &str| {
        fs::write(&file, value)?;
        let mut command = there.command(&["secret", "set", name]);
        ran(command.stdin(fs::File::open(&file)?))
    };
    let value = "not-to-be-shown-4711";
    let said = set("git", &format!("{value}\n"))?;
    ensure!(
        said.code == 0 && said.stderr.contains("Secret git is stored."),
        "{said:?}"
    );
    set("oidc", "another")?.ok()?;
    assert_eq!(there.ok(&["secret", "list"])?, "git\noidc\n");
    assert_eq!(there.boma.boma(["secret", "list"])?.ok()?, "git\noidc\n");
    for (name, value, says) in [
        ("empty", "", "an empty secret is none"),
        ("long", &*"a".repeat(70_000), "at most 64 KiB"),
    ] {
        let refused = set(name, value)?;
        ensure!(
            refused.code == 1 && refused.stderr.contains(says),
            "{refused:?}"
        );
    }
    let long = json!({ "value": "a".repeat(70_000) });
    let answer = there.ask("PUT", "/api/v1/secrets/long", &long)?;
    ensure!(
        answer.status == 422 && answer.body.contains("secret-unusable"),
        "{answer:?}"
    );
    let answer = there.ask("PUT", "/api/v1/secrets/a%2Fb", &json!({"value": "x"}))?;
    ensure!(answer.status == 400, "{answer:?}");
    // What is the installation's is none of those who administer a part of it.
    let part = there.with_token("part", "admin:fincorp")?;
    assert_eq!(part(&["secret", "list"])?.ok()?, "");
    let refused = part(&["secret", "remove", "git"])?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("admin of everything"),
        "{refused:?}"
    );
    // A project's are of those who write its manifests.
    let own = "fincorp/retail/dev/shop/smtp";
    set(own, "own")?.ok()?;
    set("other/retail/dev/shop/smtp", "theirs")?.ok()?;
    assert_eq!(part(&["secret", "list"])?.ok()?, format!("{own}\n"));
    let refused = part(&["secret", "remove", "other/retail/dev/shop/smtp"])?;
    ensure!(refused.code == 1, "{refused:?}");
    for name in [own, "other/retail/dev/shop/smtp"] {
        there.ok(&["secret", "remove", name])?;
    }
    there.ok(&["secret", "remove", "git"])?;
    let gone = there.refused(&["secret", "remove", "git"])?;
    ensure!(gone.contains("there is no secret `git`"), "{gone}");
    assert_eq!(there.ok(&["secret", "list"])?, "oidc\n");
    there.has_recorded(&["secret git is stored", "secret git is forgotten"])?;
    let audit = there.ok(&["audit", "-n", "1000"])?;
    ensure!(!audit.contains(value), "the value is in the trail");
    Ok(())
}
