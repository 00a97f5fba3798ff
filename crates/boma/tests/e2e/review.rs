//! `boma plan --base`: what a merge would do, in real repositories; and what is made for CI of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use boma_testkit::Ran;
use serde::Deserialize;

use crate::git::Repository;
use crate::installation::Installation;
use crate::manifests::{application, database, reads, writes};

/// A repository with a database and an application on `main`, and nobody's installation.
fn world() -> Result<(Installation, Repository)> {
    let boma = Installation::new()?;
    let repository = Repository::new(&boma)?;
    fs::create_dir(repository.place.join("db"))?;
    repository.commit("db/orders.yaml", &orders("2"), "add orders")?;
    let web = application("web", &[writes("orders")], "");
    repository.commit("db/web.yaml", &web, "let web write")?;
    Ok((boma, repository))
}

fn orders(cpus: &str) -> String {
    database("orders", "").replace("cpuCount: 1", &format!("cpuCount: {cpus}"))
}

fn plan(boma: &Installation, repository: &Repository, arguments: &[&str]) -> Result<Ran> {
    let place = repository.place.to_string_lossy().into_owned();
    boma.boma([&["plan", &place], arguments].concat())
}

/// Where the platform is at hand, what was done by hand shows, and is not taken for the merge's.
#[test]
fn a_merge_is_compared_with_what_runs() -> Result<()> {
    let (boma, repository) = world()?;
    let manifests = repository.place.join("db").to_string_lossy().into_owned();
    boma.boma(["apply", &manifests])?.ok()?;
    repository.git(&["checkout", "--quiet", "-b", "feature"])?;
    let report = application("report", &[reads("orders")], "");
    repository.commit("db/report.yaml", &report, "let report read")?;
    let running = ["--base", "main", "--running"];
    let text = plan(&boma, &repository, &running)?.code(4)?;
    ensure!(text.contains("for report, read-only"), "{text}");
    ensure!(!text.contains("Without the merge"), "{text}");

    repository.git(&["checkout", "--quiet", "main"])?;
    boma.boma(["stop", "orders"])?.ok()?;
    let running = ["--base", "main", "--head", "feature", "--running"];
    let text = plan(&boma, &repository, &running)?.code(4)?;
    let (merge, standing) = text
        .split_once("Without the merge, this would be done:")
        .with_context(|| text.clone())?;
    ensure!(merge.contains("for report, read-only"), "{text}");
    ensure!(
        standing.contains("orders") && standing.contains("boma start"),
        "{text}"
    );
    ensure!(!standing.contains("report"), "{text}");

    let json = plan(
        &boma,
        &repository,
        &[&running[..], &["-o", "json"]].concat(),
    )?
    .code(4)?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    ensure!(json["standing"]["waiting"][0].is_object(), "{json}");
    let comment = plan(
        &boma,
        &repository,
        &[&running[..], &["-o", "markdown"]].concat(),
    )?;
    let comment = comment.code(4)?;
    ensure!(
        comment.contains("**What runs is not as the base says."),
        "{comment}"
    );
    ensure!(
        comment.contains("compared with what runs.</sub>"),
        "{comment}"
    );
    Ok(())
}

