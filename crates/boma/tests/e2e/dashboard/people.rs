//! People, what they may see and do, and the tokens of programs.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{PROJECT, SERVED, is_ready, shop, signed_in};
use crate::installation::{Installation, wait};
use crate::manifests::{database, database_in};
use crate::trouble::serve_with;
use boma_testkit::{Answer, Browser};

/// Another project, with a database of its own.
const OTHER: &str = "fincorp/retail-banking/development/books";

/// A password that nobody has; made anew by each run.
fn password() -> String {
    format!("of a test, {}", uuid::Uuid::new_v4())
}

/// Two projects, both served; somebody who runs them is signed in.
fn two_projects() -> Result<(Installation, impl Drop, Browser)> {
    let boma = shop()?;
    boma.write("ledger.yaml", &database_in("books", "ledger", ""))?;
    let serving = serve_with(&boma, &SERVED)?;
    let mut owner = signed_in(&boma)?;
    is_ready(&mut owner, &format!("/databases/{PROJECT}/orders"))?;
    is_ready(&mut owner, &format!("/databases/{OTHER}/ledger"))?;
    Ok((boma, serving, owner))
}

/// Follows an invitation and chooses a password.
fn accept(link: &str, password: &str) -> Result<(Browser, Answer)> {
    let mut browser = Browser::at(link)?;
    let path = &link[link.find("/invitation").context("a path")?..];
    let page = browser.get(path.trim_end())?;
    ensure!(page.body.contains("Choose a password"), "{page:?}");
    let mut fields = page.fields();
    fields.push(("password".to_owned(), password.to_owned()));
    let answer = browser.post_as_sent("/invitation", &fields)?;
    Ok((browser, answer))
}

fn sign_in(at: &Browser, name: &str, password: &str) -> Result<(Browser, Answer)> {
    let mut browser = Browser::at(&format!("http://{}/", at.address()))?;
    let sent = [("name", name), ("password", password)];
    let answer = browser.post("/sign-in", &sent)?;
    Ok((browser, answer))
}

#[test]
fn who_is_invited_sees_and_changes_what_is_theirs() -> Result<()> {
    let (boma, _serving, owner) = two_projects()?;
    let role = format!("developer:{PROJECT}");
    let link = boma
        .boma(["people", "invite", "ana", "--role", &role])?
        .ok()?;
    let secret = password();
    let (_, short) = accept(&link, "short")?;
    ensure!(
        short.status == 422 && short.body.contains("fewer than 15 characters"),
        "{short:?}"
    );
    let (mut ana, entered) = accept(&link, &secret)?;
    ensure!(entered.status == 303, "{entered:?}");
    let path = &link[link.find("/invitation").context("a path")?..];
    let again = Browser::at(&link)?.get(path.trim_end())?;
    ensure!(
        again.status == 409 && again.body.contains("followed already"),
        "{again:?}"
    );

    let overview = ana.get("/")?;
    ensure!(
        overview.body.contains("orders") && overview.body.contains("Signed in as ana"),
        "{overview:?}"
    );
    for path in ["/", "/plan", "/events", "/new/database", "/people"] {
        let page = ana.get(path)?;
        ensure!(page.status == 200, "{path}: {page:?}");
        ensure!(!page.body.contains("ledger"), "{path}: {page:?}");
        ensure!(!page.body.contains(OTHER), "{path}: {page:?}");
    }
    ensure!(ana.get(&format!("/databases/{OTHER}/ledger"))?.status == 404);
    let audit = ana.get("/audit")?;
    ensure!(
        audit.status == 403 && audit.body.contains("Only somebody who is admin"),
        "{audit:?}"
    );
    let ledger = format!("{OTHER}/ledger");
    for act in ["/back-up", "/hold"] {
        ensure!(
            ana.post(act, &[("database", &ledger)])?.status == 404,
            "{act}"
        );
    }

    writes_her_own_only(&boma, &mut ana)?;
    let audit = boma.boma(["audit"])?.ok()?;
    for part in [
        "invite ana as",
        "ana chooses a password",
        "ana, in the dashboard",
    ] {
        ensure!(audit.contains(part), "{part}: {audit}");
    }
    ensure!(!audit.contains(&secret), "a password is in the audit trail");

    // Out, and in by her password; after a removal, out within a second.
    ensure!(ana.post("/sign-out", &[])?.status == 200);
    let (mut ana, entered) = sign_in(&owner, "ana", &secret)?;
    ensure!(
        entered.status == 303 && ana.get("/")?.status == 200,
        "{entered:?}"
    );
    boma.boma(["people", "remove", "ana"])?.ok()?;
    wait(|| {
        let page = ana.get("/")?;
        ensure!(page.status == 401, "{page:?}");
        Ok(())
    })
}

