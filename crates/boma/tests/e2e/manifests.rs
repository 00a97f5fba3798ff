//! Manifests for tests.

/// Indents every line of a block by two spaces below `spec:`.
fn spec(text: &str) -> String {
    if text.trim().is_empty() {
        return "spec: {}\n".into();
    }
    let lines: Vec<_> = text
        .trim_matches('\n')
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
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
pub(crate) fn database(name: &str, more: &str) -> String {
    database_in("shop", name, more)
}

/// A small database of any project.
pub(crate) fn database_in(project: &str, name: &str, more: &str) -> String {
    let small = "cpuCount: 1\nmemory: 256Mi\nstorage: {size: 1Gi}\nbackupConfig: {enabled: false}";
    resource("Database", project, name, &format!("{small}\n{more}"))
}

/// A grant of an application.
pub(crate) struct Grant<'a> {
    pub(crate) database: &'a str,
    pub(crate) read_only: bool,
    pub(crate) env_var: &'a str,
}

/// A read/write grant into `DATABASE_URL`.
pub(crate) fn writes(database: &str) -> Grant<'_> {
    Grant {
        database,
        read_only: false,
        env_var: "DATABASE_URL",
    }
}

/// A read-only grant into `DATABASE_URL`.
pub(crate) fn reads(database: &str) -> Grant<'_> {
    Grant {
        database,
        read_only: true,
        env_var: "DATABASE_URL",
    }
}

/// An application of project `shop`.
pub(crate) fn application(name: &str, grants: &[Grant<'_>], more: &str) -> String {
    application_in("shop", name, grants, more)
}

/// An application of any project.
pub(crate) fn application_in(
    project: &str,
    name: &str,
    grants: &[Grant<'_>],
    more: &str,
) -> String {
    let mut text = String::from(more.trim_end());
    if !grants.is_empty() {
        text.push_str("\naccessControl:\n  databases:\n");
        for grant in grants {
            let Grant {
                database,
                read_only,
                env_var,
            } = grant;
            text.extend([
                format!("  - name: {database}\n    readOnly: {read_only}\n"),
                format!("    secretSource: {{envVar: {env_var}}}\n"),
            ]);
        }
    }
    resource("Application", project, name, &text)
}