#[test]
fn a_merge_is_planned_from_the_manifests_of_two_commits_alone() -> Result<()> {
    let (boma, repository) = world()?;
    repository.git(&["checkout", "--quiet", "-b", "feature"])?;
    repository.commit("db/orders.yaml", &orders("4"), "more for orders")?;
    let report = application("report", &[reads("orders")], "");
    let head = repository.commit("db/report.yaml", &report, "let report read")?;
    // What `main` has got meanwhile is not taken away by the merge.
    repository.git(&["checkout", "--quiet", "main"])?;
    repository.commit("db/stock.yaml", &database("stock", ""), "add stock")?;
    fs::write(repository.place.join("db/draft.yaml"), "not committed")?;

    let text = plan(&boma, &repository, &["--base", "main", "--head", "feature"])?.code(4)?;
    for said in [
        "~ 2 CPU → 4 CPU",
        "~ restart the server: ",
        "for report, read-only",
        "Plan: 1 to make, 1 to change, 0 to remove.",
        "restart: Database fincorp/",
    ] {
        ensure!(text.contains(said), "no {said:?} in {text}");
    }
    ensure!(!text.contains("stock") && !text.contains("web"), "{text}");

    let arguments = [
        "--base", "main", "--head", "feature", "--output", "markdown",
    ];
    let comment = plan(&boma, &repository, &arguments)?.code(4)?;
    ensure!(
        comment.starts_with("### Boma: 1 to make, 1 to change"),
        "{comment}"
    );
    ensure!(
        comment.contains("| ✏️ | Database `orders`<br>"),
        "{comment}"
    );
    ensure!(
        comment.contains(&format!("`{head}` merged into")),
        "{comment}"
    );

    let arguments = ["--base", "main", "--head", "feature", "--output", "json"];
    let printed = plan(&boma, &repository, &arguments)?;
    ensure!(printed.code == 4, "{printed:?}");
    let view: serde_json::Value = serde_json::from_str(&printed.stdout)?;
    ensure!(view["dangers"][0]["danger"] == "restart", "{view}");
    ensure!(view["head"]["author"] == "Ann <ann@example.com>", "{view}");
    ensure!(
        view["plan"]["empty"] == false && view["valid"] == true,
        "{view}"
    );

    // Merged already, and the other way round: nothing to do. Nothing was touched either.
    let none = plan(
        &boma,
        &repository,
        &["--base", "feature~1", "--head", "main~1"],
    )?
    .code(0)?;
    ensure!(none.contains("Nothing to do."), "{none}");
    let status = repository.git(&["status", "--porcelain"])?;
    ensure!(status == "?? db/draft.yaml", "{status}");
    ensure!(
        !boma.state().join("boma.sqlite").exists(),
        "it made an installation"
    );
    Ok(())
}

#[test]
fn only_the_named_directory_counts_and_places_start_at_the_top() -> Result<()> {
    let (boma, repository) = world()?;
    repository.git(&["checkout", "--quiet", "-b", "feature"])?;
    let broken = orders("2").replace("cpuCount", "cpuCuont");
    repository.commit("db/orders.yaml", &broken, "break it")?;
    let said = plan(&boma, &repository, &["--base", "main"])?.code(1)?;
    ensure!(said.contains("--> db/orders.yaml:"), "{said}");
    ensure!(said.contains("nothing would be changed"), "{said}");
    let below = ["--base", "main", "--path", "db", "--output", "markdown"];
    let comment = plan(&boma, &repository, &below)?.code(1)?;
    ensure!(comment.starts_with("### Boma: ❌ 2 errors"), "{comment}");
    ensure!(comment.contains("- `db/orders.yaml:"), "{comment}");
    let elsewhere = ["--base", "main", "--path", "docs"];
    plan(&boma, &repository, &elsewhere)?.code(0)?;
    let outside = ["--base", "main", "--path", "../x"];
    let said = plan(&boma, &repository, &outside)?.code(1)?;
    ensure!(
        said.contains("`../x` is no path within a repository"),
        "{said}"
    );

    // With errors in the base, nobody knows what was to be.
    repository.commit("db/orders.yaml", &orders("4"), "mend it")?;
    let mended = plan(&boma, &repository, &["--base", "HEAD~1"])?.code(4)?;
    ensure!(
        mended.contains("The manifests of the base have 2 errors"),
        "{mended}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_compared_is_told() -> Result<()> {
    let (boma, repository) = world()?;
    repository.git(&["checkout", "--quiet", "-b", "feature"])?;
    repository.commit("db/orders.yaml", &orders("4"), "four")?;
    repository.git(&["checkout", "--quiet", "main"])?;
    repository.commit("db/orders.yaml", &orders("8"), "eight")?;
    let said = plan(&boma, &repository, &["--base", "main", "--head", "feature"])?.code(1)?;
    ensure!(
        said.contains("error[git-conflict]: the two change the same lines of db/orders.yaml"),
        "{said}"
    );
    let said = plan(&boma, &repository, &["--base", "nowhere"])?.code(1)?;
    ensure!(
        said.contains("there is no commit `nowhere` in this repository"),
        "{said}"
    );
    let option = plan(&boma, &repository, &["--base=--upload-pack=x"])?.code(1)?;
    ensure!(option.contains("git-no-commit"), "{option}");
    repository.git(&["checkout", "--quiet", "--orphan", "other"])?;
    repository.commit("db/orders.yaml", &orders("1"), "begin anew")?;
    let said = plan(&boma, &repository, &["--base", "main"])?.code(1)?;
    ensure!(
        said.contains("have no commit in common") && said.contains("fetch-depth: 0"),
        "{said}"
    );
    let said = boma.boma(["plan", "m", "--base", "main"])?.code(1)?;
    ensure!(
        said.contains("error[git-no-repository]: `m` is in no repository"),
        "{said}"
    );
    Ok(())
}

/// The action for GitHub, as far as a test needs it.
#[derive(Deserialize)]
struct Action {
    inputs: BTreeMap<String, Input>,
    runs: Runs,
}

#[derive(Deserialize)]
struct Input {
    description: String,
    default: String,
}

#[derive(Deserialize)]
struct Runs {
    using: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    shell: String,
    run: String,
    env: BTreeMap<String, String>,
}

/// The template for GitLab.
#[derive(Deserialize)]
struct Template {
    #[serde(rename = "boma-plan")]
    job: Job,
}

#[derive(Deserialize)]
struct Job {
    variables: BTreeMap<String, String>,
    script: Vec<String>,
}

fn integration(name: &str) -> Result<String> {
    let path = format!("{}/../../integrations/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).context(path)
}

/// A program that writes down what it was called with, and what it was given to post.
fn stand_in(boma: &Installation, name: &str, answer: &str) -> Result<()> {
    let bin = boma.path("bin");
    fs::create_dir_all(&bin)?;
    let script = format!(
        "#!/bin/bash\n[ -t 0 ] || cat >/dev/null\nprintf '%s\\n' \"$*\" >>\"$CALLS\"\nfor word in \"$@\"; do case $word in body*@*) cat \
         \"${{word#*@}}\" >\"$CALLS.body\" ;; esac; done\n[[ $* == *body*@* ]] || printf '%s' '{answer}'\n"
    );
    fs::write(bin.join(name), script)?;
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn run_script(
    boma: &Installation,
    repository: &Repository,
    script: &str,
    variables: &BTreeMap<&str, String>,
) -> Result<(i32, String)> {
    let environment = boma.command();
    let mut command = Command::new("bash");
    // As the runners do it.
    command.args([
        "--noprofile",
        "--norc",
        "-e",
        "-o",
        "pipefail",
        "-c",
        script,
    ]);
    command.env_clear();
    for (name, value) in environment.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let path = format!(
        "{}:/usr/local/bin:/usr/bin:/bin",
        boma.path("bin").display()
    );
    command.env("PATH", path).env("CALLS", boma.path("calls"));
    let output = command
        .envs(variables)
        .current_dir(&repository.place)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), said.into_owned()))
}

