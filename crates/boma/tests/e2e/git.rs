//! Manifests in a Git repository: `boma serve file://…`, with commits of all kinds.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};

use crate::installation::{Installation, wait};
use crate::manifests::{application, database, reads, writes};

/// A repository that is served.
pub(crate) struct Repository {
    pub(crate) place: PathBuf,
}

impl Repository {
    pub(crate) fn new(boma: &Installation) -> Result<Self> {
        let place = boma.path("repository");
        fs::create_dir(&place)?;
        let repository = Self { place };
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(repository)
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(arguments)
            .current_dir(&self.place)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Lets others push to the branch that is checked out here.
    pub(crate) fn takes_pushes(&self) -> Result<()> {
        let update = ["config", "receive.denyCurrentBranch", "updateInstead"];
        self.git(&update).map(drop)
    }

    /// Commits a file; answers with the beginning of the commit's name.
    pub(crate) fn commit(&self, name: &str, text: &str, subject: &str) -> Result<String> {
        fs::write(self.place.join(name), text)?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "-m", subject])?;
        self.git(&["rev-parse", "--short=10", "HEAD"])
    }
}

/// Ended when it goes out of scope; what it runs is the installation's to end.
pub(crate) struct Serving(pub(crate) Child);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn serve(boma: &Installation, repository: &Repository) -> Result<Serving> {
    let log = fs::File::create(boma.path("serve.log"))?;
    let address = format!("file://{}", repository.place.display());
    let mut command = boma.command();
    command
        .args(["serve", &address, "--poll", "1"])
        .stdout(Stdio::null())
        .stderr(log);
    Ok(Serving(command.spawn()?))
}

pub(crate) fn log_has(boma: &Installation, what: &str) -> Result<()> {
    wait(|| {
        let log = fs::read_to_string(boma.path("serve.log"))?;
        ensure!(log.contains(what), "no {what:?} in {log}");
        Ok(())
    })
}

#[test]
fn commits_are_followed_and_one_with_an_error_changes_nothing() -> Result<()> {
    let boma = Installation::new()?;
    let repository = Repository::new(&boma)?;
    let orders = database("orders", "").replace("enabled: false", "enabled: true");
    repository.commit("orders.yaml", &orders, "add orders")?;
    let web = application("web", &[writes("orders")], "");
    let first = repository.commit("web.yaml", &web, "let web write")?;
    let serving = serve(&boma, &repository)?;
    wait(|| {
        boma.sql("web", "create table if not exists t (id int)")?
            .ok()
    })?;
    log_has(
        &boma,
        &format!("Commit {first} is in force: “let web write” by Ann"),
    )?;

    let report = application("report", &[reads("orders")], "");
    let broken = report.replace("kind: Application", "kind: Aplication");
    ensure!(broken != report, "nothing was broken");
    let bad = repository.commit("report.yaml", &broken, "let report read")?;
    log_has(&boma, "report.yaml:2")?;
    boma.sql("web", "select 1")?.ok()?;
    let good = repository.commit("report.yaml", &report, "mend it")?;
    wait(|| boma.sql("report", "select count(*) from t")?.ok())?;
    let log = fs::read_to_string(boma.path("serve.log"))?;
    ensure!(log.contains(&format!("Commit {good} is in force")), "{log}");
    ensure!(!log.contains(&format!("Commit {bad} is in force")), "{log}");

    let described = boma.boma(["describe", "application/web"])?.ok()?;
    let told = format!("web.yaml:4, last changed by commit {first} by Ann <ann@example.com>");
    ensure!(described.contains(&told), "{described}");
    ensure!(described.contains("“let web write”"), "{described}");

    // What would be written among the manifests is to be committed, and so is printed.
    wait(|| {
        let fork = boma.boma(["fork", "orders", "--as", "copy"])?;
        let printed = fork.code(4)?;
        ensure!(
            printed.contains("Commit this") && printed.contains("name: copy"),
            "{printed}"
        );
        Ok(())
    })?;

    // Other commands find the manifests, too, and the repository may be away.
    let away = boma.path("away");
    fs::rename(&repository.place, &away)?;
    log_has(&boma, "git-fetch-failed")?;
    drop(serving);
    let table = boma.boma(["get", "databases"])?.ok()?;
    ensure!(
        table.contains("orders") && table.contains("Ready"),
        "{table}"
    );
    boma.boma(["start", "orders"])?.code(0)?;
    Ok(())
}

#[test]
fn an_address_that_cannot_be_served_is_refused_at_once() -> Result<()> {
    let boma = Installation::new()?;
    let said = boma
        .boma(["serve", "https://ann:never-said@example.com/x.git"])?
        .code(1)?;
    ensure!(
        said.contains("there is a password in the address"),
        "{said}"
    );
    ensure!(!said.contains("never-said"), "{said}");
    Ok(())
}
