//! The dashboard of `boma serve`, as a program sees it: who is let in, what is refused, what is
//! written. How it looks and works in a browser is tested in `tests/browser`.

mod api;
mod changes;
mod ends;
mod numbers;
mod people;
mod read_only;
mod told;
mod watching;

use std::fs;

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;

use crate::git::Repository;
use crate::installation::{Installation, wait};
use crate::manifests::{application, database, writes};
use crate::trouble::serve_with;
use boma_testkit::{Answer, Browser};

pub(crate) const PROJECT: &str = "fincorp/retail-banking/development/shop";

/// A database that an application uses, both served.
fn shop() -> Result<Installation> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    boma.write("orders.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    Ok(boma)
}

const SERVED: [&str; 3] = ["m", "--dashboard", "127.0.0.1:0"];

/// A browser that has followed a link.
pub(crate) fn signed_in(boma: &Installation) -> Result<Browser> {
    let link = wait(|| boma.boma(["dashboard"])?.ok())?;
    let mut browser = Browser::at(&link)?;
    let answer = browser.get(link[link.find("/sign-in").context("a path")?..].trim_end())?;
    ensure!(answer.status == 303, "{answer:?}");
    Ok(browser)
}

pub(crate) fn is_ready(browser: &mut Browser, path: &str) -> Result<Answer> {
    wait(|| {
        let page = browser.get(path)?;
        ensure!(
            page.status == 200 && page.body.contains("badge well\">Ready<"),
            "{page:?}"
        );
        Ok(page)
    })
}

#[test]
fn a_change_in_the_dashboard_is_a_change_of_a_manifest() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;

    browser.get("/new/database")?;
    let form = [
        ("project", PROJECT),
        ("name", "stock"),
        ("version", "17"),
        ("plan", "free"),
        ("storage", "2"),
    ];
    let shown = browser.post("/new/database", &form)?;
    ensure!(shown.status == 200, "{shown:?}");
    for part in [
        "stock.yaml",
        "+  name: stock",
        "plan: free",
        "size: 2Gi",
        "PostgreSQL 17",
    ] {
        ensure!(shown.body.contains(part), "{part}: {}", shown.body);
    }
    ensure!(!boma.manifests().join("stock.yaml").exists());
    let fields = shown.fields();
    let written = browser.post_as_sent("/changes", &fields)?;
    ensure!(written.status == 303, "{written:?}");
    let path = format!("/databases/{PROJECT}/stock");
    ensure!(written.header("location") == Some(&*path), "{written:?}");
    is_ready(&mut browser, &path)?;
    let text = fs::read_to_string(boma.manifests().join("stock.yaml"))?;
    ensure!(text.contains("size: 2Gi"), "{text}");
    let audit = boma.boma(["audit"])?.ok()?;
    ensure!(audit.contains("write manifest stock.yaml"), "{audit}");
    ensure!(audit.contains("in the dashboard"), "{audit}");

    // The same form again: the file is there now, and it is another one than the form was made of.
    let again = browser.post_as_sent("/changes", &fields)?;
    ensure!(
        again.status == 409 && again.body.contains("somebody else"),
        "{again:?}"
    );

    // What is wrong is shown with its place, and cannot be written, whatever is sent.
    let form = [
        ("project", PROJECT),
        ("name", "Stock 2"),
        ("storage", "900"),
    ];
    let wrong = browser.post("/new/database", &form)?;
    ensure!(
        wrong.body.contains("900Gi") && !wrong.body.contains("Create it"),
        "{wrong:?}"
    );
    let text = "apiVersion: lowops.manifests.v1\nkind: Database\n";
    let sent = [
        ("file", "wrong.yaml"),
        ("former", ""),
        ("text", text),
        ("back", "/"),
    ];
    let refused = browser.post("/changes", &sent)?;
    ensure!(
        refused.status == 422 && refused.body.contains("metadata"),
        "{refused:?}"
    );
    for file in ["../wrong.yaml", "/wrong.yaml", ".wrong.yaml", "wrong.sh"] {
        let text = database("other", "");
        let sent = [
            ("file", file),
            ("former", ""),
            ("text", &text),
            ("back", "/"),
        ];
        let refused = browser.post("/changes", &sent)?;
        ensure!(
            refused.body.contains("manifest-outside"),
            "{file}: {refused:?}"
        );
    }
    ensure!(!boma.path("wrong.yaml").exists() && !boma.manifests().join("wrong.sh").exists());
    Ok(())
}