#[test]
fn a_person_changes_their_password_and_is_out_everywhere_else() -> Result<()> {
    let (boma, _serving, owner) = two_projects()?;
    let invite = ["people", "invite", "ana", "--role", "viewer"];
    let link = boma.boma(invite)?.ok()?;
    let (former, new) = (password(), password());
    let (mut ana, _) = accept(&link, &former)?;
    let (mut elsewhere, _) = sign_in(&owner, "ana", &former)?;
    let page = ana.get("/people")?;
    ensure!(page.body.contains("Change your password"), "{page:?}");
    let refused = ana.post("/password", &[("current", &*new), ("password", &new)])?;
    ensure!(
        refused.status == 422 && refused.body.contains("the current password is another one"),
        "{refused:?}"
    );
    let refused = ana.post("/password", &[("current", &*former), ("password", "short")])?;
    ensure!(
        refused.status == 422 && refused.body.contains("fewer than 15 characters"),
        "{refused:?}"
    );
    ensure!(elsewhere.get("/")?.status == 200);
    let changed = ana.post("/password", &[("current", &*former), ("password", &new)])?;
    ensure!(changed.status == 303, "{changed:?}");
    ensure!(ana.get("/")?.status == 200 && elsewhere.get("/")?.status == 401);
    let (_, out) = sign_in(&owner, "ana", &former)?;
    let (_, entered) = sign_in(&owner, "ana", &new)?;
    ensure!(
        out.status == 401 && entered.status == 303,
        "{out:?} {entered:?}"
    );
    let audit = boma.boma(["audit"])?.ok()?;
    ensure!(!audit.contains(&former) && !audit.contains(&new), "{audit}");

    // A guess is held up here as it is where people sign in; and who has none changes none.
    let wrong = [("current", "wrong"), ("password", &*new)];
    let held = (0..20).map(|_| ana.post("/password", &wrong).map(|answer| answer.status));
    let held: Vec<u16> = held.collect::<Result<_>>()?;
    ensure!(held.contains(&429), "{held:?}");
    let mut owner = owner;
    ensure!(owner.post("/password", &wrong)?.status == 404);
    Ok(())
}

fn writes_her_own_only(boma: &Installation, ana: &mut Browser) -> Result<()> {
    // A file of her own she may write; nothing into another project, not beside her own either.
    let write = |ana: &mut Browser, text: &str| {
        let sent = [
            ("file", "new.yaml"),
            ("former", ""),
            ("text", text),
            ("back", "/"),
        ];
        ana.post("/changes", &sent)
    };
    let beyond = [database("stock", ""), database_in("books", "more", "")].join("---\n");
    let refused = write(ana, &beyond)?;
    ensure!(
        refused.status == 403 && refused.body.contains(&format!("developer of {OTHER}")),
        "{refused:?}"
    );
    ensure!(!boma.manifests().join("new.yaml").exists());
    let written = write(ana, &database("stock", ""))?;
    ensure!(written.status == 303, "{written:?}");
    Ok(())
}

