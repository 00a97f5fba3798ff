//! The dashboard of Boma in the cluster, reached as people reach it.

use std::fs::{self, File};
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use boma_testkit::{Answer, Browser, eventually};
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, kubectl, postgres_image};

const SMALL: &str = "{cpuCount: 0.1, memory: 192Mi, storage: {size: 1Gi}}";

/// `kubectl port-forward` to a pod, until this is dropped.
struct Forwarded {
    process: Child,
    /// Host and port on this machine.
    address: String,
}

impl Forwarded {
    async fn to(cluster: &Cluster, pod: &str) -> Result<Self> {
        // It says something of each connection, and ends when nobody listens.
        let (said, failed) = (cluster.path("forwarded"), cluster.path("not-forwarded"));
        let start = || {
            Command::new("kubectl")
                .args(["-n", &cluster.home, "port-forward", pod, ":9480"])
                .stdout(File::create(&said)?)
                .stderr(File::create(&failed)?)
                .spawn()
        };
        let mut forwarded = Self {
            process: start().context("start kubectl")?,
            address: String::new(),
        };
        let process = &mut forwarded.process;
        // `Forwarding from 127.0.0.1:40123 -> 9480`
        let address = eventually(PATIENCE, async || {
            let text = fs::read_to_string(&said).map_err(|error| error.to_string())?;
            let address = text.split(' ').nth(2).filter(|_| text.contains('\n'));
            if let Some(address) = address {
                return Ok(address.to_owned());
            }
            let why = fs::read_to_string(&failed).map_err(|error| error.to_string())?;
            // The connection to the kubelet is kubectl's, and it tries only once.
            if !matches!(process.try_wait(), Ok(None)) {
                *process = start().map_err(|error| error.to_string())?;
            }
            Err(format!("{text}{why}"))
        })
        .await?;
        forwarded.address = address;
        Ok(forwarded)
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A cluster with Boma and its dashboard in it, and a way there.
struct Shown {
    cluster: Cluster,
    forwarded: Forwarded,
}

impl Shown {
    async fn of(sources: &[&str]) -> Result<Self> {
        let cluster = Cluster::new()?;
        let install = ["kubernetes", "install", "--dashboard"];
        cluster.boma(&[&install[..], sources].concat())?.code(0)?;
        for kind in ["databases", "applications"] {
            let crd = format!("crd/{kind}.lowops.manifests");
            kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &crd])?;
        }
        // The one that has the Lease is the one whose dashboard it is.
        let pod = eventually(PATIENCE, async || {
            let said = cluster.boma(&["dashboard"]);
            let said = said.map_err(|error| error.to_string())?;
            let (_, after) = said
                .stderr
                .split_once("port-forward ")
                .ok_or(said.stderr.clone())?;
            Ok(after.split(' ').next().unwrap_or_default().to_owned())
        })
        .await?;
        let forwarded = Forwarded::to(&cluster, &pod).await?;
        let mut anybody = Browser::at(&format!("http://{}/", forwarded.address))?;
        eventually(PATIENCE, async || match anybody.get("/healthz") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await
        .with_context(|| fs::read_to_string(cluster.path("not-forwarded")).unwrap_or_default())?;
        Ok(Self { cluster, forwarded })
    }

    fn browser(&self) -> Result<Browser> {
        Browser::at(&format!("http://{}/", self.forwarded.address))
    }

    /// Whoever can read the Secrets of Boma's namespace.
    fn owner(&self) -> Result<Browser> {
        let link = self.cluster.boma(&["dashboard"])?.stdout;
        let mut browser = self.browser()?;
        let entered = browser.follow(&link)?;
        ensure!(entered.status == 303, "{link}: {entered:?}");
        let again = self.browser()?.follow(&link)?;
        ensure!(again.status != 303, "a link works once: {again:?}");
        Ok(browser)
    }

    /// Somebody who was invited with a role, and has chosen a password.
    fn invited(&self, name: &str, role: &str) -> Result<Browser> {
        let invite = ["people", "invite", name, "--role", role];
        let link = self.cluster.boma(&invite)?;
        ensure!(link.code == 0, "{}", link.stderr);
        let mut browser = self.browser()?;
        let page = browser.follow(&link.stdout)?;
        let mut fields = page.fields();
        fields.push(("password".to_owned(), "correct horse battery".to_owned()));
        let entered = browser.post_as_sent("/invitation", &fields)?;
        ensure!(entered.status == 303, "{entered:?}");
        Ok(browser)
    }

    /// A program that may do everything.
    fn program(&self) -> Result<Browser> {
        let create = ["token", "create", "ci", "--role", "admin"];
        let token = self.cluster.boma(&create)?;
        ensure!(token.code == 0, "{}", token.stderr);
        let bearer = format!("Bearer {}", token.stdout.trim());
        Ok(self.browser()?.with("authorization", &bearer))
    }
}

/// The page, once it says this.
async fn page_with(browser: &mut Browser, path: &str, part: &str) -> Result<Answer> {
    eventually(PATIENCE, async || match browser.get(path) {
        Ok(page) if page.status == 200 && page.body.contains(part) => Ok(page),
        other => Err(format!("{path}: {other:?}")),
    })
    .await
}

fn read(program: &mut Browser, path: &str) -> Result<Value> {
    let answer = program.get(path)?;
    ensure!(answer.status == 200, "{path}: {answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_dashboard_in_the_cluster_shows_and_does_what_people_ask() -> Result<()> {
    let shown = Shown::of(&["custom-resources"]).await?;
    let cluster = &shown.cluster;
    cluster.make_namespace()?;
    cluster.resource("Database", "accounts", SMALL)?;
    let image = postgres_image()?;
    let spec = format!(
        "{{source: {{image: {image:?}}}, env: {{POSTGRES_HOST_AUTH_METHOD: trust}}, \
         preDeploy: 'echo migrating \"$DATABASE_URL\"', \
         accessControl: {{databases: [{{name: accounts}}]}}}}"
    );
    cluster.resource("Application", "api", &spec)?;
    let project = cluster.identity();

    // A link of whoever can read Boma's Secrets; the page of the database, with a chart.
    let mut owner = shown.owner()?;
    let database = format!("/databases/{project}/accounts");
    page_with(&mut owner, &database, "badge well\">Ready<").await?;
    let charts = format!("/charts/{project}/accounts");
    page_with(&mut owner, &charts, "Connections over the last").await?;
    let logs = format!("/logs/databases/{project}/accounts");
    page_with(&mut owner, &logs, "ready to accept connections").await?;
    let statements = format!("/api/v1{database}/statements");
    let mut program = shown.program()?;
    let told = program.get(&statements)?;
    ensure!(
        told.status == 200 || told.body.contains("pg_stat_statements"),
        "{told:?}"
    );

    // What the pods of the application, and its preDeploy, have printed; no password among it.
    let logs = format!("/logs/applications/{project}/api");
    page_with(
        &mut owner,
        &logs,
        "database system is ready to accept connections",
    )
    .await?;
    let application = format!("/applications/{project}/api");
    let page = page_with(&mut owner, &application, "migrating").await?;
    ensure!(page.body.contains("[redacted]"), "{page:?}");

    // One secret, for who asks for it, and that is recorded.
    let path = format!("/api/v1{application}/reveal");
    let revealed = program.send("POST", &path, &json!({"variable": "DATABASE_URL"}))?;
    let value: Value = serde_json::from_str(&revealed.body)?;
    let uri = value["value"].as_str().context("a connection string")?;
    ensure!(uri.starts_with("postgresql://api_1:"), "{uri}");
    ensure!(!page.body.contains(uri));
    let audit = read(&mut program, "/api/v1/audit")?;
    let revealed = &audit["items"][0];
    assert_eq!(revealed["action"], "reveal DATABASE_URL");
    assert_eq!(revealed["actor"], "token ci");
    ensure!(!audit.to_string().contains(uri));

    // Another password, asked for in the dashboard.
    let path = format!("/api/v1{application}/rotations");
    let wanted = json!({"database": format!("{project}/accounts")});
    let rotated = program.send("POST", &path, &wanted)?;
    ensure!(rotated.status == 202, "{rotated:?}");
    eventually(PATIENCE, async || {
        let template = "go-template={{.data.username | base64decode}}";
        let user = cluster.kubectl(&["get", "secret", "api.accounts", "-o", template]);
        let user = user.map_err(|error| error.to_string())?;
        if user == "api_2" { Ok(()) } else { Err(user) }
    })
    .await?;

    stopped_and_started(&shown, &mut program, &database).await?;
    let events = read(&mut program, "/api/v1/events?limit=50")?;
    ensure!(
        events["items"]
            .as_array()
            .is_some_and(|all| !all.is_empty()),
        "{events}"
    );

    restores_in_place(&mut program, &database)?;
    others_see_nothing(&shown, &project).await?;
    cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    Ok(())
}

/// They are as on one machine; this database has no backups, and nothing of it is kept.
fn restores_in_place(program: &mut Browser, database: &str) -> Result<()> {
    let place = format!("/api/v1{database}/replacement");
    let standing = read(program, &place)?;
    assert_eq!(standing["kept"], json!([]));
    for (method, body, code) in [
        ("POST", json!({}), "restore-no-backup"),
        ("DELETE", Value::Null, "nothing-replaced"),
    ] {
        let refused = program.send(method, &place, &body)?;
        ensure!(refused.body.contains(code), "{refused:?}");
    }
    Ok(())
}

/// A database is stopped for as long as somebody wants it to be.
async fn stopped_and_started(shown: &Shown, program: &mut Browser, database: &str) -> Result<()> {
    for (held, phase) in [(true, "Held"), (false, "Ready")] {
        let path = format!("/api/v1{database}/held");
        let answer = program.send("PUT", &path, &json!({ "held": held }))?;
        ensure!(answer.status == 204, "{answer:?}");
        eventually(PATIENCE, async || {
            let one = read(program, &format!("/api/v1{database}"));
            let one = one.map_err(|error| error.to_string())?;
            let pods = shown.cluster.kubectl(&["get", "pods", "-o", "name"]);
            let has_pod = pods.is_ok_and(|pods| pods.contains("accounts-1-0"));
            if one["computed"]["phase"] == phase && has_pod != held {
                return Ok(());
            }
            Err(one["computed"].to_string())
        })
        .await?;
    }
    Ok(())
}

/// Somebody of another project sees none of it, a viewer no log, and who is removed is out.
async fn others_see_nothing(shown: &Shown, project: &str) -> Result<()> {
    let (cluster, database) = (&shown.cluster, format!("/databases/{project}/accounts"));
    let mut ana = shown.invited("ana", "developer:o/u/other")?;
    ensure!(ana.get("/")?.status == 200);
    ensure!(ana.get(&database)?.status == 404);
    ensure!(!ana.get("/events")?.body.contains("accounts"));
    let mut bea = shown.invited("bea", &format!("viewer:{project}"))?;
    ensure!(bea.get(&database)?.status == 200);
    let refused = bea.get(&format!("/logs/applications/{project}/api"))?;
    ensure!(refused.status == 403, "{refused:?}");
    cluster.boma(&["people", "remove", "bea"])?.code(0)?;
    eventually(PATIENCE, async || match bea.get(&database) {
        Ok(answer) if answer.status != 200 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    Ok(())
}

/// What a program is told of a change.
fn changed(answer: &Answer, status: u16) -> Result<Value> {
    ensure!(answer.status == status, "{answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_change_in_the_dashboard_is_a_change_of_the_custom_resource() -> Result<()> {
    let shown = Shown::of(&["custom-resources"]).await?;
    let cluster = &shown.cluster;
    let project = cluster.identity();
    let mut program = shown.program()?;

    // Something new, in a project that had nothing: what is shown is what is stored.
    let new = json!({
        "project": project, "name": "orders",
        "spec": {"cpuCount": 0.1, "memory": "192Mi", "storage": {"size": "1Gi"}},
    });
    let dry = program.send("POST", "/api/v1/databases?dryRun=true", &new)?;
    let file = format!("custom-resources/{}/databases/orders", cluster.namespace);
    assert_eq!(changed(&dry, 200)?["file"], *file);
    ensure!(
        cluster.object("database", "orders").is_err(),
        "it was a trial"
    );
    let made = program.send("POST", "/api/v1/databases", &new)?;
    assert_eq!(changed(&made, 201)?["written"], true);
    let tag = made.header("etag").context("a version")?.to_owned();
    let again = program.send("POST", "/api/v1/databases", &new)?;
    assert_eq!(changed(&again, 409)?["code"], "manifest-exists");
    let object = cluster.object("database", "orders")?;
    let who = "lowops.manifests/changed-by";
    assert_eq!(object["metadata"]["annotations"][who], "token ci");
    assert_eq!(object["spec"]["memory"], "192Mi");
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=180s",
        "database/orders",
    ];
    cluster.kubectl(&wait)?;

    // A change of what was read; of what somebody else has changed since, none.
    let path = format!("/api/v1/databases/{project}/orders");
    let mut at = program.and("if-match", &tag);
    let wanted = json!({"spec": {"parameters": {"work_mem": "8MB"}}});
    let answer = at.send("PATCH", &path, &wanted)?;
    ensure!(changed(&answer, 200)?["written"] == true, "{answer:?}");
    let late = at.send("PATCH", &path, &json!({"spec": {"suspended": true}}))?;
    ensure!(late.status == 412, "{late:?}");
    assert_eq!(
        cluster.object("database", "orders")?["spec"]["parameters"]["work_mem"],
        "8MB"
    );

    // What is taken away is gone, whoever has set it; in a page, by somebody of that project.
    cluster.resource(
        "Application",
        "web",
        "{accessControl: {databases: [{name: orders}]}}",
    )?;
    let mut ana = shown.invited("ana", &format!("developer:{project}"))?;
    let page = format!("/applications/{project}/web");
    page_with(&mut ana, &page, "Detach").await?;
    let web = format!("{project}/web");
    let detach = [("application", &*web), ("variable", "DATABASE_URL")];
    let question = ana.post("/detach", &detach)?;
    ensure!(
        question.status == 200 && question.body.contains("custom-resources/"),
        "{question:?}"
    );
    let done = ana.post_as_sent("/changes", &question.fields())?;
    ensure!(done.status == 303, "{done:?}");
    let web = cluster.object("application", "web")?;
    ensure!(!web["spec"].to_string().contains("orders"), "{web}");
    assert_eq!(web["metadata"]["annotations"][who], "ana, in the dashboard");
    let second = ana.post_as_sent("/changes", &question.fields())?;
    ensure!(second.status == 409, "{second:?}");
    let audit = read(&mut program, "/api/v1/audit")?;
    let audit = audit.to_string();
    for part in ["write manifest custom-resources/", "ana, in the dashboard"] {
        ensure!(audit.contains(part), "{part}: {audit}");
    }
    let mut bea = shown.invited("bea", "developer:o/u/other")?;
    let refused = bea.post_as_sent("/changes", &question.fields())?;
    ensure!(refused.status >= 400, "{refused:?}");
    let path = format!("/api/v1/applications/{project}/web");
    let gone = program
        .and("if-match", "*")
        .send("DELETE", &path, &json!({}))?;
    assert_eq!(changed(&gone, 200)?["written"], true);
    ensure!(cluster.object("application", "web").is_err(), "it is there");
    cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn behind_a_proxy_every_pod_leads_to_the_one_that_acts() -> Result<()> {
    let cluster = Cluster::new()?;
    let config = cluster.path("s/config.toml");
    let proxied = "\n[dashboard]\nurl = \"http://boma.example\"\nbehind-proxy = true\n";
    fs::write(&config, fs::read_to_string(&config)? + proxied)?;
    let install = ["kubernetes", "install", "custom-resources", "--dashboard"];
    let install = [&install[..], &["--replicas", "2"]].concat();
    cluster.boma(&install)?.code(0)?;
    // Both are ready, though one of them waits.
    let namespace = ["-n", &cluster.home];
    let rolled = ["rollout", "status", "--timeout=180s", "deployment/boma"];
    kubectl(&[&namespace[..], &rolled].concat())?;
    let pods = [
        "get",
        "pods",
        "-o",
        "name",
        "-l",
        "app.kubernetes.io/name=boma",
    ];
    let pods = kubectl(&[&namespace[..], &pods].concat())?;
    ensure!(pods.lines().count() == 2, "{pods}");
    let mut last: Option<Browser> = None;
    for pod in pods.lines() {
        let forwarded = Forwarded::to(&cluster, pod).await?;
        let at = format!("http://{}/", forwarded.address);
        let answered = eventually(PATIENCE, async || {
            let mut anybody = Browser::at(&at).map_err(|error| error.to_string())?;
            match anybody.get("/sign-in") {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        answered.await.with_context(|| pod.to_owned())?;
        let link = cluster.boma(&["dashboard"])?.stdout;
        ensure!(link.starts_with("http://boma.example/sign-in?"), "{link}");
        let mut browser = Browser::at(&at)?;
        ensure!(browser.follow(&link)?.status == 303, "{pod}");
        ensure!(browser.get("/")?.status == 200, "{pod}");
        // A session of one way in is good on the other.
        if let Some(before) = last.replace(browser) {
            let mut before = before.moved_to(&at)?;
            ensure!(before.get("/")?.status == 200, "{pod}");
        }
        let mut stranger = Browser::at(&at)?.with("host", "elsewhere.example");
        ensure!(stranger.get("/")?.status == 421, "{pod}");
    }
    cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    Ok(())
}