#[test]
fn an_application_is_made_with_what_it_uses() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    browser.get("/new/application")?;
    let form = [
        ("project", PROJECT),
        ("name", "reports"),
        ("runs", ""),
        ("what", ""),
        ("pre-deploy", ""),
        ("database", "orders"),
    ];
    let shown = browser.post("/new/application", &form)?;
    for part in ["reports.yaml", "+  name: reports", "login reports_1"] {
        ensure!(shown.body.contains(part), "{part}: {}", shown.body);
    }
    let written = browser.post_as_sent("/changes", &shown.fields())?;
    let path = format!("/applications/{PROJECT}/reports");
    ensure!(
        written.status == 303 && written.header("location") == Some(&*path),
        "{written:?}"
    );
    // It is there at once, whatever the engine has read.
    ensure!(browser.get(&path)?.status == 200);
    wait(|| {
        let environment = boma.boma(["env", "reports", "--reveal"])?.ok()?;
        ensure!(
            environment.contains("DATABASE_URL=postgres"),
            "{environment}"
        );
        Ok(())
    })
}

#[test]
fn a_change_of_a_repository_is_a_commit_or_a_branch_for_review() -> Result<()> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    let repository = Repository::new(&boma)?;
    repository.takes_pushes()?;
    repository.commit("orders.yaml", &database("orders", ""), "add orders")?;
    let address = format!("file://{}", repository.place.display());
    let serving = [&*address, "--poll", "3600", "--dashboard", "127.0.0.1:0"];
    let _serving = serve_with(&boma, &serving)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;

    browser.get("/new/database")?;
    let mut ask = |name: &str, onto: &str| {
        let form = [("project", PROJECT), ("name", name), ("plan", "free")];
        let shown = browser.post("/new/database", &form)?;
        ensure!(
            shown.body.contains("For review") || shown.body.contains("for review"),
            "{shown:?}"
        );
        let mut fields = shown.fields();
        fields.push(("about".to_owned(), format!("we need {name}")));
        fields.push(("onto".to_owned(), onto.to_owned()));
        browser.post_as_sent("/changes", &fields)
    };
    let waits = ask("bills", "review")?;
    ensure!(
        waits.status == 200 && waits.body.contains("boma/we-need-bills-"),
        "{waits:?}"
    );
    let branches = repository.git(&["branch", "--list", "boma/we-need-bills-*"])?;
    ensure!(branches.lines().count() == 1, "{branches}");
    ensure!(!repository.place.join("bills.yaml").exists());

    let written = ask("stock", "branch")?;
    ensure!(written.status == 303, "{written:?}");
    ensure!(repository.git(&["log", "-1", "--format=%s"])? == "we need stock");
    // It is fetched at once, though nobody would look for an hour.
    let page = is_ready(&mut browser, &format!("/databases/{PROJECT}/stock"))?;
    ensure!(page.body.contains("“we need stock”"), "{page:?}");
    let audit = boma.boma(["audit"])?.ok()?;
    let commit = repository.git(&["rev-parse", "main"])?;
    ensure!(
        audit.contains(&format!("write manifest stock.yaml, commit {commit}")),
        "{audit}"
    );
    Ok(())
}

#[test]
fn a_secret_is_shown_to_who_asks_for_it_and_that_is_recorded() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let application = format!("/applications/{PROJECT}/web");
    let environment = wait(|| boma.boma(["env", "web", "--reveal"])?.ok())?;
    let (_, url) = environment.trim().split_once('=').context("a variable")?;
    let (_, after) = url.split_once(':').context("a scheme")?;
    let (_, after) = after.split_once(':').context("a user")?;
    let (password, _) = after.split_once('@').context("a password")?;

    for path in ["/", &application, "/plan", "/events", "/audit"] {
        let page = browser.get(path)?;
        ensure!(page.status == 200, "{path}: {page:?}");
        ensure!(!page.body.contains(password), "the password is in {path}");
    }
    let key = format!("{PROJECT}/web");
    let asked = [("application", &*key), ("variable", "DATABASE_URL")];
    let shown = browser.post("/reveal", &asked)?;
    ensure!(
        shown.status == 200 && shown.body.contains(password),
        "it is not shown"
    );
    ensure!(shown.header("cache-control") == Some("no-store"));
    let other = [("application", &*key), ("variable", "NOTHING")];
    let refused = browser.post("/reveal", &other)?;
    ensure!(refused.body.contains("variable-unknown"), "{refused:?}");
    let audit = boma.boma(["audit"])?.ok()?;
    ensure!(audit.contains("reveal DATABASE_URL"), "{audit}");

    // Another password: it is asked for, and delivered.
    let database = format!("{PROJECT}/orders");
    let sent = [("application", &*key), ("database", &*database)];
    ensure!(browser.post("/rotate", &sent)?.status == 303);
    wait(|| {
        let now = boma.boma(["env", "web", "--reveal"])?.ok()?;
        ensure!(!now.contains(password), "it is the former one");
        Ok(())
    })?;
    let nobody = [("application", &*key), ("database", "a/b/c/d/e")];
    ensure!(browser.post("/rotate", &nobody)?.status == 404);
    Ok(())
}

