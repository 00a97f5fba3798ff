//! Manifests for tests.

/// Indents every line of a block by two spaces below `spec:`.
fn spec(text: &str) -> String {
    if text.trim().is_empty() {
        return "spec: {}\n".into();
    }
    let lines: Vec<_> = text.trim_matches('\n').lines().map(|line| format!("  {line}\n")).collect();
    format!("spec:\n{}", lines.concat())
}

fn resource(kind: &str, project: &str, name: &str, spec_text: &str) -> String {
    format!(
        "apiVersion: lowops.manifests.v1\nkind: {kind}\nmetadata:\n  name: {name}\n  \
         organization: fincorp\n  organizational-unit: retail-banking\n  environment: development\n  \
         project: {project}\n{}",
        spec(spec_text)
    )
}

/// A small database of project `shop`.
pub fn database(name: &str, more: &str) -> String {
    database_in("shop", name, more)
}

/// A small database of any project.
pub fn database_in(project: &str, name: &str, more: &str) -> String {
    let small = "cpuCount: 1\nmemory: 256Mi\nstorage: {size: 1Gi}\nbackupConfig: {enabled: false}";
    resource("Database", project, name, &format!("{small}\n{more}"))
}

/// A grant of an application.
pub struct Grant<'a> {
    pub database: &'a str,
    pub read_only: bool,
    pub env_var: &'a str,
}

/// A read/write grant into `DATABASE_URL`.
pub fn writes(database: &str) -> Grant<'_> {
    Grant { database, read_only: false, env_var: "DATABASE_URL" }
}

/// A read-only grant into `DATABASE_URL`.
pub fn reads(database: &str) -> Grant<'_> {
    Grant { database, read_only: true, env_var: "DATABASE_URL" }
}

/// An application of project `shop`.
pub fn application(name: &str, grants: &[Grant<'_>], more: &str) -> String {
    application_in("shop", name, grants, more)
}

/// An application of any project.
pub fn application_in(project: &str, name: &str, grants: &[Grant<'_>], more: &str) -> String {
    let mut text = String::from(more.trim_end());
    if !grants.is_empty() {
        text.push_str("\naccessControl:\n  databases:\n");
        for grant in grants {
            text.push_str(&format!(
                "  - name: {}\n    readOnly: {}\n    secretSource: {{envVar: {}}}\n",
                grant.database, grant.read_only, grant.env_var
            ));
        }
    }
    resource("Application", project, name, &text)
}
