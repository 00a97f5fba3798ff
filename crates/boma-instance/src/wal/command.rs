//! The commands that PostgreSQL runs for its write-ahead log.
//!
//! PostgreSQL replaces `%f` and `%p` and gives the text to `sh -c`. Paths of ours are quoted for
//! both: for the shell, and for PostgreSQL, which takes every `%` for the beginning of one of its own.

/// Subcommands of `boma agent`, handled before anything else in the program is.
pub mod verb {
    /// Archives a file.
    pub const ARCHIVE: &str = "archive";
    /// Fetches a file.
    pub const RESTORE: &str = "restore";
}

/// `archive_command`: hands a file of `pg_wal` to the agent, and succeeds when it is durable.
pub fn archive(program: &str, socket: &str) -> String {
    format!(
        "exec {} agent {} --socket {} %f",
        quoted(program),
        verb::ARCHIVE,
        quoted(socket)
    )
}

/// `restore_command`: has the agent write a file to where PostgreSQL wants it.
pub fn restore(program: &str, socket: &str) -> String {
    format!(
        "exec {} agent {} --socket {} %f \"%p\"",
        quoted(program),
        verb::RESTORE,
        quoted(socket)
    )
}

/// One word of a POSIX shell in which PostgreSQL finds nothing to replace.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_name_the_program_the_socket_and_the_file() {
        assert_eq!(
            archive("/usr/bin/boma", "/run/boma/ab/agent.sock"),
            "exec '/usr/bin/boma' agent archive --socket '/run/boma/ab/agent.sock' %f"
        );
        assert_eq!(
            restore("/usr/bin/boma", "/run/boma/ab/agent.sock"),
            "exec '/usr/bin/boma' agent restore --socket '/run/boma/ab/agent.sock' %f \"%p\""
        );
    }

    #[test]
    fn no_path_becomes_a_command() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("$(x)`y`\\"), "'$(x)`y`\\'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("100%p"), "'100%%p'");
    }
}