#[test]
fn nobody_else_gets_in_and_nothing_is_sent_from_elsewhere() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let text = database("planted", "");
    let sent = [
        ("file", "planted.yaml"),
        ("former", ""),
        ("text", &*text),
        ("back", "/"),
    ];

    let link = boma.boma(["dashboard"])?.ok()?;
    let path = link[link.find("/sign-in").context("a path")?..]
        .trim_end()
        .to_owned();
    let mut other = Browser::at(&link)?;
    for path in ["/", "/events", "/stream", "/databases/x", "/none"] {
        let page = other.get(path)?;
        ensure!(
            page.status == 401 && !page.body.contains("orders"),
            "{path}: {page:?}"
        );
    }
    ensure!(other.post("/changes", &sent)?.status == 401);
    ensure!(other.get(&path)?.status == 303, "a link works");
    ensure!(
        Browser::at(&link)?.get(&path)?.status == 401,
        "and works once"
    );

    // Who has the cookie and not the form's secret is another site; browsers say so, too.
    let mut forged = browser.clone();
    forged.forget_form();
    ensure!(forged.post("/changes", &sent)?.status == 403);
    for (header, value) in [
        ("origin", "http://elsewhere.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = browser.with(header, value).post("/changes", &sent)?;
        ensure!(answer.status == 403, "{header}: {value}: {answer:?}");
    }
    for host in ["elsewhere.example", "10.0.0.1:9480", ""] {
        let answer = browser.with("host", host).get("/")?;
        ensure!(answer.status == 421, "{host}: {answer:?}");
    }
    for path in [
        "/assets/../state",
        "/assets/%2e%2e%2fconfig.toml",
        "/databases/../../x",
    ] {
        let answer = browser.get(path)?;
        ensure!(answer.status == 404, "{path}: {answer:?}");
    }
    let large = "x".repeat(5 << 20);
    let answer = browser.post("/edit", &[("text", &*large)])?;
    ensure!(answer.status == 413, "{}", answer.status);
    let answer = browser.post_half("/edit")?;
    ensure!(answer.status == 408, "{answer:?}");
    ensure!(!boma.manifests().join("planted.yaml").exists());

    let page = browser.get("/")?;
    let policy = page.header("content-security-policy").unwrap_or_default();
    ensure!(policy.starts_with("default-src 'none'"), "{page:?}");
    ensure!(!policy.contains("unsafe"), "{policy}");
    for (header, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
    ] {
        ensure!(page.header(header) == Some(value), "{header}: {page:?}");
    }
    ensure!(browser.post("/sign-out", &[])?.status == 200);
    ensure!(browser.get("/")?.status == 401, "signed out");
    Ok(())
}

#[test]
fn a_session_outlives_the_server_and_a_link_does_not() -> Result<()> {
    let boma = shop()?;
    let serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let link = boma.boma(["dashboard"])?.ok()?;
    let address = browser.address().to_owned();
    drop(serving);
    // Others may read what a service logs.
    let said = fs::read_to_string(boma.path("serve.log"))?;
    ensure!(said.contains("`boma dashboard` prints a link"), "{said}");
    ensure!(!said.contains("link="), "{said}");
    // Killed, it left its file; nobody is there.
    let none = boma.boma(["dashboard"])?.code(1)?;
    ensure!(
        none.contains("no dashboard runs here") && none.contains("boma serve"),
        "{none}"
    );

    let _serving = serve_with(&boma, &["m", "--dashboard", &address])?;
    wait(|| {
        let page = browser.get("/")?;
        ensure!(page.status == 200, "{page:?}");
        Ok(())
    })?;
    let path = &link[link.find("/sign-in").context("a path")?..];
    ensure!(Browser::at(&link)?.get(path.trim_end())?.status == 401);
    Ok(())
}

#[test]
fn a_dashboard_that_cannot_be_is_refused_and_none_can_be_had() -> Result<()> {
    let boma = shop()?;
    let open = boma
        .boma(["serve", "m", "--dashboard", "0.0.0.0:0"])?
        .code(1)?;
    ensure!(
        open.contains("can be reached from other machines") && open.contains("ssh -L"),
        "{open}"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let refused = boma
        .boma(["serve", "m", "--dashboard", &address])?
        .code(1)?;
    ensure!(
        refused.contains(&format!("open the dashboard on {address}")),
        "{refused}"
    );
    boma.boma(["serve", "m", "--dashboard", "here"])?.code(2)?;
    fs::write(boma.state().join("dashboard.key"), "short")?;
    let key = boma
        .boma(["serve", "m", "--dashboard", "127.0.0.1:0"])?
        .code(1)?;
    ensure!(
        key.contains("dashboard.key") && key.contains("Remove the file"),
        "{key}"
    );

    let _serving = serve_with(&boma, &["m", "--dashboard", "off"])?;
    wait(|| {
        let said = fs::read_to_string(boma.path("serve.log"))?;
        ensure!(
            said.contains("Everything is as the manifests say"),
            "{said}"
        );
        ensure!(!said.contains("Dashboard"), "{said}");
        Ok(())
    })?;
    boma.boma(["dashboard"])?.code(1)?;
    Ok(())
}