/// What a runner of GitHub hands over.
fn runner(boma: &Installation, action: &Action, head: &str) -> BTreeMap<&'static str, String> {
    let path = |name: &str| boma.path(name).display().to_string();
    BTreeMap::from([
        ("BOMA", env!("CARGO_BIN_EXE_boma").to_owned()),
        ("BASE", "main".to_owned()),
        ("HEAD", head.to_owned()),
        ("MANIFESTS", action.inputs["path"].default.clone()),
        ("PLATFORM", action.inputs["platform"].default.clone()),
        ("REPOSITORY", "acme/databases".to_owned()),
        ("NUMBER", "7".to_owned()),
        ("RUNNER_TEMP", path("")),
        ("GITHUB_STEP_SUMMARY", path("summary")),
        ("GITHUB_OUTPUT", path("output")),
        ("GH_TOKEN", "none".to_owned()),
    ])
}

#[test]
fn the_action_for_github_comments_once_and_fails_on_errors_only() -> Result<()> {
    let (boma, repository) = world()?;
    let action: Action = serde_saphyr::from_str(&integration("github/action.yml")?)?;
    ensure!(action.runs.using == "composite" && action.runs.steps.len() == 3);
    for (name, input) in &action.inputs {
        ensure!(!input.description.is_empty(), "{name}");
    }
    ensure!(action.inputs["comment"].default == "true");
    for step in &action.runs.steps {
        ensure!(step.shell == "bash");
        ensure!(
            !step.run.contains("${{"),
            "what comes from outside is in the script: {}",
            step.run
        );
    }
    stand_in(&boma, "gh", "")?;
    repository.git(&["checkout", "--quiet", "-b", "feature"])?;
    repository.commit("db/orders.yaml", &orders("4"), "four")?;
    let run = |head: &str| -> Result<(String, Vec<i32>, String)> {
        for name in ["summary", "output", "calls"] {
            fs::write(boma.path(name), "")?;
        }
        let mut variables = runner(&boma, &action, head);
        let mut codes = Vec::new();
        let mut said = String::new();
        for step in &action.runs.steps {
            for name in step.env.keys().filter(|name| *name != "RESULT") {
                ensure!(variables.contains_key(name.as_str()), "{name} is not given");
            }
            let (code, text) = run_script(&boma, &repository, &step.run, &variables)?;
            said.push_str(&text);
            codes.push(code);
            let output = fs::read_to_string(boma.path("output"))?;
            let result = output.trim().trim_start_matches("result=").to_owned();
            variables.insert("RESULT", result);
        }
        Ok((variables["RESULT"].clone(), codes, said))
    };
    let (result, codes, said) = run("feature")?;
    ensure!(
        result == "something" && codes == [0, 0, 0],
        "{result} {codes:?} {said}"
    );
    let posted = fs::read_to_string(boma.path("calls.body"))?;
    ensure!(
        posted.starts_with("<!-- boma plan -->\n### Boma: 0 to make, 1 to change"),
        "{posted}"
    );
    let calls = fs::read_to_string(boma.path("calls"))?;
    ensure!(
        calls.contains("api repos/acme/databases/issues/7/comments --field"),
        "{calls}"
    );
    ensure!(fs::read_to_string(boma.path("summary"))?.starts_with("### Boma: "));

    // There is a comment: it is changed.
    stand_in(&boma, "gh", "4711")?;
    let (result, _, said) = run("main")?;
    ensure!(result == "nothing", "{result} {said}");
    let calls = fs::read_to_string(boma.path("calls"))?;
    ensure!(
        calls.contains("--method PATCH repos/acme/databases/issues/comments/4711"),
        "{calls}"
    );
    let (result, codes, said) = run("nowhere")?;
    ensure!(
        result == "error" && codes == [0, 0, 1],
        "{result} {codes:?} {said}"
    );
    let posted = fs::read_to_string(boma.path("calls.body"))?;
    ensure!(posted.contains("    error[git-no-commit]"), "{posted}");
    Ok(())
}