#[test]
fn who_guesses_passwords_is_held_up() -> Result<()> {
    let boma = Installation::new()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let owner = signed_in(&boma)?;
    let link = boma
        .boma(["people", "invite", "ana", "--role", "viewer"])?
        .ok()?;
    let secret = password();
    accept(&link, &secret)?;
    for name in ["ana", "nobody"] {
        for _ in 0..10 {
            let (mut guest, refused) = sign_in(&owner, name, "a guess of a password")?;
            ensure!(
                refused.status == 401 && refused.body.contains("Name or password is wrong"),
                "{refused:?}"
            );
            ensure!(guest.get("/")?.status == 401);
        }
        let (_, held) = sign_in(&owner, name, &secret)?;
        ensure!(held.status == 429, "{held:?}");
        ensure!(held.header("retry-after").is_some(), "{held:?}");
    }
    // Another site cannot have somebody sign in as whom it likes.
    let mut other = Browser::at(&format!("http://{}/", owner.address()))?
        .with("origin", "http://elsewhere.example");
    let sent = [("name", "ana"), ("password", &*secret)];
    ensure!(other.post("/sign-in", &sent)?.status == 403);
    Ok(())
}

#[test]
fn an_admin_lets_others_in_no_further_than_themselves() -> Result<()> {
    let (boma, _serving, _owner) = two_projects()?;
    let role = format!("admin:{PROJECT}");
    let link = boma
        .boma(["people", "invite", "ana", "--role", &role])?
        .ok()?;
    let (mut ana, _) = accept(&link, &password())?;
    boma.boma(["people", "invite", "root", "--role", "admin"])?
        .ok()?;
    let page = ana.get("/people")?;
    ensure!(
        page.body.contains("Invite somebody") && !page.body.contains(">root<"),
        "{page:?}"
    );
    let invite = |ana: &mut Browser, name: &str, scope: &str| {
        let sent = [
            ("act", "invite"),
            ("name", name),
            ("role", "viewer"),
            ("scope", scope),
        ];
        ana.post("/people", &sent)
    };
    let beyond = invite(&mut ana, "ben", OTHER)?;
    ensure!(
        beyond.status == 403 && beyond.body.contains("where you are no admin"),
        "{beyond:?}"
    );
    let invited = invite(&mut ana, "ben", PROJECT)?;
    let link = invited.body.split("<code>").nth(1).context("a link")?;
    let link = link.split("</code>").next().unwrap_or_default();
    let (mut ben, entered) = accept(link, &password())?;
    ensure!(entered.status == 303, "{entered:?}");
    // Who only looks is offered nothing else, and gets nothing else.
    let orders = format!("{PROJECT}/orders");
    let page = ben.get(&format!("/databases/{orders}"))?;
    ensure!(
        page.status == 200 && !page.body.contains("Back up now"),
        "{page:?}"
    );
    ensure!(ben.post("/back-up", &[("database", &*orders)])?.status == 403);
    let key = format!("{PROJECT}/web");
    let asked = [("application", &*key), ("variable", "DATABASE_URL")];
    ensure!(ben.post("/reveal", &asked)?.status == 403);
    let sent = [("act", "remove"), ("name", "root")];
    ensure!(ana.post("/people", &sent)?.status == 403);
    let sent = [("act", "remove"), ("name", "ana")];
    ensure!(ben.post("/people", &sent)?.status == 403);
    ensure!(ana.get("/audit")?.status == 200);

    let sent = [
        ("act", "assign"),
        ("name", "ben"),
        ("roles", &*format!("developer:{PROJECT}")),
    ];
    ensure!(ana.post("/people", &sent)?.status == 303);
    ensure!(ben.post("/reveal", &asked)?.status == 200);
    let list = boma.boma(["people", "list"])?.ok()?;
    ensure!(list.contains(&format!("developer:{PROJECT}")), "{list}");
    Ok(())
}