#[test]
fn the_template_for_gitlab_comments_without_showing_its_token() -> Result<()> {
    let (boma, repository) = world()?;
    let template: Template = serde_saphyr::from_str(&integration("gitlab/boma-plan.yml")?)?;
    ensure!(template.job.variables["GIT_DEPTH"] == "0");
    let [script] = template.job.script.as_slice() else {
        anyhow::bail!("one script");
    };
    stand_in(
        &boma,
        "curl",
        r#"[{"id":1,"body":"hello"},{"id":9,"body":"<!-- boma plan -->\nold"}]"#,
    )?;
    repository.git(&["remote", "add", "origin", "."])?;
    repository.git(&["checkout", "--quiet", "-b", "feature"])?;
    repository.commit("db/orders.yaml", &orders("4"), "four")?;
    let token = "glpat-of-nobody";
    let variables = BTreeMap::from([
        ("BOMA", env!("CARGO_BIN_EXE_boma").to_owned()),
        (
            "BOMA_MANIFESTS",
            template.job.variables["BOMA_MANIFESTS"].clone(),
        ),
        (
            "BOMA_PLATFORM",
            template.job.variables["BOMA_PLATFORM"].clone(),
        ),
        ("BOMA_GITLAB_TOKEN", token.to_owned()),
        ("CI_API_V4_URL", "https://gitlab.invalid/api/v4".to_owned()),
        ("CI_PROJECT_ID", "3".to_owned()),
        ("CI_MERGE_REQUEST_IID", "5".to_owned()),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main".to_owned()),
        ("CI_COMMIT_SHA", "feature".to_owned()),
        ("CI_PROJECT_DIR", boma.path("").display().to_string()),
    ]);
    let (code, said) = run_script(&boma, &repository, script, &variables)?;
    ensure!(
        code == 0 && said.contains("### Boma: 0 to make, 1 to change"),
        "{code} {said}"
    );
    let calls = fs::read_to_string(boma.path("calls"))?;
    let changed = "--request PUT --data-urlencode body@";
    let notes = "https://gitlab.invalid/api/v4/projects/3/merge_requests/5/notes/9";
    ensure!(calls.contains(changed) && calls.contains(notes), "{calls}");
    ensure!(!calls.contains(token) && !said.contains(token), "{calls}");
    let broken = orders("4").replace("cpuCount", "cpuCuont");
    repository.commit("db/orders.yaml", &broken, "break it")?;
    let (code, said) = run_script(&boma, &repository, script, &variables)?;
    ensure!(
        code == 1 && said.contains("### Boma: ❌ 2 errors"),
        "{code} {said}"
    );
    Ok(())
}