#[test]
fn a_program_is_let_in_by_its_token_as_far_as_it_goes() -> Result<()> {
    let (boma, _serving, owner) = two_projects()?;
    let role = format!("viewer:{OTHER}");
    let token = boma
        .boma(["token", "create", "ci", "--role", &role])?
        .ok()?;
    let bearer = format!("Bearer {}", token.trim());
    let mut program =
        Browser::at(&format!("http://{}/", owner.address()))?.with("authorization", &bearer);
    let mut read = |path: &str| -> Result<Value> {
        let answer = program.get(path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    };
    let databases = read("/api/v1/databases")?;
    let items = databases["items"].as_array().context("a list")?;
    ensure!(
        items.len() == 1 && items[0]["name"] == "ledger",
        "{databases}"
    );
    for path in ["/api/v1/applications", "/api/v1/plan", "/api/v1/events"] {
        let answer = read(path)?.to_string();
        ensure!(!answer.contains("orders"), "{path}: {answer}");
    }
    let audit = program.get("/api/v1/audit")?;
    ensure!(
        audit.status == 403 && audit.body.contains("\"not-allowed\""),
        "{audit:?}"
    );
    let hidden = program.get(&format!("/api/v1/databases/{PROJECT}/orders"))?;
    ensure!(hidden.status == 404, "{hidden:?}");

    let listed = boma.boma(["token", "list", "-o", "json"])?.ok()?;
    ensure!(listed.contains(&role) || listed.contains(OTHER), "{listed}");
    ensure!(!listed.contains(token.trim()), "a token is shown again");
    let twice = boma
        .boma(["token", "create", "ci", "--role", "viewer"])?
        .code(1)?;
    ensure!(twice.contains("there is a token `ci` already"), "{twice}");
    boma.boma(["token", "remove", "ci"])?.ok()?;
    wait(|| {
        let answer = program.get("/api/v1/databases")?;
        ensure!(answer.status == 401, "{answer:?}");
        Ok(())
    })
}

#[test]
fn behind_a_proxy_people_come_by_its_name_only() -> Result<()> {
    let boma = Installation::new()?;
    let config = boma.state().join("config.toml");
    let former = fs::read_to_string(&config).unwrap_or_default();
    let dashboard = "[dashboard]\nurl = \"https://boma.example\"\nbehind-proxy = true\n";
    fs::write(&config, format!("{former}\n{dashboard}"))?;
    let _serving = serve_with(&boma, &["m", "--dashboard", "0.0.0.0:0"])?;
    let link = wait(|| boma.boma(["dashboard"])?.ok())?;
    ensure!(
        link.starts_with("https://boma.example/sign-in?link="),
        "{link}"
    );
    let served: Value = serde_json::from_slice(&fs::read(boma.state().join("dashboard.json"))?)?;
    let at = served["at"].as_str().context("an address")?;
    let at = at.replace("0.0.0.0", "127.0.0.1");

    let invited = boma
        .boma(["people", "invite", "ana", "--role", "viewer"])?
        .ok()?;
    ensure!(
        invited.starts_with("https://boma.example/invitation?"),
        "{invited}"
    );
    let path = invited.trim().trim_start_matches("https://boma.example");
    let proxy = Browser::at(&format!("http://{at}/"))?;
    let mut proxy = proxy.with("host", "boma.example");
    let fields = {
        let mut fields = proxy.get(path)?.fields();
        fields.push(("password".to_owned(), password()));
        fields
    };
    let entered = proxy.post_as_sent("/invitation", &fields)?;
    let cookie = entered.header("set-cookie").context("a cookie")?;
    ensure!(
        entered.status == 303 && cookie.ends_with("; Secure"),
        "{entered:?}"
    );
    ensure!(proxy.get("/")?.status == 200);
    ensure!(proxy.with("host", "other.example").get("/")?.status == 421);
    Ok(())
}
